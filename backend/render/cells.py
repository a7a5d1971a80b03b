"""Features on a coarse grid over a view into sums for every Gaussian, without ever having features of pixels.

A pixel's features are a bilinear mix of four cells, and sums over pixels are linear: A = Σ_p w·Σ_c b_c(p)·F_c = W·F
with W = Σ_p w·b_c(p), how much of each cell a Gaussian takes. W does not depend on how many channels there are. A tile
of pixels touches few cells, so that W is summed like a picture of so few channels.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from backend.render import compositing, cpu, sums
from backend.render.accumulate import Seen
from backend.render.tiles import TILE

MOST = 36  # cells that a tile may touch: of finer grids, pixels are summed faster


class Cells:
    """A view's Gaussians over the cells of a grid of (h, w)."""

    def __init__(
        self,
        seen: Seen,
        shape: tuple[int, int],
        inner: tuple[float, float],  # rows and columns of cells that the view fills, from its top left
        weight: np.ndarray | None = None,  # (H, W) float >= 0; None: 1
    ) -> None:
        """Raises ValueError unless `fits`."""
        view, bins = seen.view, seen.bins
        sides = [_side(*part) for part in zip((view.height, view.width), shape, inner, strict=True)]
        (down, self._top), (right, self._left) = sides
        if down.shape[1] * right.shape[1] > MOST:
            raise ValueError("the grid is too fine")
        self._seen, self._shape, self._across = seen, shape, right.shape[1]
        signal = down[:, None, :, None] * right[None, :, None, :]
        signal = np.ascontiguousarray(signal.reshape(view.height, view.width, -1), np.float32)
        if weight is None:
            weight = np.ones((view.height, view.width), np.float32)
        with cpu.Threads() as workers:
            # Not the scratch of other sums: these are kept.
            self._slots = np.empty((len(bins.slot_splat), signal.shape[2] + 1), np.float32)
            sums.accumulate_features(bins, signal, np.ascontiguousarray(weight, np.float32), workers, self._slots)
            mass = compositing.gather(bins, np.ascontiguousarray(self._slots[:, -1:]))[:, 0]
        self._tiles = np.repeat(np.arange(len(bins.tile_start) - 1), np.diff(bins.tile_start))
        self.mass = np.zeros(seen.count, np.float32)  # (N,) pixels, Z
        self.mass[seen.rows] = mass

    @staticmethod
    def fits(height: int, width: int, shape: tuple[int, int], inner: tuple[float, float]) -> bool:
        """Whether the grid is coarse enough for a view of so many pixels."""
        count = 1
        for part in zip((height, width), shape, inner, strict=True):
            count *= _side(*part)[0].shape[1]
        return count <= MOST

    def add(self, features: np.ndarray, into: np.ndarray) -> None:
        """Features (h·w, D) float32 of the cells, summed into (N, D) float32 of all rows."""
        assert features.shape[0] == self._shape[0] * self._shape[1]
        bins, seen = self._seen.bins, self._seen
        with cpu.Threads():
            _add(
                bins.splat_start,
                bins.splat_slot,
                self._slots,
                self._tiles,
                bins.tiles_x,
                self._top,
                self._left,
                self._across,
                self._shape,
                np.ascontiguousarray(features, np.float32),
                seen.rows,
                into,
            )


def _side(pixels: int, cells: int, inner: float) -> tuple[np.ndarray, np.ndarray]:
    """Along one side: shares (pixels, k) of the k cells that a tile touches, and the first cell (tiles,) of each."""
    places = np.clip((np.arange(pixels) + 0.5) / pixels * inner - 0.5, 0, cells - 1)
    before = np.minimum(places.astype(np.int64), max(cells - 2, 0))
    first = before[::TILE]
    local = before - np.repeat(first, TILE)[:pixels]
    shares = np.zeros((pixels, int(local.max()) + 2))
    shares[np.arange(pixels), local] = 1 - (places - before)
    shares[np.arange(pixels), local + 1] += places - before
    return shares, first


@njit(parallel=True, cache=True, error_model="numpy")
def _add(splat_start, splat_slot, slots, tiles, tiles_x, top, left, across, shape, features, rows, into):
    height, width = shape
    cells, channels = slots.shape[1] - 1, features.shape[1]
    for s in prange(len(rows)):
        row = rows[s]
        for own in range(splat_start[s], splat_start[s + 1]):
            slot = splat_slot[own]
            tile = tiles[slot]
            y0, x0 = top[tile // tiles_x], left[tile % tiles_x]
            for k in range(cells):
                share = slots[slot, k]
                if share != 0:
                    # Cells beyond the grid have no share but for rounding.
                    y, x = min(y0 + k // across, height - 1), min(x0 + k % across, width - 1)
                    cell = y * width + x
                    for d in range(channels):
                        into[row, d] += share * features[cell, d]
