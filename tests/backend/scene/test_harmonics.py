"""The basis against its defining integrals, and rotation against evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import sph_harm_y

from backend.scene.harmonics import eval_sh_basis, rotated_sh
from backend.scene.transforms import matrices_from_quats

part = st.floats(-1, 1)
rotations = (
    st.tuples(part, part, part, part)
    .filter(lambda quat: np.linalg.norm(quat) > 0.05)
    .map(lambda quat: matrices_from_quats(np.array([quat]))[0])
)


def unit_directions(count: int, seed: int = 0) -> np.ndarray:
    directions = np.random.default_rng(seed).normal(size=(count, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def test_the_basis_is_orthonormal_on_the_sphere() -> None:
    # Gauss-Legendre in z and a uniform turn integrate polynomials of degree 6 exactly.
    z, weights = np.polynomial.legendre.leggauss(8)
    turns_rad = np.arange(16) * np.pi / 8
    radius = np.sqrt(1 - z * z)[:, None]
    grid = [radius * np.cos(turns_rad), radius * np.sin(turns_rad), np.broadcast_to(z[:, None], (8, 16))]
    values = eval_sh_basis(np.stack(grid, axis=-1).reshape(-1, 3), 3)
    products = values.T @ (values * np.repeat(weights * np.pi / 8, 16)[:, None])
    np.testing.assert_allclose(products, np.eye(16), atol=1e-12)


def test_order_and_signs_are_those_of_the_complex_harmonics() -> None:
    """Within a degree, m runs from -degree to degree: sines of |m|, then cosines, phase kept."""
    x, y, z = unit_directions(20).T
    expected = []
    for degree in range(4):
        for m in range(-degree, degree + 1):
            value = sph_harm_y(degree, abs(m), np.arccos(z), np.arctan2(y, x))
            expected.append(value.real if m == 0 else np.sqrt(2) * (value.imag if m < 0 else value.real))
    np.testing.assert_allclose(eval_sh_basis(np.stack([x, y, z], axis=-1), 3), np.stack(expected, axis=-1), atol=1e-12)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_a_lower_degree_is_the_head_of_a_higher_one(degree: int) -> None:
    directions = unit_directions(5)
    head = eval_sh_basis(directions, 3)[:, : (degree + 1) ** 2]
    assert np.array_equal(eval_sh_basis(directions, degree), head)


@settings(max_examples=80, deadline=None)
@given(rotation=rotations, degree=st.integers(1, 3))
def test_rotated_coefficients_at_the_rotated_direction(rotation: np.ndarray, degree: int) -> None:
    bases = (degree + 1) ** 2
    shN = np.random.default_rng(degree).normal(size=(4, bases - 1, 3)).astype(np.float32)
    directions = unit_directions(50)
    before = np.einsum("mk,nkc->nmc", eval_sh_basis(directions, degree)[:, 1:], shN)
    after = np.einsum("mk,nkc->nmc", eval_sh_basis(directions @ rotation.T, degree)[:, 1:], rotated_sh(shN, rotation))
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_a_quarter_turn_about_z_by_hand() -> None:
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # x to y, y to -x
    along_x = np.zeros((1, 3, 3), np.float32)
    along_x[0, 2] = 1  # the coefficient of -x
    expected = np.zeros((1, 3, 3), np.float32)
    expected[0, 0] = 1  # the coefficient of -y
    np.testing.assert_allclose(rotated_sh(along_x, turn), expected, atol=1e-7)


def test_nothing_to_rotate() -> None:
    assert rotated_sh(np.zeros((5, 0, 3), np.float32), np.eye(3)[[1, 2, 0]]).shape == (5, 0, 3)
    assert rotated_sh(np.zeros((0, 15, 3), np.float32), np.eye(3)[[1, 2, 0]]).shape == (0, 15, 3)
