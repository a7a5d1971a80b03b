"""No process is started again more than three times in a minute, whatever dies when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from segwild_addon.client.restarts import IN_WINDOW, LONGEST_SECS, WINDOW_SECS, Restarts


@given(st.lists(st.floats(0, 100), max_size=60))
def test_starts_are_never_too_many_nor_too_late(lives: list[float]) -> None:
    restarts, now, starts = Restarts(), 0.0, [0.0]
    restarts.started(now)
    for life in lives:
        now += life
        wait = restarts.died(now)
        if wait is None:
            assert sum(now - start < WINDOW_SECS for start in starts[1:]) >= IN_WINDOW
            return
        assert 1.0 <= wait <= LONGEST_SECS
        now += wait
        restarts.started(now)
        starts.append(now)
        assert sum(now - start < WINDOW_SECS for start in starts[1:]) <= IN_WINDOW


def test_a_backend_that_dies_at_once_is_given_up_after_three_restarts() -> None:
    restarts, now, waits = Restarts(), 0.0, []
    while True:
        restarts.started(now)
        now += 0.1
        wait = restarts.died(now)
        if wait is None:
            break
        waits.append(wait)
        now += wait
    assert waits == [1.0, 2.0, 4.0]
    restarts.forget()
    restarts.started(now)
    assert restarts.died(now) == 1.0


def test_one_that_dies_every_minute_is_started_for_ever() -> None:
    restarts, now = Restarts(), 0.0
    for _ in range(100):
        restarts.started(now)
        now += 61.0
        assert restarts.died(now) == 1.0
