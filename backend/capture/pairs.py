"""The descriptors of a large collection into the pairs of photos that are worth matching.

A bag of visual words learnt from the collection itself stands in for a downloaded vocabulary. numpy only:
this runs inside the child process.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def nearest_pairs(
    descriptors: Callable[[int], np.ndarray],  # row -> (K, 128) uint8
    count: int,
    *,
    nearest: int,
    seed: int,
    words: int = 1024,
    samples: int = 60_000,
) -> list[tuple[int, int]]:
    """Row pairs (a < b) such that each photo is paired with the `nearest` most similar others, sorted."""
    generator = np.random.default_rng(seed)
    each = max(1, samples // max(count, 1))
    sample = np.concatenate([_some(descriptors(row), each, generator) for row in range(count)])
    vocabulary = _clustered(sample, min(words, len(sample)), generator)
    histograms = np.zeros((count, len(vocabulary)), np.float32)
    for row in range(count):
        assigned = _assigned(_some(descriptors(row), 3000, generator), vocabulary)
        histograms[row] = np.bincount(assigned, minlength=len(vocabulary))
    similarity = _weighted(histograms) @ _weighted(histograms).T
    np.fill_diagonal(similarity, -np.inf)
    kept = min(nearest, count - 1)
    partners = np.argsort(-similarity, axis=1, kind="stable")[:, :kept]
    pairs = {(min(a, int(b)), max(a, int(b))) for a in range(count) for b in partners[a]}
    return sorted(pairs)


def _some(rows: np.ndarray, at_most: int, generator: np.random.Generator) -> np.ndarray:
    rows = rows.astype(np.float32)
    if len(rows) > at_most:
        rows = rows[np.sort(generator.choice(len(rows), at_most, replace=False))]
    return rows


def _clustered(sample: np.ndarray, words: int, generator: np.random.Generator, rounds: int = 8) -> np.ndarray:
    """(words, 128) float32 cluster centres: Lloyd's iterations from random members."""
    centres = sample[np.sort(generator.choice(len(sample), words, replace=False))]
    for _ in range(rounds):
        assigned = _assigned(sample, centres)
        order = np.argsort(assigned, kind="stable")
        used, starts, sizes = np.unique(assigned[order], return_index=True, return_counts=True)
        centres = centres.copy()
        centres[used] = np.add.reduceat(sample[order], starts, axis=0) / sizes[:, None]
    return centres


def _assigned(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    half_norms = np.square(centres).sum(axis=1) / 2
    parts = [rows[start : start + 8192] @ centres.T - half_norms for start in range(0, len(rows), 8192)]
    return np.concatenate([part.argmax(axis=1) for part in parts]) if parts else np.zeros(0, np.intp)


def _weighted(histograms: np.ndarray) -> np.ndarray:
    """Unit rows: square roots against bursts, words that everything has count little."""
    rarity = np.log((1 + len(histograms)) / (1 + (histograms > 0).sum(axis=0)))
    weighted = np.sqrt(histograms) * rarity
    return weighted / np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-12)
