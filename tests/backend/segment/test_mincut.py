"""The minimum cut against all divisions of small graphs."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.segment.mincut import minimum_cut


def energy(labels: np.ndarray, unary: np.ndarray, edges: np.ndarray, weights: np.ndarray) -> float:
    # A node's cost is what speaks against its label.
    alone = np.where(labels, np.maximum(-unary, 0), np.maximum(unary, 0)).sum()
    return float(alone + weights[labels[edges[:, 0]] != labels[edges[:, 1]]].sum())


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40)
def test_no_division_is_cheaper(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 8))
    unary = np.round(random.normal(0, 2, count), 2)
    edges = np.array(list(itertools.combinations(range(count), 2)))
    weights = np.round(random.random(len(edges)) * 2, 2)
    found = energy(minimum_cut(unary, edges, weights), unary, edges, weights)
    best = min(
        energy(np.array(labels), unary, edges, weights) for labels in itertools.product((False, True), repeat=count)
    )
    assert found <= best + 1e-9


def test_infinite_costs_fix_nodes() -> None:
    chain = np.array([[0, 1], [1, 2], [2, 3]])
    labels = minimum_cut(np.array([np.inf, -0.1, -0.1, -np.inf]), chain, np.array([5.0, 5.0, 0.1]))
    assert labels.tolist() == [True, True, True, False]


def test_no_sum_of_ties_moves_a_fixed_node() -> None:
    ties = np.array([(0, other) for other in range(1, 600)])
    costs = np.full(600, np.inf)
    costs[0] = -np.inf
    assert not minimum_cut(costs, ties, np.full(599, 3.0))[0]
    costs[0] = -2000.0
    assert not minimum_cut(costs, ties, np.full(599, 3.0))[0]  # 1797 for it
    costs[0] = -1700.0
    assert minimum_cut(costs, ties, np.full(599, 3.0))[0]


def test_nothing_speaks_for_the_object() -> None:
    assert not minimum_cut(np.array([-1.0, 0.0]), np.array([[0, 1]]), np.array([1.0])).any()
