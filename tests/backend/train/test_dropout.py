"""Rows left out of steps: which, how many, and what the others do instead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pretend_device import AWAY, PretendDevice

from backend.progress import Quiet
from backend.stages import train
from backend.train import dropout, loop
from backend.train.dropout import share_left_out, thinned
from tests.backend.train.test_loop import short, workspace


def test_a_share_is_left_out_and_the_rest_is_as_much_more_opaque() -> None:
    logits = torch.logit(torch.linspace(0.05, 0.7, 20_000)).requires_grad_()
    found = thinned(logits, 0.25, seed=3, step=7)
    opacities = torch.sigmoid(found)
    left_out = opacities < 1e-6
    assert left_out.float().mean() == pytest.approx(0.25, abs=0.01)
    torch.testing.assert_close(opacities[~left_out], torch.sigmoid(logits)[~left_out] / 0.75, rtol=1e-4, atol=0)
    # So a row is on average what it was.
    assert opacities.mean().item() == pytest.approx(torch.sigmoid(logits).mean().item(), rel=0.01)
    opacities.sum().backward()
    assert not logits.grad[left_out].any()
    assert (logits.grad[~left_out] > 0).all()


def test_few_visits_leave_less_out() -> None:
    often = share_left_out(0.2, step=2000, steps=4000, photos=10)
    assert often == pytest.approx(0.1)
    assert share_left_out(0.2, step=2000, steps=4000, photos=3) == often
    assert share_left_out(0.2, step=2000, steps=4000, photos=40) == pytest.approx(often / 4)
    assert share_left_out(0.2, step=0, steps=4000, photos=10) == 0


def test_opaque_rows_can_fade_and_none_is_no_number() -> None:
    """Where opacities are cut off nothing pulls but what makes rows opaque."""
    logits = torch.tensor([-30.0, 2.0, 5.0, 20.0, 200.0] * 50).requires_grad_()
    found = thinned(logits, 0.5, seed=0, step=0)
    assert torch.isfinite(found).all()
    assert torch.sigmoid(found).max() < 1
    found.sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[(found > -10) & (logits > 0)] == 1).all()


def test_others_each_step_and_the_same_ones_again() -> None:
    logits = torch.zeros(1000)

    def out(seed: int, step: int) -> np.ndarray:
        return (thinned(logits, 0.2, seed=seed, step=step) < -10).numpy()

    assert np.array_equal(out(1, 5), out(1, 5))
    assert not np.array_equal(out(1, 5), out(1, 6))
    assert not np.array_equal(out(1, 5), out(2, 5))
    with PretendDevice():
        there = thinned(logits.to(AWAY), 0.2, seed=1, step=5).cpu()
    assert np.array_equal((there < -10).numpy(), out(1, 5))


def test_a_training_leaves_more_and_more_out_and_neutral_steps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: dict[int, float] = {}

    def noted(logits: torch.Tensor, share: float, *, seed: int, step: int) -> torch.Tensor:
        shares[step] = share
        return thinned(logits, share, seed=seed, step=step)

    monkeypatch.setattr(loop, "thinned", noted)
    monkeypatch.setattr(dropout, "BY_HEART", 12)  # five photos, sixty steps
    train.run(short(workspace=workspace(tmp_path / "w").root), Quiet())
    assert list(shares.values()) == sorted(shares.values())
    assert max(shares.values()) == pytest.approx(0.2, abs=0.01)
    neutral = [step for step in range(60) if step >= 12 and step % 10 == 9]
    assert not set(neutral) & set(shares)
    assert len(shares) == 60 - len(neutral) - 1  # the first one leaves out nothing
