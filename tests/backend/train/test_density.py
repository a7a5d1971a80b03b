"""Which rows go: transparent ones, giants, and those in a photographer's face."""

from __future__ import annotations

import numpy as np
import torch

from backend.scene.cameras import looking_at
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
