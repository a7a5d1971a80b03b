"""A photo's numbers into what each Gaussian's own harmonics change by, in numpy.

The kinds are those of backend/train/relighting.py and mlp.py: a product with numbers of the row's own, or a small
network that all rows share, MLP([f, e]) − MLP([f, 0]).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_CHUNK_ROWS = 1 << 16
_DEGREE_MAX, _SIZE_MAX = 3, 1 << 16  # of harmonics; of anything else


@dataclass(frozen=True)
class Linear:
    """B_i·e. The change of a mix is the mix of the changes."""

    rank: int
    degree: int = 0

    rows = "response"  # name of what each Gaussian has
    adds = True

    def shapes(self, photos: int) -> dict[str, tuple[int, ...]]:
        """Of what all Gaussians share, by name."""
        return {"embeddings": (photos, self.rank), "gain": (self.rank, 3, 3), "offset": (self.rank, 3)}

    def row_shape(self) -> tuple[int, ...]:
        return 3 * (self.degree + 1) ** 2, self.rank

    def change(self, rows: np.ndarray, shared: Mapping[str, np.ndarray], embedding: np.ndarray) -> np.ndarray:
        """Δ(e): (N, K, 3) float32, from the constant harmonic on."""
        return (rows @ embedding).reshape(len(rows), -1, 3)


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron of a Gaussian's feature and a photo's numbers."""

    embed: int
    feature: int
    width: int
    layers: int  # hidden ones, at least 1
    degree: int

    rows = "feature"
    adds = False

    def shapes(self, photos: int) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = Linear(self.embed).shapes(photos)
        entering = self.feature + self.embed
        for layer in range(self.layers):
            shapes |= {f"mlp.{layer}": (entering, self.width), f"mlp.{layer}.bias": (self.width,)}
            entering = self.width
        return shapes | {f"mlp.{self.layers}": (entering, 3 * (self.degree + 1) ** 2)}

    def row_shape(self) -> tuple[int, ...]:
        return (self.feature,)

    def change(self, rows: np.ndarray, shared: Mapping[str, np.ndarray], embedding: np.ndarray) -> np.ndarray:
        neutral = np.zeros_like(embedding)
        result = np.empty((len(rows), shared[f"mlp.{self.layers}"].shape[1]), np.float32)
        for start in range(0, len(rows), _CHUNK_ROWS):
            part = rows[start : start + _CHUNK_ROWS]
            lit, unlit = (self._answered(part, shared, numbers) for numbers in (embedding, neutral))
            np.subtract(lit, unlit, out=result[start : start + _CHUNK_ROWS])
        return result.reshape(len(rows), -1, 3)

    def _answered(self, features: np.ndarray, shared: Mapping[str, np.ndarray], embedding: np.ndarray) -> np.ndarray:
        first = shared["mlp.0"]
        hidden = features @ first[: self.feature]
        hidden += embedding @ first[self.feature :] + shared["mlp.0.bias"]
        for layer in range(1, self.layers):
            np.maximum(hidden, 0, out=hidden)
            hidden = hidden @ shared[f"mlp.{layer}"] + shared[f"mlp.{layer}.bias"]
        return np.maximum(hidden, 0, out=hidden) @ shared[f"mlp.{self.layers}"]


def kind_of(facts: Any, arrays: Mapping[str, np.ndarray]) -> Linear | Network:
    """What the looks' file says of itself; before there were several kinds it said nothing.

    Raises KeyError, TypeError, ValueError or IndexError for anything else.
    """
    if facts is None:
        return Linear(arrays["response"].shape[2])
    if not isinstance(facts, dict):
        raise ValueError("no table of sizes")
    options = {name: value for name, value in facts.items() if name != "kind"}
    kind = {"linear": Linear, "mlp": Network}[facts["kind"]](**options)
    sizes = options.values()
    if kind.degree > _DEGREE_MAX or not all(type(size) is int and 0 <= size <= _SIZE_MAX for size in sizes):
        raise ValueError("sizes that make no sense")
    return kind
