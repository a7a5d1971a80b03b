"""2D features of one view into features of its pixels, some channels at a time: all of them may be gigabytes."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch.nn import functional

_TOGETHER, _NUMBERS = 64, 1 << 24  # channels and numbers that are read at a time


class Pixels(Protocol):
    """Features of one view's pixels."""

    channels: int

    def of(self, first: int, last: int) -> np.ndarray:
        """(H, W, last - first) float32."""


class Whole:
    """Features that are there for every pixel."""

    def __init__(self, features: np.ndarray) -> None:
        self.features = features  # (H, W, D)
        self.channels: int = features.shape[2]

    def of(self, first: int, last: int) -> np.ndarray:
        return np.asarray(self.features[:, :, first:last], np.float32)


class Grid:
    """Features on an encoder's grid, between whose cells pixels are interpolated.

    Cells are made unit vectors. A pixel between unlike cells then has a shorter one, and less of a say.
    """

    def __init__(
        self,
        cells: np.ndarray,  # (D, h, w) float16 or float32
        inner: tuple[float, float],  # rows and columns that the picture fills; the rest is padding
        height: int,  # pixels
        width: int,
        *,
        unit: bool = True,
    ) -> None:
        rows, columns = (
            min(max(1, int(np.ceil(side - 1e-6))), most) for side, most in zip(inner, cells.shape[1:], strict=True)
        )
        kept = cells[:, :rows, :columns].astype(np.float32)
        if unit:
            kept /= np.maximum(np.linalg.norm(kept, axis=0), 1e-12)
        self.cells, self.inner = kept, inner
        self.channels: int = kept.shape[0]
        y = (np.arange(height) + 0.5) / height * inner[0]
        x = (np.arange(width) + 0.5) / width * inner[1]
        # grid_sample counts from -1 to 1 over the cells' full extent.
        places = np.stack(np.broadcast_arrays(2 * x[None, :] / columns - 1, 2 * y[:, None] / rows - 1), -1)
        self._places = torch.from_numpy(places[None].astype(np.float32))

    def nodes(self, first: int, last: int) -> np.ndarray:
        """(h·w, last - first) float32: the cells themselves."""
        part = self.cells[first:last]
        return np.ascontiguousarray(part.reshape(len(part), -1).T)

    def of(self, first: int, last: int) -> np.ndarray:
        cells = torch.from_numpy(self.cells[None, first:last])
        sampled = functional.grid_sample(cells, self._places, padding_mode="border", align_corners=False)
        return sampled[0].permute(1, 2, 0).contiguous().numpy()


class Sampled:
    """Features of a file, at the nearest place of each pixel. Only what is asked for is read."""

    def __init__(self, features: np.ndarray, rows: np.ndarray, columns: np.ndarray, scale: np.ndarray) -> None:
        self.features = features  # (h, w, D), as a rule memory-mapped
        self._rows, self._columns = rows, columns  # (H, W) int, places in it
        self._scale = scale  # (h, w)
        self.channels: int = features.shape[2]

    def of(self, first: int, last: int) -> np.ndarray:
        part = _finite(self.features[self._rows, self._columns, first:last])
        return part * self._scale[self._rows, self._columns, None]


def unit_scale(features: np.ndarray) -> np.ndarray:
    """(h, w) float32: what makes features (h, w, D) unit vectors. All of them are read, not all at a time."""
    height, width, channels = features.shape
    squares, lines = np.zeros((height, width), np.float32), max(1, _NUMBERS // (width * _TOGETHER))
    for top in range(0, height, lines):
        for first in range(0, channels, _TOGETHER):
            part = _finite(features[top : top + lines, :, first : first + _TOGETHER])
            squares[top : top + lines] += np.einsum("hwd,hwd->hw", part, part)
    return 1 / np.maximum(np.sqrt(squares), 1e-12)


def _finite(features: np.ndarray) -> np.ndarray:
    return np.nan_to_num(features.astype(np.float32), posinf=0, neginf=0)


class OneHot:
    """A channel for each label."""

    def __init__(self, labels: np.ndarray, count: int) -> None:
        self.labels = labels  # (H, W) int, -1 where nothing is said
        self.channels = count

    def of(self, first: int, last: int) -> np.ndarray:
        return (self.labels[..., None] == np.arange(first, last)).astype(np.float32)
