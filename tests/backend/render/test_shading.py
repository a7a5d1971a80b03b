"""Compiled colours against the torch ones in float64: the same colours, the same gradients, every time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.render.harmonics import Light, colors_from_sh
from backend.render.shading import colors_of

CENTRE = np.array([3.0, 1.0, 0.5])
LIGHT = ("gain", "offset", "response", "weights")


def inputs(rows: int, bases: int, rank: int | None, seed: int) -> dict[str, torch.Tensor]:
    """Harmonics around half grey, a fifth of them black; without a light if rank is None."""
    random = np.random.default_rng(seed)
    arrays = {
        "means": random.normal(0, 1, (rows, 3)),
        "sh0": random.normal(0, 1.5, (rows, 1, 3)),
        "shN": random.normal(0, 0.3, (rows, bases - 1, 3)),
    }
    if rank is not None:
        arrays |= {
            "gain": np.eye(3) + random.normal(0, 0.2, (3, 3)),
            "offset": random.normal(0, 0.1, 3),
            "response": random.normal(0, 0.1, (rows, 3, rank)),
            "weights": random.normal(0, 1, rank),
        }
    return {name: torch.tensor(array, dtype=torch.float32) for name, array in arrays.items()}


def compiled(leaves: dict[str, torch.Tensor], rows: torch.Tensor, degree: int | None) -> torch.Tensor:
    light = Light(*(leaves[name] for name in LIGHT)) if "gain" in leaves else None
    return colors_of(rows, leaves["means"], leaves["sh0"], leaves["shN"], CENTRE, degree=degree, light=light)


def true(leaves: dict[str, torch.Tensor], rows: torch.Tensor, degree: int | None) -> torch.Tensor:
    light = None
    if "gain" in leaves:
        light = Light(leaves["gain"], leaves["offset"], leaves["response"][rows], leaves["weights"])
    directions = leaves["means"][rows] - torch.tensor(CENTRE)
    return colors_from_sh(leaves["sh0"][rows], leaves["shN"][rows], directions, degree, light)


@settings(max_examples=50, deadline=None)
@given(
    count=st.sampled_from([0, 1, 40, 1200]),
    share=st.sampled_from([0.0, 0.4, 1.0]),
    bases=st.sampled_from([1, 4, 9, 16]),
    degree=st.sampled_from([None, 0, 1, 2, 3]),
    rank=st.sampled_from([None, 0, 1, 8]),
    seed=st.integers(0, 10_000),
)
def test_colours_and_gradients_are_the_true_ones(
    count: int, share: float, bases: int, degree: int | None, rank: int | None, seed: int
) -> None:
    tensors = inputs(count, bases, rank, seed)
    random = np.random.default_rng(seed)
    rows = torch.tensor(random.permutation(count)[: round(share * count)], dtype=torch.int64)
    pull = torch.tensor(random.normal(0, 1, (len(rows), 3)))
    # A colour within rounding of black may be clamped or not.
    pull[(true({k: v.double() for k, v in tensors.items()}, rows, degree) < 1e-5)] = 0
    results = []
    for draw, dtype in ((compiled, torch.float32), (true, torch.float64)):
        leaves = {name: tensor.to(dtype, copy=True).requires_grad_() for name, tensor in tensors.items()}
        colors = draw(leaves, rows, degree)
        (colors * pull.to(dtype)).sum().backward()
        results.append((colors.detach().double(), leaves))
    (colors, leaves), (truth, true_leaves) = results
    assert (colors >= 0).all()
    assert torch.allclose(colors, truth, rtol=1e-5, atol=1e-5)
    # Sums over all rows may cancel: they are held to the size of what is summed.
    slack = 1e-6 * float(pull.abs().sum())
    for name, leaf in true_leaves.items():
        if leaf.grad is None:
            assert leaves[name].grad is None, name
            continue
        error = (leaves[name].grad.double() - leaf.grad).norm()
        assert error <= 1e-4 * leaf.grad.norm() + (slack if name in ("gain", "offset", "weights") else 0), name


def test_rows_nobody_sees_have_no_gradient() -> None:
    tensors = {name: tensor.requires_grad_() for name, tensor in inputs(1000, 16, 4, 1).items()}
    rows = torch.arange(0, 1000, 3).flip(0)
    compiled(tensors, rows, None).sum().backward()
    unseen = torch.ones(1000, dtype=torch.bool)
    unseen[rows] = False
    for name in ("means", "sh0", "shN", "response"):
        assert (tensors[name].grad[unseen] == 0).all(), name
        assert (tensors[name].grad[~unseen] != 0).any(), name


@pytest.mark.parametrize("rank", [None, 8])
def test_runs_and_thread_counts_are_bit_equal(rank: int | None) -> None:
    tensors = inputs(5000, 16, rank, 2)
    rows = torch.randperm(5000, generator=torch.Generator().manual_seed(0))[:3500]
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, before, before):
            torch.set_num_threads(threads)
            leaves = {name: tensor.clone().requires_grad_() for name, tensor in tensors.items()}
            colors = compiled(leaves, rows, None)
            colors.square().sum().backward()
            results.append([colors, *(leaf.grad for leaf in leaves.values())])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
