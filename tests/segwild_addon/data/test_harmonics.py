"""Spherical harmonics: the basis of every 3DGS file, and turning that agrees with turned directions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segwild_addon.data import harmonics
from segwild_addon.data.placement import matrices


def directions(count: int, seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).standard_normal((count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def random_turn(seed: int, mirrored: bool) -> np.ndarray:
    quat = np.random.default_rng(seed).standard_normal((1, 4))
    turn = matrices(quat / np.linalg.norm(quat))[0]
    return -turn if mirrored else turn


def test_bases_are_orthonormal_over_the_sphere() -> None:
    # Gauss-Legendre in z times even steps in angle integrates products of degree 6 exactly.
    z, weights = np.polynomial.legendre.leggauss(8)
    angle = np.arange(16) * np.pi / 8
    around = np.sqrt(1 - z * z)[:, None]
    points = np.stack([around * np.cos(angle), around * np.sin(angle), np.repeat(z[:, None], 16, 1)], -1)
    values = harmonics.bases(points.reshape(-1, 3), 3)
    areas = np.repeat(weights, 16) * np.pi / 8
    np.testing.assert_allclose(values.T @ (values * areas[:, None]), np.eye(16), atol=1e-12)


def test_bases_are_those_of_the_backend() -> None:
    reference = pytest.importorskip("backend.scene.harmonics", reason="the backend's libraries are not installed")
    points = directions(200)
    for degree in range(4):
        expected = reference.eval_sh_basis(points, degree)
        np.testing.assert_allclose(harmonics.bases(points, degree), expected, atol=1e-7)


@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([1, 2, 3]))
def test_turned_coefficients_show_the_same_colour_from_the_turned_side(seed: int, mirrored: bool, degree: int) -> None:
    turn = random_turn(seed, mirrored)
    sh = np.random.default_rng(seed).standard_normal((7, (degree + 1) ** 2 - 1, 3)).astype(np.float32)
    points = directions(40, seed)
    before = np.einsum("mk,nkc->nmc", harmonics.bases(points, degree)[:, 1:], sh)
    after = np.einsum("mk,nkc->nmc", harmonics.bases(points @ turn.T, degree)[:, 1:], harmonics.turned(sh, turn))
    np.testing.assert_allclose(after, before, atol=2e-5)


def test_no_turn_changes_no_bit() -> None:
    sh = np.random.default_rng(0).standard_normal((5, 15, 3)).astype(np.float32)
    assert harmonics.turned(sh, np.eye(3)) is sh
