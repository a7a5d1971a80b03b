"""Adam on another device takes the steps that it takes on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from pretend_device import AWAY, PretendDevice

from backend.train.parameters import Parameters


def test_steps_on_a_device_equal_those_on_the_cpu() -> None:
    random = np.random.default_rng(0)
    start = {
        "means": torch.tensor(random.normal(0, 1, (20, 3)), dtype=torch.float32),
        "opacity_logits": torch.tensor(random.normal(0, 1, 20), dtype=torch.float32),
        "still": torch.ones(4, 2),
    }
    gradients = [
        {name: random.normal(0, 1, value.shape).astype(np.float32) for name, value in start.items()} for _ in range(5)
    ]
    gradients[2]["means"][3, 1] = np.nan
    gradients[2]["means"][7] = np.inf
    rates = {"means": 1e-2, "opacity_logits": 5e-2}
    results = []
    for device in ("cpu", str(AWAY)):
        with PretendDevice():
            rows = Parameters({name: value.to(device) for name, value in start.items()})
            bad = []
            for step in gradients:
                for name, gradient in step.items():
                    rows[name].grad = torch.from_numpy(gradient.copy()).to(device)
                bad.append(rows.step(rates, {"means": 0.3}))
            again = Parameters.restored("rows", rows.state("rows"), device)
            assert torch.equal(again["means"].detach().cpu(), rows["means"].detach().cpu())
            results.append(({name: value.detach().cpu() for name, value in rows.values.items()}, bad))
    (expected, expected_bad), (found, bad) = results
    assert bad == expected_bad == [0, 0, 2, 0, 0]
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-5, atol=1e-6), name
    assert torch.equal(found["still"], start["still"])
