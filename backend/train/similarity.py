"""Structural similarity of two pictures with its gradient: the part of the loss that likes sharp edges.

Wang et al. 2004 with an 11-tap Gaussian window of sigma 1.5, zero padding and k₁ 0.01, k₂ 0.03. The score
that is reported (valid windows only) lives in `metrics`.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from backend.render import Threads

f32 = np.float32
TAPS = 11
HALF = TAPS // 2
_offsets = np.arange(TAPS) - HALF
WINDOW = np.exp(-(_offsets**2) / (2 * 1.5**2))
WINDOW = (WINDOW / WINDOW.sum()).astype(np.float32)
C1, C2 = f32(0.01**2), f32(0.03**2)
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}


@njit(parallel=True, fastmath=FASTMATH, cache=True)
def _blur_down(source, out):
    """Vertical pass over maps (M, H, W) with zero padding."""
    maps, height, width = source.shape
    for job in prange(maps * height):
        m = job // height
        y = job - m * height
        for x in range(width):
            out[m, y, x] = f32(0)
        for k in range(max(0, HALF - y), min(TAPS, height + HALF - y)):
            weight = WINDOW[k]
            for x in range(width):
                out[m, y, x] += weight * source[m, y + k - HALF, x]


@njit(parallel=True, fastmath=FASTMATH, cache=True)
def _blur_across(source, out):
    """Horizontal pass over maps (M, H, W) with zero padding."""
    maps, height, width = source.shape
    for job in prange(maps * height):
        m = job // height
        y = job - m * height
        padded = np.zeros(width + 2 * HALF, f32)
        for x in range(width):
            padded[x + HALF] = source[m, y, x]
        for x in range(width):
            out[m, y, x] = f32(0)
        for k in range(TAPS):
            weight = WINDOW[k]
            for x in range(width):
                out[m, y, x] += weight * padded[x + k]


@njit(parallel=True, fastmath=FASTMATH, cache=True)
def _products(a, b, out):
    """a, b, a², b², ab of pictures (H, W, C) as maps (5·C, H, W)."""
    height, width, channels = a.shape
    for y in prange(height):
        for c in range(channels):
            for x in range(width):
                p, q = a[y, x, c], b[y, x, c]
                out[c, y, x] = p
                out[channels + c, y, x] = q
                out[2 * channels + c, y, x] = p * p
                out[3 * channels + c, y, x] = q * q
                out[4 * channels + c, y, x] = p * q


@njit(parallel=True, fastmath=FASTMATH, cache=True)
def _score(blurred, channels, slopes):
    """Per-row sums of SSIM; `slopes` (3·C, H, W) gets its derivatives by mean(a), mean(a²), mean(ab)."""
    _, height, width = blurred.shape
    totals = np.zeros(height, np.float64)
    for y in prange(height):
        total = f32(0)
        for c in range(channels):
            for x in range(width):
                mean_a = blurred[c, y, x]
                mean_b = blurred[channels + c, y, x]
                var_a = blurred[2 * channels + c, y, x] - mean_a * mean_a
                var_b = blurred[3 * channels + c, y, x] - mean_b * mean_b
                cov = blurred[4 * channels + c, y, x] - mean_a * mean_b
                light_top = f32(2) * mean_a * mean_b + C1
                light_bottom = mean_a * mean_a + mean_b * mean_b + C1
                shape_top = f32(2) * cov + C2
                shape_bottom = var_a + var_b + C2
                light = light_top / light_bottom
                shape = shape_top / shape_bottom
                total += light * shape
                by_var = -light * shape / shape_bottom
                by_cov = f32(2) * light / shape_bottom
                by_mean = shape * (f32(2) * mean_b - light * f32(2) * mean_a) / light_bottom
                slopes[c, y, x] = by_mean - f32(2) * mean_a * by_var - mean_b * by_cov
                slopes[channels + c, y, x] = by_var
                slopes[2 * channels + c, y, x] = by_cov
        totals[y] = total
    return totals


@njit(parallel=True, fastmath=FASTMATH, cache=True)
def _gradient(a, b, slopes, out):
    height, width, channels = a.shape
    scale = f32(1) / f32(height * width * channels)
    for y in prange(height):
        for x in range(width):
            for c in range(channels):
                out[y, x, c] = scale * (
                    slopes[c, y, x]
                    + f32(2) * a[y, x, c] * slopes[channels + c, y, x]
                    + b[y, x, c] * slopes[2 * channels + c, y, x]
                )


class Similarity:
    """Scores pictures and keeps the large buffers alive between steps."""

    def __init__(self) -> None:
        self._flat: dict[str, np.ndarray] = {}

    def _buffer(self, name: str, shape: tuple[int, int, int]) -> np.ndarray:
        size = shape[0] * shape[1] * shape[2]
        if name not in self._flat or self._flat[name].size < size:
            self._flat[name] = np.empty(size, f32)
        return self._flat[name][:size].reshape(shape)

    def score(self, a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean SSIM of float32 pictures (H, W, C), and its gradient by `a` (H, W, C)."""
        height, width, channels = a.shape
        maps = self._buffer("maps", (5 * channels, height, width))
        scratch = self._buffer("scratch", (5 * channels, height, width))
        slopes = self._buffer("slopes", (3 * channels, height, width))
        gradient = np.empty_like(a)
        with Threads():
            _products(a, b, maps)
            _blur_across(maps, scratch)
            _blur_down(scratch, maps)
            totals = _score(maps, channels, slopes)
            # The window is symmetric and the padding zero: the blur is its own adjoint.
            _blur_across(slopes, scratch[: 3 * channels])
            _blur_down(scratch[: 3 * channels], slopes)
            _gradient(a, b, slopes, gradient)
        return float(totals.sum()) / a.size, gradient

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean SSIM as a tensor whose gradient reaches `a` (H, W, C); `b` is constant."""
        return _MeanSimilarity.apply(a, b, self)


class _MeanSimilarity(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b, similarity):
        score, gradient = similarity.score(a.detach().contiguous().numpy(), b.contiguous().numpy())
        ctx.gradient = torch.from_numpy(gradient)
        return a.new_tensor(score)

    @staticmethod
    def backward(ctx, v_score):
        return ctx.gradient * v_score, None, None
