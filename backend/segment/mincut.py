"""Costs and ties between nodes into the cheapest division into object and background."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

_LARGEST = 1 << 20  # capacity of what must not be cut; sums stay below 2^31
_STEP = 1000  # capacities per unit of cost


def minimum_cut(
    unary: np.ndarray,  # (M,) float, log odds of being object; ±inf fixes a node
    edges: np.ndarray,  # (E, 2) int, each pair once
    weights: np.ndarray,  # (E,) float >= 0, cost of separating the pair
) -> np.ndarray:  # (M,) bool, True = object
    """The division of least total cost; of several, the one with the smallest object. Deterministic."""
    count = len(unary)
    source, sink = count, count + 1
    cost = np.nan_to_num(np.rint(np.clip(unary, -_LARGEST, _LARGEST) * _STEP), posinf=_LARGEST, neginf=-_LARGEST)
    cost = np.clip(cost, -_LARGEST, _LARGEST).astype(np.int64)
    ties = np.clip(np.rint(weights * _STEP), 0, _LARGEST).astype(np.int64)
    ends = edges[ties > 0]
    ties = ties[ties > 0]
    towards = np.flatnonzero(cost > 0)
    away = np.flatnonzero(cost < 0)
    if not len(towards):
        return np.zeros(count, bool)
    rows = np.concatenate([np.full(len(towards), source), away, ends[:, 0], ends[:, 1]])
    columns = np.concatenate([towards, np.full(len(away), sink), ends[:, 1], ends[:, 0]])
    values = np.concatenate([cost[towards], -cost[away], ties, ties])
    capacities = coo_matrix((np.minimum(values, _LARGEST).astype(np.int32), (rows, columns)), (count + 2, count + 2))
    network = capacities.tocsr()
    flow = maximum_flow(network, source, sink, method="dinic").flow
    residual = network - flow
    residual.data = np.maximum(residual.data, 0)
    residual.eliminate_zeros()
    reached = np.zeros(count + 2, bool)
    reached[breadth_first_order(residual, source, return_predecessors=False)] = True
    return reached[:count]
