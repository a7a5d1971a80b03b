"""Harmonics, viewing directions and a photo's light into the colours of the visible rows: compiled, with gradients.

The arithmetic is that of `harmonics.colors_from_sh`, which stays the plain statement of it and the float64
ground truth. Rows are worked on in blocks of fixed size, no two threads write one address, and what all rows
share is summed block by block: results are bit-equal between runs and thread counts.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from backend.render.cpu import Threads
from backend.render.harmonics import C0, Light
from backend.render.splats import BLOCK, FASTMATH, places_of, plain

f32 = np.float32
HALF, TWO, THREE, FOUR, SIX = f32(0.5), f32(2), f32(3), f32(4), f32(6)
_C0 = f32(C0)
# Factors of the bases of degrees 1, 2 and 3.
B1 = f32(0.4886025119029199)
B2_SIDE, B2_UP, B2_CROSS = f32(1.0925484305920792), f32(0.31539156525252005), f32(0.5462742152960396)
B3_OUTER, B3_MIXED, B3_INNER = f32(0.5900435899266435), f32(2.890611442640554), f32(0.4570457994644658)
B3_UP, B3_CROSS = f32(0.3731763325901154), f32(1.445305721320277)


@njit(forceinline=True, fastmath=FASTMATH)
def _higher_bases(x, y, z, count, out):
    """The first `count` (0, 3, 8 or 15) bases beyond the constant one at a unit direction."""
    if count > 0:
        out[0], out[1], out[2] = -B1 * y, B1 * z, -B1 * x
    if count > 3:
        xx, yy, zz = x * x, y * y, z * z
        out[3] = B2_SIDE * x * y
        out[4] = -B2_SIDE * y * z
        out[5] = B2_UP * (TWO * zz - xx - yy)
        out[6] = -B2_SIDE * x * z
        out[7] = B2_CROSS * (xx - yy)
        if count > 8:
            out[8] = -B3_OUTER * y * (THREE * xx - yy)
            out[9] = B3_MIXED * x * y * z
            out[10] = -B3_INNER * y * (FOUR * zz - xx - yy)
            out[11] = B3_UP * z * (TWO * zz - THREE * xx - THREE * yy)
            out[12] = -B3_INNER * x * (FOUR * zz - xx - yy)
            out[13] = B3_CROSS * z * (xx - yy)
            out[14] = -B3_OUTER * x * (xx - THREE * yy)


@njit(forceinline=True, fastmath=FASTMATH)
def _pull_of_bases(x, y, z, count, v):
    """Gradient of the direction from those of the bases, v (15,)."""
    v_x, v_y, v_z = -B1 * v[2], -B1 * v[0], B1 * v[1]
    if count > 3:
        v_x += B2_SIDE * (y * v[3] - z * v[6]) - TWO * B2_UP * x * v[5] + TWO * B2_CROSS * x * v[7]
        v_y += B2_SIDE * (x * v[3] - z * v[4]) - TWO * B2_UP * y * v[5] - TWO * B2_CROSS * y * v[7]
        v_z += FOUR * B2_UP * z * v[5] - B2_SIDE * (y * v[4] + x * v[6])
    if count > 8:
        xx, yy, zz, xy = x * x, y * y, z * z, x * y
        v_x += (
            -SIX * B3_OUTER * xy * v[8]
            + B3_MIXED * y * z * v[9]
            + B3_INNER * (TWO * xy * v[10] - (FOUR * zz - THREE * xx - yy) * v[12])
            - SIX * B3_UP * x * z * v[11]
            + TWO * B3_CROSS * x * z * v[13]
            - THREE * B3_OUTER * (xx - yy) * v[14]
        )
        v_y += (
            -THREE * B3_OUTER * (xx - yy) * v[8]
            + B3_MIXED * x * z * v[9]
            + B3_INNER * (TWO * xy * v[12] - (FOUR * zz - xx - THREE * yy) * v[10])
            - SIX * B3_UP * y * z * v[11]
            - TWO * B3_CROSS * y * z * v[13]
            + SIX * B3_OUTER * xy * v[14]
        )
        v_z += (
            B3_MIXED * xy * v[9]
            - f32(8) * B3_INNER * z * (y * v[10] + x * v[12])
            + THREE * B3_UP * (TWO * zz - xx - yy) * v[11]
            + B3_CROSS * (xx - yy) * v[13]
        )
    return v_x, v_y, v_z


@njit(forceinline=True, fastmath=FASTMATH)
def _own_color(i, means, sh0, shN, centre, bases, basis):
    """Colour of row i before the light; `basis` receives its bases. Also the unit direction and 1/distance."""
    x, y, z = means[i, 0] - centre[0], means[i, 1] - centre[1], means[i, 2] - centre[2]
    inverse = f32(1) / math.sqrt(x * x + y * y + z * z)
    x, y, z = x * inverse, y * inverse, z * inverse
    _higher_bases(x, y, z, bases, basis)
    red, green, blue = _C0 * sh0[i, 0, 0] + HALF, _C0 * sh0[i, 0, 1] + HALF, _C0 * sh0[i, 0, 2] + HALF
    for k in range(bases):
        red += basis[k] * shN[i, k, 0]
        green += basis[k] * shN[i, k, 1]
        blue += basis[k] * shN[i, k, 2]
    return red, green, blue, x, y, z, inverse


@njit(forceinline=True, fastmath=FASTMATH)
def _lit(i, channel, red, green, blue, gain, offset, response, weights):
    """One channel of a colour in the light, not clamped."""
    value = gain[channel, 0] * red + gain[channel, 1] * green + gain[channel, 2] * blue + offset[channel]
    for r in range(len(weights)):
        value += response[i, channel, r] * weights[r]
    return value


@njit(parallel=True, fastmath=FASTMATH, cache=True)
def _shade(places, visible, means, sh0, shN, centre, bases, gain, offset, response, weights):
    """Colours (S, 3), at least 0, of the rows that have a place. Memory is read in row order: half the time."""
    count = len(places)
    colors = np.empty((visible, 3), f32)
    for block in prange((count + BLOCK - 1) // BLOCK):
        basis = np.empty(15, f32)
        for i in range(block * BLOCK, min((block + 1) * BLOCK, count)):
            s = places[i]
            if s < 0:
                continue
            red, green, blue, _, _, _, _ = _own_color(i, means, sh0, shN, centre, bases, basis)
            for c in range(3):
                value = _lit(i, c, red, green, blue, gain, offset, response, weights)
                colors[s, c] = f32(0) if value < f32(0) else value
    return colors


@njit(parallel=True, fastmath=FASTMATH, cache=True)
def _pull_back(places, v_colors, means, sh0, shN, centre, bases, gain, offset, response, weights):
    """Gradients of colours (S, 3) into those of the rows (N, ...), each written once, and of the light.

    Those of the light come as one line per block: gain (9), offset (3), weights (R). Without higher bases
    there is nothing for shN and the means, and their gradients are empty.
    """
    count, rank = len(sh0), len(weights)
    turning = count if bases > 0 else 0
    d_means, d_sh0 = np.empty((turning, 3), f32), np.empty((count, 1, 3), f32)
    d_shN = np.empty((turning, shN.shape[1], 3), f32)
    d_response = np.empty((len(response), 3, rank), f32)
    blocks = (count + BLOCK - 1) // BLOCK
    d_light = np.zeros((blocks, 12 + rank), f32)
    for block in prange(blocks):
        basis, v_basis, v, w = np.empty(15, f32), np.empty(15, f32), np.empty(3, f32), np.empty(3, f32)
        own = d_light[block]
        for i in range(block * BLOCK, min((block + 1) * BLOCK, count)):
            s = places[i]
            if s < 0:
                for c in range(3):
                    d_sh0[i, 0, c] = f32(0)
                    for r in range(rank):
                        d_response[i, c, r] = f32(0)
                if bases > 0:
                    for c in range(3):
                        d_means[i, c] = f32(0)
                    for k in range(shN.shape[1]):
                        for c in range(3):
                            d_shN[i, k, c] = f32(0)
                continue
            red, green, blue, x, y, z, inverse = _own_color(i, means, sh0, shN, centre, bases, basis)
            for c in range(3):
                value = _lit(i, c, red, green, blue, gain, offset, response, weights)
                v[c] = v_colors[s, c] if value >= f32(0) else f32(0)
                own[3 * c] += v[c] * red
                own[3 * c + 1] += v[c] * green
                own[3 * c + 2] += v[c] * blue
                own[9 + c] += v[c]
                for r in range(rank):
                    d_response[i, c, r] = v[c] * weights[r]
                    own[12 + r] += v[c] * response[i, c, r]
            for c in range(3):
                w[c] = gain[0, c] * v[0] + gain[1, c] * v[1] + gain[2, c] * v[2]
                d_sh0[i, 0, c] = _C0 * w[c]
            if bases > 0:
                for k in range(bases):
                    v_basis[k] = shN[i, k, 0] * w[0] + shN[i, k, 1] * w[1] + shN[i, k, 2] * w[2]
                    for c in range(3):
                        d_shN[i, k, c] = basis[k] * w[c]
                for k in range(bases, shN.shape[1]):
                    for c in range(3):
                        d_shN[i, k, c] = f32(0)
                v_x, v_y, v_z = _pull_of_bases(x, y, z, bases, v_basis)
                along = x * v_x + y * v_y + z * v_z
                d_means[i, 0] = inverse * (v_x - along * x)
                d_means[i, 1] = inverse * (v_y - along * y)
                d_means[i, 2] = inverse * (v_z - along * z)
    return d_means, d_sh0, d_shN, d_response, d_light


class _Shade(torch.autograd.Function):
    """Gradients reach the means, the harmonics and the four parts of the light."""

    @staticmethod
    def forward(ctx, rows, means, sh0, shN, gain, offset, response, weights, centre, bases):
        arrays = plain(means), plain(sh0), plain(shN), centre, bases
        light = plain(gain), plain(offset), plain(response), plain(weights)
        with Threads():
            places = places_of(rows.numpy(), len(sh0))
            colors = _shade(places, len(rows), *arrays, *light)
        ctx.held = places, arrays, light
        return torch.from_numpy(colors)

    @staticmethod
    def backward(ctx, v_colors):
        places, arrays, light = ctx.held
        bases = arrays[-1]
        with Threads():
            gradients = _pull_back(places, plain(v_colors), *arrays, *light)
        d_means, d_sh0, d_shN, d_response = map(torch.from_numpy, gradients[:-1])
        shared = torch.from_numpy(gradients[-1].sum(0))
        d_gain, d_offset, d_weights = shared[:9].reshape(3, 3), shared[9:12], shared[12:]
        turning = (d_means, d_sh0, d_shN) if bases else (None, d_sh0, None)
        return None, *turning, d_gain, d_offset, d_response, d_weights, None, None


def colors_of(
    rows: Tensor,  # (S,) int64, ids of the visible rows
    means: Tensor,  # (N, 3) float32, world
    sh0: Tensor,  # (N, 1, 3) float32
    shN: Tensor,  # (N, K-1, 3) float32, K in {1, 4, 9, 16}
    centre: np.ndarray,  # (3,) the camera's, world
    *,
    degree: int | None = None,  # use only bases up to this degree; None: all
    light: Light | None = None,  # None: the harmonics as they are
) -> Tensor:
    """Colours (S, 3) float32, at least 0, of some rows as a camera sees them."""
    bases = shN.shape[1] if degree is None else min(shN.shape[1], (degree + 1) ** 2 - 1)
    light = light or Light(torch.eye(3), torch.zeros(3), torch.zeros(0, 3, 0), torch.zeros(0))
    parts = light.gain, light.offset, light.response, light.weights
    return _Shade.apply(rows, means, sh0, shN, *parts, np.asarray(centre, np.float32), bases)
