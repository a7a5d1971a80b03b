"""Scores of what can be cut: layers, needles and fog before a camera are told from surfaces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backend.scene import Gaussians
from backend.scene.gaussians import FIELDS
from backend.train.soundness import soundness
from tests.backend.conftest import Blobs


def test_surfaces_score_better_than_layers_and_needles(blobs: Blobs) -> None:
    whole = soundness(blobs.scene, blobs.cameras)
    assert (whole.opaque, whole.needles, whole.near_camera_worst) == (1.0, 0.0, 0.0)
    half = blobs.scene.opacity_logits.copy()
    half[::2] = 0.0
    longer = blobs.scene.log_scales.copy()
    longer[::4, 0] += 4.0
    worse = soundness(replace(blobs.scene, opacity_logits=half, log_scales=longer), [])
    assert abs(worse.opaque - 0.5) < 0.01
    assert abs(worse.half_transparent - (whole.half_transparent + 1) / 2) < 0.01
    assert abs(worse.needles - 0.25) < 0.01


def test_fog_before_one_camera_is_found(blobs: Blobs) -> None:
    camera = blobs.cameras[2]
    parts = {name: getattr(blobs.scene, name)[:1].copy() for name in FIELDS}
    parts["means"] = (camera.centre + 0.2 * camera.forward)[None].astype(np.float32)
    parts["log_scales"] = np.full((1, 3), np.log(0.05), np.float32)
    fog = Gaussians(**{name: np.concatenate([getattr(blobs.scene, name), part]) for name, part in parts.items()})
    found = soundness(fog, blobs.cameras)
    assert found.near_camera_worst > 0.3
    assert found.near_camera < found.near_camera_worst / 3
