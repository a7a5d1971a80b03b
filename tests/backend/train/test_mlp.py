"""The network of looks: what it computes, its gradients, and that it learns what a product cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.train import mlp
from backend.train.appearance import initial_shared
from backend.train.mlp import MlpAppearance

KIND = MlpAppearance(embed=3, feature=4, width=6, layers=2, degree=1)


def parameters(kind: MlpAppearance = KIND, rows: int = 7) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    shared = {
        name: (value + 0.3 * torch.randn(value.shape, generator=generator)).double()
        for name, value in kind.initial_shared(2, 0).items()
    }
    return torch.randn(rows, kind.feature, generator=generator).double(), shared


def test_the_change_is_a_difference_of_two_answers() -> None:
    features, shared = parameters()
    embedding = shared["embeddings"][0]

    def answer(feature: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        x = np.concatenate([feature, numbers])
        for layer in range(KIND.layers):
            x = np.maximum(x @ shared[f"mlp.{layer}"].numpy() + shared[f"mlp.{layer}.bias"].numpy(), 0)
        return x @ shared[f"mlp.{KIND.layers}"].numpy()

    found = KIND.change({"feature": features}, shared, embedding).numpy()
    assert found.shape == (7, 4, 3)
    for row, feature in enumerate(features.numpy()):
        expected = answer(feature, embedding.numpy()) - answer(feature, np.zeros(KIND.embed))
        assert np.allclose(found[row].ravel(), expected, atol=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    features, shared = parameters()
    names = [name for name in shared if name.startswith("mlp.")]

    def change(features: torch.Tensor, embedding: torch.Tensor, *network: torch.Tensor) -> torch.Tensor:
        return KIND.change({"feature": features}, dict(zip(names, network, strict=True)), embedding)

    inputs = [features, shared["embeddings"][0], *(shared[name] for name in names)]
    assert torch.autograd.gradcheck(change, [value.clone().requires_grad_() for value in inputs])


def test_chunks_are_no_different(monkeypatch: pytest.MonkeyPatch) -> None:
    features, shared = parameters(rows=11)
    whole = KIND.change({"feature": features}, shared, shared["embeddings"][1])
    monkeypatch.setattr(mlp, "CHUNK_ROWS", 4)
    assert torch.allclose(KIND.change({"feature": features}, shared, shared["embeddings"][1]), whole, atol=1e-12)
    assert KIND.change({"feature": features[:0]}, shared, shared["embeddings"][1]).shape == (0, 4, 3)


def test_it_learns_lamps_that_are_lit_at_dusk_alone() -> None:
    """Brightness of two materials over a day: at dusk the sun is gone and lamps, dark before and after, shine.

    No product of numbers of a row with those of a photo that pass through neutral light in the middle of the day
    does that with one number per photo.
    """
    kind = MlpAppearance(embed=1, feature=2, width=16, degree=0)
    generator = torch.Generator().manual_seed(0)
    hours = torch.linspace(-1, 1, 9)
    lamp = torch.arange(20) < 10
    target = torch.where(lamp[None], (hours[:, None] - 0.5).clamp_min(0) * 2, -0.5 * hours[:, None])  # (9, 20)
    shared = {name: value.requires_grad_() for name, value in initial_shared(kind, 1, 0).items()}
    features = (0.1 * torch.randn(20, 2, generator=generator)).requires_grad_()
    network = [value for name, value in shared.items() if name.startswith("mlp.")]
    optimiser = torch.optim.Adam([features, *network], lr=1e-2)
    for _ in range(600):
        found = torch.stack([kind.change({"feature": features}, shared, hour[None])[:, 0, 0] for hour in hours])
        loss = (found - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # The best product: each row's target over the day projected onto the hours.
    slope = (hours @ target) / (hours @ hours)
    best_product = (target - hours[:, None] * slope).square().mean()
    assert loss < 0.1 * best_product
