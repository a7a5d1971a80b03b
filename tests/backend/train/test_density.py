"""Which rows multiply and which go: transparent ones, giants, and those in a photographer's face."""

from __future__ import annotations

import numpy as np
import torch
from pretend_device import AWAY, PretendDevice

from backend.scene.cameras import looking_at
from backend.train import density
from backend.train.config import Adaptive
from backend.train.density import NEAREST, useless
from backend.train.parameters import Parameters


def test_what_stands_in_a_photographers_face_goes() -> None:
    random = np.random.default_rng(0)
    means = random.normal(0, 1, (2000, 3))
    cameras = [
        (looking_at(random.normal(0, 1, 3), np.zeros(3), np.array([0, 0, 1.0]), focal=9, width=9, height=9), nearest)
        for nearest in (0.5, 1.0, 1.7)
    ]
    expected = np.zeros(2000, bool)
    for camera, nearest in cameras:
        offsets = means - camera.centre
        expected |= (offsets @ camera.forward > 0) & (np.linalg.norm(offsets, axis=1) < NEAREST * nearest)
    rows = Parameters(
        {
            "means": torch.tensor(means),
            "log_scales": torch.full((2000, 3), -3.0),
            "opacity_logits": torch.zeros(2000),
        }
    )
    assert np.array_equal(useless(rows, Adaptive(cap=9), extent=1.0, cameras=cameras).numpy(), expected)
    assert expected.any()
    assert not useless(rows, Adaptive(cap=9), extent=1.0, cameras=[]).any()
    with torch.no_grad():
        rows["log_scales"][3, 1] = 0.0
        rows["opacity_logits"][5] = -9.0
    assert useless(rows, Adaptive(cap=9), extent=1.0, cameras=[]).nonzero().flatten().tolist() == [3, 5]


POLICY = Adaptive(cap=90)


def changed(device: str) -> tuple[dict[str, torch.Tensor], torch.Tensor, int]:
    random = np.random.default_rng(0)
    start = {
        "means": random.normal(0, 1, (50, 3)),
        "quats": random.normal(0, 1, (50, 4)),
        "log_scales": random.uniform(-6, 0.5, (50, 3)),
        "opacity_logits": random.uniform(-6, 3, 50),
    }
    rows = Parameters({name: torch.tensor(array, dtype=torch.float32).to(device) for name, array in start.items()})
    camera = looking_at(np.array([0.0, -1, 0]), np.zeros(3), np.array([0.0, 0, 1]), focal=30, width=32, height=24)
    statistics = density.Statistics.empty(len(rows), device)
    visible = torch.arange(0, 50, 2).to(device)
    statistics.add(visible, torch.tensor(random.uniform(0, 1, (25, 2)), dtype=torch.float32).to(device), camera)
    added = density.grow(rows, statistics, POLICY, step=20, steps=100, span=1.0, seed=3)
    drop = density.useless(rows, POLICY, extent=1.0, cameras=[(camera, 3.0)])
    rows.take((~drop).nonzero()[:, 0])
    return {name: value.detach().cpu() for name, value in rows.values.items()}, drop.cpu(), added


def test_rows_are_split_that_are_large_for_what_the_points_span() -> None:
    for span, split in ((1.0, True), (100.0, False)):
        rows = Parameters(
            {
                "means": torch.zeros(4, 3),
                "quats": torch.tensor([[1.0, 0, 0, 0]]).repeat(4, 1),
                "log_scales": torch.full((4, 3), float(np.log(0.1))),
                "opacity_logits": torch.zeros(4),
            }
        )
        statistics = density.Statistics(torch.ones(4), torch.ones(4))
        added = density.grow(rows, statistics, Adaptive(cap=8), step=59, steps=100, span=span, seed=0)
        assert added == 1
        moved = rows["means"].detach().abs().amax(1) > 0
        smaller = rows["log_scales"].detach()[:, 0] < np.log(0.099)
        assert moved.sum() == smaller.sum() == (2 if split else 0)


def test_after_a_reset_only_what_photos_raise_again_stays() -> None:
    policy = Adaptive(cap=9)
    logits = torch.tensor([-9.0, -4.0, 0.0, 5.0])
    rows = Parameters({"means": torch.zeros(4, 3), "log_scales": torch.full((4, 3), -3.0), "opacity_logits": logits})
    for moments in (rows.first, rows.second):
        for moment in moments.values():
            moment += 1
    density.reset_opacities(rows, policy)
    opacities = torch.sigmoid(rows["opacity_logits"].detach())
    assert torch.allclose(opacities[:2], torch.sigmoid(logits[:2]))
    assert torch.allclose(opacities[2:], torch.tensor(density.RESET_TO * policy.prune_below))
    assert not rows.first["opacity_logits"].any()
    assert rows.second["means"].all()  # where rows are does not change
    assert density.useless(rows, policy, extent=1.0, cameras=[]).tolist() == [True, False, False, False]
    rows["opacity_logits"].grad = torch.tensor([0.0, 0.0, 1.0, -1.0])
    for _ in range(20):
        rows.step({"opacity_logits": 0.05})
        rows["opacity_logits"].grad = torch.tensor([0.0, 0.0, 1.0, -1.0])
    assert density.useless(rows, policy, extent=1.0, cameras=[]).tolist() == [True, False, True, False]


def test_growing_and_dropping_on_a_device_equal_those_on_the_cpu() -> None:
    expected, expected_drop, expected_added = changed("cpu")
    with PretendDevice():
        found, drop, added = changed(str(AWAY))
    assert added == expected_added > 0
    assert torch.equal(drop, expected_drop)
    assert drop.any()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-6), name
