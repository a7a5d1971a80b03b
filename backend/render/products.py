"""The matrix products behind pictures of many channels: a tile's weights times colours, or times its pixels.

Each is over the pairs (strip, splat) that hit, in the order in which they were blended, and keeps eight sums in
registers, because a sum can be added to again only after some cycles.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from backend.render.lanes import WIDTH, fma, load, spread, spread_lanes, store
from backend.render.tiles import AREA
from backend.render.wide import (
    WIDE,
    channel,
    fma_wide,
    load_wide,
    nothing,
    spread_wide,
    store_wide,
    sum_wide,
)

f32 = np.float32

LINE = 16  # float32 values of a cache line
GROUP = 64  # splats that are blended before their channels are added; the weights take 64 kB
STRIPS = AREA // WIDTH
HITS = STRIPS * GROUP  # pairs (strip, splat) of a group at most, in the order in which they are blended
LISTED = GROUP + 8  # room for a strip's hits: with a power of two, the lists of all strips would share few cache sets
# What the backward pass keeps of a hit, eight values each. Alpha is negative where it is clamped and does not move.
ALPHA, BEFORE, WEIGHT, DOT = 0, WIDTH, 2 * WIDTH, 3 * WIDTH
RECORD = 4 * WIDTH


@njit(inline="always")
def padded(channels):
    """Channels of a pixel or splat while they are worked on, with zeros at the end."""
    return (channels + WIDE - 1) // WIDE * WIDE


@njit(inline="always")
def aligned(size):
    """A float32 array that starts where a cache line does: wide values do not straddle two."""
    room = np.empty(size + LINE, f32)
    first = (-room.ctypes.data) % (4 * LINE) // 4
    return room[first : first + size]


@njit(inline="always")
def copied(source, start, channels, target, place):
    """Copy values of a flat array to a place of another."""
    whole = channels // WIDE * WIDE
    for c in range(0, whole, WIDE):
        store_wide(target, place + c, load_wide(source, start + c))
    for c in range(whole, channels):
        target[place + c] = source[start + c]


@njit(cache=True, error_model="numpy")
def add_colors(listed, hit_count, owner, weights, colors, pixels, stride):
    """Add the group's weights times its colours to the tile's pixels (AREA·stride), eight pixels by WIDE channels."""
    for strip in range(STRIPS):
        number = hit_count[strip]
        if number == 0:
            continue
        first = strip * LISTED
        for c in range(0, stride, WIDE):
            q = strip * WIDTH * stride + c
            p0 = load_wide(pixels, q)
            p1 = load_wide(pixels, q + stride)
            p2 = load_wide(pixels, q + 2 * stride)
            p3 = load_wide(pixels, q + 3 * stride)
            p4 = load_wide(pixels, q + 4 * stride)
            p5 = load_wide(pixels, q + 5 * stride)
            p6 = load_wide(pixels, q + 6 * stride)
            p7 = load_wide(pixels, q + 7 * stride)
            for n in range(first, first + number):
                hit = listed[n]
                color = load_wide(colors, owner[hit] * stride + c)
                w = hit * WIDTH
                p0 = fma_wide(spread_wide(weights, w), color, p0)
                p1 = fma_wide(spread_wide(weights, w + 1), color, p1)
                p2 = fma_wide(spread_wide(weights, w + 2), color, p2)
                p3 = fma_wide(spread_wide(weights, w + 3), color, p3)
                p4 = fma_wide(spread_wide(weights, w + 4), color, p4)
                p5 = fma_wide(spread_wide(weights, w + 5), color, p5)
                p6 = fma_wide(spread_wide(weights, w + 6), color, p6)
                p7 = fma_wide(spread_wide(weights, w + 7), color, p7)
            store_wide(pixels, q, p0)
            store_wide(pixels, q + stride, p1)
            store_wide(pixels, q + 2 * stride, p2)
            store_wide(pixels, q + 3 * stride, p3)
            store_wide(pixels, q + 4 * stride, p4)
            store_wide(pixels, q + 5 * stride, p5)
            store_wide(pixels, q + 6 * stride, p6)
            store_wide(pixels, q + 7 * stride, p7)


@njit(cache=True, error_model="numpy")
def dotted(listed, hit_count, owner, colors, v_strips, channels, stride, records):
    """<v, colour> of every pair (strip, splat) that hit, four splats at once."""
    for strip in range(STRIPS):
        first = strip * LISTED
        last = first + hit_count[strip] - 1
        for n in range(first, last + 1, 4):
            # Beyond the last, the last again.
            h0, h1, h2, h3 = listed[n], listed[min(n + 1, last)], listed[min(n + 2, last)], listed[min(n + 3, last)]
            c0, c1, c2, c3 = owner[h0] * stride, owner[h1] * stride, owner[h2] * stride, owner[h3] * stride
            zero = spread(f32(0))
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = zero
            q = strip * WIDTH * stride
            for d in range(0, channels, 2):
                v = load(v_strips, q + d * WIDTH)
                a0 = fma(v, spread_lanes(colors, c0 + d), a0)
                a1 = fma(v, spread_lanes(colors, c1 + d), a1)
                a2 = fma(v, spread_lanes(colors, c2 + d), a2)
                a3 = fma(v, spread_lanes(colors, c3 + d), a3)
                v = load(v_strips, q + d * WIDTH + WIDTH)
                b0 = fma(v, spread_lanes(colors, c0 + d + 1), b0)
                b1 = fma(v, spread_lanes(colors, c1 + d + 1), b1)
                b2 = fma(v, spread_lanes(colors, c2 + d + 1), b2)
                b3 = fma(v, spread_lanes(colors, c3 + d + 1), b3)
            store(records, h0 * RECORD + DOT, a0 + b0)
            store(records, h1 * RECORD + DOT, a1 + b1)
            store(records, h2 * RECORD + DOT, a2 + b2)
            store(records, h3 * RECORD + DOT, a3 + b3)


@njit(forceinline=True, error_model="numpy")
def weighted(hits, strip_of, weights, step, pixels, channels, stride, sums, place):
    """One splat's weights times the pixels (AREA·stride) it hit, into flat `sums` from `place` on.

    Weights of hit i lie at hits[2] + i·step; hits[0] to hits[1] are its own.
    """
    first, last, offset = hits
    for c in range(0, stride, WIDE):
        zero = nothing()
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = zero
        for hit in range(first, last):
            w = offset + hit * step
            q = strip_of[hit] * WIDTH * stride + c
            s0 = fma_wide(spread_wide(weights, w), load_wide(pixels, q), s0)
            s1 = fma_wide(spread_wide(weights, w + 1), load_wide(pixels, q + stride), s1)
            s2 = fma_wide(spread_wide(weights, w + 2), load_wide(pixels, q + 2 * stride), s2)
            s3 = fma_wide(spread_wide(weights, w + 3), load_wide(pixels, q + 3 * stride), s3)
            s4 = fma_wide(spread_wide(weights, w + 4), load_wide(pixels, q + 4 * stride), s4)
            s5 = fma_wide(spread_wide(weights, w + 5), load_wide(pixels, q + 5 * stride), s5)
            s6 = fma_wide(spread_wide(weights, w + 6), load_wide(pixels, q + 6 * stride), s6)
            s7 = fma_wide(spread_wide(weights, w + 7), load_wide(pixels, q + 7 * stride), s7)
        summed = sum_wide(sum_wide(sum_wide(s0, s1), sum_wide(s2, s3)), sum_wide(sum_wide(s4, s5), sum_wide(s6, s7)))
        if c + WIDE <= channels:
            store_wide(sums, place + c, summed)
        else:
            for d in range(channels - c):
                sums[place + c + d] = channel(summed, d)
