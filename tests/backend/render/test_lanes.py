"""Every operation on lanes equals numpy's on eight values."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numba import njit

from backend.render import lanes
from backend.render.lanes import (
    WIDTH,
    absolute,
    anywhere,
    bits,
    both,
    but_not,
    count,
    fma,
    lane,
    lesser,
    load,
    lowest,
    ramp,
    select,
    spread,
    store,
    total,
)

values = arrays.arrays(np.float32, WIDTH, elements=st.floats(-1e3, 1e3, width=32))


@njit
def arithmetic(x, y, out):
    a, b = load(x, 0), load(y, 0)
    store(out, 0 * WIDTH, a + b)
    store(out, 1 * WIDTH, a - b)
    store(out, 2 * WIDTH, a * b)
    store(out, 3 * WIDTH, a / (absolute(b) + np.float32(1)))
    store(out, 4 * WIDTH, np.float32(2) * a - y[0])
    store(out, 5 * WIDTH, lesser(a, b))
    store(out, 6 * WIDTH, select(both(a < b, a > spread(y[0])), a, ramp()))
    store(out, 7 * WIDTH, select(but_not(a <= b, a >= y[0]), a, b))
    store(out, 8 * WIDTH, fma(a, b, ramp()))
    return total(a), count(a > b), anywhere(a > b), bits(a > b), lane(b, 5)


@given(values, values)
def test_operations_equal_numpy(x: np.ndarray, y: np.ndarray) -> None:
    out = np.full((9, WIDTH), np.nan, np.float32)
    summed, number, any_true, pattern, one = arithmetic(x, y, out.reshape(-1))
    steps = np.arange(WIDTH, dtype=np.float32)
    expected = [
        x + y,
        x - y,
        x * y,
        x / (abs(y) + np.float32(1)),
        np.float32(2) * x - y[0],
        np.minimum(x, y),
        np.where((x < y) & (x > y[0]), x, steps),
        np.where((x <= y) & ~(x >= y[0]), x, y),
    ]
    np.testing.assert_array_equal(out[:8], expected)
    exact = x.astype(float) * y.astype(float) + steps
    np.testing.assert_allclose(out[8], exact, rtol=1e-6, atol=1e-6 * np.abs(x * y).max() + 1e-30)
    quarters = x[:4] + x[4:]
    halves = quarters[:2] + quarters[2:]
    assert summed == halves[0] + halves[1]
    assert number == (x > y).sum()
    assert any_true == (x > y).any()
    assert pattern == sum(1 << i for i in range(WIDTH) if x[i] > y[i])
    assert one == y[5]


@njit
def places(pattern, out):
    number = 0
    while pattern != 0:
        out[number] = lowest(pattern)
        pattern &= pattern - 1
        number += 1
    return number


@given(st.integers(0, 255))
def test_lowest_walks_over_bits(pattern: int) -> None:
    out = np.zeros(8, np.int64)
    assert list(out[: places(pattern, out)]) == [i for i in range(8) if pattern >> i & 1]


def test_nan_passes_no_comparison() -> None:
    x = np.full(WIDTH, np.nan, np.float32)
    out = np.zeros(9 * WIDTH, np.float32)
    _, number, any_true, _, _ = arithmetic(x, np.zeros(WIDTH, np.float32), out)
    assert (number, any_true) == (0, False)


BEYOND = """
import numpy as np
from numba import njit
from backend.render.lanes import load, total

@njit
def read(array, place):
    return total(load(array, place))

array = np.ones(11, np.float32)
print(read(array, 3), flush=True)
read(array, {place})
print("survived")
"""


@pytest.mark.parametrize("place", [-1, 4])
def test_checked_loads_end_the_process(place: int) -> None:
    """Under NUMBA_BOUNDSCHECK=1 nothing is read beyond an array."""
    ran = subprocess.run(
        [sys.executable, "-c", BEYOND.format(place=place)],
        env=os.environ | {"NUMBA_BOUNDSCHECK": "1"},
        cwd=Path(lanes.__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.stdout == "8.0\n"
    assert ran.returncode != 0
