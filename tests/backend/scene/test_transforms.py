"""Similarities form a group that moves points and cameras alike; quaternions and matrices agree."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backend.scene.cameras import Camera
from backend.scene.transforms import Similarity, aligned, matrices_from_quats, quats_from_matrices

part = st.floats(-1, 1)
quats = st.tuples(part, part, part, part).filter(lambda quat: np.linalg.norm(quat) > 0.05).map(np.array)
triples = arrays(np.float64, 3, elements=st.floats(-10, 10))
clouds = arrays(np.float64, (5, 3), elements=st.floats(-10, 10))


def rotation_of(quat: np.ndarray) -> np.ndarray:
    return matrices_from_quats(quat[None])[0]


similarities = st.builds(
    lambda scale, quat, translation: Similarity(scale, rotation_of(quat), translation),
    st.floats(0.05, 20),
    quats,
    triples,
)


@given(b_from_a=similarities, points=clouds)
def test_the_inverse_brings_points_back(b_from_a: Similarity, points: np.ndarray) -> None:
    np.testing.assert_allclose(b_from_a.inverse().points(b_from_a.points(points)), points, atol=1e-9)
    np.testing.assert_allclose(b_from_a.points(b_from_a.inverse().points(points)), points, atol=1e-9)


@given(points=clouds)
def test_the_identity_moves_nothing(points: np.ndarray) -> None:
    assert np.array_equal(Similarity.identity().points(points), points)


@given(b_from_a=similarities, pose=quats, place=triples, points=clouds)
def test_a_moved_camera_sees_moved_points_in_the_same_pixels(
    b_from_a: Similarity, pose: np.ndarray, place: np.ndarray, points: np.ndarray
) -> None:
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3], cam_from_world[:3, 3] = rotation_of(pose), place
    camera = Camera(cam_from_world, 100, 90, 40, 30, 80, 60)
    pixels, depths = camera.project(points)
    moved_pixels, moved_depths = b_from_a.camera(camera).project(b_from_a.points(points))
    np.testing.assert_allclose(moved_depths, b_from_a.scale * depths, atol=1e-7)
    clear = depths > 1e-2
    np.testing.assert_allclose(moved_pixels[clear], pixels[clear], atol=1e-3)


@given(b_from_a=similarities)
def test_similarity_json_round_trip(b_from_a: Similarity) -> None:
    found = Similarity.from_json(json.loads(json.dumps(b_from_a.to_json())))
    assert found.scale == b_from_a.scale
    assert np.array_equal(found.rotation, b_from_a.rotation)
    assert np.array_equal(found.translation, b_from_a.translation)


def test_numpy_scalars_are_json_too() -> None:
    similarity = Similarity(np.float32(2), np.eye(3, dtype=np.float32), np.zeros(3, np.float32))  # type: ignore[arg-type]
    assert Similarity.from_json(json.loads(json.dumps(similarity.to_json()))).scale == 2


@pytest.mark.parametrize("value", [{}, [], {"scale": 1, "rotation": [1, 2], "translation": [0, 0, 0]}])
def test_malformed_json_raises_what_is_promised(value: object) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Similarity.from_json(value)  # type: ignore[arg-type]


@given(b_from_a=similarities, seed=st.integers(0, 1000), planar=st.booleans())
def test_alignment_finds_the_similarity(b_from_a: Similarity, seed: int, planar: bool) -> None:
    points = np.random.default_rng(seed).normal(size=(8, 3))
    if planar:
        points[:, 2] = 0
    found = aligned(b_from_a.points(points), points)
    assert found.scale == pytest.approx(b_from_a.scale, rel=1e-6)
    np.testing.assert_allclose(found.rotation, b_from_a.rotation, atol=1e-6)
    np.testing.assert_allclose(found.translation, b_from_a.translation, atol=1e-5)


def test_alignment_never_mirrors() -> None:
    points = np.random.default_rng(0).normal(size=(20, 3))
    assert np.linalg.det(aligned(points * (1, 1, -1), points).rotation) == pytest.approx(1)


def test_alignment_is_the_least_squares_one() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(30, 3)), rng.normal(size=(30, 3))
    best = aligned(b, a)

    def error(nudge: Similarity) -> float:
        return float(np.square(nudge.points(best.points(a)) - b).sum())

    for step in np.eye(7) * 1e-3:
        nudge = Similarity(1 + step[0], rotation_of(np.array([1, *step[1:4]])), step[4:])
        assert error(nudge) > error(Similarity.identity())


# Quaternions


@given(quat=quats, length=st.floats(1e-3, 1e3))
def test_matrices_are_rotations_whatever_the_norm(quat: np.ndarray, length: float) -> None:
    matrix = rotation_of(quat)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)
    np.testing.assert_allclose(rotation_of(length * quat), matrix, atol=1e-12)
    np.testing.assert_allclose(rotation_of(-quat), matrix)


@given(quat=quats)
def test_quaternions_round_trip(quat: np.ndarray) -> None:
    found = quats_from_matrices(rotation_of(quat)[None])[0]
    assert found[0] >= 0
    assert np.linalg.norm(found) == pytest.approx(1)
    np.testing.assert_allclose(rotation_of(found), rotation_of(quat), atol=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("angle_rad", [np.pi, np.pi - 1e-9, np.pi + 1e-9, 1e-9, 0.0])
def test_half_turns_and_no_turns(axis: int, angle_rad: float) -> None:
    quat = np.zeros(4)
    quat[0], quat[1 + axis] = np.cos(angle_rad / 2), np.sin(angle_rad / 2)
    found = quats_from_matrices(rotation_of(quat)[None])[0]
    assert abs(found @ quat) == pytest.approx(1, abs=1e-12)


def test_a_quarter_turn_by_hand() -> None:
    quarter = matrices_from_quats(np.array([[1.0, 0, 0, 1]]))[0]  # about z: x to y
    np.testing.assert_allclose(quarter @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(quarter @ [0, 1, 0], [-1, 0, 0], atol=1e-12)


def test_many_and_none_at_once() -> None:
    many = np.random.default_rng(1).normal(size=(1000, 4))
    found = quats_from_matrices(matrices_from_quats(many))
    many /= np.linalg.norm(many, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs((found * many).sum(axis=1)), 1, atol=1e-12)
    assert quats_from_matrices(matrices_from_quats(np.zeros((0, 4)))).shape == (0, 4)
