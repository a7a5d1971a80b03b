"""A photo's numbers and a row's into the change of its harmonics, by a small network that all rows share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from backend.train.relighting import Relighting

CHUNK_ROWS = 1 << 16  # whose hidden numbers are in memory at once
NETWORK_RATE = 1e-3
BIAS = 0.5  # spread of the first biases: units bend at different places


@dataclass(frozen=True)
class MlpAppearance(Relighting):
    """Δ_i(e) = MLP([f_i, e]) − MLP([f_i, 0]), with a feature f_i per row.

    Rows that are alike answer alike to a light few photos show, and a light may act on them in more ways than in
    proportion. The last layer starts at zero, as do the features, so that a training starts in neutral light.
    """

    embed: int = 32  # numbers per photo; more: lights may differ in more ways
    feature: int = 24  # numbers per row; more: rows may differ in more ways, and memory
    width: int = 64  # of hidden layers; more: finer answers, slower in proportion to its square
    layers: int = 2  # hidden ones, at least 1
    degree: int = 1  # of the harmonics that change; more: light from a side is seen from where it shines back

    kind: ClassVar[str] = "mlp"
    row_rates: ClassVar[Mapping[str, float]] = {"feature": 2.5e-3}

    @property
    def numbers(self) -> int:
        return self.embed

    @property
    def network_rates(self) -> dict[str, float]:
        return dict.fromkeys(self._shapes(), NETWORK_RATE)

    def initial_rows(self, rows: int) -> dict[str, Tensor]:
        return {"feature": torch.zeros(rows, self.feature)}

    def initial_shared(self, photos: int, seed: int) -> dict[str, Tensor]:
        """The network besides: layer k turns numbers x into x @ `mlp.k` + `mlp.k.bias`, the first those of both."""
        generator = torch.Generator().manual_seed(seed + 1)
        network = {}
        for name, shape in self._shapes().items():
            spread = (2 / shape[0]) ** 0.5 if len(shape) == 2 else 0.0  # He et al. 2015
            if name == "mlp.0.bias":
                spread = BIAS
            elif name == self._last:
                spread = 0.0
            network[name] = spread * torch.randn(shape, generator=generator)
        return super().initial_shared(photos, seed) | network

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        entering = self.feature + self.embed
        for layer in range(self.layers):
            shapes[f"mlp.{layer}"] = (entering, self.width)
            shapes[f"mlp.{layer}.bias"] = (self.width,)
            entering = self.width
        # The last bias is in both terms of the difference.
        return shapes | {self._last: (entering, 3 * (self.degree + 1) ** 2)}

    @property
    def _last(self) -> str:
        return f"mlp.{self.layers}"

    def change(self, rows: Mapping[str, Tensor], shared: Mapping[str, Tensor], embedding: Tensor) -> Tensor:
        parts = [
            self._answered(part, shared, embedding) - self._answered(part, shared, torch.zeros_like(embedding))
            for part in rows["feature"].split(CHUNK_ROWS)
        ]
        return torch.cat(parts).unflatten(1, (-1, 3))

    def _answered(self, features: Tensor, shared: Mapping[str, Tensor], embedding: Tensor) -> Tensor:
        """MLP([f, e]) of features (N, F): (N, 3·K)."""
        first = shared["mlp.0"]
        common = embedding @ first[self.feature :] + shared["mlp.0.bias"]  # once, not once per row
        hidden = torch.relu(features @ first[: self.feature] + common)
        for layer in range(1, self.layers):
            hidden = torch.relu(torch.addmm(shared[f"mlp.{layer}.bias"], hidden, shared[f"mlp.{layer}"]))
        return hidden @ shared[self._last]
