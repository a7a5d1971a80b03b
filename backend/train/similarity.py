"""Two pictures into how far they differ and the gradient of that: L1, and structure, which likes sharp edges.

Structural similarity after Wang et al. 2004 with an 11-tap Gaussian window of sigma 1.5, zero padding and
k₁ 0.01, k₂ 0.03. The score that is reported (valid windows only) lives in `metrics`.

A picture's rows lie in memory as they come, channels interleaved, in rows rounded up to whole registers with
HALF rows of zeros above and below: a window's columns are then at equal distances, whatever the channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from backend.render import Threads
from backend.render.lanes import WIDTH, fma, load, ramp, select, spread, store, total
from backend.train import on_device

f32 = np.float32
TAPS = 11
HALF = TAPS // 2
_offsets = np.arange(TAPS) - HALF
WINDOW = np.exp(-(_offsets**2) / (2 * 1.5**2))
WINDOW = (WINDOW / WINDOW.sum()).astype(np.float32)
C1, C2 = f32(0.01**2), f32(0.03**2)
ONE, TWO = f32(1), f32(2)
MARGIN = 2 * WIDTH  # zeros on both sides of a row that is blurred; 3 channels reach HALF·3 values aside
BAND = 8  # rows per job, which share their buffers


@njit(parallel=True, cache=True, error_model="numpy")
def _laid_out(a, b, ignored, stride, flat_a, flat_b):
    """Copy pictures (H, W, C) into padded rows; ignored pixels of `a` are replaced by those of `b`.

    Returns per-row sums of |a − b|.
    """
    height, width, channels = a.shape
    differences = np.zeros(height, np.float64)
    for y in range(HALF):
        for x in range(stride):
            flat_a[y * stride + x] = flat_b[y * stride + x] = f32(0)
            flat_a[(height + HALF + y) * stride + x] = flat_b[(height + HALF + y) * stride + x] = f32(0)
    for y in prange(height):
        start = (y + HALF) * stride
        far = f32(0)
        for x in range(width):
            skip = len(ignored) > 0 and ignored[y, x]
            for c in range(channels):
                q = b[y, x, c]
                p = q if skip else a[y, x, c]
                far += abs(p - q)
                flat_a[start + x * channels + c] = p
                flat_b[start + x * channels + c] = q
        for x in range(width * channels, stride):
            flat_a[start + x] = flat_b[start + x] = f32(0)
        differences[y] = far
    return differences


@njit(forceinline=True, error_model="numpy")
def _across(row, x, channels):
    """Eight values of a row, blurred along it; `row` begins with MARGIN zeros."""
    blurred = spread(f32(0))
    for k in range(TAPS):
        blurred = fma(spread(WINDOW[k]), load(row, MARGIN + x + (k - HALF) * channels), blurred)
    return blurred


@njit(parallel=True, cache=True, error_model="numpy")
def _scored(flat_a, flat_b, height, width, channels, stride, by_mean, by_square, by_product):
    """Per-row sums of similarity; the padded `by_...` get its derivatives by mean(a), mean(a²) and mean(ab)."""
    totals = np.zeros(height, np.float64)
    for y in range(HALF):
        for x in range(stride):
            for place in (y * stride + x, (height + HALF + y) * stride + x):
                by_mean[place] = by_square[place] = by_product[place] = f32(0)
    for band in prange((height + BAND - 1) // BAND):
        rows_a, rows_b = np.zeros(stride + 2 * MARGIN, f32), np.zeros(stride + 2 * MARGIN, f32)
        rows_aa, rows_bb = np.zeros(stride + 2 * MARGIN, f32), np.zeros(stride + 2 * MARGIN, f32)
        rows_ab = np.zeros(stride + 2 * MARGIN, f32)
        for y in range(band * BAND, min((band + 1) * BAND, height)):
            for x in range(0, stride, WIDTH):
                mean_a = mean_b = mean_aa = mean_bb = mean_ab = spread(f32(0))
                for k in range(TAPS):
                    weight = spread(WINDOW[k])
                    p, q = load(flat_a, (y + k) * stride + x), load(flat_b, (y + k) * stride + x)
                    weighted_p, weighted_q = weight * p, weight * q
                    mean_a, mean_b = mean_a + weighted_p, mean_b + weighted_q
                    mean_aa, mean_bb = fma(weighted_p, p, mean_aa), fma(weighted_q, q, mean_bb)
                    mean_ab = fma(weighted_p, q, mean_ab)
                store(rows_a, MARGIN + x, mean_a)
                store(rows_b, MARGIN + x, mean_b)
                store(rows_aa, MARGIN + x, mean_aa)
                store(rows_bb, MARGIN + x, mean_bb)
                store(rows_ab, MARGIN + x, mean_ab)
            start = (y + HALF) * stride
            nothing = spread(f32(0))
            sums = nothing
            for x in range(0, stride, WIDTH):
                mean_a, mean_b = _across(rows_a, x, channels), _across(rows_b, x, channels)
                squares, product = fma(mean_a, mean_a, mean_b * mean_b), mean_a * mean_b
                variances = _across(rows_aa, x, channels) + _across(rows_bb, x, channels) - squares
                light_below, shape_below = ONE / (squares + C1), ONE / (variances + C2)
                light = (TWO * product + C1) * light_below
                shape = (TWO * (_across(rows_ab, x, channels) - product) + C2) * shape_below
                score = light * shape
                square = nothing - score * shape_below
                cross = TWO * light * shape_below
                mean = TWO * (shape * (mean_b - light * mean_a) * light_below - mean_a * square) - mean_b * cross
                inside = ramp() < f32(width * channels - x)
                sums = sums + select(inside, score, nothing)
                store(by_mean, start + x, select(inside, mean, nothing))
                store(by_square, start + x, select(inside, square, nothing))
                store(by_product, start + x, select(inside, cross, nothing))
            totals[y] = total(sums)
    return totals


@njit(parallel=True, cache=True, error_model="numpy")
def _gradient(flat_a, flat_b, by_mean, by_square, by_product, ignored, of_absolute, of_structure, stride, out):
    """of_absolute · sum of |a − b| plus of_structure · sum of similarity, by a, into `out` (H, W, C)."""
    height, width, channels = out.shape
    for band in prange((height + BAND - 1) // BAND):
        rows_mean, rows_square = np.zeros(stride + 2 * MARGIN, f32), np.zeros(stride + 2 * MARGIN, f32)
        rows_product, own = np.zeros(stride + 2 * MARGIN, f32), np.empty(stride, f32)
        for y in range(band * BAND, min((band + 1) * BAND, height)):
            # The window is symmetric and the padding zero: the blur is its own adjoint.
            for x in range(0, stride, WIDTH):
                mean = square = product = spread(f32(0))
                for k in range(TAPS):
                    weight, place = spread(WINDOW[k]), (y + k) * stride + x
                    mean = fma(weight, load(by_mean, place), mean)
                    square = fma(weight, load(by_square, place), square)
                    product = fma(weight, load(by_product, place), product)
                store(rows_mean, MARGIN + x, mean)
                store(rows_square, MARGIN + x, square)
                store(rows_product, MARGIN + x, product)
            start = (y + HALF) * stride
            nothing, one = spread(f32(0)), spread(ONE)
            for x in range(0, stride, WIDTH):
                p, q = load(flat_a, start + x), load(flat_b, start + x)
                structure = fma(
                    TWO * p,
                    _across(rows_square, x, channels),
                    fma(q, _across(rows_product, x, channels), _across(rows_mean, x, channels)),
                )
                sign = select(p > q, one, select(p < q, nothing - one, nothing))
                store(own, x, fma(structure, spread(of_structure), sign * of_absolute))
            for x in range(width):
                skip = len(ignored) > 0 and ignored[y, x]
                for c in range(channels):
                    out[y, x, c] = f32(0) if skip else own[x * channels + c]


@dataclass(frozen=True)
class Compared:
    """How a picture a differs from b."""

    absolute: float  # mean |a − b|
    similarity: float  # mean SSIM
    gradient: np.ndarray  # (H, W, C) float32, of (1 − share)·absolute − share·similarity by a


class Similarity:
    """Compares pictures and keeps the large buffers alive between steps."""

    def __init__(self) -> None:
        self._buffers = [np.empty(0, f32)] * 5

    def compared(
        self,
        a: np.ndarray,  # (H, W, C) float32, C at most 3
        b: np.ndarray,  # (H, W, C) float32
        ignored: np.ndarray | None = None,  # (H, W) bool: there, a counts as equal to b
        *,
        share: float,  # of the structural term in the gradient
    ) -> Compared:
        height, width, channels = a.shape
        stride = -(-width * channels // WIDTH) * WIDTH
        size = (height + 2 * HALF) * stride
        if len(self._buffers[0]) < size:
            self._buffers = [np.empty(size, f32) for _ in self._buffers]
        flat_a, flat_b, *slopes = self._buffers
        ignored = np.zeros((0, 0), bool) if ignored is None else ignored
        gradient = np.empty(a.shape, f32)
        with Threads():
            differences = _laid_out(a, b, ignored, stride, flat_a, flat_b)
            totals = _scored(flat_a, flat_b, height, width, channels, stride, *slopes)
            weights = f32((1 - share) / a.size), f32(-share / a.size)
            _gradient(flat_a, flat_b, *slopes, ignored, *weights, stride, gradient)
        return Compared(float(differences.sum()) / a.size, float(totals.sum()) / a.size, gradient)

    def score(self, a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean SSIM of float32 pictures (H, W, C), and its gradient by `a` (H, W, C)."""
        compared = self.compared(a, b, share=1.0)
        return compared.similarity, -compared.gradient

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean SSIM as a tensor whose gradient reaches `a` (H, W, C); `b` is constant."""
        if not a.is_cpu:
            return on_device.similarity(a, b, torch.tensor(WINDOW, device=a.device), (float(C1), float(C2)))
        score, gradient = self.score(a.detach().contiguous().numpy(), b.contiguous().numpy())
        return WithGradient.apply(a, score, torch.from_numpy(gradient))


class WithGradient(torch.autograd.Function):
    """A number computed elsewhere, as a function of a tensor by which its gradient is known."""

    @staticmethod
    def forward(ctx, variable, value, gradient):
        ctx.gradient = gradient
        return variable.new_tensor(value)

    @staticmethod
    def backward(ctx, v_value):
        return (ctx.gradient if v_value == 1 else ctx.gradient * v_value), None, None
