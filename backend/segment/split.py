"""Gaussians and planes into the Gaussians on either side; Gaussians and runs along an axis into shorter ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from scipy.special import log_ndtr, ndtr

from backend.scene import Gaussians
from backend.scene.transforms import matrices_from_quats, quats_from_matrices

OPACITY_MOST = 0.99
_SMALLEST = 1e-6  # world units, of a deviation
_TAIL = 0.25  # of the mass: so small a side is one slice
_THINNEST, _THICKER = 0.6, 0.3  # deviations of a slice at a plane, and more per deviation that the plane is away
_SHRUNK = 0.8  # of Seg-Wild's run: what remains keeps this clear of the edge


@dataclass(frozen=True, eq=False)
class Moments:
    """M Gaussians as what a plane divides. Float64, world frame."""

    means: np.ndarray  # (M, 3)
    covariances: np.ndarray  # (M, 3, 3)
    opacities: np.ndarray  # (M,) 0..1

    @classmethod
    def of(cls, scene: Gaussians, rows: np.ndarray) -> Moments:
        axes = matrices_from_quats(scene.quats[rows].astype(np.float64)) * scene.scales[rows, None].astype(np.float64)
        return cls(
            scene.means[rows].astype(np.float64), axes @ axes.transpose(0, 2, 1), scene.opacities[rows].astype(float)
        )

    def __len__(self) -> int:
        return len(self.means)

    def take(self, places: np.ndarray) -> Moments:
        return Moments(self.means[places], self.covariances[places], self.opacities[places])

    @classmethod
    def joined(cls, parts: Sequence[Moments]) -> Moments:
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def colored_like(self, scene: Gaussians, rows: np.ndarray) -> Gaussians:
        """Rows of a scene: these shapes with the colours of `rows` (M,), which they are parts of."""
        squares, axes = np.linalg.eigh(self.covariances)
        axes = axes * np.sign(np.linalg.det(axes))[:, None, None]
        deviations = np.sqrt(np.maximum(squares, _SMALLEST**2))
        opacities = np.clip(self.opacities, 1e-6, OPACITY_MOST)
        return Gaussians(
            self.means.astype(np.float32),
            quats_from_matrices(axes).astype(np.float32).reshape(-1, 4),
            np.log(deviations).astype(np.float32),
            np.log(opacities / (1 - opacities)).astype(np.float32),
            scene.sh0[rows].copy(),
            scene.shN[rows].copy(),
        )


def halves(
    whole: Moments,
    normals: np.ndarray,  # (M, 3) unit
    offsets: np.ndarray,  # (M,) inside is normal·x >= offset
) -> tuple[Moments, Moments, np.ndarray]:
    """The parts inside and outside of a plane, and the share (M,) of the mass that is inside.

    A half of a Gaussian is no Gaussian: each part has the half's mean and covariance (moments of the truncated
    normal distribution), and the opacity that keeps its mass, so that the two together have the mean and
    covariance of the whole. Opacities end at 0.99; the factor on them reaches 1.067 at most.
    """
    turned = np.einsum("mij,mj->mi", whole.covariances, normals)
    deviation = np.sqrt(np.maximum(np.einsum("mi,mi->m", normals, turned), _SMALLEST**2))
    away = (np.einsum("mi,mi->m", normals, whole.means) - offsets) / deviation  # β, in deviations
    step = turned / deviation[:, None]
    return _half(whole, step, away), _half(whole, -step, -away), ndtr(away)


def _half(whole: Moments, step: np.ndarray, away: np.ndarray) -> Moments:
    # η = φ/Φ from logarithms: Φ alone is 0 beyond -38 deviations. ζ -> 1 there: a half without thickness.
    hazard = np.exp(-0.5 * away**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(away))
    narrower = np.clip(hazard * (hazard + away), 0, 1 - 1e-9)
    outer = step[:, :, None] * step[:, None, :]
    return Moments(
        whole.means + hazard[:, None] * step,
        whole.covariances - narrower[:, None, None] * outer,
        np.minimum(whole.opacities * ndtr(away) / np.sqrt(1 - narrower), OPACITY_MOST),
    )


def sliced(
    whole: Moments,
    normals: np.ndarray,  # (M, 3) unit
    low: np.ndarray,  # (M,) offsets along the normals, -inf for none
    high: np.ndarray,  # (M,) inf for none, above `low`
) -> tuple[Moments, np.ndarray]:
    """The part between two parallel planes, and the share (M,) of the mass that it has.

    As in `halves`: slices that fill all of space recombine to the whole. Opacities end at 0.99, and the factor on a
    thin slice's approaches sqrt(6/pi).
    """
    turned = np.einsum("mij,mj->mi", whole.covariances, normals)
    deviation = np.sqrt(np.maximum(np.einsum("mi,mi->m", normals, turned), _SMALLEST**2))
    middle = np.einsum("mi,mi->m", normals, whole.means)
    a, b = (low - middle) / deviation, (high - middle) / deviation
    # On the negative side, where logarithms of the distribution keep their digits.
    turn = np.where(np.maximum(a, -1e9) + np.minimum(b, 1e9) > 0, -1.0, 1.0)
    a, b = np.where(turn < 0, -b, a), np.where(turn < 0, -a, b)
    upper = log_ndtr(b)
    log_share = upper + np.log1p(-np.minimum(np.exp(log_ndtr(a) - upper), 1 - 1e-12))
    at_a, at_b = (np.exp(-0.5 * t**2 - 0.5 * np.log(2 * np.pi) - log_share) for t in (a, b))
    shift = at_a - at_b
    finite_a, finite_b = np.where(np.isfinite(a), a, 0.0), np.where(np.isfinite(b), b, 0.0)
    narrower = np.clip(shift**2 - finite_a * at_a + finite_b * at_b, 0, 1 - 1e-9)
    step = turned / deviation[:, None]
    share = np.exp(log_share)
    return (
        Moments(
            whole.means + (turn * shift)[:, None] * step,
            whole.covariances - narrower[:, None, None] * step[:, :, None] * step[:, None, :],
            np.minimum(whole.opacities * share / np.sqrt(1 - narrower), OPACITY_MOST),
        ),
        share,
    )


def edged(
    whole: Moments,
    normals: np.ndarray,  # (M, 3) unit
    offsets: np.ndarray,  # (M,) inside is normal·x >= offset
) -> tuple[Moments, np.ndarray]:
    """The part inside of a plane as two slices, a thin one at the plane, and whose each is: places (P,) in `whole`.

    One Gaussian in place of a half keeps a softer edge than the plane made: of a half that is cut off one deviation
    from the middle it brings a quarter back, of one at two deviations two thirds, and its rim steps back. Two keep
    a tenth of that. A tail of less than a quarter is steep enough as one.
    """
    half, _, share = halves(whole, normals, offsets)
    wide = np.flatnonzero(share > _TAIL)
    thick, n, low = whole.take(wide), normals[wide], offsets[wide]
    deviation = np.sqrt(np.maximum(np.einsum("mi,mij,mj->m", n, thick.covariances, n), _SMALLEST**2))
    away = ((n * thick.means).sum(1) - low) / deviation
    rim = low + deviation * (_THINNEST + _THICKER * np.maximum(away, 0))
    slices = [sliced(thick, n, *planes)[0] for planes in ((rim, np.full(len(wide), np.inf)), (low, rim))]
    tail = np.flatnonzero(share <= _TAIL)
    return Moments.joined([half.take(tail), *slices]), np.concatenate([tail, wide, wide])


def shortened(
    whole: Moments,
    axis: np.ndarray,  # (M, 3) h = Σ·Qᵀ·Jᵀ·e₁/√λ₁: what the long axis of the ellipse in the picture is in space
    start: np.ndarray,  # (M,) in deviations along it, -1.5..1.5
    end: np.ndarray,
) -> Moments:
    """What keeps to a run of its long axis: Σ − (1 − (0.8r)²)·h·hᵀ with r the run's share of 3 deviations.

    hᵀΣ⁻¹h = 1, so it shrinks along h alone and stays positive definite.
    """
    kept = (_SHRUNK * (end - start) / 3) ** 2
    outer = axis[:, :, None] * axis[:, None, :]
    return Moments(
        whole.means + axis * ((start + end) / 2)[:, None],
        whole.covariances - (1 - kept)[:, None, None] * outer,
        np.minimum(whole.opacities, OPACITY_MOST),
    )


def shrunk(
    whole: Moments,
    column: np.ndarray,  # (M, 3) the longest axis times its deviation, towards +e₁ in the picture
    start: np.ndarray,
    end: np.ndarray,
) -> Moments:
    """Seg-Wild's Spiky Gaussian Cutter to the letter: all deviations times 0.8r, moved along the longest axis."""
    factor = _SHRUNK * (end - start) / 3
    return Moments(
        whole.means + column * ((start + end) / 2)[:, None],
        whole.covariances * (factor**2)[:, None, None],
        np.minimum(whole.opacities, OPACITY_MOST),
    )
