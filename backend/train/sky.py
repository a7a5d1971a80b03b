"""A render and a coarse sky into the picture of both: the sky, bilinear, wherever light passes the Gaussians."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from backend.render import Threads
from backend.train import on_device

f32 = np.float32


@njit(cache=True, error_model="numpy")
def neighbours(count, cells):
    """The two cells beside each of `count` pixels, and the weight of the second: bilinear, as torch interpolates."""
    low, high = np.empty(count, np.int64), np.empty(count, np.int64)
    weight = np.empty(count, f32)
    for i in range(count):
        place = max((i + 0.5) * cells / count - 0.5, 0.0)
        low[i] = min(int(place), cells - 1)
        high[i] = min(low[i] + 1, cells - 1)
        weight[i] = place - low[i]
    return low, high, weight


@njit(parallel=True, cache=True, error_model="numpy")
def _over(image, alpha, sky):
    """image + (1 − alpha)·sky for a sky (rows, columns, 3)."""
    height, width, _ = image.shape
    out = np.empty_like(image)
    top, bottom, down = neighbours(height, sky.shape[0])
    left, right, across = neighbours(width, sky.shape[1])
    for y in prange(height):
        line = np.empty((sky.shape[1], 3), f32)
        for x in range(sky.shape[1]):
            for c in range(3):
                line[x, c] = sky[top[y], x, c] + down[y] * (sky[bottom[y], x, c] - sky[top[y], x, c])
        for x in range(width):
            passes = f32(1) - alpha[y, x]
            for c in range(3):
                seen = line[left[x], c] + across[x] * (line[right[x], c] - line[left[x], c])
                out[y, x, c] = image[y, x, c] + passes * seen
    return out


@njit(parallel=True, cache=True, error_model="numpy")
def _pull_back(v_out, alpha, sky):
    """Gradients of alpha (H, W) and the sky (rows, columns, 3): a line of cells per row of pixels, then all lines."""
    height, width, _ = v_out.shape
    columns = sky.shape[1]
    v_alpha = np.empty((height, width), f32)
    lines = np.zeros((height, columns, 3), f32)
    top, bottom, down = neighbours(height, sky.shape[0])
    left, right, across = neighbours(width, columns)
    for y in prange(height):
        line = np.empty((columns, 3), f32)
        for x in range(columns):
            for c in range(3):
                line[x, c] = sky[top[y], x, c] + down[y] * (sky[bottom[y], x, c] - sky[top[y], x, c])
        for x in range(width):
            passes = f32(1) - alpha[y, x]
            along = f32(0)
            for c in range(3):
                v = v_out[y, x, c]
                along += v * (line[left[x], c] + across[x] * (line[right[x], c] - line[left[x], c]))
                lines[y, left[x], c] += passes * v * (f32(1) - across[x])
                lines[y, right[x], c] += passes * v * across[x]
            v_alpha[y, x] = -along
    v_sky = np.zeros_like(sky)
    for y in range(height):
        for x in range(columns):
            for c in range(3):
                v_sky[top[y], x, c] += (f32(1) - down[y]) * lines[y, x, c]
                v_sky[bottom[y], x, c] += down[y] * lines[y, x, c]
    return v_alpha, v_sky


class _Over(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image, alpha, sky):
        ctx.held = alpha.detach().contiguous().numpy(), sky.detach().contiguous().numpy()
        with Threads():
            return torch.from_numpy(_over(image.detach().contiguous().numpy(), *ctx.held))

    @staticmethod
    def backward(ctx, v_out):
        v_out = v_out.contiguous()
        with Threads():
            v_alpha, v_sky = _pull_back(v_out.numpy(), *ctx.held)
        return v_out, torch.from_numpy(v_alpha), torch.from_numpy(v_sky)


def over_sky(
    image: Tensor,  # (H, W, 3) float32, rendered over black
    alpha: Tensor,  # (H, W) float32
    sky: Tensor,  # (rows, columns, 3) float32, cells of equal size over the picture
) -> Tensor:  # (H, W, 3)
    """image + (1 − alpha)·sky, differentiable in all three."""
    if not image.is_cpu:
        return on_device.over_sky(image, alpha, sky)
    return _Over.apply(image, alpha, sky)
