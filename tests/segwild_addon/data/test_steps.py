"""Long work in short steps, at once or in a thread."""

from __future__ import annotations

import threading

import pytest

from segwild_addon.data.steps import Aside, finished, within


def counting(count, closed=None):
    try:
        for number in range(count):
            yield number / count
    finally:
        if closed is not None:
            closed.append(threading.current_thread().name)
    return count


def test_steps_within_others_have_their_part_of_the_way():
    outer = within(counting(4), 0.5, 0.25)
    assert list(outer) == [0.5, 0.5625, 0.625, 0.6875]
    assert finished(within(counting(4), 0.5, 0.25)) == 4


def test_a_thread_comes_to_the_same_result():
    aside = Aside(counting(1000), "test")
    assert aside.result() == 1000
    assert aside.ended
    assert aside.part == 0.999
    assert "segwild-test" not in {thread.name for thread in threading.enumerate()}


def test_what_goes_wrong_in_the_thread_is_raised_where_it_is_asked_for():
    def wrong():
        yield 0.5
        raise ValueError("so")

    aside = Aside(wrong(), "test")
    with pytest.raises(ValueError, match="so"):
        aside.result()
    assert aside.part == 0.5


def test_a_cancelled_thread_ends_its_steps_in_order_and_is_waited_for():
    closed: list[str] = []
    go = threading.Event()

    def endless():
        try:
            while True:
                go.set()
                yield 0.1
        finally:
            closed.append("yes")

    aside = Aside(endless(), "test")
    assert go.wait(10)
    aside.cancel()
    assert aside.ended
    assert closed == ["yes"]
