"""Splats of many channels into pixels and gradients back: weights of a group of splats first, then matrix products.

With few channels, adding a splat to a strip is a matter of a few instructions (`compositing`). With many, every
channel of the strip would be loaded, added to and stored for every splat. Here a group of splats is blended first,
which leaves their weights in every strip they hit. The rest is three products, whose sums stay in registers, over
the pairs (strip, splat) that hit:

    picture of a strip = weights · colours      dot = gradient of a strip's picture · colours
    gradient of a splat's colour = weights · gradient of the picture, over its strips
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from backend.render.compositing import (
    G_A,
    G_ABS_U,
    G_ABS_V,
    G_B,
    G_C,
    G_OPACITY,
    G_U,
    G_V,
    GRADIENT_COLUMNS,
)
from backend.render.lanes import (
    WIDTH,
    absolute,
    anywhere,
    fma,
    load,
    select,
    spread,
    store,
    total,
    transpose,
)
from backend.render.products import (
    ALPHA,
    BEFORE,
    DOT,
    GROUP,
    HITS,
    LISTED,
    RECORD,
    STRIPS,
    WEIGHT,
    add_colors,
    aligned,
    copied,
    dotted,
    padded,
    weighted,
)
from backend.render.tiles import (
    ALPHA_MAX,
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
from backend.render.wide import WIDE, fma_wide, load_wide, nothing, store_wide, stream_wide, total_wide

f32 = np.float32
ACROSS = TILE // WIDTH


@njit(parallel=True, cache=True, error_model="numpy")
def forward(bins, colors, workers, image, T_end):
    """Composite colours (S, D) front to back into image (H, W, D) without background and T_end (H, W).

    Returns, for every tile, how many of its slots were visited before all its pixels were closed (tiles,) int64.
    """
    splats, tile_start, slot_splat, order = bins.splats, bins.tile_start, bins.slot_splat, bins.order
    tiles_x, width, height = bins.tiles_x, bins.width, bins.height
    D = colors.shape[1]
    stride = padded(D)
    visited = np.empty(len(order), np.int64)
    flat_image, flat_colors = image.reshape(-1), colors.reshape(-1)
    # A picture of so many channels is larger than the caches, and reading what it overwrites took a fifth of the time.
    streams = D % WIDE == 0 and image.ctypes.data % (4 * WIDE) == 0
    for worker in prange(workers):
        T = np.empty(AREA, f32)
        pixels = aligned(AREA * stride)
        group_colors = aligned(GROUP * stride)
        group_colors[:] = f32(0)
        hit_count = np.zeros(STRIPS, np.int64)
        weights = aligned(HITS * WIDTH)
        owner = np.empty(HITS, np.int64)  # which of the group
        listed = np.empty(STRIPS * LISTED, np.int64)  # hits of every strip
        for i in range(worker, len(order), workers):
            t = order[i]
            px0, py0, columns, rows = open_tile(t, tiles_x, width, height, T)
            pixels[:] = f32(0)
            remaining = columns * rows
            j = tile_start[t]
            while j < tile_start[t + 1] and remaining > 0:
                hit_count[:] = 0
                last = min(j + GROUP, tile_start[t + 1])
                for k in range(last - j):
                    copied(flat_colors, np.int64(slot_splat[j + k]) * D, D, group_colors, k * stride)
                k = own = 0
                while j < last and remaining > 0:
                    s = slot_splat[j]
                    j += 1
                    y0, y1, h0, h1 = strips_of(splats, s, px0, py0)
                    first = first_offsets(splats, s, px0)
                    half_a = spread(f32(0.5) * splats[s, CONIC_A])
                    limit, opacity = spread(splats[s, LIMIT]), spread(splats[s, OPACITY])
                    conic_b, half_c, v = splats[s, CONIC_B], f32(0.5) * splats[s, CONIC_C], splats[s, V]
                    for y in range(y0, y1):
                        dy = f32(py0 + y) + f32(0.5) - v
                        b_dy = spread(conic_b * dy)
                        c_dy_dy = spread(half_c * dy * dy)
                        for h in range(h0, h1):
                            dx = first + f32(h * WIDTH)
                            sigma = fma(fma(half_a, dx, b_dy), dx, c_dy_dy)
                            strip = y * ACROSS + h
                            before = load(T, strip * WIDTH)
                            hit = hits(sigma, limit, before)
                            if not anywhere(hit):
                                continue
                            _, weight, left, closed = blend(hit, opacity * exp_of_minus(sigma), before)
                            store(T, strip * WIDTH, left)
                            remaining -= closed
                            store(weights, own * WIDTH, weight)
                            owner[own] = k
                            listed[strip * LISTED + hit_count[strip]] = own
                            hit_count[strip] += 1
                            own += 1
                    k += 1
                add_colors(listed, hit_count, owner, weights, group_colors, pixels, stride)
            visited[t] = j - tile_start[t]
            for y in range(rows):
                for x in range(columns):
                    p = y * TILE + x
                    T_end[py0 + y, px0 + x] = abs(T[p])
                    place = ((py0 + y) * width + px0 + x) * D
                    if streams:
                        for c in range(0, D, WIDE):
                            stream_wide(flat_image, place + c, load_wide(pixels, p * stride + c))
                    else:
                        copied(pixels, p * stride, D, flat_image, place)
    return visited


@njit(parallel=True, cache=True, error_model="numpy")
def backward(bins, colors, image, T_end, visited, v_image, v_alpha, background, workers, slots):
    """Gradients of every slot: `compositing.backward` for many channels, a group of splats at a time."""
    splats, tile_start, slot_splat, order = bins.splats, bins.tile_start, bins.slot_splat, bins.order
    tiles_x, width, height = bins.tiles_x, bins.width, bins.height
    D = image.shape[2]
    stride = padded(D)
    whole = D // WIDE * WIDE
    flat_v, flat_image, flat_colors, flat_slots = (
        v_image.reshape(-1),
        image.reshape(-1),
        colors.reshape(-1),
        slots.reshape(-1),
    )
    for worker in prange(workers):
        T = np.empty(AREA, f32)
        # Zeros, not whatever memory holds: lanes beyond the picture's edge have alpha 0, and 0·NaN is NaN.
        behind = np.zeros(AREA, f32)  # <v, colour still to come>, background left out
        beyond = np.zeros(AREA, f32)  # T_end · (v_alpha − <v, background>)
        v_pixels = aligned(AREA * stride)  # pixel by pixel
        v_strips = aligned(AREA * stride)  # strip by strip, and there channel by channel
        group_colors = aligned(GROUP * stride)
        group_colors[:] = f32(0)
        hit_count = np.zeros(STRIPS, np.int64)
        records = aligned(HITS * RECORD)
        owner = np.empty(HITS, np.int64)
        strip_of = np.empty(HITS, np.int64)
        listed = np.empty(STRIPS * LISTED, np.int64)
        own_start = np.zeros(GROUP + 1, np.int64)
        for i in range(worker, len(order), workers):
            t = order[i]
            px0, py0, columns, rows = open_tile(t, tiles_x, width, height, T)
            v_pixels[:] = f32(0)
            for y in range(rows):
                for x in range(columns):
                    p = y * TILE + x
                    place = ((py0 + y) * width + px0 + x) * D
                    seen, back = nothing(), nothing()
                    for c in range(0, whole, WIDE):
                        v_c = load_wide(flat_v, place + c)
                        store_wide(v_pixels, p * stride + c, v_c)
                        seen = fma_wide(v_c, load_wide(flat_image, place + c), seen)
                        back = fma_wide(v_c, load_wide(background, c), back)
                    seen_rest, back_rest = f32(0), f32(0)
                    for d in range(whole, D):
                        v_d = flat_v[place + d]
                        v_pixels[p * stride + d] = v_d
                        seen_rest += v_d * flat_image[place + d]
                        back_rest += v_d * background[d]
                    behind[p] = total_wide(seen) + seen_rest
                    beyond[p] = T_end[py0 + y, px0 + x] * (v_alpha[py0 + y, px0 + x] - (total_wide(back) + back_rest))
            for strip in range(STRIPS):
                for c in range(0, stride, WIDTH):
                    q = strip * WIDTH * stride
                    transpose(v_pixels, q + c, stride, v_strips, q + c * WIDTH)
            start, end = tile_start[t], tile_start[t] + visited[t]
            slots[end : tile_start[t + 1]] = f32(0)
            for j0 in range(start, end, GROUP):
                number = min(GROUP, end - j0)
                hit_count[:] = 0
                own = 0
                for k in range(number):
                    s = slot_splat[j0 + k]
                    copied(flat_colors, np.int64(s) * D, D, group_colors, k * stride)
                    y0, y1, h0, h1 = strips_of(splats, s, px0, py0)
                    first = first_offsets(splats, s, px0)
                    half_a = spread(f32(0.5) * splats[s, CONIC_A])
                    limit, opacity = spread(splats[s, LIMIT]), spread(splats[s, OPACITY])
                    conic_b, half_c, v = splats[s, CONIC_B], f32(0.5) * splats[s, CONIC_C], splats[s, V]
                    for y in range(y0, y1):
                        dy = f32(py0 + y) + f32(0.5) - v
                        b_dy = spread(conic_b * dy)
                        c_dy_dy = spread(half_c * dy * dy)
                        for h in range(h0, h1):
                            dx = first + f32(h * WIDTH)
                            sigma = fma(fma(half_a, dx, b_dy), dx, c_dy_dy)
                            strip = y * ACROSS + h
                            before = load(T, strip * WIDTH)
                            hit = hits(sigma, limit, before)
                            if not anywhere(hit):
                                continue
                            raw = opacity * exp_of_minus(sigma)
                            alpha, weight, left, _ = blend(hit, raw, before)
                            store(T, strip * WIDTH, left)
                            place = own * RECORD
                            store(records, place + ALPHA, select(raw <= ALPHA_MAX, alpha, f32(0) - alpha))
                            store(records, place + BEFORE, before)
                            store(records, place + WEIGHT, weight)
                            owner[own] = k
                            strip_of[own] = strip
                            listed[strip * LISTED + hit_count[strip]] = own
                            hit_count[strip] += 1
                            own += 1
                    own_start[k + 1] = own
                dotted(listed, hit_count, owner, group_colors, v_strips, D, stride, records)
                for k in range(number):
                    j = j0 + k
                    s = slot_splat[j]
                    first = first_offsets(splats, s, px0)
                    conic_a, conic_b, conic_c = splats[s, CONIC_A], splats[s, CONIC_B], splats[s, CONIC_C]
                    zero = spread(f32(0))
                    # Moments of kappa = ∂L/∂sigma over the offsets (dx, dy): everything but colour follows.
                    k_0 = k_x = k_y = k_xx = k_xy = k_yy = abs_u = abs_v = zero
                    for own in range(own_start[k], own_start[k + 1]):
                        place, strip = own * RECORD, strip_of[own]
                        dy = f32(py0 + strip // ACROSS) + f32(0.5) - splats[s, V]
                        dx = first + f32(strip % ACROSS * WIDTH)
                        dot = load(records, place + DOT)
                        signed = load(records, place + ALPHA)
                        alpha = absolute(signed)
                        rest = load(behind, strip * WIDTH) - load(records, place + WEIGHT) * dot
                        store(behind, strip * WIDTH, rest)
                        d_alpha = load(records, place + BEFORE) * dot - (rest - load(beyond, strip * WIDTH)) / (
                            f32(1) - alpha
                        )
                        kappa = select(signed >= f32(0), (f32(0) - alpha) * d_alpha, zero)
                        kappa_dx = kappa * dx
                        k_0 = k_0 + kappa
                        k_x = k_x + kappa_dx
                        k_xx = fma(kappa_dx, dx, k_xx)
                        k_y = fma(kappa, spread(dy), k_y)
                        k_xy = fma(kappa_dx, spread(dy), k_xy)
                        k_yy = fma(kappa, spread(dy * dy), k_yy)
                        size = absolute(kappa)
                        abs_u = fma(size, absolute(fma(spread(conic_a), dx, spread(conic_b * dy))), abs_u)
                        abs_v = fma(size, absolute(fma(spread(conic_b), dx, spread(conic_c * dy))), abs_v)
                    sum_x, sum_y = total(k_x), total(k_y)
                    slots[j, G_U] = -(conic_a * sum_x + conic_b * sum_y)
                    slots[j, G_V] = -(conic_b * sum_x + conic_c * sum_y)
                    slots[j, G_A] = f32(0.5) * total(k_xx)
                    slots[j, G_B] = total(k_xy)
                    slots[j, G_C] = f32(0.5) * total(k_yy)
                    slots[j, G_OPACITY] = -total(k_0) / splats[s, OPACITY]  # kappa = −d_alpha·opacity·exp(−sigma)
                    slots[j, G_ABS_U] = total(abs_u)
                    slots[j, G_ABS_V] = total(abs_v)
                    place = j * slots.shape[1] + GRADIENT_COLUMNS
                    mine = own_start[k], own_start[k + 1], WEIGHT
                    weighted(mine, strip_of, records, RECORD, v_pixels, D, stride, flat_slots, place)
