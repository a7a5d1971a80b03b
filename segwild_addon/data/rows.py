"""Gaussians as row-aligned arrays in Blender's conventions: linear sizes and opacities, unit quaternions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

SH_COUNTS = {0: 0, 3: 1, 8: 2, 15: 3}  # bases beyond the constant one -> degree


@dataclass(frozen=True, eq=False)
class Rows:
    """N Gaussians of one object. Every array has N rows; nothing here is ever changed in place."""

    positions: np.ndarray  # (N, 3) float32, scene frame (the space of the object)
    scales: np.ndarray  # (N, 3) float32, linear standard deviations
    rotations: np.ndarray  # (N, 4) float32, wxyz, unit length
    base: np.ndarray  # (N, 4) float32, raw SH constant term r g b, then opacity in 0..1
    # (N, K-1, 3) float32, SH coefficients of degree 1 and up, K in {1, 4, 9, 16}. In memory best a coefficient after
    # the other, as Blender has them: a view of (K-1, N, 3), see `by_coefficient`.
    sh: np.ndarray
    ids: np.ndarray  # (N,) int32, row in the workspace + 1; 0: unknown there
    labels: np.ndarray  # (N,) int32, id of the segment; 0: rest
    erased: np.ndarray  # (N,) float32, opacity before the row was erased; 0: it is not erased
    parts: np.ndarray  # (N,) float32, of a part of a divided row the opacity it was made with; else 0, or see `cuts`

    def __post_init__(self) -> None:
        """Raises ValueError if shapes or dtypes disagree: that is our own mistake, never a file's."""
        count = len(self.positions)
        shapes = {
            "positions": (count, 3),
            "scales": (count, 3),
            "rotations": (count, 4),
            "base": (count, 4),
            "sh": (count, self.sh.shape[1] if self.sh.ndim == 3 else -1, 3),
            "ids": (count,),
            "labels": (count,),
            "erased": (count,),
            "parts": (count,),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            dtype = np.int32 if name in ("ids", "labels") else np.float32
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(f"{name} is {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}")
        if self.sh.shape[1] not in SH_COUNTS:
            raise ValueError(f"sh has {self.sh.shape[1]} bases, expected 0, 3, 8 or 15")

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def degree(self) -> int:
        return SH_COUNTS[self.sh.shape[1]]

    def finite(self) -> np.ndarray:
        """(N,) bool, rows of which every number is finite."""
        good = np.ones(len(self), bool)
        columns = (self.positions, self.scales, self.rotations, self.base, *self.sh.swapaxes(0, 1))
        for column in columns:
            # Of finite numbers the least and the largest are finite; tables of truth values cost ten times as much.
            if not np.isfinite([column.min(initial=0), column.max(initial=0)]).all():
                good &= np.isfinite(column).all(axis=1)
        return good

    def take(self, chosen: np.ndarray) -> Rows:
        """The chosen rows, by index or mask (N,) bool, as copies."""
        # np.take over indices is four times as fast as brackets.
        indices = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        names = [field.name for field in fields(self) if field.name != "sh"]
        taken = {name: np.take(getattr(self, name), indices, axis=0) for name in names}
        sh = np.empty((self.sh.shape[1], len(indices), 3), np.float32)
        for k in range(len(sh)):
            np.take(self.sh[:, k], indices, axis=0, out=sh[k], mode="clip")  # "raise" would copy once more
        return Rows(**taken, sh=sh.swapaxes(0, 1))

    def with_degree(self, degree: int) -> Rows:
        """Harmonics cut off at a lower degree, or filled with zeros to a higher one."""
        bases = (degree + 1) ** 2 - 1
        if bases <= self.sh.shape[1]:
            return replace(self, sh=self.sh[:, :bases])
        sh = np.zeros((bases, len(self), 3), np.float32)
        sh[: self.sh.shape[1]] = self.sh.swapaxes(0, 1)
        return replace(self, sh=sh.swapaxes(0, 1))


def by_coefficient(sh: np.ndarray) -> np.ndarray:
    """(N, K-1, 3) harmonics as (K-1, N, 3), contiguous; no copy if they lie in memory like that."""
    return np.ascontiguousarray(sh.swapaxes(0, 1))


def rows(
    positions: np.ndarray,
    scales: np.ndarray,
    rotations: np.ndarray,
    base: np.ndarray,
    sh: np.ndarray | None = None,
    ids: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    erased: np.ndarray | None = None,
    parts: np.ndarray | None = None,
) -> Rows:
    """Rows whose missing columns are zero: no harmonics, unknown to any workspace, no segment, not erased, whole."""
    count = len(positions)
    return Rows(
        positions,
        scales,
        rotations,
        base,
        np.zeros((count, 0, 3), np.float32) if sh is None else sh,
        np.zeros(count, np.int32) if ids is None else ids,
        np.zeros(count, np.int32) if labels is None else labels,
        np.zeros(count, np.float32) if erased is None else erased,
        np.zeros(count, np.float32) if parts is None else parts,
    )


def concatenate(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts in order, with the highest degree among them."""
    degree = max((part.degree for part in parts), default=0)
    if not parts:
        none = np.zeros((0, 3), np.float32)
        return rows(none, none, np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32))
    if len(parts) == 1:
        return parts[0]
    parts = [part.with_degree(degree) for part in parts]
    names = [field.name for field in fields(Rows) if field.name != "sh"]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Rows(**joined, sh=np.concatenate([by_coefficient(part.sh) for part in parts], axis=1).swapaxes(0, 1))


def among(ids: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(N,) bool, which ids (N,) int32 are among the chosen (M,); 0 never is."""
    known = np.zeros(int(chosen.max(initial=0)) + 2, bool)
    known[chosen[chosen > 0]] = True
    return known[np.minimum(ids, len(known) - 1)]


def by_id(rows: Rows) -> Rows:
    """Ordered by id, rows unknown to the workspace last: the order a workspace has them in."""
    order = ordered(rows.ids)
    return rows if order is None else rows.take(order)


def ordered(ids: np.ndarray) -> np.ndarray | None:
    """The indices that order ids (N,) int32, 0 last; None if they are ordered."""
    known = np.where(ids > 0, ids, np.iinfo(np.int32).max)
    return None if (known[1:] >= known[:-1]).all() else np.argsort(known, kind="stable")
