"""Parts of Gaussians against integrals of what they are parts of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from backend.segment.split import Moments, edged, halves, shortened, shrunk, sliced


def moments(count: int, seed: int = 0, opacity: float = 0.7) -> Moments:
    random = np.random.default_rng(seed)
    axes = random.normal(size=(count, 3, 3)) * random.uniform(0.01, 1, (count, 1, 3))
    return Moments(random.normal(size=(count, 3)), axes @ axes.transpose(0, 2, 1), np.full(count, opacity))


def planes(whole: Moments, away: np.ndarray, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Random planes at so many deviations from the means."""
    normals = np.random.default_rng(seed).normal(size=whole.means.shape)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    deviation = np.sqrt(np.einsum("mi,mij,mj->m", normals, whole.covariances, normals))
    return normals, (normals * whole.means).sum(1) - away * deviation


def test_halves_recombine_to_the_whole() -> None:
    whole = moments(500, opacity=0.3)
    away = np.random.default_rng(2).uniform(-2.5, 2.5, 500)
    inner, outer, share = halves(whole, *planes(whole, away))
    assert share == pytest.approx(ndtr(away), abs=1e-12)
    part = share[:, None]
    mean = part * inner.means + (1 - part) * outer.means
    assert mean == pytest.approx(whole.means, abs=1e-12)
    second = np.zeros_like(whole.covariances)
    for weight, half in ((share, inner), (1 - share, outer)):
        off = half.means - mean
        second += weight[:, None, None] * (half.covariances + off[:, :, None] * off[:, None, :])
    assert second == pytest.approx(whole.covariances, abs=1e-12)
    for weight, half in ((share, inner), (1 - share, outer)):
        mass = half.opacities * np.sqrt(np.linalg.det(half.covariances))
        assert mass == pytest.approx(weight * 0.3 * np.sqrt(np.linalg.det(whole.covariances)), rel=1e-6)


@pytest.mark.parametrize("away", [-1.5, -0.4, 0.0, 0.8, 2.0])
def test_halves_have_the_moments_of_samples(away: float) -> None:
    whole = moments(1, seed=5)
    normals, offsets = planes(whole, np.array([away]))
    inner, _, share = halves(whole, normals, offsets)
    samples = np.random.default_rng(6).multivariate_normal(whole.means[0], whole.covariances[0], 1_000_000)
    kept = samples[samples @ normals[0] >= offsets[0]]
    size = np.sqrt(np.trace(whole.covariances[0]))
    assert len(kept) / 1e6 == pytest.approx(share[0], abs=0.005)
    assert np.abs(kept.mean(0) - inner.means[0]).max() < 0.01 * size
    assert np.abs(np.cov(kept.T) - inner.covariances[0]).max() < 0.01 * size**2


@given(st.floats(-60, 60))
def test_planes_at_any_distance_make_no_nan(away: float) -> None:
    whole = moments(3)
    for half in halves(whole, *planes(whole, np.full(3, away)))[:2]:
        assert np.isfinite(half.means).all()
        assert np.isfinite(half.covariances).all()
        assert ((half.opacities >= 0) & (half.opacities <= 0.99)).all()


def recombined(parts: list[tuple[Moments, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share, mean and covariance of parts with their shares, all of the same wholes."""
    total = sum(share for _, share in parts)
    mean = sum(share[:, None] * part.means for part, share in parts)
    second = np.zeros_like(parts[0][0].covariances)
    for part, share in parts:
        off = part.means - mean
        second += share[:, None, None] * (part.covariances + off[:, :, None] * off[:, None, :])
    return np.asarray(total), np.asarray(mean), second


def test_slices_recombine_to_the_whole() -> None:
    whole = moments(500, opacity=0.3)
    random = np.random.default_rng(3)
    normals, low = planes(whole, random.uniform(-4, 4, 500))
    _, high = planes(whole, random.uniform(-4, 4, 500))
    low, high = np.minimum(low, high), np.maximum(low, high) + 1e-3
    none = np.full(500, np.inf)
    slices = [sliced(whole, normals, *each) for each in ((-none, low), (low, high), (high, none))]
    share, mean, second = recombined(slices)
    assert share == pytest.approx(1, abs=1e-12)
    assert mean == pytest.approx(whole.means, abs=1e-10)
    assert second == pytest.approx(whole.covariances, abs=1e-9)
    inner, outer, inside = halves(whole, normals, low)
    beyond = sliced(whole, normals, low, none)
    for half, (part, has), wanted in ((outer, slices[0], 1 - inside), (inner, beyond, inside)):
        assert part.means == pytest.approx(half.means, abs=1e-10)
        assert part.covariances == pytest.approx(half.covariances, abs=1e-10)
        assert part.opacities == pytest.approx(half.opacities, abs=1e-10)
        assert has == pytest.approx(wanted, abs=1e-10)


@given(st.floats(-60, 60), st.floats(1e-4, 20))
def test_slices_at_any_distance_make_no_nan(away: float, thick: float) -> None:
    whole = moments(3)
    normals, high = planes(whole, np.full(3, away))
    _, low = planes(whole, np.full(3, away + thick))
    part, share = sliced(whole, normals, low, high)
    assert np.isfinite(part.means).all()
    assert np.isfinite(part.covariances).all()
    assert ((part.opacities >= 0) & (part.opacities <= 0.99)).all()
    assert ((share >= 0) & (share <= 1)).all()


@pytest.mark.parametrize("away", [-1.0, 0.0, 1.0, 2.0])
def test_an_edge_is_sharper_than_that_of_a_half(away: float) -> None:
    """Beyond the plane less of the row's own mass comes back, and the parts are the half."""
    whole = moments(40, seed=4, opacity=0.3)
    normals, offsets = planes(whole, np.full(40, away))
    half, _, share = halves(whole, normals, offsets)
    parts, which = edged(whole, normals, offsets)
    assert set(which) == set(range(40))

    def mass(of: Moments) -> np.ndarray:
        return of.opacities * np.sqrt(np.linalg.det(of.covariances))

    def beyond(of: Moments, at: np.ndarray) -> np.ndarray:
        """(40,) of the mass of each whole, what its parts have beyond its plane."""
        deviation = np.sqrt(np.einsum("mi,mij,mj->m", normals[at], of.covariances, normals[at]))
        out = mass(of) * ndtr((offsets[at] - (normals[at] * of.means).sum(1)) / deviation)
        return np.bincount(at, out, 40) / mass(whole)

    assert np.bincount(which, mass(parts), 40) == pytest.approx(share * mass(whole), rel=1e-6)
    back, before = beyond(parts, which) / (1 - share), beyond(half, np.arange(40)) / (1 - share)
    assert (back < 0.15).all()
    if share[0] > 0.25:
        assert (back < 0.5 * before).all()
    else:
        assert back == pytest.approx(before, abs=1e-9)  # a steep tail is one part


def test_a_shortened_one_shrinks_along_its_axis_alone() -> None:
    whole = moments(200, seed=8)
    random = np.random.default_rng(9)
    pulled = random.normal(size=(200, 3))
    turned = np.einsum("mij,mj->mi", whole.covariances, pulled)
    axis = turned / np.sqrt((pulled * turned).sum(1))[:, None]
    assert np.einsum("mi,mij,mj->m", axis, np.linalg.inv(whole.covariances), axis) == pytest.approx(1, rel=1e-6)
    start = random.uniform(-1.5, 0, 200)
    end = start + random.uniform(0.2, 1.4, 200)
    short = shortened(whole, axis, start, end)
    factor = 0.8 * (end - start) / 3
    assert (np.linalg.eigvalsh(short.covariances) > 0).all()
    ratio = np.linalg.det(short.covariances) / np.linalg.det(whole.covariances)
    assert ratio == pytest.approx(factor**2, rel=1e-5)
    assert short.means == pytest.approx(whole.means + axis * ((start + end) / 2)[:, None])


def test_a_shrunk_one_shrinks_in_every_direction() -> None:
    whole = moments(5)
    small = shrunk(whole, np.ones((5, 3)), np.full(5, -1.5), np.full(5, 0.0))
    assert small.covariances == pytest.approx(whole.covariances * 0.4**2)
    assert small.means == pytest.approx(whole.means - 0.75)
