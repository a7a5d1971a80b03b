"""Lattices of points: more where things are far, never more than asked for, in any unit of the scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.render import Seen
from backend.scene.cameras import looking_at
from backend.segment.sasm import Points, depth_map, distances, film_focal, lattice, nearest_centres, parents
from backend.segment.suppression import boxes_of, boxes_of_packed, packed

CAMERA = looking_at(np.array([0.0, -2, 0]), np.zeros(3), np.array([0.0, 0, 1]), focal=100, width=120, height=80)
CLEAR = np.ones((80, 120))


def per_cell(points: np.ndarray, cells: int) -> np.ndarray:
    """(cells, cells) counts, rows first."""
    counts, *_ = np.histogram2d(points[:, 1], points[:, 0], cells, ((0, 80), (0, 120)))
    return counts


def test_far_cells_get_more_points() -> None:
    depth = np.repeat(np.linspace(9, 1, 80)[:, None], 120, 1)  # the top is far
    counts = per_cell(lattice(depth, CLEAR, 0.0, Points()), 4)
    assert (np.diff(counts[:, 0]) < 0).all()
    assert (counts == counts[:, :1]).all()
    assert counts[3, 0] == 1 or counts[3, 0] == 4


@given(st.floats(1e-3, 1e3), st.integers(0, 1000))
def test_the_scenes_unit_does_not_matter(unit: float, seed: int) -> None:
    depth = np.random.default_rng(seed).uniform(1, 5, (80, 120))
    assert np.array_equal(lattice(depth, CLEAR, 0.4, Points()), lattice(unit * depth, CLEAR, 0.4, Points()))


@given(st.integers(0, 1000), st.floats(0, 1), st.sampled_from([1, 40, 64, 256, 1024]), st.booleans())
def test_never_more_than_asked_for_and_all_inside(seed: int, distance: float, most: int, even: bool) -> None:
    random = np.random.default_rng(seed)
    depth, coverage = random.gamma(1.0, 2.0, (80, 120)), random.random((80, 120))
    points = lattice(depth, coverage, distance, Points("uniform" if even else "scale", most))
    least = 1 if even else round(4 + 4 * distance) ** 2
    assert 1 <= len(points) <= max(most, least)
    assert (points > 0).all()
    assert (points < (120, 80)).all()


def test_far_views_are_divided_more_finely() -> None:
    level = np.full((80, 120), 3.0)
    assert [len(lattice(level, CLEAR, distance, Points())) for distance in (0.0, 0.5, 1.0)] == [16, 36, 64]
    assert [len(lattice(level, CLEAR, distance, Points("uniform", 900))) for distance in (0.0, 1.0)] == [36, 784]


def test_sky_gets_one_point_per_cell() -> None:
    depth = np.full((80, 120), 9.0)
    depth[40:] = 1
    coverage = CLEAR.copy()
    coverage[:40] = 0.1
    counts = per_cell(lattice(depth, coverage, 0.0, Points()), 4)
    assert (counts[:2] == 1).all()
    assert len(lattice(depth, CLEAR, 0.0, Points())) > len(lattice(depth, coverage, 0.0, Points()))


def test_the_published_counts_are_in_the_scenes_unit() -> None:
    depth = np.repeat(np.linspace(20, 1, 80)[:, None], 120, 1)
    near, far = (lattice(unit * depth, CLEAR, 0.0, Points("literal")) for unit in (1, 3))
    assert len(far) > 3 * len(near)
    assert per_cell(far, 4).max() <= 400


def test_views_are_found_by_name() -> None:
    """Listed in another order, every photo keeps its distance."""
    cameras = {f"p{number}": replace(CAMERA, fx=100 + number, fy=100.0) for number in range(9)}
    depths = {name: 1 + 2 * number for number, name in enumerate(cameras)}
    expected = distances(cameras, depths)
    assert expected["p0"] == 0
    assert expected["p8"] == 1
    assert list(expected.values()) == sorted(expected.values())
    turned = dict(reversed(cameras.items()))
    shuffled = {name: depths[name] for name in ("p3", "p1", "p0", "p8", "p5", "p2", "p7", "p4", "p6")}
    assert distances(turned, shuffled) == expected
    assert set(distances(cameras, dict.fromkeys(cameras, 2.0) | {"p3": 2.0}).values()) >= {0.0, 1.0}  # lenses differ
    alike = dict.fromkeys(cameras, CAMERA)
    assert set(distances(alike, dict.fromkeys(cameras, 2.0)).values()) == {0.5}


def test_the_focal_length_on_film() -> None:
    camera = replace(CAMERA, fx=50 / 43.27 * np.hypot(120, 80), fy=50 / 43.27 * np.hypot(120, 80))
    assert film_focal(camera) == pytest.approx(50)


def test_depth_is_there_everywhere(blobs) -> None:
    camera = blobs.cameras[0]
    seen = Seen(blobs.scene, camera)
    drawn, full = seen.depth(), depth_map(seen, camera, blobs.scene.means)
    holes = ~np.isfinite(drawn)
    assert holes.any()
    assert np.isfinite(full).all()
    assert np.array_equal(full[~holes], drawn[~holes])
    assert full[holes].min() >= np.nanmin(drawn)


def test_centres_in_one_pixel_compete() -> None:
    """Three centres on one ray, listed in every order: the nearest wins."""
    ray = CAMERA.rays(np.array([60.5, 40.5]))
    means = CAMERA.centre + np.array([[3.0], [1.0], [2.0]]) * ray
    for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1], [1, 0, 2]):
        depth = nearest_centres(CAMERA, means[order])
        assert depth[40, 60] == pytest.approx(ray @ CAMERA.forward)
        assert np.isnan(depth).sum() == depth.size - 1
    behind = nearest_centres(CAMERA, np.array([[0.0, -5, 0]]))
    assert np.isnan(behind).all()


def test_a_view_of_nothing_is_level() -> None:
    class Nothing:
        def depth(self) -> np.ndarray:
            return np.full((80, 120), np.nan, np.float32)

    assert (depth_map(Nothing(), CAMERA, np.array([[0.0, -5, 0]])) == 1).all()
    full = depth_map(Nothing(), CAMERA, np.array([[0.0, 1, 0], [0.2, 2, 0]]))
    assert np.isfinite(full).all()
    assert full.max() > full.min()


def test_the_parent_is_the_smallest_mask_around() -> None:
    masks = np.zeros((4, 100), bool)
    masks[0, :80], masks[1, 5:15], masks[2, :30], masks[3, 60:100] = True, True, True, True
    masks = masks[:, None]  # pictures of one row
    assert parents(packed(masks), boxes_of(masks)).tolist() == [-1, 2, 0, -1]


@given(seed=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_no_parent_is_overlooked(seed: int) -> None:
    """Pairs that are not looked at have none: the answer is that of looking at all."""
    random = np.random.default_rng(seed)
    masks = np.zeros((40, 30, 37), bool)
    for mask in masks:
        left, top = random.integers(0, (34, 27))
        right, bottom = random.integers((left + 1, top + 1), (38, 31))
        mask[top:bottom, left:right] = random.random((bottom - top, right - left)) < random.choice([0.7, 0.97, 1])
    expected = np.full(len(masks), -1)
    size = masks.sum((1, 2))
    for number, mask in enumerate(masks):
        holds = np.flatnonzero(((masks & mask).sum((1, 2)) >= 0.9 * size[number]) & (size > size[number]))
        if len(holds):
            expected[number] = holds[size[holds].argmin()]
    bits = packed(masks)
    boxes = boxes_of_packed(bits, 30, 37)
    assert np.array_equal(boxes, boxes_of(masks))
    assert np.array_equal(parents(bits, boxes), expected)
