"""Sampling density control: copies look like what they were, budgets hold, noise moves what is translucent."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pretend_device import AWAY, PretendDevice

from backend.train import capped
from backend.train.config import PRESETS, Capped, configured
from backend.train.parameters import Parameters
from segwild_addon.protocol.requests import Train

POLICY = Capped(cap=90)


def rows(count: int = 60, device: object = "cpu") -> Parameters:
    random = np.random.default_rng(0)
    start = {
        "means": random.normal(0, 1, (count, 3)),
        "quats": random.normal(0, 1, (count, 4)),
        "log_scales": random.uniform(-4, -1, (count, 3)),
        "opacity_logits": random.uniform(-4, 4, count),
        "response": random.normal(0, 1, (count, 3, 2)),
    }
    return Parameters({name: torch.tensor(array, dtype=torch.float32).to(device) for name, array in start.items()})


@pytest.mark.parametrize("copies", [1, 2, 3, 7])
@pytest.mark.parametrize("opacity", [0.05, 0.4, 0.9])
def test_copies_in_one_place_fill_as_much_as_the_one_row(copies: int, opacity: float) -> None:
    new, factor = (values.item() for values in capped.shared_out(torch.tensor([opacity]), torch.tensor([copies])))
    assert 1 - (1 - new) ** copies == pytest.approx(opacity, rel=1e-4)  # the centre stays as opaque
    # The paper asks that the integral over a line through the centre stays: n blended copies against one.
    x = np.linspace(-12, 12, 4001)
    one = opacity * np.exp(-(x**2) / 2)
    many = 1 - (1 - new * np.exp(-((x / factor) ** 2) / 2)) ** copies
    assert np.trapezoid(many, x) == pytest.approx(np.trapezoid(one, x), rel=1e-3)


def test_no_number_of_copies_loses_digits() -> None:
    new, factor = capped.shared_out(torch.full((80,), 0.99), torch.arange(1, 81))
    assert torch.isfinite(factor).all()
    assert (factor > 0.1).all()
    assert (factor <= 1.0 + 1e-6).all()
    assert new[60] == new[50]  # more than 51 copies are treated as 51


def test_dead_rows_become_copies_and_the_living_keep_their_places() -> None:
    before, after = rows(), rows()
    dead = torch.sigmoid(after["opacity_logits"].detach()) < 0.1
    for moments in (after.first, after.second):
        for moment in moments.values():
            moment += 1
    assert capped.relocate(after, dead, seed=1, step=7) == int(dead.sum()) > 0
    assert torch.equal(after["means"][~dead], before["means"][~dead])  # ids of what lives do not change
    home = [(after["means"][row] == before["means"]).all(1).nonzero()[:, 0].item() for row in dead.nonzero()[:, 0]]
    assert not dead[home].any()  # every dead row now lies on a living one ...
    for row, source in zip(dead.nonzero()[:, 0], home, strict=True):
        for name in ("response", "log_scales", "opacity_logits"):  # ... and is it, sidecars included
            assert torch.equal(after[name][row], after[name][source])
    touched = torch.cat([dead.nonzero()[:, 0], torch.tensor(home)]).unique()
    for moment in (*after.first.values(), *after.second.values()):
        assert not moment[touched].any()
        assert moment.reshape(len(moment), -1).any(1).sum() == len(after) - len(touched)
    assert capped.relocate(after, torch.ones(60, dtype=torch.bool), seed=1, step=7) == 0  # nothing to copy


def test_growth_reaches_the_cap_when_its_window_closes_and_not_more() -> None:
    grown = rows(40)
    for step in range(10, 60, 10):
        capped.grow(grown, POLICY, step=step, steps=100, seed=0)
    assert len(grown) == POLICY.cap
    assert capped.grow(grown, POLICY, step=59, steps=100, seed=0) == 0
    assert all(len(value) == POLICY.cap for value in (*grown.values.values(), *grown.first.values()))


def test_noise_moves_translucent_rows_within_their_shape() -> None:
    moved, before = rows(400), rows(400)
    with torch.no_grad():
        for each in (moved, before):
            each["opacity_logits"][:200] = -7.0
            each["opacity_logits"][200:] = 2.0
            each["log_scales"][:, 0] = math.log(0.1)
            each["log_scales"][:, 1:] = math.log(0.01)
            each["quats"][:] = torch.tensor([1.0, 0, 0, 0])
    capped.explore(moved, POLICY, 1e-6, seed=0, step=3)
    offsets = (moved["means"] - before["means"]).detach()
    assert not offsets[200:].any()
    spread = offsets[:200].std(0)
    weight = 1 / (1 + math.exp(-(0.5 - 100 / (1 + math.exp(7.0)))))
    assert spread[0].item() == pytest.approx(5e5 * 1e-6 * weight * 0.1**2, rel=0.15)
    assert spread[0] / spread[1] == pytest.approx(100, rel=0.3)  # by the covariance, not its root
    again = rows(400)
    with torch.no_grad():
        for name, value in before.values.items():
            again.values[name].copy_(value)
    capped.explore(again, POLICY, 1e-6, seed=0, step=3)
    assert torch.equal(again["means"], moved["means"])  # random numbers come from the seed and the step


def test_the_policy_does_the_same_on_another_device() -> None:
    results = []
    for device in ("cpu", AWAY):
        with PretendDevice():
            own = rows(device=device)
            dead = torch.sigmoid(own["opacity_logits"].detach()) < 0.1
            capped.relocate(own, dead, seed=2, step=5)
            capped.grow(own, POLICY, step=20, steps=100, seed=2)
            capped.explore(own, POLICY, 1e-6, seed=2, step=6)
            results.append({name: value.detach().cpu() for name, value in own.values.items()})
    for name, expected in results[0].items():
        assert torch.equal(results[1][name], expected), name


def test_a_person_chooses_the_policy() -> None:
    config = configured(Train(workspace=None, preset="quick", density="capped", cap=500))  # type: ignore[arg-type]
    assert config.density == Capped(cap=500)
    assert config.regularisers.opacity > 0 == PRESETS["quick"].regularisers.opacity
