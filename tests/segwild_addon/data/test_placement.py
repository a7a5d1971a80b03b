"""Moving rows: covariances, colours and mirrorings, against the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segwild_addon.data import harmonics
from segwild_addon.data.placement import matrices, moved, quaternions
from segwild_addon.data.rows import Rows, rows
from segwild_addon.protocol.errors import InputError

seeds = st.integers(0, 2**32 - 1)


def some(count: int, seed: int, degree: int = 2) -> Rows:
    random = np.random.default_rng(seed)
    quats = random.standard_normal((count, 4))
    arrays = [
        random.standard_normal((count, 3)),
        np.exp(random.standard_normal((count, 3))),
        quats / np.linalg.norm(quats, axis=1, keepdims=True),
        random.random((count, 4)),
        random.standard_normal((count, (degree + 1) ** 2 - 1, 3)),
    ]
    return rows(*(array.astype(np.float32) for array in arrays))


def covariances(found: Rows) -> np.ndarray:
    axes = matrices(found.rotations.astype(float)) * found.scales[:, None].astype(float)
    return axes @ axes.swapaxes(1, 2)


def affine(linear: np.ndarray, shift: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, shift
    return matrix


@given(seeds, st.floats(-3, 3), st.booleans(), st.booleans())
def test_positions_and_covariances_follow_the_matrix(seed: int, log_size: float, mirrored: bool, sheared: bool) -> None:
    random = np.random.default_rng(seed)
    before = some(9, seed)
    turn = np.linalg.qr(random.standard_normal((3, 3)))[0]
    linear = np.exp(log_size) * turn * (1 if (np.linalg.det(turn) < 0) == mirrored else -1)
    if sheared:
        linear = linear @ (np.eye(3) + 0.3 * random.standard_normal((3, 3)))
    matrix = affine(linear, random.standard_normal(3))
    after = moved(before, matrix)
    np.testing.assert_allclose(after.positions, before.positions @ linear.T + matrix[:3, 3], rtol=1e-4, atol=1e-4)
    expected = linear @ covariances(before) @ linear.T
    np.testing.assert_allclose(covariances(after), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(np.linalg.norm(after.rotations, axis=1), 1, atol=1e-5)
    assert (after.scales > 0).all()


@given(seeds, st.booleans())
def test_colours_are_seen_from_the_turned_side(seed: int, mirrored: bool) -> None:
    before = some(5, seed)
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]
    turn = turn if (np.linalg.det(turn) < 0) == mirrored else -turn
    after = moved(before, affine(2.5 * turn, np.zeros(3)))
    points = np.random.default_rng(1).standard_normal((20, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    seen = np.einsum("mk,nkc->nmc", harmonics.bases(points, 2)[:, 1:], before.sh)
    seen_after = np.einsum("mk,nkc->nmc", harmonics.bases(points @ turn.T, 2)[:, 1:], after.sh)
    np.testing.assert_allclose(seen_after, seen, atol=2e-5)


@given(seeds)
def test_there_and_back_is_where_one_was(seed: int) -> None:
    before = some(6, seed)
    random = np.random.default_rng(seed)
    linear = np.exp(random.standard_normal()) * np.linalg.qr(random.standard_normal((3, 3)))[0]
    matrix = affine(linear, random.standard_normal(3))
    after = moved(moved(before, matrix), np.linalg.inv(matrix))
    np.testing.assert_allclose(after.positions, before.positions, atol=1e-4)
    np.testing.assert_allclose(covariances(after), covariances(before), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(after.sh, before.sh, atol=2e-5)


def test_what_is_not_touched_stays_bit_for_bit() -> None:
    before = some(6, 0)
    assert moved(before, np.eye(4)) is before
    after = moved(before, affine(np.eye(3), np.ones(3)))
    assert after.rotations is before.rotations
    assert after.scales is before.scales
    assert after.sh is before.sh
    larger = moved(before, affine(2 * np.eye(3), np.zeros(3)))
    assert larger.rotations is before.rotations
    assert larger.sh is before.sh


@given(seeds)
def test_rotations_of_any_angle_become_quaternions(seed: int) -> None:
    random = np.random.default_rng(seed)
    quats = random.standard_normal((8, 4)) * random.choice([0, 1], (8, 4))
    quats[~quats.any(axis=1)] = (0, 0, 1, 0)
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    found = quaternions(matrices(quats))
    np.testing.assert_allclose(np.abs((found * quats).sum(axis=1)), 1, atol=1e-9)


@pytest.mark.parametrize("linear", [np.diag([1, 1, 0]), np.zeros((3, 3)), np.full((3, 3), np.nan)])
def test_flattening_is_refused(linear: np.ndarray) -> None:
    with pytest.raises(InputError):
        moved(some(3, 0), affine(linear, np.zeros(3)))


def test_it_agrees_with_the_backend() -> None:
    pytest.importorskip("backend.scene.placement", reason="the backend's libraries are not installed")
    from backend.scene import Gaussians
    from backend.scene.placement import transformed
    from backend.scene.transforms import Similarity

    before = some(20, 3)
    turn = np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    similarity = Similarity(1.7, turn, np.array([1.0, 2, 3]))
    gaussians = Gaussians(
        before.positions,
        before.rotations,
        np.log(before.scales),
        before.base[:, 3].copy(),
        before.base[:, None, :3].copy(),
        before.sh,
    )
    expected = transformed(gaussians, similarity)
    found = moved(before, affine(1.7 * turn, similarity.translation))
    np.testing.assert_allclose(found.positions, expected.means, atol=1e-5)
    np.testing.assert_allclose(np.log(found.scales), expected.log_scales, atol=1e-5)
    np.testing.assert_allclose(np.abs((found.rotations * expected.quats).sum(1)), 1, atol=1e-5)
    np.testing.assert_allclose(found.sh, expected.shN, atol=1e-5)
