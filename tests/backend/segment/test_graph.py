"""The scene's graph: pairs of neighbours."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.segment.graph import pairs_once


@given(seed=st.integers(0, 10_000), count=st.integers(2, 40), near=st.integers(1, 6))
@settings(max_examples=40)
def test_each_pair_is_there_once_and_in_order(seed: int, count: int, near: int) -> None:
    neighbours = np.random.default_rng(seed).integers(0, count, (count, near))
    wanted = {(min(a, b), max(a, b)) for a, row in enumerate(neighbours.tolist()) for b in row if a != b}
    assert pairs_once(neighbours).tolist() == sorted(map(list, wanted))
