"""Gaussians as training and files hold them (logits, logarithms, any norm) into rows, and back."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .rows import SH_COUNTS, Rows, rows
from .steps import Steps

ROWS_MAX = 1 << 30  # ids are 32 bits wide
LARGEST = 1e18  # squares of larger values overflow float32
LARGEST_LOG = 40.0  # the same for sizes
FLATTEST_LOG = -30.0  # stands for log 0: flat splats
_CHUNK_ROWS = 1 << 17
SOLID_LOGIT = 20.0  # stands for the logit of 1


@dataclass(frozen=True, eq=False)
class Encoded:
    """N Gaussians. The arrays may be views of a mapped file; nothing is copied before it is asked for."""

    means: np.ndarray  # (N, 3) float32
    quats: np.ndarray  # (N, 4) float32, wxyz, any norm
    log_scales: np.ndarray  # (N, 3) float32, natural log of standard deviations
    opacity_logits: np.ndarray  # (N,) float32
    sh0: np.ndarray  # (N, 1, 3) float32, constant term
    shN: np.ndarray  # (N, K-1, 3) float32

    def __post_init__(self) -> None:
        """Raises ValueError, with a reason that fits a sentence, if shapes or dtypes are wrong."""
        count = len(self.means) if self.means.ndim else 0
        bases = self.shN.shape[1] if self.shN.ndim == 3 else -1
        shapes = {"means": (count, 3), "quats": (count, 4), "log_scales": (count, 3), "opacity_logits": (count,)}
        shapes |= {"sh0": (count, 1, 3), "shN": (count, bases, 3)}
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.dtype != np.float32 or array.shape != shape:
                raise ValueError(f"{name} is {array.dtype} {array.shape}")
        if bases not in SH_COUNTS:
            raise ValueError(f"shN has {bases} bases")
        if count > ROWS_MAX:
            raise ValueError(f"{count} Gaussians are too many")

    def __len__(self) -> int:
        return len(self.means)

    def usable(self) -> np.ndarray:
        """(N,) bool, rows that can be shown; harmonics are made finite where they are read."""
        good = ~np.isnan(self.opacity_logits)
        with np.errstate(invalid="ignore"):
            if not self.log_scales.max(initial=0) <= LARGEST_LOG:
                good &= (self.log_scales <= LARGEST_LOG).all(axis=1)
            for array in (self.means, self.quats, self.sh0[:, 0]):
                # The usual case without a table of truth values; NaN fails every comparison.
                if not (array.max(initial=0) <= LARGEST and array.min(initial=0) >= -LARGEST):
                    good &= (np.abs(array) <= LARGEST).all(axis=1)
        return good

    def checking(self) -> Steps[np.ndarray]:
        """`usable` in steps."""
        good = np.empty(len(self), bool)
        arrays = [getattr(self, field.name) for field in fields(self)]
        for start in range(0, len(self), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            good[part] = Encoded(*(array[part] for array in arrays)).usable()
            yield min((start + _CHUNK_ROWS) / len(self), 1.0)
        return good

    def positions(self, chosen: Any) -> np.ndarray:
        """(M, 3) float32."""
        return _of(self.means, chosen)

    def scales(self, chosen: Any) -> np.ndarray:
        """(M, 3) float32, linear standard deviations."""
        scales = np.maximum(_of(self.log_scales, chosen), np.float32(FLATTEST_LOG))
        return np.exp(scales, out=scales)

    def rotations(self, chosen: Any) -> np.ndarray:
        """(M, 4) float32, unit length; (1, 0, 0, 0) where the file has none."""
        return unit(_of(self.quats, chosen))

    def base(self, chosen: Any) -> np.ndarray:
        """(M, 4) float32, raw SH constant term and opacity in 0..1."""
        logits = np.clip(_of(self.opacity_logits, chosen), np.float32(-80), np.float32(SOLID_LOGIT))
        base = np.empty((len(logits), 4), np.float32)
        base[:, :3] = _of(self.sh0[:, 0], chosen)
        base[:, 3] = 1 / (1 + np.exp(-logits))
        return base

    def harmonic(self, k: int, chosen: Any) -> np.ndarray:
        """(M, 3) float32, coefficient k + 1 of every row; what is not finite or absurd is zero."""
        # In one piece: every look at the whole of an array with gaps costs as much as copying it.
        array = np.ascontiguousarray(_of(self.shN[:, k], chosen))
        with np.errstate(invalid="ignore"):
            if array.max(initial=0) <= LARGEST and array.min(initial=0) >= -LARGEST:
                return array
            return np.where(np.abs(array) <= LARGEST, array, np.float32(0))

    def rows(self, chosen: Any, ids: np.ndarray | None = None) -> Rows:
        """The chosen rows decoded at once."""
        count = len(_of(self.means[:, 0], chosen))
        sh = np.empty((self.shN.shape[1], count, 3), np.float32)
        for k in range(len(sh)):
            sh[k] = self.harmonic(k, chosen)
        return rows(
            np.ascontiguousarray(self.positions(chosen)),
            self.scales(chosen),
            self.rotations(chosen),
            self.base(chosen),
            sh.swapaxes(0, 1),
            ids,
        )


def _of(array: np.ndarray, chosen: Any) -> np.ndarray:
    """The rows of a slice or of indices."""
    # np.take is four times as fast as brackets, but copies the whole of an array with gaps first.
    fast = isinstance(chosen, np.ndarray) and array.flags.c_contiguous
    return np.take(array, chosen, axis=0) if fast else array[chosen]


def unit(quats: np.ndarray) -> np.ndarray:
    """Quaternions (N, 4) of any norm to float32 of norm 1; (1, 0, 0, 0) for no rotation at all."""
    squares = np.einsum("ij,ij->i", quats, quats)
    if squares.min(initial=1) > 1e-30 and squares.max(initial=1) < 1e30:
        return (quats / np.sqrt(squares)[:, None]).astype(np.float32, copy=False)
    # Divided by the largest component first: squares of tiny ones vanish, of large ones overflow.
    largest = np.abs(quats).max(axis=1, keepdims=True, initial=0)
    if not largest.all():
        quats = np.where(largest > 0, quats, np.array([1, 0, 0, 0], quats.dtype))
        largest = np.where(largest > 0, largest, 1)
    scaled = quats / largest
    return (scaled / np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]).astype(np.float32, copy=False)


def logits(opacities: np.ndarray) -> np.ndarray:
    """Opacities in 0..1 to float32 logits within what a file can hold."""
    inside = np.clip(opacities.astype(np.float64), 1e-9, 1 - 1e-9)
    return np.clip(np.log(inside / (1 - inside)), -SOLID_LOGIT, SOLID_LOGIT).astype(np.float32)


def log_sizes(scales: np.ndarray) -> np.ndarray:
    """Linear standard deviations to float32 natural logarithms; flat ones get the smallest a file can hold."""
    return np.maximum(np.log(np.maximum(scales, np.float32(1e-38))), np.float32(FLATTEST_LOG))
