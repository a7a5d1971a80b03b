"""Projected Gaussians into tiles, and what every loop over a tile's pixels shares.

A *splat* is a projected Gaussian, a *slot* one (splat, tile) intersection, a *strip* eight neighbouring
pixels of one row. Splats are numbered in depth order, so that tile lists are sorted by construction.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from backend.render.lanes import (
    WIDTH,
    absolute,
    both,
    but_not,
    count,
    fma,
    lesser,
    ramp,
    select,
    spread,
)

f32 = np.float32

TILE = 16
AREA = TILE * TILE
ALPHA_MAX = f32(0.999)  # gsplat 1.5.3; its main branch uses 0.99
ALPHA_MIN = f32(1 / 255)
STOP = f32(1e-4)  # a pixel closes before the Gaussian that would take T to this or below
SIGMA_MAX = f32(5.6)  # exp(-5.6) < 1/255: nothing beyond can pass ALPHA_MIN

# Columns of the per-splat array that the loops read. LIMIT is the sigma at which alpha is ALPHA_MIN.
U, V, CONIC_A, CONIC_B, CONIC_C, OPACITY, RADIUS_X, RADIUS_Y, LIMIT = range(9)
SPLAT_COLUMNS = 9

BLOCKS = 32  # of splats that are counted side by side


class Binned(NamedTuple):
    """Splats sorted into tiles: what every loop walks."""

    splats: np.ndarray  # (S, SPLAT_COLUMNS) float32, nearest first
    tile_start: np.ndarray  # (tiles + 1,) int64: tile t owns slots tile_start[t]:tile_start[t + 1]
    slot_splat: np.ndarray  # (n,) int32
    splat_start: np.ndarray  # (S + 1,) int64
    splat_slot: np.ndarray  # (n,) int64: splat s owns slots splat_slot[splat_start[s]:splat_start[s + 1]]
    order: np.ndarray  # (tiles,) int64, in which to work on the tiles: longest lists first
    tiles_x: int
    width: int  # px
    height: int  # px


def binned(splats: np.ndarray, width: int, height: int) -> Binned:
    """Sort splats (S, SPLAT_COLUMNS) into the tiles that their ellipses touch."""
    tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
    return Binned(splats, *_bin_splats(splats, tiles_x, tiles_y), tiles_x, width, height)


@njit(parallel=True, cache=True, error_model="numpy")
def _bin_splats(splats, tiles_x, tiles_y):
    """The arrays of `Binned` from tile_start to order."""
    number = len(splats)
    tiles = tiles_x * tiles_y
    # Each splat touches a run of tiles in each of some tile rows.
    row_start = np.zeros(number + 1, np.int64)
    top = np.empty(number, np.int32)
    for s in range(number):
        v, ry = splats[s, V], splats[s, RADIUS_Y]
        first = min(max(math.floor((v - ry) / f32(TILE)), 0), tiles_y)
        last = min(max(math.ceil((v + ry) / f32(TILE)), first), tiles_y)
        top[s] = first
        row_start[s + 1] = row_start[s] + last - first
    runs = np.empty((row_start[number], 2), np.int32)
    owned = np.zeros(number, np.int64)
    block_size = -(-number // BLOCKS)
    counts = np.zeros((BLOCKS, tiles), np.int64)
    for block in prange(BLOCKS):
        for s in range(block * block_size, min((block + 1) * block_size, number)):
            for r in range(row_start[s], row_start[s + 1]):
                ty = top[s] + r - row_start[s]
                x0, x1 = _run(splats, s, ty * TILE, tiles_x)
                runs[r, 0] = x0
                runs[r, 1] = x1
                owned[s] += x1 - x0
                for tx in range(x0, x1):
                    counts[block, ty * tiles_x + tx] += 1
    splat_start = np.zeros(number + 1, np.int64)
    for s in range(number):
        splat_start[s + 1] = splat_start[s] + owned[s]
    tile_start = np.zeros(tiles + 1, np.int64)
    for t in range(tiles):
        fill = tile_start[t]
        for block in range(BLOCKS):
            size = counts[block, t]
            counts[block, t] = fill  # from now on: where this block's next slot of the tile goes
            fill += size
        tile_start[t + 1] = fill
    slot_splat = np.empty(tile_start[tiles], np.int32)
    splat_slot = np.empty(tile_start[tiles], np.int64)
    for block in prange(BLOCKS):
        for s in range(block * block_size, min((block + 1) * block_size, number)):
            own = splat_start[s]
            for r in range(row_start[s], row_start[s + 1]):
                ty = top[s] + r - row_start[s]
                for tx in range(runs[r, 0], runs[r, 1]):
                    slot = counts[block, ty * tiles_x + tx]
                    counts[block, ty * tiles_x + tx] = slot + 1
                    slot_splat[slot] = s
                    splat_slot[own] = slot
                    own += 1
    order = np.argsort(tile_start[:-1] - tile_start[1:])
    return tile_start, slot_splat, splat_start, splat_slot, order


@njit(inline="always")
def _run(splats, s, py0, tiles_x):
    """Tiles [x0, x1) that a splat's ellipse sigma <= LIMIT touches in the tile row that starts at pixel row py0.

    The right edge over a band of rows is highest where the ellipse's rightmost point is, or at the end
    of the band nearest to it; likewise the left. In float64: conics of needles cancel.
    """
    u = float(splats[s, U])
    v = float(splats[s, V])
    a = float(splats[s, CONIC_A])
    b = float(splats[s, CONIC_B])
    c = float(splats[s, CONIC_C])
    rx = float(splats[s, RADIUS_X])
    size = 2.0 * float(splats[s, LIMIT])
    left, right = -rx, rx
    determinant = a * c - b * b
    if determinant > 1e-9 * a * c:
        low, high = py0 + 0.5 - v, py0 + TILE - 0.5 - v
        tallest = math.sqrt(max(size * a / determinant, 0.0)) + 1e-2
        if low > tallest or high < -tallest:
            return 0, 0
        widest = math.sqrt(max(size * c / determinant, 0.0))
        dy = min(max(-b * widest / c, low), high)
        right = min(rx, (math.sqrt(max(a * size - determinant * dy * dy, 0.0)) - b * dy) / a + 1e-2)
        dy = min(max(b * widest / c, low), high)
        left = max(-rx, -(math.sqrt(max(a * size - determinant * dy * dy, 0.0)) + b * dy) / a - 1e-2)
    # Pixel x has its centre at x + 0.5.
    x0 = min(max(math.floor((u + left - 0.5) / TILE), 0), tiles_x)
    x1 = min(max(math.floor((u + right - 0.5) / TILE) + 1, x0), tiles_x)
    return x0, x1


# One tile's pixels lie in flat arrays of AREA values, row by row. T is negative where a pixel is closed:
# its size is what was left when it closed.


@njit(inline="always")
def open_tile(t, tiles_x, width, height, T):
    """Pixel corner (px0, py0) of tile t and its size within the picture; T starts at 1, beyond the picture at -1."""
    ty = t // tiles_x
    px0 = (t - ty * tiles_x) * TILE
    py0 = ty * TILE
    columns = min(TILE, width - px0)
    rows = min(TILE, height - py0)
    for y in range(TILE):
        for x in range(TILE):
            T[y * TILE + x] = f32(1) if y < rows and x < columns else f32(-1)
    return px0, py0, columns, rows


@njit(inline="always")
def strips_of(splats, s, px0, py0):
    """Rows [y0, y1) and strips [h0, h1) of a tile that a splat's box touches."""
    u, v, rx, ry = splats[s, U], splats[s, V], splats[s, RADIUS_X], splats[s, RADIUS_Y]
    y0 = max(0, math.floor(v - ry) - py0)
    y1 = min(TILE, math.ceil(v + ry) - py0)
    h0 = max(0, math.floor(u - rx) - px0) // WIDTH
    h1 = (min(TILE, math.ceil(u + rx) - px0) + WIDTH - 1) // WIDTH
    return y0, y1, h0, h1


@njit(inline="always")
def first_channel(p, D):
    """Where channel 0 of pixel p lies among a tile's channels, which lie strip by strip; the next is WIDTH on."""
    return p // WIDTH * WIDTH * D + p % WIDTH


@njit(inline="always")
def first_offsets(splats, s, px0):
    """Horizontal distances of a tile's first strip of pixel centres from the splat's centre: Lanes."""
    return ramp() + (f32(px0) + f32(0.5) - splats[s, U])


@njit(inline="always")
def exp_of_minus(sigma):
    """exp(-sigma) for sigma in [0, 5.6]: the degree-6 Taylor polynomial at sigma/8, to the 8th power.

    Relative error below 1e-6.
    """
    y = sigma * f32(-0.125)
    p = fma(y, spread(f32(1 / 720)), spread(f32(1 / 120)))
    p = fma(p, y, spread(f32(1 / 24)))
    p = fma(p, y, spread(f32(1 / 6)))
    p = fma(p, y, spread(f32(1 / 2)))
    p = fma(p, y, spread(f32(1)))
    p = fma(p, y, spread(f32(1)))
    p = p * p
    p = p * p
    return p * p


@njit(inline="always")
def hits(sigma, limit, before):
    """Which pixels of a strip are open and inside a splat's ellipse: Mask."""
    return both(both(sigma <= limit, sigma >= f32(0)), before > f32(0))


@njit(inline="always")
def blend(hit, raw, before):
    """What a splat of opacity `raw` does to a strip: alpha, weight alpha·T, T after it, pixels it closed.

    A pixel closes for good before the splat that would take its T to STOP or below.
    """
    alpha = select(hit, lesser(raw, spread(ALPHA_MAX)), spread(f32(0)))
    after = fma(alpha, f32(0) - before, before)
    keeps = after > STOP
    alpha = select(keeps, alpha, spread(f32(0)))
    left = select(keeps, after, f32(0) - absolute(before))
    return alpha, alpha * before, left, count(but_not(before > f32(0), keeps))
