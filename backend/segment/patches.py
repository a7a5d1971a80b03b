"""A view's picture and depth into small patches, and into trees that merge them to ever larger regions.

Patches are the basins of a gradient of colour and depth. A tree joins the two neighbours that differ least, again
and again; trees that weigh colours, edges and depth differently hold different regions of the same picture
(Uijlings et al. 2013, "Selective search").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy import ndimage
from sklearn.cluster import KMeans

from backend.features.colour import lab

_WORDS = 48  # colours that a picture is told by
_WORD_WIDTH = 8.0  # Lab units: words this far apart count as 0.6 alike
_BASIN_PX = 5  # window in which a patch has its lowest gradient; more: fewer, larger patches
_DEPTH_BASIN = 100.0  # Lab units per unit of log depth, where basins are looked for ...
_DEPTH = 150.0  # ... and between patches
_GROWTH = 1.12  # nested regions are told apart from so much more area on
_UNLIKE = 30.0  # Lab units that wholly different colours count as
# Each tree: weight of unlike colours, depth of an edge in Lab units per log, power of the smaller one's area.
_TREES = ((1.0, 150.0, 0.5), (1.0, 150.0, 0.3), (1.0, 400.0, 0.3), (0.0, 150.0, 0.3))


@dataclass(frozen=True, eq=False)
class Tree:
    """Nodes 0..n-1 are patches, later ones two earlier ones merged. A node's patches are a run of `order`."""

    parents: np.ndarray  # (2n-1,) int64, -1 for roots
    order: np.ndarray  # (n,) int64, patches
    starts: np.ndarray  # (2n-1,) int64, places in the order
    ends: np.ndarray


@dataclass(frozen=True, eq=False)
class Patches:
    """n patches of a picture, and which touch."""

    labels: np.ndarray  # (H, W) int64, the patch of each pixel
    sizes: np.ndarray  # (n,) float64 px
    words: np.ndarray  # (n, 48) float64 px of each colour
    blurred: np.ndarray  # (n, 48) float64 px, like colours counted in part
    edges: np.ndarray  # (E, 2) int64, each pair once
    lengths: np.ndarray  # (E,) float64 px of common border
    contrasts: np.ndarray  # (E,) float64 Lab units, mean gradient and jump of depth along it
    trees: tuple[Tree, ...]

    @classmethod
    def of(cls, picture: np.ndarray, depth: np.ndarray) -> Patches:
        """picture (H, W, 3) float RGB in 0..1; depth (H, W) float, not finite where nothing is. Deterministic."""
        colors = lab(picture)
        deep = _log_depth(depth)
        gradient = np.sqrt(sum(_gradient(colors[..., channel]) ** 2 for channel in range(3)))
        labels = _basins(np.hypot(gradient, _DEPTH_BASIN * _gradient(deep)))
        count = int(labels.max()) + 1
        sizes = np.bincount(labels.ravel(), minlength=count).astype(float)
        edges, lengths, slopes, jumps = _borders(labels, gradient, deep)
        pixels = colors.reshape(-1, 3).astype(np.float64)
        some = pixels[:: max(1, len(pixels) // 10_000)]
        # Rounded, so that rounding errors are no colours: there may be fewer than words.
        told = min(_WORDS, len(np.unique(some.round(1), axis=0)))
        means = KMeans(told, n_init=1, max_iter=10, random_state=0).fit(some)
        words = np.zeros((count, len(means.cluster_centers_)))
        np.add.at(words, (labels.ravel(), means.predict(pixels)), 1)
        apart = ((means.cluster_centers_[:, None] - means.cluster_centers_) ** 2).sum(-1)
        alike = np.exp(-apart / (2 * _WORD_WIDTH**2))
        trees = []
        for unlike, deepness, power in _TREES:
            parents = _merged(
                edges, lengths, slopes + deepness * jumps, sizes.copy(), words.copy(), unlike * _UNLIKE, power
            )
            trees.append(_ordered(parents, count))
        return cls(
            labels,
            sizes,
            words,
            words @ (alike / alike.sum(1, keepdims=True)),
            edges,
            lengths,
            (slopes + _DEPTH * jumps) / lengths,
            tuple(trees),
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def at(self, x: float, y: float) -> int:
        """The patch at a pixel position; the nearest of those at the border beyond it."""
        height, width = self.labels.shape
        return int(self.labels[int(np.clip(y, 0, height - 1)), int(np.clip(x, 0, width - 1))])

    def nested(self, patch: int) -> np.ndarray:
        """(K, n) bool: the regions of all trees that hold a patch, from it to the whole picture."""
        found = []
        for tree in self.trees:
            node, last = patch, 0.0
            while node >= 0:
                members = tree.order[tree.starts[node] : tree.ends[node]]
                area = self.sizes[members].sum()
                if area >= _GROWTH * last:
                    region = np.zeros(len(self), bool)
                    region[members] = True
                    found.append(region)
                    last = area
                node = int(tree.parents[node])
        return np.array(found)


def _gradient(values: np.ndarray) -> np.ndarray:
    return np.hypot(
        ndimage.gaussian_filter(values, 1.0, order=(0, 1)), ndimage.gaussian_filter(values, 1.0, order=(1, 0))
    )


def _log_depth(depth: np.ndarray) -> np.ndarray:
    """(H, W) float64, holes filled from the nearest pixel."""
    holes = ~np.isfinite(depth) | (depth <= 0)
    if holes.all():
        return np.zeros(depth.shape)
    if holes.any():
        nearest = ndimage.distance_transform_edt(holes, return_distances=False, return_indices=True)
        depth = depth[tuple(nearest)]
    return ndimage.median_filter(np.log(depth.astype(np.float64)), 3)


def _basins(gradient: np.ndarray) -> np.ndarray:
    """(H, W) int64 labels from 0: what flows to the same lowest place."""
    smooth = ndimage.gaussian_filter(gradient, 0.7)
    markers, _ = ndimage.label(smooth == ndimage.minimum_filter(smooth, _BASIN_PX), np.ones((3, 3)))
    most = max(float(np.quantile(smooth, 0.99)), 1e-6)
    levels = np.clip(smooth * (1000 / most), 0, 65535).astype(np.uint16)
    flooded = ndimage.watershed_ift(levels, markers.astype(np.int32))
    return np.unique(flooded, return_inverse=True)[1].reshape(gradient.shape)


def _borders(
    labels: np.ndarray, gradient: np.ndarray, deep: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of patches that touch: edges (E, 2), their lengths (E,), and summed gradients and jumps of log depth."""
    height, width = labels.shape
    pairs, slopes, jumps = [], [], []
    for down, right in ((0, 1), (1, 0)):
        first = labels[: height - down, : width - right]
        y, x = np.nonzero(first != labels[down:, right:])
        pairs.append(np.stack([labels[y, x], labels[y + down, x + right]], 1))
        slopes.append(np.maximum(gradient[y, x], gradient[y + down, x + right]))
        # Two pixels to either side: rendered depth is soft where surfaces end.
        before = deep[np.maximum(y - down, 0), np.maximum(x - right, 0)]
        after = deep[np.minimum(y + 2 * down, height - 1), np.minimum(x + 2 * right, width - 1)]
        jumps.append(np.abs(before - after))
    ends = np.sort(np.concatenate(pairs), 1)
    count = int(labels.max()) + 1
    keys, inverse = np.unique(ends[:, 0] * count + ends[:, 1], return_inverse=True)
    return (
        np.stack([keys // count, keys % count], 1),
        np.bincount(inverse, minlength=len(keys)).astype(float),
        np.bincount(inverse, np.concatenate(slopes), len(keys)),
        np.bincount(inverse, np.concatenate(jumps), len(keys)),
    )


def _ordered(parents: np.ndarray, count: int) -> Tree:
    """Patches so that every node's are a run."""
    held = np.ones(len(parents), np.int64)
    held[count:] = 0
    for node, parent in enumerate(parents):  # children come before parents
        if parent >= 0:
            held[parent] += held[node]
    starts = np.zeros(len(parents), np.int64)
    begin = 0
    used = np.zeros(len(parents), np.int64)
    for node in range(len(parents) - 1, -1, -1):
        parent = parents[node]
        if parent < 0:
            starts[node] = begin
            begin += held[node]
        else:
            starts[node] = starts[parent] + used[parent]
            used[parent] += held[node]
    order = np.empty(count, np.int64)
    order[starts[:count]] = np.arange(count)
    return Tree(parents, order, starts, starts + held)


@njit(cache=True)
def _cost(a, b, length, weight, sizes, words, unlike, power):
    """How much two regions differ: unlike colours and the edge between them, times a power of the smaller's area."""
    apart = 0.0
    if unlike > 0:
        for k in range(words.shape[1]):
            apart += abs(words[a, k] / sizes[a] - words[b, k] / sizes[b])
    return (unlike * 0.5 * apart + weight / length) * min(sizes[a], sizes[b]) ** power


@njit(cache=True)
def _merged(edges, lengths, weights, sizes, words, unlike, power):
    """(M,) int64 parents: the two cheapest neighbours become one, until none touch. Patches keep small numbers."""
    count = len(sizes)
    border = np.zeros((count, count), np.float32)
    weight = np.zeros((count, count), np.float32)
    cost = np.full((count, count), np.inf, np.float32)
    for e in range(len(edges)):
        a, b = edges[e]
        border[a, b] = border[b, a] = lengths[e]
        weight[a, b] = weight[b, a] = weights[e]
    best = np.zeros(count, np.int64)  # the cheapest neighbour in each row
    least = np.full(count, np.inf, np.float32)
    for a in range(count):
        for b in range(count):
            if border[a, b] > 0:
                cost[a, b] = _cost(min(a, b), max(a, b), border[a, b], weight[a, b], sizes, words, unlike, power)
                if cost[a, b] < least[a]:
                    least[a], best[a] = cost[a, b], b
    parents = np.full(2 * count - 1, -1, np.int64)
    node = np.arange(count)  # the tree's node that each slot holds
    made = count
    while made < 2 * count - 1:
        a = np.argmin(least)
        if least[a] == np.inf:
            break
        b = best[a]
        parents[node[a]] = parents[node[b]] = made
        sizes[a] += sizes[b]
        words[a] += words[b]
        border[a] += border[b]
        weight[a] += weight[b]
        border[a, a] = border[a, b] = 0
        node[a] = made
        least[a], least[b] = np.inf, np.inf
        for c in range(count):
            cost[a, c] = np.inf
            if border[b, c] > 0:
                border[b, c] = border[c, b] = 0
                cost[b, c] = cost[c, b] = np.inf
            if border[a, c] > 0:
                border[c, a], weight[c, a] = border[a, c], weight[a, c]
                value = _cost(min(a, c), max(a, c), border[a, c], weight[a, c], sizes, words, unlike, power)
                cost[a, c] = cost[c, a] = value
                if value < least[a]:
                    least[a], best[a] = value, c
                if best[c] == a or best[c] == b:
                    least[c] = np.inf
                    for d in range(count):
                        if cost[c, d] < least[c]:
                            least[c], best[c] = cost[c, d], d
                elif value < least[c]:
                    least[c], best[c] = value, a
        made += 1
    return parents[:made]
