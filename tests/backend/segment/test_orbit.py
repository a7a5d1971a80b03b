"""Views around an object: where they stand, which are of no use, and what each would tell."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import beta

from backend.render import Seen
from backend.scene.transforms import matrices_from_quats
from backend.segment.orbit import Ellipsoid, Orbit, candidates, gain, in_question, poses
from backend.segment.posterior import UNIT, Posterior, prior


def placed(blobs, label: int) -> Ellipsoid:
    return Ellipsoid.around(blobs.scene.means[blobs.labels == label])


def directions(random: np.random.Generator, count: int) -> np.ndarray:
    found = random.normal(size=(count, 3))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@given(seed=st.integers(0, 10_000))
def test_an_ellipsoid_is_found_whatever_strays_from_it(seed: int) -> None:
    random = np.random.default_rng(seed)
    radii, centre = np.array([1.0, 2.0, 4.0]), random.normal(size=3) * 5
    turn = matrices_from_quats(random.normal(size=(1, 4)))[0]
    points = centre + directions(random, 3000) * radii @ turn.T
    points[:60] += random.normal(size=(60, 3)) * 40  # haze
    place = Ellipsoid.around(points)
    assert place.centre == pytest.approx(centre, abs=0.3)
    for axis, radius in zip(turn.T, radii, strict=True):
        assert place.extent(axis) == pytest.approx(radius, rel=0.15, abs=0.1)
    inside = place.distances(points[60:])
    assert np.quantile(inside, [0.05, 0.95]) == pytest.approx([1, 1], abs=0.2)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_points_have_a_place(count: int) -> None:
    place = Ellipsoid.around(np.arange(3.0 * count).reshape(count, 3))
    assert np.isfinite(place.axes).all()
    assert (place.radii > 0).all()


def test_views_go_around_the_object_which_fills_them(blobs) -> None:
    place, lens = placed(blobs, blobs.red), blobs.cameras[0]
    views = poses(place, lens, Orbit())
    assert len({name for name, _ in views}) == len(views) == 24
    surface = place.centre + directions(np.random.default_rng(0), 2000) * place.radii @ place.axes.T
    seen_from = []
    for _, camera in views:
        outward = (camera.centre - place.centre) / np.linalg.norm(camera.centre - place.centre)
        seen_from.append(outward)
        pixels, depths = camera.project(np.vstack([place.centre, surface]))
        assert pixels[0] == pytest.approx([camera.width / 2, camera.height / 2])
        assert depths.min() > 0
        tall = np.ptp(pixels[1:, 1]) / camera.height
        assert 0.55 < tall < 0.75  # what is nearer than the middle looks larger
        assert np.ptp(pixels[1:, 0]) < camera.width
    elevations = np.degrees(np.arcsin(np.array(seen_from)[:, 2]))
    assert sorted(set(elevations.round(3))) == pytest.approx([-10, 15, 40])
    towards = lens.centre - place.centre
    assert seen_from[8][:2] / np.linalg.norm(seen_from[8][:2]) == pytest.approx(
        towards[:2] / np.linalg.norm(towards[:2])
    )


def test_a_wide_object_fits_the_picture(blobs) -> None:
    flat = Ellipsoid(np.zeros(3), np.eye(3), np.array([5.0, 5.0, 0.1]))
    for _, camera in poses(flat, blobs.cameras[0], Orbit(elevations_deg=(0.0,))):
        across = camera.project(flat.centre + 5 * camera.cam_from_world[:1, :3])[0][0, 0] - camera.width / 2
        assert abs(across) == pytest.approx(0.45 * camera.width)


def test_views_that_show_nothing_are_not_asked(blobs) -> None:
    """From below the ground hides the ball; a board between hides it from others, or stands before the camera."""
    place, lens = placed(blobs, blobs.red), blobs.cameras[0]
    chosen = blobs.labels == blobs.red
    views = poses(place, lens, Orbit(elevations_deg=(-60.0, 15.0)))
    found = {each.name for each in candidates(blobs.scene, chosen, views, place, Orbit())}
    assert not any(name.endswith("-60") for name in found)
    open_ones = [view for view in views if view[0] in found]
    assert len(open_ones) >= 6
    _, first = open_ones[0]
    # The ground's rows, between the first view and the ball: halfway, and before the camera.
    for share, width in ((0.6, 0.35), (0.1, 0.2)):
        wall = blobs.scene.take(np.arange(len(blobs.labels)))
        ground = np.flatnonzero(blobs.labels == 0)[:900]
        middle = first.centre + share * (place.centre - first.centre)
        across, up = first.cam_from_world[0, :3], first.cam_from_world[1, :3]
        x, y = np.meshgrid(np.linspace(-width, width, 30), np.linspace(-width, width, 30))
        wall.means[ground] = middle + x.reshape(-1, 1) * across + y.reshape(-1, 1) * up
        left = {each.name for each in candidates(wall, chosen, open_ones, place, Orbit())}
        assert open_ones[0][0] not in left
        assert len(left) >= len(open_ones) // 2
    # Close before the camera but beside the ball: seen whole, and still no view.
    wall = blobs.scene.take(np.arange(len(blobs.labels)))
    middle = first.centre + 0.2 * (place.centre - first.centre)
    wall.means[ground] = middle + (x.reshape(-1, 1) * 2 + 0.22) * across + y.reshape(-1, 1) * up * 2
    covered = {each.name for each in candidates(wall, chosen, open_ones, place, replace(Orbit(), visible=0.0))}
    assert open_ones[0][0] not in covered


def test_votes_are_those_that_a_mask_of_the_view_has(blobs) -> None:
    """Though they are estimated on a picture of a fraction of its pixels."""
    place = placed(blobs, blobs.blue)
    lens = blobs.cameras[0].resized(640, 480)
    chosen = blobs.labels == blobs.blue
    view = poses(place, lens, Orbit())[8:9]
    (found,) = candidates(blobs.scene, chosen, view, place, Orbit())
    expected = np.minimum(1, Seen(blobs.scene, found.camera).mass() / 2)
    assert expected[chosen].mean() > 0.8
    assert (expected == 0).any()  # rows beside the frame
    assert np.abs(found.votes - expected).mean() < 0.05


@given(a=st.floats(0.1, 8), b=st.floats(0.1, 8), n=st.integers(1, 6))
def test_the_gain_is_the_variance_that_votes_are_expected_to_take(a: float, b: float, n: int) -> None:
    """Against the sum over all ways in which n votes may fall."""
    a, b = round(a * UNIT) / UNIT, round(b * UNIT) / UNIT

    def variance(x: float, y: float) -> float:
        return x * y / ((x + y) ** 2 * (x + y + 1))

    after = sum(comb(n, k) * beta(a + k, b + n - k) / beta(a, b) * variance(a + k, b + n - k) for k in range(n + 1))
    counts = Posterior(np.array([round(a * UNIT), 99]), np.array([round(b * UNIT), 1]))
    assert gain(counts, np.array([n, 5.0]), np.array([0])) == pytest.approx(variance(a, b) - after, rel=1e-6, abs=1e-9)


def test_the_side_that_nobody_saw_promises_most(blobs) -> None:
    """Of the object's own rows: the ground around it is in question from everywhere."""
    place, lens = placed(blobs, blobs.red), blobs.cameras[0]
    chosen, rows = blobs.labels == blobs.red, in_question(blobs.scene, placed(blobs, blobs.red))
    assert (blobs.labels[rows] == blobs.red).sum() > 440
    assert not (blobs.labels[rows] == blobs.blue).any()
    dense = replace(blobs.scene, log_scales=blobs.scene.log_scales + 1)  # nothing shines through the ball
    found = candidates(dense, chosen, poses(place, lens, Orbit()), place, Orbit())
    (same_side,) = (each for each in found if each.name == "orbit 0 15")
    front = np.flatnonzero(chosen & (same_side.votes > 0.9))
    back = np.flatnonzero(chosen & (same_side.votes < 0.1))
    counts = prior(len(chosen))
    counts.inside[front] += UNIT  # what a mask of that view says
    own = np.concatenate([front, back])
    assert min(len(front), len(back)) > 100
    best = max(found, key=lambda each: gain(counts, each.votes, own))
    to_lens, to_best = (camera.centre - place.centre for camera in (lens, best.camera))
    assert to_lens[:2] @ to_best[:2] < 0
    assert gain(counts, best.votes, own) > 1.3 * gain(counts, same_side.votes, own)
    for each in found:  # more is known, less is promised
        assert gain(counts, each.votes, own) <= gain(prior(len(chosen)), each.votes, own)
