"""Sums over pixels for every splat, and the splats that matter for every pixel: compiled loops over weights.

They visit strips exactly as `compositing.forward` does, so weights agree to the last bit.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from backend.render.lanes import WIDTH, anywhere, bits, both, fma, lane, load, lowest, spread, store, total
from backend.render.products import aligned, copied, padded, weighted
from backend.render.tiles import (
    AREA,
    CONIC_A,
    CONIC_B,
    CONIC_C,
    LIMIT,
    OPACITY,
    TILE,
    V,
    blend,
    exp_of_minus,
    first_offsets,
    hits,
    open_tile,
    strips_of,
)

f32 = np.float32


@njit(inline="always")
def _shape(splats, s):
    """What `_weights` needs of splat s, read once per tile: what lies in memory might change with every T."""
    half_a, half_c = spread(f32(0.5) * splats[s, CONIC_A]), f32(0.5) * splats[s, CONIC_C]
    return half_a, splats[s, CONIC_B], half_c, splats[s, V], spread(splats[s, LIMIT]), spread(splats[s, OPACITY])


@njit(inline="always")
def _weights(shape, first, py0, y, h, T):
    """Blend a splat into strip h of row y: its weights alpha·T (Lanes) and how many pixels it closed."""
    half_a, conic_b, half_c, v, limit, opacity = shape
    dy = f32(py0 + y) + f32(0.5) - v
    dx = first + f32(h * WIDTH)
    sigma = fma(fma(half_a, dx, spread(conic_b * dy)), dx, spread(half_c * dy * dy))
    before = load(T, y * TILE + h * WIDTH)
    hit = hits(sigma, limit, before)
    weight, closed = spread(f32(0)), 0
    if anywhere(hit):
        _, weight, left, closed = blend(hit, opacity * exp_of_minus(sigma), before)
        store(T, y * TILE + h * WIDTH, left)
    return weight, closed


@njit(parallel=True, cache=True, error_model="numpy")
def accumulate_features(bins, signal, pixel_weight, workers, slots):
    """Σ_p w·m·g per slot for a signal g (H, W, D) into `slots` (n, D+1) float32, the last column Σ_p w·m.

    A splat's weights in a tile times the tile's signal is a matrix product, and done as one: lanes are channels,
    so that sums stay in registers and nothing is added across lanes.
    """
    splats, tile_start, slot_splat, order = bins.splats, bins.tile_start, bins.slot_splat, bins.order
    tiles_x, width, height = bins.tiles_x, bins.width, bins.height
    D = signal.shape[2]
    stride = padded(D)
    flat_signal, flat_slots = signal.reshape(-1), slots.reshape(-1)
    for worker in prange(workers):
        T = np.empty(AREA, f32)
        counted = np.zeros(AREA, f32)
        tile_signal = aligned(AREA * stride)
        tile_signal[:] = f32(0)
        held = aligned(AREA)  # the weights of one splat, in the strips it touches
        place = np.empty(AREA // WIDTH, np.int64)  # which strips these are
        for i in range(worker, len(order), workers):
            t = order[i]
            px0, py0, columns, rows = open_tile(t, tiles_x, width, height, T)
            if columns < TILE or rows < TILE:
                tile_signal[:] = f32(0)  # pixels beyond the picture's edge weigh 0, but 0·NaN is NaN
            for y in range(rows):
                for x in range(columns):
                    p = y * TILE + x
                    counted[p] = pixel_weight[py0 + y, px0 + x]
                    copied(flat_signal, ((py0 + y) * width + px0 + x) * D, D, tile_signal, p * stride)
            remaining = columns * rows
            for j in range(tile_start[t], tile_start[t + 1]):
                s = slot_splat[j]
                mass = spread(f32(0))
                y0, y1, h0, h1 = strips_of(splats, s, px0, py0)
                first = first_offsets(splats, s, px0)
                shape = _shape(splats, s)
                strips = 0
                for y in range(y0, y1 if remaining > 0 else y0):
                    for h in range(h0, h1):
                        weight, closed = _weights(shape, first, py0, y, h, T)
                        remaining -= closed
                        if anywhere(weight > f32(0)):
                            strip = y * (TILE // WIDTH) + h
                            weight = weight * load(counted, strip * WIDTH)
                            mass = mass + weight
                            store(held, strips * WIDTH, weight)
                            place[strips] = strip
                            strips += 1
                weighted((0, strips, 0), place, held, WIDTH, tile_signal, D, stride, flat_slots, j * (D + 1))
                slots[j, D] = total(mass)


@njit(parallel=True, cache=True, error_model="numpy")
def accumulate_labels(bins, labels, label_count, pixel_weight, workers):
    """Σ_p w·m per slot and label: (slots, L+1) float32; pixels labelled -1 go to the last column."""
    splats, tile_start, slot_splat, order = bins.splats, bins.tile_start, bins.slot_splat, bins.order
    tiles_x, width, height = bins.tiles_x, bins.width, bins.height
    slots = np.zeros((len(slot_splat), label_count + 1), f32)
    for worker in prange(workers):
        T = np.empty(AREA, f32)
        for i in range(worker, len(order), workers):
            t = order[i]
            px0, py0, columns, rows = open_tile(t, tiles_x, width, height, T)
            remaining = columns * rows
            for j in range(tile_start[t], tile_start[t + 1]):
                if remaining <= 0:
                    break
                s = slot_splat[j]
                y0, y1, h0, h1 = strips_of(splats, s, px0, py0)
                first = first_offsets(splats, s, px0)
                shape = _shape(splats, s)
                for y in range(y0, y1):
                    for h in range(h0, h1):
                        weight, closed = _weights(shape, first, py0, y, h, T)
                        remaining -= closed
                        hit_bits = bits(weight > f32(0))
                        while hit_bits != 0:
                            x = lowest(hit_bits)
                            hit_bits &= hit_bits - 1
                            row, column = py0 + y, px0 + h * WIDTH + x
                            label = labels[row, column]
                            slots[j, label if label >= 0 else label_count] += (
                                lane(weight, x) * pixel_weight[row, column]
                            )
    return slots


@njit(parallel=True, cache=True, error_model="numpy")
def median_depth(bins, depths, workers):
    """Depth (S,) of the splat after which T <= 0.5, per pixel: (H, W) float32, NaN where none is."""
    splats, tile_start, slot_splat, order = bins.splats, bins.tile_start, bins.slot_splat, bins.order
    tiles_x, width, height = bins.tiles_x, bins.width, bins.height
    depth = np.full((height, width), np.nan, f32)
    for worker in prange(workers):
        T = np.empty(AREA, f32)
        for i in range(worker, len(order), workers):
            t = order[i]
            px0, py0, columns, rows = open_tile(t, tiles_x, width, height, T)
            unsettled = columns * rows
            for j in range(tile_start[t], tile_start[t + 1]):
                if unsettled == 0:
                    break
                s = slot_splat[j]
                y0, y1, h0, h1 = strips_of(splats, s, px0, py0)
                first = first_offsets(splats, s, px0)
                shape = _shape(splats, s)
                for y in range(y0, y1):
                    for h in range(h0, h1):
                        weight, _ = _weights(shape, first, py0, y, h, T)
                        left = load(T, y * TILE + h * WIDTH)
                        now = both(both(left <= f32(0.5), left + weight > f32(0.5)), weight > f32(0))
                        settled = bits(now)
                        while settled != 0:
                            x = lowest(settled)
                            settled &= settled - 1
                            depth[py0 + y, px0 + h * WIDTH + x] = depths[s]
                            unsettled -= 1
    return depth


@njit(parallel=True, cache=True, error_model="numpy")
def top_contributors(bins, k, workers):
    """The k heaviest splats of every pixel in depth order: indices (H, W, k) int32, weights (H, W, k).

    -1 and 0 pad. Of equal weights the nearer wins.
    """
    splats, tile_start, slot_splat, order = bins.splats, bins.tile_start, bins.slot_splat, bins.order
    tiles_x, width, height = bins.tiles_x, bins.width, bins.height
    ids = np.full((height, width, k), -1, np.int32)
    heaviest = np.zeros((height, width, k), f32)
    for worker in prange(workers):
        T = np.empty(AREA, f32)
        held = np.empty(AREA, np.int32)
        for i in range(worker, len(order), workers):
            t = order[i]
            px0, py0, columns, rows = open_tile(t, tiles_x, width, height, T)
            held[:] = 0
            remaining = columns * rows
            for j in range(tile_start[t], tile_start[t + 1]):
                if remaining <= 0:
                    break
                s = slot_splat[j]
                y0, y1, h0, h1 = strips_of(splats, s, px0, py0)
                first = first_offsets(splats, s, px0)
                shape = _shape(splats, s)
                for y in range(y0, y1):
                    for h in range(h0, h1):
                        weight, closed = _weights(shape, first, py0, y, h, T)
                        remaining -= closed
                        hit_bits = bits(weight > f32(0))
                        while hit_bits != 0:
                            x = lowest(hit_bits)
                            hit_bits &= hit_bits - 1
                            p = y * TILE + h * WIDTH + x
                            row, column = py0 + y, px0 + h * WIDTH + x
                            held[p] = _ranked(ids[row, column], heaviest[row, column], held[p], s, lane(weight, x))
    return ids, heaviest


@njit(inline="always")
def _ranked(ids, weights, held, s, weight):
    """Put splat s among a pixel's heaviest, which are in depth order; returns how many are held now."""
    k = len(ids)
    if held == k:
        # Drop the lightest (the farther of equals) and close the gap: depth order stays.
        lightest = k - 1
        for i in range(k - 2, -1, -1):
            if weights[i] < weights[lightest]:
                lightest = i
        if weight <= weights[lightest]:
            return held
        for i in range(lightest, k - 1):
            ids[i] = ids[i + 1]
            weights[i] = weights[i + 1]
        held -= 1
    ids[held] = s
    weights[held] = weight
    return held + 1
