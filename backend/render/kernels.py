"""Projected Gaussians into pixels and back: the compiled loops of the CPU engine.

Every loop walks 16x16 tiles in parallel and, inside a tile, the Gaussians front to back. Arithmetic is
float32 and branch-free along a row of 16 pixels so that the compiler can use vector registers. No two
threads write one address and every sum has a fixed order: results are bit-equal between runs and thread
counts.

A *splat* is a projected Gaussian, a *slot* one (splat, tile) intersection. Splats are numbered in depth
order, so that tile lists are sorted by construction.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

if "NUMBA_CACHE_DIR" not in os.environ:  # compiled once per user, also when the package is read-only
    _cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segwild" / "numba"
    os.environ["NUMBA_CACHE_DIR"] = str(_cache)

from numba import njit, prange

f32 = np.float32

TILE = 16
ALPHA_MAX = f32(0.999)  # gsplat 1.5.3; its main branch uses 0.99
ALPHA_MIN = f32(1 / 255)
STOP = f32(1e-4)  # a pixel closes before the Gaussian that would take T to this or below
SIGMA_MAX = f32(5.6)  # exp(-5.6) < 1/255: nothing beyond can pass ALPHA_MIN

# Everything that fastmath allows except assuming that NaN and Inf do not occur: with `nnan` a NaN alpha
# comes out of min() as ALPHA_MAX.
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}

# Columns of the per-splat array that the loops read.
U, V, CONIC_A, CONIC_B, CONIC_C, OPACITY, RADIUS_X, RADIUS_Y = range(8)
SPLAT_COLUMNS = 8
# Columns of the gradient of one slot; colours follow.
G_U, G_V, G_A, G_B, G_C, G_OPACITY, G_ABS_U, G_ABS_V = range(8)
GRADIENT_COLUMNS = 8


@njit(inline="always", fastmath=FASTMATH)
def _exp_of_minus(sigma):
    """exp(-sigma) for sigma in [0, 5.6]: the degree-6 Taylor polynomial at sigma/8, to the 8th power.

    Relative error below 1e-6; SVML is absent from most builds of numba and a scalar exp dominates.
    """
    y = sigma * f32(-0.125)
    p = f32(1) + y * (
        f32(1) + y * (f32(1 / 2) + y * (f32(1 / 6) + y * (f32(1 / 24) + y * (f32(1 / 120) + y * f32(1 / 720)))))
    )
    p = p * p
    p = p * p
    return p * p


@njit(cache=True)
def tile_range(splats, tiles_x, tiles_y):
    """Tiles that each splat's box touches: (S, 4) int32 x0, x1, y0, y1, ends exclusive."""
    box = np.empty((len(splats), 4), np.int32)
    for s in range(len(splats)):
        u, v, rx, ry = splats[s, U], splats[s, V], splats[s, RADIUS_X], splats[s, RADIUS_Y]
        box[s, 0] = min(max(math.floor((u - rx) / TILE), 0), tiles_x)
        box[s, 1] = min(max(math.ceil((u + rx) / TILE), 0), tiles_x)
        box[s, 2] = min(max(math.floor((v - ry) / TILE), 0), tiles_y)
        box[s, 3] = min(max(math.ceil((v + ry) / TILE), 0), tiles_y)
    return box


@njit(cache=True)
def bin_splats(box, tiles_x, tiles_y):
    """Slots of every tile in depth order, and the way back.

    Returns tile_start (tiles+1,) int64, slot_splat (n,) int32, splat_start (S+1,) int64 and
    splat_slot (n,) int64: splat s owns slots splat_slot[splat_start[s]:splat_start[s+1]].
    """
    count = len(box)
    tile_start = np.zeros(tiles_x * tiles_y + 1, np.int64)
    splat_start = np.zeros(count + 1, np.int64)
    for s in range(count):
        x0, x1, y0, y1 = box[s]
        splat_start[s + 1] = splat_start[s] + max(x1 - x0, 0) * max(y1 - y0, 0)
        for ty in range(y0, y1):
            for tx in range(x0, x1):
                tile_start[ty * tiles_x + tx + 1] += 1
    for t in range(tiles_x * tiles_y):
        tile_start[t + 1] += tile_start[t]
    fill = tile_start[:-1].copy()
    slot_splat = np.empty(tile_start[-1], np.int32)
    splat_slot = np.empty(tile_start[-1], np.int64)
    for s in range(count):
        x0, x1, y0, y1 = box[s]
        own = splat_start[s]
        for ty in range(y0, y1):
            for tx in range(x0, x1):
                t = ty * tiles_x + tx
                slot_splat[fill[t]] = s
                splat_slot[own] = fill[t]
                fill[t] += 1
                own += 1
    return tile_start, slot_splat, splat_start, splat_slot


@njit(inline="always", fastmath=FASTMATH)
def _rows_of(splat, y0, y1):
    """Pixel rows [first, last) of a tile's rows [y0, y1) that a splat's box touches."""
    first = max(y0, math.floor(splat[V] - splat[RADIUS_Y]))
    last = min(y1, math.ceil(splat[V] + splat[RADIUS_Y]))
    return first, last


@njit(inline="always", fastmath=FASTMATH)
def _row_is_empty(splat, dy):
    """Whether sigma exceeds SIGMA_MAX along the whole row at vertical offset dy from the centre."""
    b = splat[CONIC_B] * dy
    least = f32(0.5) * (splat[CONIC_C] * dy * dy - b * b / splat[CONIC_A])
    return least > SIGMA_MAX


@njit(inline="always", fastmath=FASTMATH)
def _row_weights(splat, x0, dy, row, T, is_open, weights):
    """Blend one splat into the 16 pixels of tile row `row`; returns how many pixels it closed.

    `weights` (16,) receives alpha·T of each pixel. Every load and store is unconditional and every
    index provably non-negative: otherwise the loop stays scalar.
    """
    u, a, b, c, opacity = splat[U], splat[CONIC_A], splat[CONIC_B], splat[CONIC_C], splat[OPACITY]
    half_a = f32(0.5) * a
    b_dy = b * dy
    c_dy = f32(0.5) * c * dy * dy
    offset = f32(x0) + f32(0.5) - u
    closed = f32(0)
    for x in range(TILE):
        before = T[row, x]
        was_open = is_open[row, x]
        dx = f32(x) + offset
        sigma = (half_a * dx + b_dy) * dx + c_dy
        raw = opacity * _exp_of_minus(min(max(sigma, f32(0)), SIGMA_MAX))
        alpha = min(ALPHA_MAX, raw)
        alpha = alpha if sigma >= f32(0) else f32(0)
        alpha = alpha if sigma <= SIGMA_MAX else f32(0)
        alpha = alpha if alpha >= ALPHA_MIN else f32(0)
        alpha = alpha * was_open
        after = before * (f32(1) - alpha)
        keeps = f32(1) if after > STOP else f32(0)
        closed += f32(1) - keeps
        is_open[row, x] = was_open * keeps
        weights[x] = alpha * before * keeps
        T[row, x] = after if after > STOP else before
    return closed


@njit(parallel=True, fastmath=FASTMATH, cache=True)
def forward(splats, colors, tile_start, slot_splat, tiles_x, width, height):
    """Composite colours (S, D) front to back.

    Returns image (H, W, D) without background, T_end (H, W) and last (H, W) int32: one more than the
    place in the tile's list of the last splat that contributed.
    """
    D = colors.shape[1]
    image = np.empty((height, width, D), f32)
    T_end = np.empty((height, width), f32)
    last = np.empty((height, width), np.int32)
    for t in prange(len(tile_start) - 1):
        ty = t // tiles_x
        tx = t - ty * tiles_x
        px0 = tx * TILE
        py0 = ty * TILE
        px1 = min(px0 + TILE, width)
        py1 = min(py0 + TILE, height)
        T = np.ones((TILE, TILE), f32)
        is_open = np.ones((TILE, TILE), f32)
        seen = np.zeros((TILE, TILE), np.int32)
        acc = np.zeros((TILE, TILE, D), f32)
        weights = np.empty(TILE, f32)
        remaining = f32(TILE * TILE)
        # Pixels beyond the picture's edge are closed from the start.
        for y in range(TILE):
            for x in range(TILE):
                if px0 + x >= px1 or py0 + y >= py1:
                    is_open[y, x] = f32(0)
                    remaining -= f32(1)
        start = tile_start[t]
        for j in range(start, tile_start[t + 1]):
            if remaining <= f32(0):
                break
            splat = splats[slot_splat[j]]
            color = colors[slot_splat[j]]
            place = np.int32(j - start + 1)
            first, end = _rows_of(splat, py0, py1)
            for y in range(first, end):
                dy = f32(y) + f32(0.5) - splat[V]
                if _row_is_empty(splat, dy):
                    continue
                row = y - py0
                remaining -= _row_weights(splat, px0, dy, row, T, is_open, weights)
                for x in range(TILE):
                    w = weights[x]
                    if w > f32(0):
                        seen[row, x] = place
                        for d in range(D):
                            acc[row, x, d] += w * color[d]
        for y in range(py0, py1):
            for x in range(px0, px1):
                T_end[y, x] = T[y - py0, x - px0]
                last[y, x] = seen[y - py0, x - px0]
                for d in range(D):
                    image[y, x, d] = acc[y - py0, x - px0, d]
    return image, T_end, last


@njit(parallel=True, fastmath=FASTMATH, cache=True)
def backward(splats, colors, image, T_end, last, v_image, v_alpha, background, tile_start, slot_splat, tiles_x):
    """Gradients of every slot by replaying the forward pass front to back.

    With v the gradient of a pixel's colour, the colour that lies behind a splat is what remains of the
    pixel's total after taking away what lies in front: one running scalar per pixel, no division to
    recover T. Returns (slots, GRADIENT_COLUMNS + D) float32; `gather` adds a splat's slots.
    """
    height, width, D = image.shape
    slots = np.zeros((len(slot_splat), GRADIENT_COLUMNS + D), f32)
    for t in prange(len(tile_start) - 1):
        ty = t // tiles_x
        tx = t - ty * tiles_x
        px0 = tx * TILE
        py0 = ty * TILE
        px1 = min(px0 + TILE, width)
        py1 = min(py0 + TILE, height)
        T = np.ones((TILE, TILE), f32)
        behind = np.zeros((TILE, TILE), f32)  # <v, colour still to come>, background left out
        beyond = np.zeros((TILE, TILE), f32)  # T_end · (v_alpha − <v, background>)
        seen = np.zeros((TILE, TILE), np.int32)
        v = np.zeros((TILE, TILE, D), f32)
        dot = np.empty(TILE, f32)
        alphas = np.empty(TILE, f32)
        moves = np.empty(TILE, f32)  # 0 where alpha is clamped and has no gradient
        weights = np.empty(TILE, f32)
        d_color = np.empty(D, f32)
        deepest = 0
        for y in range(py0, py1):
            for x in range(px0, px1):
                total = f32(0)
                back = f32(0)
                for d in range(D):
                    v_d = v_image[y, x, d]
                    v[y - py0, x - px0, d] = v_d
                    total += v_d * image[y, x, d]
                    back += v_d * background[d]
                behind[y - py0, x - px0] = total
                beyond[y - py0, x - px0] = T_end[y, x] * (v_alpha[y, x] - back)
                seen[y - py0, x - px0] = last[y, x]
                deepest = max(deepest, last[y, x])
        start = tile_start[t]
        for k in range(deepest):
            j = start + k
            place = np.int32(k + 1)
            splat = splats[slot_splat[j]]
            color = colors[slot_splat[j]]
            u, a, b, c, opacity = splat[U], splat[CONIC_A], splat[CONIC_B], splat[CONIC_C], splat[OPACITY]
            half_a = f32(0.5) * a
            offset = f32(px0) + f32(0.5) - u
            d_u = f32(0)
            d_v = f32(0)
            d_a = f32(0)
            d_b = f32(0)
            d_c = f32(0)
            d_opacity = f32(0)
            abs_u = f32(0)
            abs_v = f32(0)
            for d in range(D):
                d_color[d] = f32(0)
            first, end = _rows_of(splat, py0, py1)
            for y in range(first, end):
                dy = f32(y) + f32(0.5) - splat[V]
                if _row_is_empty(splat, dy):
                    continue
                row = y - py0
                b_dy = b * dy
                c_dy = c * dy
                half_c = f32(0.5) * c_dy * dy
                for x in range(TILE):
                    before = T[row, x]
                    reach = seen[row, x]
                    dx = f32(x) + offset
                    sigma = (half_a * dx + b_dy) * dx + half_c
                    raw = opacity * _exp_of_minus(min(max(sigma, f32(0)), SIGMA_MAX))
                    alpha = min(ALPHA_MAX, raw)
                    alpha = alpha if sigma >= f32(0) else f32(0)
                    alpha = alpha if sigma <= SIGMA_MAX else f32(0)
                    alpha = alpha if alpha >= ALPHA_MIN else f32(0)
                    alpha = alpha if reach >= place else f32(0)
                    alphas[x] = alpha
                    moves[x] = f32(1) if raw <= ALPHA_MAX else f32(0)
                    weights[x] = alpha * before
                    dot[x] = f32(0)
                for x in range(TILE):
                    w = weights[x]
                    if w > f32(0):
                        q = f32(0)
                        for d in range(D):
                            v_d = v[row, x, d]
                            q += v_d * color[d]
                            d_color[d] += w * v_d
                        dot[x] = q
                k0 = f32(0)
                k1 = f32(0)
                k2 = f32(0)
                row_abs_u = f32(0)
                row_abs_v = f32(0)
                for x in range(TILE):
                    before = T[row, x]
                    end_term = beyond[row, x]
                    alpha = alphas[x]
                    q = dot[x]
                    rest = behind[row, x] - weights[x] * q
                    dx = f32(x) + offset
                    d_alpha = before * q - (rest - end_term) / (f32(1) - alpha)
                    kappa = -d_alpha * alpha * moves[x]
                    k0 += kappa
                    k1 += kappa * dx
                    k2 += kappa * dx * dx
                    row_abs_u += abs(kappa * (a * dx + b_dy))
                    row_abs_v += abs(kappa * (b * dx + c_dy))
                    behind[row, x] = rest
                    T[row, x] = before * (f32(1) - alpha)
                d_a += f32(0.5) * k2
                d_b += dy * k1
                d_c += f32(0.5) * dy * dy * k0
                d_u -= a * k1 + b_dy * k0
                d_v -= b * k1 + c_dy * k0
                d_opacity -= k0 / opacity  # kappa = -d_alpha · opacity · exp(-sigma)
                abs_u += row_abs_u
                abs_v += row_abs_v
            slots[j, G_U] = d_u
            slots[j, G_V] = d_v
            slots[j, G_A] = d_a
            slots[j, G_B] = d_b
            slots[j, G_C] = d_c
            slots[j, G_OPACITY] = d_opacity
            slots[j, G_ABS_U] = abs_u
            slots[j, G_ABS_V] = abs_v
            for d in range(D):
                slots[j, GRADIENT_COLUMNS + d] = d_color[d]
    return slots


@njit(parallel=True, fastmath=FASTMATH, cache=True)
def gather(slots, splat_start, splat_slot):
    """Sum each splat's slots (n, C) in fixed order: (S, C) float32."""
    columns = slots.shape[1]
    sums = np.zeros((len(splat_start) - 1, columns), f32)
    for s in prange(len(sums)):
        for own in range(splat_start[s], splat_start[s + 1]):
            slot = splat_slot[own]
            for c in range(columns):
                sums[s, c] += slots[slot, c]
    return sums


@njit(parallel=True, fastmath=FASTMATH, cache=True)
def accumulate_features(splats, signal, pixel_weight, tile_start, slot_splat, tiles_x):
    """Σ_p w·m·g per slot for a signal g (H, W, D): (slots, D+1) float32, the last column Σ_p w·m."""
    height, width, D = signal.shape
    slots = np.zeros((len(slot_splat), D + 1), f32)
    for t in prange(len(tile_start) - 1):
        ty = t // tiles_x
        tx = t - ty * tiles_x
        px0 = tx * TILE
        py0 = ty * TILE
        px1 = min(px0 + TILE, width)
        py1 = min(py0 + TILE, height)
        T = np.ones((TILE, TILE), f32)
        is_open = np.zeros((TILE, TILE), f32)
        weights = np.empty(TILE, f32)
        for y in range(py0, py1):
            for x in range(px0, px1):
                is_open[y - py0, x - px0] = f32(1)
        remaining = f32((px1 - px0) * (py1 - py0))
        for j in range(tile_start[t], tile_start[t + 1]):
            if remaining <= f32(0):
                break
            splat = splats[slot_splat[j]]
            first, end = _rows_of(splat, py0, py1)
            for y in range(first, end):
                dy = f32(y) + f32(0.5) - splat[V]
                if _row_is_empty(splat, dy):
                    continue
                remaining -= _row_weights(splat, px0, dy, y - py0, T, is_open, weights)
                for x in range(px1 - px0):
                    w = weights[x]
                    if w > f32(0):
                        w *= pixel_weight[y, px0 + x]
                        slots[j, D] += w
                        for d in range(D):
                            slots[j, d] += w * signal[y, px0 + x, d]
    return slots


@njit(parallel=True, fastmath=FASTMATH, cache=True)
def accumulate_labels(splats, labels, count, pixel_weight, tile_start, slot_splat, tiles_x):
    """Σ_p w·m per slot and label: (slots, L+1) float32; pixels labelled -1 go to the last column."""
    height, width = labels.shape
    slots = np.zeros((len(slot_splat), count + 1), f32)
    for t in prange(len(tile_start) - 1):
        ty = t // tiles_x
        tx = t - ty * tiles_x
        px0 = tx * TILE
        py0 = ty * TILE
        px1 = min(px0 + TILE, width)
        py1 = min(py0 + TILE, height)
        T = np.ones((TILE, TILE), f32)
        is_open = np.zeros((TILE, TILE), f32)
        weights = np.empty(TILE, f32)
        for y in range(py0, py1):
            for x in range(px0, px1):
                is_open[y - py0, x - px0] = f32(1)
        remaining = f32((px1 - px0) * (py1 - py0))
        for j in range(tile_start[t], tile_start[t + 1]):
            if remaining <= f32(0):
                break
            splat = splats[slot_splat[j]]
            first, end = _rows_of(splat, py0, py1)
            for y in range(first, end):
                dy = f32(y) + f32(0.5) - splat[V]
                if _row_is_empty(splat, dy):
                    continue
                remaining -= _row_weights(splat, px0, dy, y - py0, T, is_open, weights)
                for x in range(px1 - px0):
                    w = weights[x]
                    if w > f32(0):
                        label = labels[y, px0 + x]
                        column = label if label >= 0 else count
                        slots[j, column] += w * pixel_weight[y, px0 + x]
    return slots


@njit(parallel=True, fastmath=FASTMATH, cache=True)
def median_depth(splats, depths, tile_start, slot_splat, tiles_x, width, height):
    """Depth (S,) of the splat after which T <= 0.5, per pixel: (H, W) float32, NaN where none is."""
    depth = np.full((height, width), np.nan, f32)
    for t in prange(len(tile_start) - 1):
        ty = t // tiles_x
        tx = t - ty * tiles_x
        px0 = tx * TILE
        py0 = ty * TILE
        px1 = min(px0 + TILE, width)
        py1 = min(py0 + TILE, height)
        T = np.ones((TILE, TILE), f32)
        is_open = np.zeros((TILE, TILE), f32)
        weights = np.empty(TILE, f32)
        for y in range(py0, py1):
            for x in range(px0, px1):
                is_open[y - py0, x - px0] = f32(1)
        unsettled = (px1 - px0) * (py1 - py0)
        for j in range(tile_start[t], tile_start[t + 1]):
            if unsettled == 0:
                break
            splat = splats[slot_splat[j]]
            z = depths[slot_splat[j]]
            first, end = _rows_of(splat, py0, py1)
            for y in range(first, end):
                dy = f32(y) + f32(0.5) - splat[V]
                if _row_is_empty(splat, dy):
                    continue
                row = y - py0
                _row_weights(splat, px0, dy, row, T, is_open, weights)
                for x in range(px1 - px0):
                    if weights[x] > f32(0) and T[row, x] <= f32(0.5) and T[row, x] + weights[x] > f32(0.5):
                        depth[y, px0 + x] = z
                        unsettled -= 1
    return depth


@njit(parallel=True, fastmath=FASTMATH, cache=True)
def top_contributors(splats, tile_start, slot_splat, tiles_x, width, height, k):
    """The k heaviest splats of every pixel in depth order: indices (H, W, k) int32, weights (H, W, k).

    -1 and 0 pad. Of equal weights the nearer wins.
    """
    ids = np.full((height, width, k), -1, np.int32)
    heaviest = np.zeros((height, width, k), f32)
    for t in prange(len(tile_start) - 1):
        ty = t // tiles_x
        tx = t - ty * tiles_x
        px0 = tx * TILE
        py0 = ty * TILE
        px1 = min(px0 + TILE, width)
        py1 = min(py0 + TILE, height)
        T = np.ones((TILE, TILE), f32)
        is_open = np.zeros((TILE, TILE), f32)
        weights = np.empty(TILE, f32)
        held = np.zeros((TILE, TILE), np.int32)
        for y in range(py0, py1):
            for x in range(px0, px1):
                is_open[y - py0, x - px0] = f32(1)
        remaining = f32((px1 - px0) * (py1 - py0))
        for j in range(tile_start[t], tile_start[t + 1]):
            if remaining <= f32(0):
                break
            splat = splats[slot_splat[j]]
            first, end = _rows_of(splat, py0, py1)
            for y in range(first, end):
                dy = f32(y) + f32(0.5) - splat[V]
                if _row_is_empty(splat, dy):
                    continue
                row = y - py0
                remaining -= _row_weights(splat, px0, dy, row, T, is_open, weights)
                for x in range(px1 - px0):
                    w = weights[x]
                    if w <= f32(0):
                        continue
                    count = held[row, x]
                    if count == k:
                        # Drop the lightest (the farther of equals) and close the gap: depth order stays.
                        lightest = k - 1
                        for i in range(k - 2, -1, -1):
                            if heaviest[y, px0 + x, i] < heaviest[y, px0 + x, lightest]:
                                lightest = i
                        if w <= heaviest[y, px0 + x, lightest]:
                            continue
                        for i in range(lightest, k - 1):
                            ids[y, px0 + x, i] = ids[y, px0 + x, i + 1]
                            heaviest[y, px0 + x, i] = heaviest[y, px0 + x, i + 1]
                        count -= 1
                    ids[y, px0 + x, count] = slot_splat[j]
                    heaviest[y, px0 + x, count] = w
                    held[row, x] = count + 1
    return ids, heaviest
