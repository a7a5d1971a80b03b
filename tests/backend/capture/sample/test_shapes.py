from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.capture.sample import shapes
from backend.capture.sample.raycast import SKY, look
from backend.capture.sample.shapes import BOX, CAPSULE, ELLIPSOID, FRUSTUM, TORUS, Bodies, Shape, between
from backend.capture.sample.square import square, surface_distances
from backend.scene.cameras import looking_at

GREY = (0.5, 0.5, 0.5)
coordinate = st.floats(-3, 3)


def test_distances_of_plain_shapes_are_exact() -> None:
    points = np.array([[2.0, 0, 0], [0, 0, 2.0], [0, 0, 0]])
    for shape, expected in (
        (Shape(BOX, 0, (0, 0, 0), (0.5, 0.5, 1.0, 0.1), GREY), [1.5, 1.0, -0.5]),
        (Shape(FRUSTUM, 0, (0, 0, 0), (0.5, 0.5, 1.0, 0.0), GREY), [1.5, 1.0, -0.5]),
        (Shape(ELLIPSOID, 0, (0, 0, 0), (1.0, 1.0, 1.0), GREY), [1.0, 1.0, -1.0]),
        (Shape(TORUS, 0, (0, 0, 0), (1.0, 0.25), GREY), [0.75, np.sqrt(5) - 0.25, 0.75]),
    ):
        found = surface_distances(Bodies.of([[shape]]), points)[:, 0]
        np.testing.assert_allclose(found, expected, atol=1e-9)


@given(x=coordinate, y=coordinate, z=st.floats(0, 5), towards=st.tuples(coordinate, coordinate, coordinate))
@settings(max_examples=60, deadline=None)
def test_a_step_of_the_distance_never_goes_through_a_surface(
    x: float, y: float, z: float, towards: tuple[float, float, float]
) -> None:
    bodies = square().bodies
    length = np.linalg.norm(towards)
    if length < 1e-3:
        return
    middles = 0.5 * (bodies.boxes[:, :2] + bodies.boxes[:, 3:5])
    for m in range(len(square().names)):
        start = np.array([middles[m, 0] + x, middles[m, 1] + y, z])
        free = surface_distances(bodies, start[None])[0, m]
        if free > 0:
            steps = np.linspace(0.1, 1, 8)[:, None] * shapes._SAFETY * free * np.array(towards) / length
            assert surface_distances(bodies, start + steps)[:, m].min() > -0.01


@given(low=st.tuples(coordinate, coordinate, coordinate), high=st.tuples(coordinate, coordinate, coordinate))
@settings(max_examples=40, deadline=None)
def test_a_capsule_reaches_from_point_to_point(
    low: tuple[float, float, float], high: tuple[float, float, float]
) -> None:
    if np.linalg.norm(np.subtract(high, low)) < 0.05:
        return
    capsule = between(low, high, (0.2, 0.2), material=0, colour=GREY)
    assert capsule.kind == CAPSULE
    found = surface_distances(Bodies.of([[capsule]]), np.array([low, high, np.add(low, high) / 2]))[:, 0]
    np.testing.assert_allclose(found, -0.2 * 0.95, atol=1e-6)


def test_bounding_boxes_hold_every_surface_point() -> None:
    bodies = square().bodies
    random = np.random.default_rng(0)
    for m in range(len(bodies)):
        low, high = bodies.boxes[m, :3], bodies.boxes[m, 3:]
        margin = 0.6
        probes = random.uniform(low - margin, high + margin, (4000, 3))
        inside = surface_distances(bodies, probes)[:, m] < 0
        assert ((probes[inside] > low) & (probes[inside] < high)).all()


def test_rays_find_a_ball_where_geometry_says() -> None:
    ball = Bodies.of([[Shape(ELLIPSOID, 0, (0, 0, 2), (1.0, 1.0, 1.0), GREY)]])
    camera = looking_at(
        np.array([6.0, 0, 2]), np.array([0.0, 0, 2]), np.array([0, 0, 1.0]), focal=80, width=64, height=64
    )
    sight = look(ball, Bodies.of([]), camera)
    assert sight.depth[32, 32] == pytest.approx(5.0, abs=0.01)
    rays = camera.rays(camera.pixel_centres())
    towards = rays @ np.array([-1.0, 0, 0])
    expected = towards > np.sqrt(1 - (1 / 6) ** 2)  # inside the cone that touches the ball
    assert (sight.body == 0).sum() == pytest.approx(expected.sum(), abs=24)
    hit = sight.body == 0
    points = camera.centre + rays[hit] * sight.depth[hit][:, None]
    np.testing.assert_allclose(np.linalg.norm(points - (0, 0, 2), axis=1), 1, atol=0.01)
    np.testing.assert_allclose(sight.normal[hit], points - (0, 0, 2), atol=0.03)
    assert (sight.body[0] == SKY).all()
