"""Ellipses against masks whose edges are known exactly."""

from __future__ import annotations

import tracemalloc
from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.special import ndtr

from backend.scene.cameras import looking_at
from backend.segment import outline as outlines
from backend.segment.outline import Crossings, Footprints, Outline
from backend.segment.split import Moments

SIZE = 401
FOCAL = 1e5  # so long a lens that a picture is a plan: no perspective within an ellipse
CAMERA = replace(
    looking_at(np.array([0, 0, -1000.0]), np.zeros(3), np.array([0.0, -1, 0]), focal=FOCAL, width=SIZE, height=SIZE)
)
PX = 1000 / FOCAL  # world units per pixel at the origin


def needle(angle: float, long_px: float = 30, short_px: float = 4) -> Moments:
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    axes = turn * np.array([long_px, short_px, short_px]) * PX
    return Moments(np.zeros((1, 3)), (axes @ axes.T)[None], np.ones(1))


def half_plane(angle: float, at_px: float) -> Outline:
    """A mask of what lies beyond `at_px` from the middle, in a direction."""
    x, y = np.meshgrid(np.arange(SIZE) + 0.5 - SIZE / 2, np.arange(SIZE) + 0.5 - SIZE / 2)
    return Outline("v", CAMERA, x * np.cos(angle) + y * np.sin(angle) > at_px, drawn=True)


@pytest.mark.parametrize("degrees", [0, 30, 90, 135, 210])
@pytest.mark.parametrize("away", [-2.0, -1.1, -0.4, 0.0, 0.7, 1.3, 2.0])
def test_half_planes_across_needles(degrees: float, away: float) -> None:
    angle = np.radians(degrees)
    seen = Footprints.of(needle(angle), CAMERA)
    run = half_plane(angle, away * 30).runs(seen)
    share = run.share[0]
    # With e₁ either way round, the share is the same.
    wanted = np.clip((1.5 - away) / 3, 0, 1)
    assert share == pytest.approx(wanted, abs=1.5 / 90)
    one_end = abs(away) < 1.5
    assert bool(run.cuts[0]) == one_end


def test_the_same_from_right_to_left() -> None:
    seen = Footprints.of(needle(0.4), CAMERA)
    there, back = half_plane(0.4, 12).runs(seen), half_plane(0.4 + np.pi, 12).runs(seen)
    assert there.share == pytest.approx(back.share, abs=1e-9)
    assert there.start == pytest.approx(-back.end, abs=1e-9)


def test_a_disc_smaller_than_the_needle_keeps_the_run_around_the_centre() -> None:
    x, y = np.meshgrid(np.arange(SIZE) + 0.5 - SIZE / 2, np.arange(SIZE) + 0.5 - SIZE / 2)
    run = Outline("v", CAMERA, np.hypot(x, y) < 15, drawn=True).runs(Footprints.of(needle(0.9), CAMERA))
    assert bool(run.cuts[0])
    assert (run.start[0], run.end[0]) == pytest.approx((-0.5, 0.5), abs=0.04)


@pytest.mark.parametrize("away", [-2.0, -0.6, 0.0, 0.5, 1.7])
def test_shares_are_those_of_the_normal_distribution(away: float) -> None:
    share = half_plane(0.7, away * 30).shares(Footprints.of(needle(0.7), CAMERA))
    assert share == pytest.approx(ndtr(-away), abs=0.05)


def test_axes_in_space_project_to_the_ellipses_axes() -> None:
    random = np.random.default_rng(0)
    axes = random.normal(size=(10_000, 3, 3)) * random.uniform(0.01, 0.5, (10_000, 1, 3))
    whole = Moments(
        random.uniform(-1, 1, (10_000, 3)) + np.array([0, 0, 6.0]), axes @ axes.transpose(0, 2, 1), np.ones(10_000)
    )
    camera = looking_at(
        np.array([0.3, 0.2, 0]), np.array([0, 0, 6.0]), np.array([0.0, -1, 0]), focal=400, width=640, height=480
    )
    seen = Footprints.of(whole, camera)
    value, vector = seen.long_axes
    projected = np.einsum("mij,mj->mi", seen.projection, seen.axes_in_space(whole))
    wanted = np.sqrt(value)[:, None] * vector
    assert np.abs(projected - wanted).max() < 1e-5 * np.sqrt(value.max())
    assert value == pytest.approx(np.linalg.eigvalsh(seen.covariances)[:, 1], rel=1e-9)


def test_points_on_the_plane_project_onto_the_line() -> None:
    outline = half_plane(0.5, 9)
    crossings = outline.crossings(Footprints.of(needle(0.3), CAMERA))
    assert crossings.found.all()
    assert (crossings.normals @ (np.cos(0.5), np.sin(0.5))) == pytest.approx(1, abs=0.01)
    normals, offsets = outline.planes(crossings)
    random = np.random.default_rng(1)
    points = random.normal(size=(100, 3))
    points += (offsets[0] - points @ normals[0])[:, None] * normals[0]
    pixels, _ = CAMERA.project(points)
    away = (pixels - crossings.pixels[0]) @ crossings.normals[0]
    assert away == pytest.approx(0, abs=1e-6)
    inside, _ = CAMERA.project(points + 0.1 * normals[0])
    assert ((inside - crossings.pixels[0]) @ crossings.normals[0] > 0).all()


def test_what_is_behind_the_camera_or_out_of_the_picture_is_no_ellipse() -> None:
    behind = Moments(np.array([[0, 0, -2000.0], [1e4, 0, 0]]), np.tile(np.eye(3), (2, 1, 1)), np.ones(2))
    outline = half_plane(0, 0)
    seen = Footprints.of(behind, CAMERA)
    assert not outline.known(seen.pixels).any()
    assert not outline.crossings(seen).found.any()
    assert outline.shares(seen) == pytest.approx(0.5)


def scattered(count: int) -> Moments:
    """Needles and discs of all sizes and directions, in the picture and around it."""
    random = np.random.default_rng(5)
    axes = np.linalg.qr(random.normal(size=(count, 3, 3)))[0] * np.exp(random.uniform(-1, 4, (count, 1, 3))) * PX
    return Moments(random.uniform(-0.7, 0.7, (count, 3)) * SIZE * PX, axes @ axes.transpose(0, 2, 1), np.ones(count))


def islands() -> Outline:
    """A mask of many small pieces with ragged rims, some of one pixel."""
    random = np.random.default_rng(6)
    coarse = np.kron(random.random((41, 41)) < 0.03, np.ones((10, 10), bool))[:SIZE, :SIZE]
    return Outline("v", CAMERA, coarse ^ (random.random((SIZE, SIZE)) < 0.001), drawn=True)


@pytest.mark.parametrize("outline", [half_plane(0.4, 20), half_plane(np.pi / 4, -60), islands()])
def test_crossings_are_found_from_within_reach_alone(outline: Outline) -> None:
    seen = Footprints.of(scattered(3000), CAMERA)
    found, near = outline.crossings(seen).found, outline.in_reach(seen)
    shown = outline.known(seen.pixels)
    assert (found & shown).sum() > 100
    assert near[found & shown].all()
    assert (shown & ~near).any()


def test_blocks_say_what_all_rows_at_once_say(monkeypatch: pytest.MonkeyPatch) -> None:
    outline, seen = islands(), Footprints.of(scattered(1000), CAMERA)
    together, shares = outline.crossings(seen), outline.shares(seen)
    monkeypatch.setattr(outlines, "_ROWS_AT_ONCE", 64)
    apart = outline.crossings(seen)
    for field in fields(Crossings):
        assert np.array_equal(getattr(apart, field.name), getattr(together, field.name), equal_nan=True)
    assert np.array_equal(outline.shares(seen), shares)


def test_more_rows_take_little_more_memory() -> None:
    outline, seen = half_plane(0.3, 5), Footprints.of(scattered(10_000), CAMERA)
    outline.crossings(seen.take(slice(1)))  # what is made once
    tracemalloc.start()
    try:
        outline.crossings(seen)
        outline.shares(seen)
        assert tracemalloc.get_traced_memory()[1] < 200 << 20  # all at once: 350
    finally:
        tracemalloc.stop()
