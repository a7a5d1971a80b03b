"""Costs and ties between nodes into the cheapest division into object and background."""

from __future__ import annotations

import numpy as np
from numba import njit

_STEP = 1000  # capacities per unit of cost
_LARGEST = 1 << 20  # units; sums of ten million stay far below 2^63


def minimum_cut(
    unary: np.ndarray,  # (M,) float, log odds of being object; ±inf fixes a node
    edges: np.ndarray,  # (E, 2) int, each pair once
    weights: np.ndarray,  # (E,) float >= 0, cost of separating the pair
) -> np.ndarray:  # (M,) bool, True = object
    """The division of least total cost; of several, the one with the smallest object. Deterministic."""
    cost = np.rint(np.clip(unary, -_LARGEST, _LARGEST) * _STEP).astype(np.int64)
    ties = np.rint(np.clip(weights, 0, _LARGEST) * _STEP).astype(np.int64)
    fixed = np.isinf(unary)
    cost[fixed] = np.sign(unary[fixed]).astype(np.int64) * (1 + ties.sum() + np.abs(cost[~fixed]).sum())
    if not (cost > 0).any():
        return np.zeros(len(cost), bool)
    tied = ties > 0
    return _source_side(cost, np.ascontiguousarray(edges[tied], np.int64), ties[tied])


@njit(cache=True)
def _source_side(excess, edges, ties):
    """(M,) bool: what a maximum flow leaves within reach of the source (Dinic 1970).

    `excess` (M,) int64, changed: what the source still offers a node (above 0) or the sink still takes from it
    (below). Source and sink are no nodes: all they are tied to begins and ends a path, so that most paths are short.
    Written here because half of a click's cuts are small, and scipy prepares each for longer than it solves it.
    """
    count, pairs = len(excess), len(ties)
    starts = np.zeros(count + 1, np.int64)
    for e in range(pairs):
        starts[edges[e, 0] + 1] += 1
        starts[edges[e, 1] + 1] += 1
    starts = np.cumsum(starts)
    free = starts[:-1].copy()
    heads, twins, room = np.empty(2 * pairs, np.int64), np.empty(2 * pairs, np.int64), np.empty(2 * pairs, np.int64)
    for e in range(pairs):
        a, b = edges[e]
        there, back = free[a], free[b] + (1 if a == b else 0)
        free[a] += 1
        free[b] += 1
        heads[there], heads[back] = b, a
        twins[there], twins[back] = back, there
        room[there] = room[back] = ties[e]
    level, line = np.empty(count, np.int64), np.empty(count, np.int64)
    turn, path = np.empty(count, np.int64), np.empty(count, np.int64)
    while True:
        # Steps from the source, up to the first ones that the sink takes from.
        level[:] = -1
        waiting = 0
        for node in range(count):
            if excess[node] > 0:
                level[node] = 0
                line[waiting] = node
                waiting += 1
        sources, place, last = waiting, 0, count
        while place < waiting and level[line[place]] < last:
            node = line[place]
            place += 1
            for arc in range(starts[node], starts[node + 1]):
                other = heads[arc]
                if room[arc] > 0 and level[other] < 0:
                    level[other] = level[node] + 1
                    line[waiting] = other
                    waiting += 1
                    if excess[other] < 0:
                        last = level[other]
        if last == count:
            return level >= 0
        # Paths of just so many steps, until there are none.
        turn[:] = starts[:-1]
        for number in range(sources):
            source = line[number]
            node, steps = source, 0
            while excess[source] > 0:
                if excess[node] < 0:
                    flow = min(excess[source], -excess[node])
                    for step in range(steps):
                        flow = min(flow, room[path[step]])
                    excess[source] -= flow
                    excess[node] += flow
                    kept = steps
                    for step in range(steps - 1, -1, -1):
                        arc = path[step]
                        room[arc] -= flow
                        room[twins[arc]] += flow
                        if room[arc] == 0:
                            kept = step
                    steps = kept
                    node = heads[path[steps - 1]] if steps else source
                    continue
                arc, end = turn[node], starts[node + 1]
                while arc < end and not (room[arc] > 0 and level[heads[arc]] == level[node] + 1):
                    arc += 1
                turn[node] = arc
                if arc < end:
                    path[steps] = arc
                    steps += 1
                    node = heads[arc]
                elif steps == 0:
                    break
                else:
                    steps -= 1
                    node = heads[twins[path[steps]]]
                    turn[node] += 1
