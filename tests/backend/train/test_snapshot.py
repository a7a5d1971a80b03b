"""A snapshot covers what the training covers, with fewer rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.train import snapshot as snapshots
from backend.train.parameters import Parameters
from backend.train.snapshot import snapshot


def rows(count: int) -> Parameters:
    torch.manual_seed(0)
    return Parameters(
        {
            "means": torch.randn(count, 3),
            "quats": 3 * torch.randn(count, 4),
            "log_scales": torch.full((count, 3), -3.0),
            "opacity_logits": torch.randn(count),
            "sh0": torch.randn(count, 1, 3),
            "shN": torch.zeros(count, 3, 3),
        }
    )


def test_few_rows_are_all_shown() -> None:
    given = rows(50)
    made = snapshot(given)
    assert np.array_equal(made["means"], given["means"].detach().numpy())
    assert np.allclose(made["scales"], np.exp(-3.0))
    assert np.allclose(np.linalg.norm(made["quats"], axis=1), 1, atol=1e-6)
    for name in ("colors", "opacities"):
        assert made[name].min() >= 0
        assert made[name].max() <= 1
    assert all(array.dtype == np.float32 for name, array in made.items() if name != "gaussians")


def test_many_rows_are_thinned_and_keep_their_area(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "ROWS_MAX", 100)
    made = snapshot(rows(1000))
    assert int(made["gaussians"]) == 1000
    assert {len(made[name]) for name in ("means", "colors", "scales", "quats", "opacities")} == {100}
    assert np.isclose((made["scales"] ** 2).sum(), 1000 * 3 * np.exp(-6.0), rtol=1e-4)


def test_a_snapshot_stays_as_it_was() -> None:
    given = rows(10)
    made = snapshot(given)
    before = made["means"].copy()
    with torch.no_grad():
        given["means"].add_(1)
    assert np.array_equal(made["means"], before)
