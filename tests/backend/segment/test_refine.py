"""Rows far from the rest of a selection: haze goes, what somebody pointed at stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.render import Seen
from backend.scene import Gaussians
from backend.scene.gaussians import concatenate
from backend.segment.posterior import feature_votes, mask_votes, pointed_at, posterior, seed_votes
from backend.segment.prepared import Prepared
from backend.segment.refine import enclosed, without_strays
from tests.backend.conftest import CENTRES, RED, Blobs

LAMP = 15  # fewer than a twentieth of a ball


@pytest.fixture
def lamp(blobs: Blobs) -> tuple[Gaussians, np.ndarray]:
    """A small ball far from everything beside the blobs, and which rows it has."""
    small = blobs.scene.take(np.flatnonzero(blobs.labels == RED)[:LAMP])
    means = (small.means - np.float32(CENTRES[RED])) / 2 + np.float32((9, 0, 2))
    scene = concatenate([blobs.scene, replace(small, means=means, log_scales=small.log_scales + np.float32(0.7))])
    return scene, np.arange(len(blobs.scene), len(scene))


def chosen_of(scene: Gaussians, *rows: np.ndarray) -> np.ndarray:
    chosen = np.zeros(len(scene), bool)
    chosen[np.concatenate(rows)] = True
    return chosen


def test_haze_that_nobody_pointed_at_goes(blobs, lamp) -> None:
    scene, far = lamp
    red = np.flatnonzero(blobs.labels == RED)
    chosen = chosen_of(scene, red, far[:5])
    kept = without_strays(chosen, scene, chosen_of(scene, red[:3]))
    assert np.array_equal(np.flatnonzero(kept), red)


def test_what_was_pointed_at_stays_with_what_is_around_it(blobs, lamp) -> None:
    scene, far = lamp
    red = np.flatnonzero(blobs.labels == RED)
    haze = scene.take(far[:1])
    scene = concatenate([scene, replace(haze, means=haze.means + np.float32((0, 20, 0)))])
    chosen = chosen_of(scene, red, far[:8], [len(scene) - 1])
    kept = without_strays(chosen, scene, chosen_of(scene, red[:3], far[:2]))
    assert np.array_equal(np.flatnonzero(kept), np.append(red, far[:8]))


def test_a_second_click_on_a_small_thing_far_away(lamp) -> None:
    scene, far = lamp
    prepared = Prepared(scene, [])
    sides = np.zeros((2, len(scene)))
    sides[0, np.linalg.norm(scene.means - CENTRES[RED], axis=1).argsort()[:3]] = 1
    sides[1, far[:3]] = 1
    selection = prepared.clicked(list(sides))
    assert selection.chosen[far].all()
    assert selection.chosen[: len(scene) - LAMP].sum() > 300


def test_the_only_thing_of_its_kind_far_away_belongs_to_its_label(blobs, lamp) -> None:
    scene, far = lamp
    mine = chosen_of(scene, np.flatnonzero(blobs.labels == RED), far).astype(float)
    prepared = Prepared(scene, [])
    for kind in ("labels", "features"):
        selection = prepared.decided([feature_votes(kind, np.ones(len(scene), bool), mine, 1 - mine)])
        assert selection.chosen[far].all()


def test_masks_point_at_nothing_and_clicks_beside_take_back(blobs) -> None:
    count = len(blobs.scene)
    camera = blobs.cameras[0]
    mask = mask_votes(Seen(blobs.scene, camera), np.ones((camera.height, camera.width), bool), view="a0")
    assert not pointed_at(count, [mask]).any()
    on, beside = seed_votes(np.array([1, 2]), inside=True), seed_votes(np.array([2]), inside=False)
    assert np.flatnonzero(pointed_at(count, [mask, on, beside])).tolist() == [1]


def test_what_shows_only_through_an_object_is_its_own(blobs) -> None:
    """A core in each of two balls, and something in the open that hardly shows."""
    cores = []
    for label in (blobs.red, blobs.blue):
        few = blobs.scene.take(np.flatnonzero(blobs.labels == label)[:10])
        middle = np.float32(CENTRES[label])
        cores.append(replace(few, means=middle + 0.1 * (few.means - middle), log_scales=few.log_scales - np.float32(1)))
    faint = blobs.scene.take(np.flatnonzero(blobs.labels == 0)[:10])
    # Thick enough that next to nothing shines through.
    thick = blobs.scene.log_scales + np.float32(0.6)
    shells = replace(blobs.scene, log_scales=thick, opacity_logits=blobs.scene.opacity_logits + np.float32(5))
    scene = concatenate([shells, *cores, replace(faint, opacity_logits=np.full_like(faint.opacity_logits, -6))])
    own, other, open_air = (np.arange(10 * n, 10 * (n + 1)) + len(blobs.scene) for n in range(3))
    evidence = []
    for photo in blobs.workspace.used_photos():
        mask = blobs.mask(blobs.red, photo.name)[::2, ::2]
        evidence.append(mask_votes(Seen(scene, photo.camera), mask, view=photo.name))
    counts = posterior(len(scene), evidence)
    own = own[~counts.voted[own]]
    assert len(own) > 5
    before = counts.probability
    after = enclosed(before, counts, evidence)
    assert before[own].max() < 0.5 < 0.8 < after[own].min()
    assert np.array_equal(after[other], before[other])
    assert np.array_equal(after[open_air], before[open_air])
    assert np.array_equal(after[counts.voted], before[counts.voted])
    assert enclosed(before, posterior(len(scene), evidence[:3]), evidence[:3]) is before
