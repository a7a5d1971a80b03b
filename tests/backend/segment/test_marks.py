"""Clicks anchored in space mean what clicks on a photo mean, from wherever they were made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.render import Seen
from backend.scene import Camera
from backend.scene.cameras import looking_at
from backend.scene.gaussians import concatenate
from backend.segment import draft
from backend.segment.eyes import Eyes
from backend.segment.marks import checked_marks, prompts_of, seeds_at_mark
from backend.segment.prepared import Prepared, Selection
from backend.segment.prompts import Clicks
from backend.segment.seeds import contributors, seeds_at
from backend.segment.selection import Selector
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.values import Mark


def mark_at(seen: Seen, pixel: np.ndarray, *, positive: bool = True) -> Mark:
    """The surface under a pixel (2,) of a view."""
    camera = seen.view
    depth = float(seen.depth()[int(pixel[1]), int(pixel[0])])
    ray = camera.rays(pixel[None])[0]
    position = camera.centre + ray * depth / (ray @ camera.forward)
    return Mark(tuple(position.tolist()), tuple(camera.centre.tolist()), depth / camera.fx, positive)


def selected(prepared: Prepared, *marks: Mark) -> Selection:
    return draft.selected(prepared, prompts_of(Eyes(prepared), marks))


def around(target: np.ndarray, angle_rad: float, height: float) -> Camera:
    eye = target + np.array([1.8 * np.cos(angle_rad), 1.8 * np.sin(angle_rad), height])
    return looking_at(eye, target, np.array([0.0, 0, 1]), focal=700, width=640, height=480)


def test_a_mark_on_a_photo_is_the_click_there(blobs) -> None:
    prepared = Prepared.of(blobs.workspace)
    selector = Selector(prepared, blobs.workspace, blobs.photo())
    for label in (blobs.red, blobs.blue):
        clicked = selector.select(Clicks(np.array([blobs.pixel(label)]), np.array([True])))
        marked = selected(prepared, mark_at(selector.seen, np.array(blobs.pixel(label)) / 2))
        assert np.array_equal(clicked.chosen, marked.chosen)
        assert {votes.view for votes in marked.evidence} == {""}


def test_the_seeds_are_those_of_a_whole_picture(blobs) -> None:
    prepared = Prepared.of(blobs.workspace)
    camera = around(np.array([-0.45, 0, 0.28]), 1.0, 0.5)
    seen = Seen(blobs.scene, camera)
    depths = camera.project(blobs.scene.means.astype(float))[1]
    # Turned towards the mark, pixels sample elsewhere: weights differ a little, rows with weight do not.
    for pixel in ((320.5, 240.5), (300.5, 210.5), (350.5, 260.5)):
        there = seeds_at(contributors(seen), depths, np.array([pixel]), prepared.graph.spacing)
        here = seeds_at_mark(blobs.scene, prepared.graph.spacing, mark_at(seen, np.array(pixel)))
        shared = np.isin(there.rows, here.rows)
        assert there.weights[shared].sum() > 0.85 * there.weights.sum()


@pytest.mark.parametrize("angle", [0.3, 2.0, 4.0])
def test_a_mark_from_anywhere_chooses_the_object(blobs, angle: float) -> None:
    prepared = Prepared.of(blobs.workspace)
    for label, centre in ((blobs.red, (-0.45, 0.0, 0.28)), (blobs.blue, (0.45, 0.1, 0.28))):
        camera = around(np.array(centre), angle, 0.9)
        mark = mark_at(Seen(blobs.scene, camera), np.array([320.5, 240.5]))
        assert blobs.iou(np.flatnonzero(selected(prepared, mark).chosen), label) > 0.9


def test_a_mark_beside_takes_away(blobs) -> None:
    prepared = Prepared.of(blobs.workspace)
    seen = Seen(blobs.scene, blobs.photo().camera)
    red = mark_at(seen, np.array(blobs.pixel(blobs.red)) / 2)
    blue = mark_at(seen, np.array(blobs.pixel(blobs.blue)) / 2, positive=False)
    assert not selected(prepared, red, blue).chosen[blobs.labels == blobs.blue].any()


def test_what_is_in_front_may_have_been_hidden_there(blobs) -> None:
    """A wall between the eye and the mark, which the person does not see."""
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, 30), np.linspace(-0.5, 0.5, 30))
    count = x.size
    wall = blobs.scene.take(np.zeros(count, int))
    wall = replace(
        wall,
        means=np.stack([x.ravel() - 0.45, np.full(count, -1.2), y.ravel() + 0.3], 1).astype(np.float32),
        log_scales=np.full((count, 3), np.log(0.03), np.float32),
    )
    prepared = Prepared(concatenate([blobs.scene, wall]), blobs.cameras)
    mark = Mark((-0.45, -0.27, 0.28), (-0.45, -2.5, 0.3), 0.01)
    chosen = selected(prepared, mark).chosen
    assert not chosen[len(blobs.scene) :].any()
    assert blobs.iou(np.flatnonzero(chosen), blobs.red) > 0.9


def test_near_the_eye_far_away_and_into_nothing(blobs) -> None:
    prepared = Prepared.of(blobs.workspace)
    for distance, pixel in ((0.02, 0.01), (1e4, 0.01), (2.0, 1e-4)):
        mark = Mark((-0.45, -0.27, 0.28), (-0.45, -0.27 - distance, 0.28), pixel)
        assert blobs.iou(np.flatnonzero(selected(prepared, mark).chosen), blobs.red) > 0.9
    with pytest.raises(InputError, match="no surface"):
        selected(prepared, Mark((0.0, 0.0, 1.5), (0.0, -2.0, 1.5), 0.01))


def test_marks_that_make_no_sense() -> None:
    fine = Mark((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), 0.01)
    assert checked_marks([fine]) == (fine,)
    wrong = (
        [],
        [replace(fine, positive=False)],
        [replace(fine, eye=fine.position)],
        [fine, replace(fine, pixel=0.0)],
        [replace(fine, pixel=-1.0)],
        [replace(fine, position=(1e308, 0.0, 0.0), eye=(-1e308, 0.0, 0.0))],
        [fine] * 1001,
    )
    for marks in wrong:
        with pytest.raises(InputError) as caught:
            checked_marks(marks)
        assert caught.value.code == "bad-mark"
    with pytest.raises(InputError) as caught:
        checked_marks([fine, replace(fine, eye=(0.0, 1.0, 0.0), positive=False)])
    assert caught.value.code == "contradicting-clicks"
