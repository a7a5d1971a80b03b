"""Every operation on a register of channels equals numpy's; so does the transposition of eight strips' channels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numba import njit

from backend.render.lanes import WIDTH, spread_lanes, store, transpose
from backend.render.products import aligned, copied
from backend.render.wide import (
    WIDE,
    channel,
    fma_wide,
    load_wide,
    nothing,
    spread_wide,
    store_wide,
    stream_wide,
    sum_wide,
    total_wide,
)

values = arrays.arrays(np.float32, WIDE, elements=st.floats(-1e3, 1e3, width=32))


@njit
def _arithmetic(x, y, out):
    a, b = load_wide(x, 0), load_wide(y, 0)
    store_wide(out, 0, sum_wide(a, b))
    store_wide(out, WIDE, fma_wide(a, b, spread_wide(x, 2)))
    store_wide(out, 2 * WIDE, nothing())
    return total_wide(a), channel(b, 5)


@given(values, values)
def test_operations_equal_numpy(x: np.ndarray, y: np.ndarray) -> None:
    out = np.full((3, WIDE), np.nan, np.float32)
    total, one = _arithmetic(x, y, out.reshape(-1))
    np.testing.assert_array_equal(out[0], x + y)
    exact = x.astype(float) * y + x[2]
    np.testing.assert_allclose(out[1], exact, rtol=1e-6, atol=1e-6 * np.abs(x * y).max() + 1e-30)
    assert not out[2].any()
    halves = x
    while len(halves) > 1:
        halves = halves[: len(halves) // 2] + halves[len(halves) // 2 :]
    assert total == halves[0]
    assert one == y[5]


@njit
def _streamed(source, size):
    target = aligned(size)
    for c in range(0, size, WIDE):
        stream_wide(target, c, load_wide(source, c))
    return target


def test_what_is_streamed_arrives() -> None:
    source = np.arange(20 * WIDE, dtype=np.float32)
    target = _streamed(source, len(source))
    np.testing.assert_array_equal(target, source)
    assert target.ctypes.data % 64 == 0


@njit
def _transposed(source, start, step, target):
    transpose(source, start, step, target, 3)
    store(target, 3 + WIDTH * WIDTH, spread_lanes(source, start + 1))


def test_eight_rows_become_columns() -> None:
    step = 11
    source = np.random.default_rng(0).normal(size=8 * step + 2).astype(np.float32)
    target = np.zeros(3 + WIDTH * WIDTH + WIDTH, np.float32)
    _transposed(source, 2, step, target)
    rows = np.stack([source[2 + i * step :][:WIDTH] for i in range(WIDTH)])
    np.testing.assert_array_equal(target[3:-WIDTH].reshape(WIDTH, WIDTH), rows.T)
    np.testing.assert_array_equal(target[-WIDTH:], np.full(WIDTH, source[3]))
    assert not target[:3].any()


@njit
def _copied(source, start, channels, target, place):
    copied(source, start, channels, target, place)


@given(channels=st.integers(0, 3 * WIDE + 1), start=st.integers(0, 5), place=st.integers(0, 5))
def test_copies_touch_nothing_else(channels: int, start: int, place: int) -> None:
    source = np.arange(1, 3 * WIDE + 20, dtype=np.float32)
    target = np.zeros(3 * WIDE + 20, np.float32)
    _copied(source, start, channels, target, place)
    expected = np.zeros_like(target)
    expected[place : place + channels] = source[start : start + channels]
    np.testing.assert_array_equal(target, expected)
