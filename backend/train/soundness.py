"""Gaussians into scores of how well objects can be cut from them: what held-out photos do not tell.

Translucent layers and needles explain photos well and select badly, and a large Gaussian in front of a camera that
nobody stood at is seen only when someone goes there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backend.render import Seen
from backend.scene import Camera, Gaussians

OPAQUE = 0.9  # opacity of a row that hides what is behind it
THIN = 10.0  # a needle's largest over its middle scale
NEAR = 0.25  # of a camera's usual depth: what is nearer and in the picture was not photographed
LONG_SIDE = 240  # pixels of the views
VIEWS = 24


@dataclass(frozen=True)
class Soundness:
    """Shares from 0 to 1."""

    opaque: float  # rows above OPAQUE; more: surfaces instead of layers
    half_transparent: float  # mean of 4·o·(1 − o); 0: every row is there or is not
    needles: float  # rows longer than THIN times their middle scale
    near_camera: float  # mean share of a picture's pixels that what stands right before the camera fills
    near_camera_worst: float  # the same of the worst view


def soundness(scene: Gaussians, cameras: Sequence[Camera]) -> Soundness:
    """Scores of a scene, before up to VIEWS of the cameras, those held out included."""
    opacities = scene.opacities
    scales = np.sort(scene.log_scales, axis=1)
    chosen = np.unique(np.linspace(0, len(cameras) - 1, min(VIEWS, len(cameras))).astype(int)) if cameras else []
    fogs = [_fog(scene, cameras[index].fitted(LONG_SIDE)) for index in chosen]
    return Soundness(
        opaque=float((opacities > OPAQUE).mean()),
        half_transparent=float((4 * opacities * (1 - opacities)).mean()),
        needles=float((scales[:, 2] - scales[:, 1] > np.log(THIN)).mean()),
        near_camera=float(np.mean(fogs)) if fogs else 0.0,
        near_camera_worst=float(np.max(fogs)) if fogs else 0.0,
    )


def _fog(scene: Gaussians, camera: Camera) -> float:
    """Mean over pixels of the blending weight of rows nearer than NEAR of the median depth of what lies in the view."""
    pixels, depths = camera.project(scene.means.astype(np.float64))
    inside = (depths > 0) & (pixels >= 0).all(1) & (pixels < (camera.width, camera.height)).all(1)
    if not inside.any():
        return 0.0
    near = depths < NEAR * np.median(depths[inside])  # not weighed by what is seen: fog may hide everything else
    weight = Seen(scene, camera).accumulate(np.ones((camera.height, camera.width, 1), np.float32))[1]
    return float(weight[near].sum() / (camera.height * camera.width))
