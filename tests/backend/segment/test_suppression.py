"""Of masks that show nearly the same, the best stays: the same as comparing all pairs of pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backend.segment.suppression import areas, boxes_of, distinct, packed, shared, unpacked


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / max((a | b).sum(), 1)


def slow(masks: np.ndarray, scores: np.ndarray) -> list[int]:
    """Greedy suppression on full pictures: of the masks' boxes, then of the masks."""
    filled = np.zeros_like(masks)
    for number, (left, top, right, bottom) in enumerate(boxes_of(masks)):
        filled[number, top:bottom, left:right] = True
    kept = sorted(range(len(masks)), key=lambda number: -scores[number])
    for pictures, most in ((filled, 0.7), (masks, 0.9)):
        stay: list[int] = []
        for number in kept:
            if all(iou(pictures[number], pictures[other]) <= most for other in stay):
                stay.append(number)
        kept = stay
    return kept


@given(st.integers(0, 1 << 30), st.integers(0, 25))
def test_the_same_as_all_pairs_of_pixels(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:23, :31]
    masks = np.zeros((count, 23, 31), bool)
    for mask in masks:
        cx, cy, rx, ry = (
            random.choice([8, 9, 15, 22]),
            random.choice([7, 8, 16]),
            random.integers(2, 7),
            random.integers(2, 7),
        )
        mask[:] = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        mask &= random.random(mask.shape) > 0.04
        mask[cy, cx] = True
    scores = random.choice([0.5, 0.7, 0.9], count)
    assert distinct(boxes_of(masks), packed(masks), scores).tolist() == slow(masks, scores)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 4))
def test_packing_loses_nothing(height: int, width: int, count: int) -> None:
    masks = np.random.default_rng(0).random((count, height, width)) > 0.5
    bits = packed(masks)
    assert np.array_equal(unpacked(bits, height, width), masks)
    assert areas(bits).tolist() == masks.sum((1, 2)).tolist()
    if count:
        assert shared(bits, bits[0]).tolist() == [(mask & masks[0]).sum() for mask in masks]


def test_a_part_in_a_whole_and_a_hole_in_a_ring_stay() -> None:
    y, x = np.mgrid[:40, :40]
    radius = np.hypot(x - 20, y - 20)
    masks = np.stack([radius < 15, radius < 7, (radius < 15) & (radius > 8), radius < 14.9])
    kept = distinct(boxes_of(masks), packed(masks), np.array([0.9, 0.8, 0.7, 0.95]))
    assert kept.tolist() == [3, 1]  # the ring has the disc's box, as has the larger disc
