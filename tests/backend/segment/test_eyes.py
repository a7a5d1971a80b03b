"""What somebody saw from an eye answers clicks in space, as a photo's picture answers clicks on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.render import Seen
from backend.segment import draft
from backend.segment.eyes import HELD, Eyes, camera_of, place_of, widened
from backend.segment.marks import prompts_of
from backend.segment.prepared import Prepared
from backend.segment.prompts import Clicks
from backend.segment.selection import Selector
from segwild_addon.protocol.values import Mark
from tests.backend.segment.test_marks import around, mark_at


@pytest.fixture
def eyes(blobs) -> Eyes:
    return Eyes(Prepared.of(blobs.workspace))


def seen_from(blobs, angle_rad: float, pixel: tuple[float, float] = (320.5, 240.5), *, positive: bool = True) -> Mark:
    """A mark on the red blob, or beside it."""
    camera = around(np.array([-0.45, 0, 0.28]), angle_rad, 0.9)
    return mark_at(Seen(blobs.scene, camera), np.array(pixel), positive=positive)


def masks(selection) -> int:
    return sum(votes.kind == "mask" for votes in selection.evidence)


def test_a_mark_lies_in_the_middle_of_its_own_picture_and_others_where_they_are_seen(blobs, eyes: Eyes) -> None:
    mark, beside = seen_from(blobs, 0.3), seen_from(blobs, 0.3, (380.5, 250.5), positive=False)
    picture = eyes.picture(mark)
    assert place_of(mark, picture) == pytest.approx((picture.camera.width / 2, picture.camera.height / 2))
    x, y = place_of(beside, picture)
    scale = camera_of(mark).fx / 700  # of the view it was made in, whose middle is the same
    assert (x, y) == pytest.approx((160 + 60 * scale, 120 + 10 * scale), abs=0.5)


def test_what_is_hidden_or_out_of_sight_has_no_place(blobs, eyes: Eyes) -> None:
    mark, behind = seen_from(blobs, 0.3), seen_from(blobs, 0.3 + np.pi)
    assert place_of(behind, eyes.picture(mark)) is None
    far = tuple(np.add(mark.position, (50.0, 0, 0)).tolist())
    assert place_of(replace(mark, position=far), eyes.picture(mark)) is None
    at_the_back = tuple((2 * np.array(mark.eye) - mark.position).tolist())
    assert place_of(replace(mark, position=at_the_back), eyes.picture(mark)) is None


def test_marks_are_answered_as_clicks_on_a_photo_are(blobs, eyes: Eyes) -> None:
    selector = Selector(eyes.prepared, blobs.workspace, blobs.photo())
    points = np.array([blobs.pixel(blobs.red), blobs.pixel(blobs.blue)])
    clicked = selector.select(Clicks(points, np.array([True, False])))
    marks = [
        mark_at(selector.seen, selector.on_picture(point[None])[0], positive=positive)
        for point, positive in zip(points, (True, False), strict=True)
    ]
    marks = [replace(mark, pixel=mark.pixel * selector.camera.width / 1280) for mark in marks]  # shown in a window
    marked = draft.selected(eyes.prepared, prompts_of(eyes, marks))
    assert masks(marked) == masks(clicked) == 1
    assert clicked.chosen.any()
    both = (marked.chosen & clicked.chosen).sum() / (marked.chosen | clicked.chosen).sum()
    assert both > 0.6
    assert (
        blobs.iou(np.flatnonzero(marked.chosen), blobs.red) > blobs.iou(np.flatnonzero(clicked.chosen), blobs.red) - 0.1
    )


def test_a_picture_is_asked_for_what_none_before_it_shows(blobs, eyes: Eyes) -> None:
    front, back = seen_from(blobs, 0.3), seen_from(blobs, 0.3 + np.pi)
    beside_front = seen_from(blobs, 0.5, (380.5, 250.5), positive=False)
    assert masks(draft.selected(eyes.prepared, prompts_of(eyes, [front]))) == 0  # it stands apart
    assert masks(draft.selected(eyes.prepared, prompts_of(eyes, [front, back]))) == 2
    # From another eye, but seen from the first one as well.
    assert masks(draft.selected(eyes.prepared, prompts_of(eyes, [front, beside_front]))) == 1


def test_what_does_not_stand_apart_is_answered_in_space(blobs, eyes: Eyes, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("backend.segment.prepared", "backend.segment.region"):
        monkeypatch.setattr(f"{module}.STANDS_APART", 0.0)
    monkeypatch.setattr(Eyes, "picture", lambda *given: pytest.fail("looked"))
    front, back = seen_from(blobs, 0.3), seen_from(blobs, 0.3 + np.pi)
    selection = draft.selected(eyes.prepared, prompts_of(eyes, [front, back]))
    assert {votes.kind for votes in selection.evidence} == {"region", "seed"}


def test_space_answers_where_a_click_beside_is_in_no_answer(blobs, eyes: Eyes) -> None:
    front, beside = seen_from(blobs, 0.3), seen_from(blobs, 0.3 + np.pi, positive=False)
    selection = draft.selected(eyes.prepared, prompts_of(eyes, [front, beside]))
    assert masks(selection) == 0
    hit = prompts_of(eyes, [front, beside])[1].seeds().rows
    assert len(hit)
    assert not selection.chosen[hit].any()


def test_pictures_are_kept_but_not_all(blobs, eyes: Eyes) -> None:
    marks = [seen_from(blobs, angle) for angle in np.linspace(0, 2, HELD + 1)]
    first = eyes.picture(marks[0])
    assert eyes.picture(marks[0]) is first
    for mark in marks[1:]:
        eyes.picture(mark)
    assert eyes.picture(marks[-1]) is eyes.picture(marks[-1])
    assert eyes.picture(marks[0]) is not first


def test_a_picture_is_wide_enough_for_all_marks_from_its_eye(blobs) -> None:
    mark = seen_from(blobs, 0.3)
    aside = [replace(mark, position=tuple(np.add(mark.position, (0, 0, up)).tolist())) for up in (0.1, 1.2, 2.4)]
    pixels = [camera_of(mark, widened([mark, other])).project(np.array([other.position]))[0] for other in aside]
    assert 0 == widened([mark, aside[0]]) < widened([mark, aside[1]]) <= widened([mark, aside[2]])
    assert all(0 <= x < 320 and 0 <= y < 240 for ((x, y),) in pixels)
    prompts = prompts_of(Eyes(Prepared.of(blobs.workspace)), [mark, aside[0]])
    assert prompts[0].picture() is prompts[1].picture()


def test_an_eye_above_looks_down(blobs) -> None:
    camera = camera_of(Mark((0.0, 0.0, 0.2), (0.0, 0.0, 3.0), 0.003))
    assert np.isfinite(camera.cam_from_world).all()
    np.testing.assert_allclose(camera.project(np.array([[0.0, 0.0, 0.2]]))[0], [[160, 120]], atol=1e-6)
