"""The ground under two blobs, and walks that stay on the one that was clicked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.scene import Gaussians
from backend.segment.ground import find_ground
from backend.segment.region import Walks


def looks(scene: Gaussians) -> np.ndarray:
    return scene.sh0[:, 0] / np.maximum(scene.sh0[:, 0].std(0), 1e-6)


def test_the_ground_is_found_and_objects_stand_on_it(blobs) -> None:
    ground = find_ground(blobs.scene, blobs.cameras)
    assert ground is not None
    assert ground.normal[2] > 0.999
    assert abs(ground.offset) < 0.01
    on_it = ground.holds(blobs.scene, np.arange(len(blobs.scene)))
    assert on_it[blobs.labels == 0].mean() > 0.95
    assert on_it[blobs.labels != 0].mean() < 0.1


def test_without_a_level_plane_there_is_no_ground(blobs) -> None:
    wall = np.random.default_rng(0).uniform((-1, -0.02, -3), (1, 0.02, 1), blobs.scene.means.shape)
    assert find_ground(replace(blobs.scene, means=wall.astype(np.float32)), blobs.cameras) is None
    assert find_ground(blobs.scene, blobs.cameras[:1]) is None


@pytest.mark.parametrize("with_ground", [True, False])
def test_a_walk_stays_on_its_object(blobs, with_ground: bool) -> None:
    ground = find_ground(blobs.scene, blobs.cameras) if with_ground else None
    walks = Walks(blobs.scene, looks(blobs.scene), ground)
    for label in (blobs.red, blobs.blue):
        start = np.zeros(len(blobs.scene))
        start[np.flatnonzero(blobs.labels == label)[:3]] = 1
        region = walks.region(start, np.zeros(len(start)))
        assert region is not None
        assert blobs.iou(region.rows, label) > 0.9


def test_negative_seeds_keep_a_walk_away(blobs) -> None:
    # One colour for all, no ground known: the two blobs and the plane are hard to tell apart.
    grey = replace(blobs.scene, sh0=np.zeros_like(blobs.scene.sh0))
    walks = Walks(grey, looks(grey), None)
    start, against = np.zeros((2, len(grey)))
    start[np.flatnonzero(blobs.labels == blobs.red)[:3]] = 1
    against[np.flatnonzero(blobs.labels == blobs.blue)[:3]] = 1
    region = walks.region(start, against)
    assert region is not None
    assert not np.isin(np.flatnonzero(against), region.rows).any()
    assert (blobs.labels[region.rows] == blobs.blue).mean() < 0.1


def test_a_walk_needs_somewhere_to_stand(blobs) -> None:
    walks = Walks(blobs.scene, looks(blobs.scene), None)
    nothing = np.zeros(len(blobs.scene))
    assert walks.region(nothing, nothing) is None
    share = walks.share(nothing, nothing)
    assert (share == 0.5).all()
