"""Moved Gaussians: covariances and colours move with them, and back again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.scene.gaussians import FIELDS, Gaussians
from backend.scene.harmonics import eval_sh_basis
from backend.scene.placement import transformed
from backend.scene.transforms import Similarity, matrices_from_quats

part = st.floats(-1, 1)
quats = st.tuples(part, part, part, part).filter(lambda quat: np.linalg.norm(quat) > 0.05)
similarities = st.builds(
    lambda scale, quat, x, y, z: Similarity(scale, matrices_from_quats(np.array([quat]))[0], np.array([x, y, z])),
    st.floats(0.05, 20),
    quats,
    *[st.floats(-10, 10)] * 3,
)


@pytest.fixture(scope="module")
def gaussians() -> Gaussians:
    rng = np.random.default_rng(3)
    shapes = {"means": (6, 3), "quats": (6, 4), "log_scales": (6, 3), "opacity_logits": (6,)}
    shapes |= {"sh0": (6, 1, 3), "shN": (6, 15, 3)}
    fields = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return Gaussians(**fields, sidecars={"instance": np.arange(6)})


def covariances(gaussians: Gaussians) -> np.ndarray:
    axes = matrices_from_quats(gaussians.quats.astype(float)) * np.exp(gaussians.log_scales.astype(float))[:, None]
    return axes @ axes.swapaxes(1, 2)


@settings(max_examples=60, deadline=None)
@given(b_from_a=similarities)
def test_means_and_covariances_move_as_points_do(gaussians: Gaussians, b_from_a: Similarity) -> None:
    moved = transformed(gaussians, b_from_a)
    linear = b_from_a.scale * b_from_a.rotation
    np.testing.assert_allclose(moved.means, b_from_a.points(gaussians.means), atol=1e-4)
    expected = linear @ covariances(gaussians) @ linear.T
    np.testing.assert_allclose(covariances(moved), expected, atol=1e-5 * np.abs(expected).max())


@settings(max_examples=40, deadline=None)
@given(b_from_a=similarities)
def test_colours_are_the_same_seen_from_the_moved_place(gaussians: Gaussians, b_from_a: Similarity) -> None:
    eye = np.array([3.0, -4.0, 5.0])

    def colours(rows: Gaussians, eye: np.ndarray) -> np.ndarray:
        directions = rows.means - eye
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        basis = eval_sh_basis(directions, rows.sh_degree)
        return np.einsum("nk,nkc->nc", basis, np.concatenate([rows.sh0, rows.shN], axis=1))

    moved = transformed(gaussians, b_from_a)
    np.testing.assert_allclose(colours(moved, b_from_a.points(eye)), colours(gaussians, eye), atol=2e-4)


@settings(max_examples=40, deadline=None)
@given(b_from_a=similarities)
def test_there_and_back(gaussians: Gaussians, b_from_a: Similarity) -> None:
    back = transformed(transformed(gaussians, b_from_a), b_from_a.inverse())
    for name in ("means", "log_scales", "opacity_logits", "sh0", "shN"):
        np.testing.assert_allclose(getattr(back, name), getattr(gaussians, name), atol=2e-4)
    np.testing.assert_allclose(matrices_from_quats(back.quats), matrices_from_quats(gaussians.quats), atol=1e-5)
    assert back.sidecars["instance"].tolist() == list(range(6))


def test_the_identity_changes_no_bit(gaussians: Gaussians) -> None:
    same = transformed(gaussians, Similarity.identity())
    for name in FIELDS:
        assert np.array_equal(getattr(same, name), getattr(gaussians, name)), name


def test_quaternion_norms_are_kept(gaussians: Gaussians) -> None:
    turn = Similarity(1.0, np.eye(3)[[1, 2, 0]], np.zeros(3))
    norms = np.linalg.norm(transformed(gaussians, turn).quats, axis=1)
    np.testing.assert_allclose(norms, np.linalg.norm(gaussians.quats, axis=1), rtol=1e-6)
