"""Answers to clicks: space says at once, photos later, and none that comes late speaks for other Gaussians."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

PHOTOS_SAY = [2, 3, 4]  # the fake's rows 1 to 3


def consulted(clicking: SimpleNamespace) -> int:
    return sum(each["kind"] == "Consult" for each in clicking.fake.questions)


def test_where_nothing_stands_apart_the_photos_have_the_last_word(clicking: SimpleNamespace, blender: Any) -> None:
    selection, state = clicking.selection, blender.context.window_manager.segwild
    clicking.connect()
    clicking.fake.apart = False
    clicking.click(1.0)
    clicking.until(selection.consulting)
    assert not selection.waiting()  # what space says can be used meanwhile
    assert clicking.shown[-1] == [1, 3]
    assert not blender.ops.segwild.grow_prompts.poll()  # it would grow what space said
    clicking.until(lambda: not selection.consulting())
    assert blender.ops.segwild.grow_prompts.poll()
    assert clicking.shown[-1] == PHOTOS_SAY
    state.ask_photos = False
    assert clicking.shown[-1] == [1, 3]
    assert selection.levels() == (1, (1, 2, 4))
    state.ask_photos = True
    assert clicking.shown[-1] == PHOTOS_SAY
    assert selection.levels() == (2, (1, 2, 4))  # nearest to what photos say
    assert selection.resize(-1)  # by hand: nobody else is asked
    clicking.until(lambda: not selection.waiting())
    assert clicking.shown[-1] == [1, 3]
    clicking.click(2.0)
    clicking.until(lambda: not selection.waiting())
    selection.remove(1)
    blender.context.scene.segwild.prompt_size = 0
    selection.refresh()
    assert clicking.shown[-1] == PHOTOS_SAY  # known
    assert consulted(clicking) == 1


@pytest.mark.parametrize("event", ["restart", "forget"])
def test_photos_are_asked_again_where_their_answer_was_lost(clicking: SimpleNamespace, event: str) -> None:
    """The backend is started anew while they are asked, or the Gaussians are others meanwhile."""
    from segwild_addon.viewport import answers

    selection, fake = clicking.selection, clicking.fake
    clicking.connect()
    clicking.click(1.0)
    clicking.until(lambda: not selection.waiting())
    fake.apart, fake.refused["Consult"] = False, "worker-killed"
    clicking.click(2.0)
    clicking.until(lambda: consulted(clicking) and not selection.consulting())
    assert clicking.shown[-1] == [1, 3]
    fake.refused.clear()
    if event == "restart":
        clicking.link.restart()
    else:
        answers.forget()
        selection.refresh()
    clicking.until(lambda: clicking.shown[-1] == PHOTOS_SAY)
    assert consulted(clicking) == 2


def test_what_comes_after_it_was_forgotten_says_nothing(clicking: SimpleNamespace) -> None:
    """Rows of other Gaussians, say."""
    from segwild_addon.viewport import answers

    clicking.connect()
    clicking.fake.apart = False
    clicking.click(1.0)
    clicking.until(clicking.selection.consulting)
    answers.forget()
    end = time.monotonic() + 0.5
    clicking.until(lambda: time.monotonic() > end)
    assert not answers._heard
    assert not answers._known
    clicking.selection.refresh()
    clicking.until(lambda: clicking.shown[-1] == PHOTOS_SAY)


def test_photos_are_asked_only_if_wanted_and_where_they_help(clicking: SimpleNamespace, blender: Any) -> None:
    selection, state = clicking.selection, blender.context.window_manager.segwild
    clicking.connect()
    clicking.click(1.0)
    clicking.until(lambda: not selection.waiting())
    assert not selection.consulting()
    clicking.fake.apart = state.ask_photos = False
    clicking.click(2.0)
    clicking.until(lambda: not selection.waiting())
    assert not selection.consulting()
    assert consulted(clicking) == 0
    state.ask_photos = True  # now, then
    clicking.until(lambda: clicking.shown[-1] == PHOTOS_SAY)
    assert consulted(clicking) == 1


@pytest.mark.parametrize(("code", "again"), [("unexpected", 0), ("superseded", 1)])
def test_where_photos_do_not_answer_space_has(clicking: SimpleNamespace, code: str, again: int) -> None:
    selection = clicking.selection
    clicking.connect()
    clicking.fake.apart = False
    clicking.fake.refused["Consult"] = code
    clicking.click(1.0)
    clicking.click(2.0)
    clicking.until(lambda: not selection.waiting() and not selection.consulting() and consulted(clicking))
    assert clicking.shown[-1] == [1, 3]
    clicking.fake.refused.clear()
    asked = consulted(clicking)
    selection.add_stroke(clicking.scene.segwild.uuid, {}, True)  # the same clicks
    clicking.until(lambda: not selection.consulting())
    assert consulted(clicking) == asked + again
    assert clicking.shown[-1] == (PHOTOS_SAY if again else [1, 3])
