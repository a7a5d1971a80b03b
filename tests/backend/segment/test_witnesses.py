"""Photos that show what was clicked say together what it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.segment import draft, witnesses
from backend.segment.eyes import Eyes
from backend.segment.marks import prompts_of
from backend.segment.prepared import Prepared, Selection
from backend.segment.witnesses import ASKED, Witnesses
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.values import Mark
from tests.backend.segment.test_eyes import seen_from


@pytest.fixture(autouse=True)
def nothing_stands_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("backend.segment.prepared", "backend.segment.region"):
        monkeypatch.setattr(f"{module}.STANDS_APART", 0.0)


@pytest.fixture
def asked(blobs) -> Witnesses:
    return Witnesses(Prepared.of(blobs.workspace), blobs.workspace.used_photos())


def consulted(asked: Witnesses, *marks: Mark) -> tuple[Selection, int]:
    """What they say, and in how many steps."""
    *steps, last = asked.consulted(marks, prompts_of(Eyes(asked.prepared), marks))
    assert all(step is None for step in steps)
    assert last is not None
    return last, len(steps)


def views(selection: Selection, kind: str = "mask") -> list[str]:
    return [votes.view for votes in selection.evidence if votes.kind == kind]


def test_photos_that_show_it_are_asked_the_likest_first(blobs, asked: Witnesses) -> None:
    mark = seen_from(blobs, 0.3)
    selection, steps = consulted(asked, mark)
    assert blobs.iou(np.flatnonzero(selection.chosen), blobs.red) > 0.9
    names = views(selection)
    assert 2 <= len(names) <= ASKED
    assert len(names) <= steps - 1  # the last but one: space follows
    towards = np.subtract(mark.position, mark.eye)

    def turned(name: str) -> float:
        own = np.array(mark.position) - blobs.photo(name).camera.centre
        return float(own @ towards / np.linalg.norm(own))

    # The ring is around the middle and not around the mark: distances have a word, too.
    assert names[0] == max(asked.cameras, key=turned)
    assert not set(views(selection, "carried")) & set(names)


def test_a_click_beside_is_heard_by_those_who_see_it(blobs, asked: Witnesses) -> None:
    mark, beside = seen_from(blobs, 0.3), seen_from(blobs, 0.3, (380.5, 250.5), positive=False)
    selection, _ = consulted(asked, mark, beside)
    hit = prompts_of(Eyes(asked.prepared), [mark, beside])[1].seeds().rows
    assert len(hit)
    assert not selection.chosen[hit].any()


def test_equal_marks_have_equal_answers_and_pictures_are_kept(
    blobs, asked: Witnesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = consulted(asked, seen_from(blobs, 0.3))
    monkeypatch.setattr(witnesses, "Meant", lambda *given: pytest.fail("drawn again"))
    again, _ = consulted(asked, seen_from(blobs, 0.3))
    assert np.array_equal(first.chosen, again.chosen)
    assert np.array_equal(first.probability, again.probability)


def test_as_many_pictures_are_kept_as_there_is_room_for(
    blobs, asked: Witnesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    real = witnesses.Meant
    monkeypatch.setattr(witnesses, "Meant", lambda *given: drawn.append(1) or real(*given))
    monkeypatch.setattr(witnesses, "HELD_BYTES", 2 * witnesses.ROW_BYTES * len(blobs.scene))
    consulted(asked, seen_from(blobs, 0.3))
    first, held = len(drawn), list(asked._held)
    assert len(held) == 2 < first
    consulted(asked, seen_from(blobs, 0.3))
    assert len(drawn) == 2 * first - 2  # what is kept is used, and not given up for what is asked beside it
    asked.cameras = {name: camera for name, camera in asked.cameras.items() if name not in held}
    consulted(asked, seen_from(blobs, 0.3))
    assert not set(asked._held) & set(held)  # nobody asks them any more


@pytest.mark.parametrize("photos", [True, False], ids=["none shows it", "no photos"])
def test_space_answers_where_no_photo_does(blobs, asked: Witnesses, photos: bool) -> None:
    mark = seen_from(blobs, 0.3)
    if not photos:
        asked = Witnesses(asked.prepared, [])
    else:  # all of them look past it
        asked.cameras = {
            name: replace(camera, cx=camera.cx + 10 * camera.width) for name, camera in asked.cameras.items()
        }
    selection, steps = consulted(asked, mark)
    assert steps == 0
    in_space = draft.selected(asked.prepared, prompts_of(Eyes(asked.prepared), [mark]))
    assert np.array_equal(selection.chosen, in_space.chosen)


@pytest.mark.parametrize("there", [(0.0, 0.0, 50.0), (0.0, -0.6, 0.5)], ids=["out of sight", "before the scene"])
def test_a_mark_on_nothing_is_refused(asked: Witnesses, there: tuple[float, float, float]) -> None:
    marks = [Mark(there, (0.0, -2.0, there[2]), 0.001)]
    with pytest.raises(InputError, match="no surface"):
        list(asked.consulted(marks, prompts_of(Eyes(asked.prepared), marks)))
