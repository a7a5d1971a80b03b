"""Splats into pixels and gradients of pixels back onto splats: the compiled loops of the CPU engine.

Every loop shares 16x16 tiles among threads and, inside a tile, walks the splats front to back, eight
pixels at a time. No two threads write one address and every sum has a fixed order: results are bit-equal
between runs and thread counts.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

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
    first_channel,
    first_offsets,
    hits,
    open_tile,
    strips_of,
)

f32 = np.float32

# Columns of the gradient of one slot; colours follow.
G_U, G_V, G_A, G_B, G_C, G_OPACITY, G_ABS_U, G_ABS_V = range(8)
GRADIENT_COLUMNS = 8

# A tile's channels lie strip by strip: channel d of the strip at pixel p is the vector at p·D + d·WIDTH.
# Red, green and blue are by far the most frequent: their sums stay in registers where they can.
RGB = 3


@njit(parallel=True, cache=True, error_model="numpy")
def forward(bins, colors, workers):
    """Composite colours (S, D) front to back.

    Returns image (H, W, D) without background, T_end (H, W), and for every tile how many of its slots
    were visited before all its pixels were closed (tiles,) int64.
    """
    splats, tile_start, slot_splat, order = bins.splats, bins.tile_start, bins.slot_splat, bins.order
    tiles_x, width, height = bins.tiles_x, bins.width, bins.height
    D = colors.shape[1]
    image = np.empty((height, width, D), f32)
    T_end = np.empty((height, width), f32)
    visited = np.empty(len(order), np.int64)
    for worker in prange(workers):
        T = np.empty(AREA, f32)
        sums = np.empty(AREA * D, f32)
        for i in range(worker, len(order), workers):
            t = order[i]
            px0, py0, columns, rows = open_tile(t, tiles_x, width, height, T)
            sums[:] = f32(0)
            remaining = columns * rows
            j = tile_start[t]
            while j < tile_start[t + 1] and remaining > 0:
                s = slot_splat[j]
                j += 1
                y0, y1, h0, h1 = strips_of(splats, s, px0, py0)
                first = first_offsets(splats, s, px0)
                half_a = spread(f32(0.5) * splats[s, CONIC_A])
                limit, opacity = spread(splats[s, LIMIT]), spread(splats[s, OPACITY])
                red = green = blue = spread(f32(0))
                if D == RGB:
                    red, green, blue = spread(colors[s, 0]), spread(colors[s, 1]), spread(colors[s, 2])
                for y in range(y0, y1):
                    dy = f32(py0 + y) + f32(0.5) - splats[s, V]
                    b_dy = spread(splats[s, CONIC_B] * dy)
                    c_dy_dy = spread(f32(0.5) * splats[s, CONIC_C] * dy * dy)
                    for h in range(h0, h1):
                        dx = first + f32(h * WIDTH)
                        sigma = fma(fma(half_a, dx, b_dy), dx, c_dy_dy)
                        p = y * TILE + h * WIDTH
                        before = load(T, p)
                        hit = hits(sigma, limit, before)
                        if not anywhere(hit):
                            continue
                        _, weight, left, closed = blend(hit, opacity * exp_of_minus(sigma), before)
                        store(T, p, left)
                        remaining -= closed
                        q = p * D
                        if D == RGB:
                            store(sums, q, fma(weight, red, load(sums, q)))
                            store(sums, q + WIDTH, fma(weight, green, load(sums, q + WIDTH)))
                            store(sums, q + 2 * WIDTH, fma(weight, blue, load(sums, q + 2 * WIDTH)))
                        else:
                            for d in range(D):
                                store(sums, q, fma(weight, spread(colors[s, d]), load(sums, q)))
                                q += WIDTH
            visited[t] = j - tile_start[t]
            for y in range(rows):
                for x in range(columns):
                    p = y * TILE + x
                    T_end[py0 + y, px0 + x] = abs(T[p])
                    q = first_channel(p, D)
                    for d in range(D):
                        image[py0 + y, px0 + x, d] = sums[q + d * WIDTH]
    return image, T_end, visited


@njit(parallel=True, cache=True, error_model="numpy")
def backward(bins, colors, image, T_end, visited, v_image, v_alpha, background, workers, slots):
    """Gradients of every slot by replaying the forward pass front to back.

    With v the gradient of a pixel's colour, the colour that lies behind a splat is what remains of the
    pixel's total after taking away what lies in front: one running scalar per pixel, no division to
    recover T. Writes all of `slots` (n, GRADIENT_COLUMNS + D) float32; `gather` adds a splat's slots.
    """
    splats, tile_start, slot_splat, order = bins.splats, bins.tile_start, bins.slot_splat, bins.order
    tiles_x, width, height = bins.tiles_x, bins.width, bins.height
    D = image.shape[2]
    for worker in prange(workers):
        T = np.empty(AREA, f32)
        # Zeros, not whatever memory holds: lanes beyond the picture's edge have alpha 0, and 0·NaN is NaN.
        behind = np.zeros(AREA, f32)  # <v, colour still to come>, background left out
        beyond = np.zeros(AREA, f32)  # T_end · (v_alpha − <v, background>)
        v = np.empty(AREA * D, f32)
        d_color = np.empty(D * WIDTH, f32)
        for i in range(worker, len(order), workers):
            t = order[i]
            px0, py0, columns, rows = open_tile(t, tiles_x, width, height, T)
            v[:] = f32(0)
            for y in range(rows):
                for x in range(columns):
                    p = y * TILE + x
                    q = first_channel(p, D)
                    colour, back = f32(0), f32(0)
                    for d in range(D):
                        v_d = v_image[py0 + y, px0 + x, d]
                        v[q + d * WIDTH] = v_d
                        colour += v_d * image[py0 + y, px0 + x, d]
                        back += v_d * background[d]
                    behind[p] = colour
                    beyond[p] = T_end[py0 + y, px0 + x] * (v_alpha[py0 + y, px0 + x] - back)
            start = tile_start[t]
            slots[start + visited[t] : tile_start[t + 1]] = f32(0)
            for j in range(start, start + visited[t]):
                s = slot_splat[j]
                y0, y1, h0, h1 = strips_of(splats, s, px0, py0)
                first = first_offsets(splats, s, px0)
                a, b, c = splats[s, CONIC_A], splats[s, CONIC_B], splats[s, CONIC_C]
                limit, opacity = spread(splats[s, LIMIT]), spread(splats[s, OPACITY])
                zero = spread(f32(0))
                red = green = blue = d_red = d_green = d_blue = zero
                if D == RGB:
                    red, green, blue = spread(colors[s, 0]), spread(colors[s, 1]), spread(colors[s, 2])
                else:
                    d_color[:] = f32(0)
                # Moments of kappa = ∂L/∂sigma over the offsets (dx, dy): everything but colour follows.
                k = k_x = k_y = k_xx = k_xy = k_yy = abs_u = abs_v = zero
                for y in range(y0, y1):
                    dy = f32(py0 + y) + f32(0.5) - splats[s, V]
                    b_dy, c_dy = spread(b * dy), spread(c * dy)
                    c_dy_dy = spread(f32(0.5) * c * dy * dy)
                    for h in range(h0, h1):
                        dx = first + f32(h * WIDTH)
                        sigma = fma(fma(spread(f32(0.5) * a), dx, b_dy), dx, c_dy_dy)
                        p = y * TILE + h * WIDTH
                        before = load(T, p)
                        hit = hits(sigma, limit, before)
                        if not anywhere(hit):
                            continue
                        raw = opacity * exp_of_minus(sigma)
                        alpha, weight, left, _ = blend(hit, raw, before)
                        store(T, p, left)
                        dot = zero  # <v, colour of this splat>
                        q = p * D
                        if D == RGB:
                            v_red, v_green, v_blue = load(v, q), load(v, q + WIDTH), load(v, q + 2 * WIDTH)
                            dot = fma(v_blue, blue, fma(v_green, green, v_red * red))
                            d_red = fma(weight, v_red, d_red)
                            d_green = fma(weight, v_green, d_green)
                            d_blue = fma(weight, v_blue, d_blue)
                        else:
                            for d in range(D):
                                v_d = load(v, q + d * WIDTH)
                                dot = fma(v_d, spread(colors[s, d]), dot)
                                store(d_color, d * WIDTH, fma(weight, v_d, load(d_color, d * WIDTH)))
                        rest = load(behind, p) - weight * dot
                        store(behind, p, rest)
                        d_alpha = before * dot - (rest - load(beyond, p)) / (f32(1) - alpha)
                        # Where alpha is clamped it does not move.
                        kappa = select(raw <= ALPHA_MAX, (f32(0) - alpha) * d_alpha, zero)
                        kappa_dx = kappa * dx
                        k = k + kappa
                        k_x = k_x + kappa_dx
                        k_xx = fma(kappa_dx, dx, k_xx)
                        k_y = fma(kappa, spread(dy), k_y)
                        k_xy = fma(kappa_dx, spread(dy), k_xy)
                        k_yy = fma(kappa, spread(dy * dy), k_yy)
                        size = absolute(kappa)
                        abs_u = fma(size, absolute(fma(spread(a), dx, b_dy)), abs_u)
                        abs_v = fma(size, absolute(fma(spread(b), dx, c_dy)), abs_v)
                sum_x, sum_y = total(k_x), total(k_y)
                slots[j, G_U] = -(a * sum_x + b * sum_y)
                slots[j, G_V] = -(b * sum_x + c * sum_y)
                slots[j, G_A] = f32(0.5) * total(k_xx)
                slots[j, G_B] = total(k_xy)
                slots[j, G_C] = f32(0.5) * total(k_yy)
                slots[j, G_OPACITY] = -total(k) / splats[s, OPACITY]  # kappa = −d_alpha·opacity·exp(−sigma)
                slots[j, G_ABS_U] = total(abs_u)
                slots[j, G_ABS_V] = total(abs_v)
                if D == RGB:
                    slots[j, GRADIENT_COLUMNS] = total(d_red)
                    slots[j, GRADIENT_COLUMNS + 1] = total(d_green)
                    slots[j, GRADIENT_COLUMNS + 2] = total(d_blue)
                else:
                    for d in range(D):
                        slots[j, GRADIENT_COLUMNS + d] = total(load(d_color, d * WIDTH))


@njit(inline="always")
def _add_up(splat_start, splat_slot, flat_slots, columns, s, count, out, place):
    """The first `count` of the columns of splat s's slots, added in fixed order into flat `out` from `place` on."""
    whole = count // WIDTH * WIDTH
    first, last = splat_start[s], splat_start[s + 1]
    for c in range(0, whole, WIDTH):
        summed = spread(f32(0))
        for own in range(first, last):
            summed = summed + load(flat_slots, splat_slot[own] * columns + c)
        store(out, place + c, summed)
    for c in range(whole, count):
        one = f32(0)
        for own in range(first, last):
            one += flat_slots[splat_slot[own] * columns + c]
        out[place + c] = one


@njit(parallel=True, cache=True)
def gather(bins, slots):
    """Sum each splat's slots (n, C): (S, C) float32."""
    splat_start, splat_slot = bins.splat_start, bins.splat_slot
    columns = slots.shape[1]
    sums = np.empty((len(splat_start) - 1, columns), f32)
    flat_slots, flat_sums = slots.reshape(-1), sums.reshape(-1)
    for s in prange(len(sums)):
        _add_up(splat_start, splat_slot, flat_slots, columns, s, columns, flat_sums, s * columns)
    return sums


@njit(parallel=True, cache=True)
def gather_rows(bins, slots, rows, sums, first, mass):
    """Sum each splat's slots (n, C + 1) into columns `first` … `first` + C of sums (N, D), and its last into mass (N,).

    `rows` (S,) says which row of the scene a splat is.
    """
    splat_start, splat_slot = bins.splat_start, bins.splat_slot
    columns = slots.shape[1]
    flat_slots, flat_sums = slots.reshape(-1), sums.reshape(-1)
    for s in prange(len(rows)):
        place = rows[s] * sums.shape[1] + first
        _add_up(splat_start, splat_slot, flat_slots, columns, s, columns - 1, flat_sums, place)
        one = f32(0)
        for own in range(splat_start[s], splat_start[s + 1]):
            one += slots[splat_slot[own], columns - 1]
        mass[rows[s]] = one
