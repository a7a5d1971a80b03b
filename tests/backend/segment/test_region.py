"""The ground under two blobs, and walks that stay on the one that was clicked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.render.harmonics import C0
from backend.scene import Gaussians
from backend.scene.gaussians import concatenate
from backend.scene.transforms import quats_from_matrices
from backend.segment.ground import find_ground
from backend.segment.region import Walks, _deviations
from backend.segment.split import Moments


def looks(scene: Gaussians) -> np.ndarray:
    return scene.sh0[:, 0] / np.maximum(scene.sh0[:, 0].std(0), 1e-6)


def rows(means: np.ndarray, sizes: tuple[float, float, float], color: tuple[float, float, float]) -> Gaussians:
    """Opaque rows at means (N, 3), all of one shape along the axes and one colour."""
    count = len(means)
    return Gaussians(
        means.astype(np.float32),
        np.tile(np.float32([1, 0, 0, 0]), (count, 1)),
        np.tile(np.log(np.float32(sizes)), (count, 1)),
        np.full(count, 3.0, np.float32),
        np.tile(((np.float32(color) - 0.5) / C0)[None], (count, 1, 1)),
        np.zeros((count, 0, 3), np.float32),
    )


def seeds(count: int, at: np.ndarray, weight: float = 1.0) -> np.ndarray:
    start = np.zeros(count)
    start[at] = weight
    return start


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
        region = walks.region([start])
        assert region is not None
        assert blobs.iou(region.rows, label) > 0.9


def test_sizes_go_from_part_to_whole(blobs) -> None:
    walks = Walks(blobs.scene, looks(blobs.scene), find_ground(blobs.scene, blobs.cameras))
    start = seeds(len(blobs.scene), np.flatnonzero(blobs.labels == blobs.red)[:3])
    suggested = walks.suggested([start])
    assert suggested is not None
    levels = suggested.levels
    best = walks.region([start])
    assert best is not None
    assert len(best.rows) in levels
    assert len(levels) > 3
    assert (np.diff(levels) > 0).all()
    assert np.isin(levels, suggested.counts).all()
    before = np.zeros(0, int)
    for level in levels.tolist():
        region = walks.region([start], size=level)
        assert region is not None
        assert len(region.rows) == level
        assert np.isin(before, region.rows).all()
        before = region.rows
    near = walks.region([start], size=int(len(best.rows) * 1.05))
    assert near is not None
    assert np.array_equal(near.rows, best.rows)
    beside = seeds(len(blobs.scene), np.flatnonzero(blobs.labels == blobs.blue)[:3])
    whole = walks.region([start], [beside], size=int(levels[-1]))
    assert whole is not None
    assert not np.isin(np.flatnonzero(beside), whole.rows).any()


def test_negative_seeds_keep_a_walk_away(blobs) -> None:
    # One colour for all, no ground known: the two blobs and the plane are hard to tell apart.
    grey = replace(blobs.scene, sh0=np.zeros_like(blobs.scene.sh0))
    walks = Walks(grey, looks(grey), None)
    start, against = np.zeros((2, len(grey)))
    start[np.flatnonzero(blobs.labels == blobs.red)[:3]] = 1
    against[np.flatnonzero(blobs.labels == blobs.blue)[:3]] = 1
    region = walks.region([start], [against])
    assert region is not None
    assert not np.isin(np.flatnonzero(against), region.rows).any()
    assert (blobs.labels[region.rows] == blobs.blue).mean() < 0.1


def test_with_negative_seeds_slight_colours_part_what_touches(blobs) -> None:
    """Two halves of one plate, alike but for a tenth of their brightness, and ground of quite another colour."""
    x, y = np.meshgrid(np.linspace(-0.24, 0.24, 24), np.linspace(-0.12, 0.12, 12))
    plate = np.stack([x.ravel(), y.ravel(), np.full(x.size, 1.0)], 1)
    left = plate[:, 0] < 0.08
    halves = [rows(plate[left], (0.015,) * 3, (0.6, 0.6, 0.6)), rows(plate[~left], (0.015,) * 3, (0.5, 0.5, 0.5))]
    scene = concatenate([blobs.scene, *halves])
    wanted = np.arange(len(blobs.scene), len(blobs.scene) + left.sum())
    features = scene.sh0[:, 0] / 0.3
    start, against = seeds(len(scene), wanted[:3]), seeds(len(scene), np.arange(len(scene))[-3:])
    region = Walks(scene, features, None).region([start], [against])
    assert region is not None
    assert np.isin(wanted, region.rows).mean() > 0.95
    assert np.isin(region.rows, wanted).mean() > 0.95


def test_a_walk_needs_somewhere_to_stand(blobs) -> None:
    walks = Walks(blobs.scene, looks(blobs.scene), None)
    nothing = np.zeros(len(blobs.scene))
    assert walks.region([nothing], [nothing]) is None
    share = walks.share(nothing, nothing)
    assert (share == 0.5).all()


def line(start: tuple[float, float, float], end: tuple[float, float, float], count: int) -> Gaussians:
    return rows(np.linspace(start, end, count), (0.02, 0.02, 0.004), (0.5, 0.5, 0.5))


def test_a_ripple_does_not_join_what_it_touches(blobs) -> None:
    """A crease of pavement above the ground runs from one blob to the other, in one colour with both."""
    scene = concatenate([blobs.scene, line((-0.45, 0.04, 0.07), (0.45, 0.04, 0.07), 14)])
    grey = replace(scene, sh0=np.zeros_like(scene.sh0))
    walks = Walks(grey, looks(grey), find_ground(grey, blobs.cameras))
    for label in (blobs.red, blobs.blue):
        region = walks.region([seeds(len(grey), np.flatnonzero(blobs.labels == label)[:3])])
        assert region is not None
        found = region.rows[region.rows < len(blobs.labels)]
        assert blobs.iou(found, label) > 0.9


def test_what_hangs_together_less_than_it_stands_apart_is_two_things(blobs) -> None:
    """Both blobs, tied to each other twice as firmly as the second is to a wall, are separate enough to win."""
    x, z = np.meshgrid(np.linspace(-0.9, 0.9, 40), np.linspace(0.05, 1.2, 26))
    wall = rows(np.stack([x.ravel(), np.full(x.size, -0.75), z.ravel()], 1), (0.02, 0.004, 0.02), (0.5, 0.5, 0.5))
    between = line((-0.45, 0.04, 0.07), (0.45, 0.04, 0.07), 32)
    scene = concatenate([blobs.scene, wall, between, line((0.45, -0.1, 0.3), (0.45, -0.75, 0.3), 8)])
    grey = replace(scene, sh0=np.zeros_like(scene.sh0))
    walks = Walks(grey, looks(grey), find_ground(grey, blobs.cameras))
    region = walks.region([seeds(len(grey), np.flatnonzero(blobs.labels == blobs.red)[:3])])
    assert region is not None
    assert blobs.iou(region.rows[region.rows < len(blobs.labels)], blobs.red) > 0.9


def test_a_thin_pole_holds_together(blobs) -> None:
    """A lamp: a stone foot, a pole of three long rows end to end, and a globe. A click on any part selects it all."""
    random = np.random.default_rng(1)

    def ball(height: float, radius: float, count: int) -> np.ndarray:
        directions = random.normal(size=(count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return np.array([0.0, -0.9, height]) + radius * directions

    heights = np.linspace(0.17, 0.8, 7)[1::2]
    pole = np.stack([np.zeros(3), np.full(3, -0.9), heights], 1)
    parts = [
        rows(ball(0.1, 0.07, 150), (0.008,) * 3, (0.5, 0.5, 0.45)),
        rows(pole, (0.006, 0.006, 0.105), (0.3, 0.3, 0.35)),
        rows(ball(0.88, 0.08, 150), (0.008,) * 3, (0.6, 0.6, 0.5)),
    ]
    scene = concatenate([blobs.scene, *parts])
    lamp = np.arange(len(blobs.scene), len(scene))
    walks = Walks(scene, looks(scene), find_ground(scene, blobs.cameras))
    for place in (lamp[:3], lamp[-3:], lamp[150:153]):
        region = walks.region([seeds(len(scene), place)])
        assert region is not None
        assert np.isin(lamp, region.rows).mean() > 0.95
        assert np.isin(region.rows, lamp).mean() > 0.95


def test_ground_beside_an_object_is_not_what_was_clicked(blobs) -> None:
    walks = Walks(blobs.scene, looks(blobs.scene), find_ground(blobs.scene, blobs.cameras))
    lowest = np.flatnonzero(blobs.labels == blobs.red)
    lowest = lowest[blobs.scene.means[lowest, 2].argsort()[10:12]]
    gaps = np.linalg.norm(blobs.scene.means - blobs.scene.means[lowest[0]], axis=1)
    pavement = np.flatnonzero(blobs.labels == 0)
    beside = pavement[gaps[pavement].argsort()[:4]]
    start = seeds(len(blobs.scene), lowest) + seeds(len(blobs.scene), beside, 2.0)
    region = walks.region([start])
    assert region is not None
    assert blobs.iou(region.rows, blobs.red) > 0.9
    # Whoever points at the ground alone still gets ground.
    region = walks.region([seeds(len(start), beside)])
    assert region is not None
    assert (blobs.labels[region.rows] == 0).mean() > 0.5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("thin", [1e-13, 1e-9])
def test_flat_splats_of_one_plane_can_be_walked_on(thin: float, seed: int) -> None:
    """As other programs train them: two sizes and hardly a third, all turned as the wall is that they are of."""
    x, y = (each.ravel() for each in np.meshgrid(np.linspace(-10, 10, 30), np.linspace(-10, 10, 30)))
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    quats = np.tile(quats_from_matrices(turn[None]).astype(np.float32), (x.size, 1))
    walls = []
    for away in (0.0, 30.0):
        flat = np.stack([x, y, away + 1e-3 * random.normal(size=x.size)], 1)
        walls.append(replace(rows(flat @ turn.T, (0.5, 0.5, thin), (0.5, 0.5, 0.5)), quats=quats))
    scene = concatenate(walls)
    apart = _deviations(scene, np.arange(len(scene)), np.arange(899), np.arange(1, 900))
    assert np.isfinite(apart).all()
    assert (apart >= 0).all()
    region = Walks(scene, looks(scene), None).region([seeds(len(scene), np.array([450]))])
    assert region is not None
    assert 450 in region.rows
    assert (region.rows < x.size).all()


def test_rows_that_are_not_flat_are_as_far_apart_as_they_were(blobs) -> None:
    random = np.random.default_rng(1)
    sizes = np.exp(random.uniform(-6, -2, (len(blobs.scene), 3))).astype(np.float32)
    scene = replace(blobs.scene, log_scales=np.log(sizes))
    first, second = random.integers(0, len(scene), (2, 500))
    covariances = Moments.of(scene, np.arange(len(scene))).covariances
    between = (scene.means[first] - scene.means[second]).astype(np.float64)
    solved = np.linalg.solve(covariances[first] + covariances[second], between[..., None])[..., 0]
    found = _deviations(scene, np.arange(len(scene)), first, second)
    assert found == pytest.approx((between * solved).sum(1), rel=1e-12)
