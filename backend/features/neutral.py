"""Gaussians at a camera's pose into a picture in neutral light: no passers-by, no change of weather."""

from __future__ import annotations

import numpy as np
import torch

from backend.render import Seen
from backend.render.harmonics import colors_from_sh
from backend.scene import Camera, Gaussians


def neutral_colors(scene: Gaussians, camera: Camera) -> np.ndarray:
    """(N, 3) float32, at least 0: each Gaussian's colour as the camera sees it."""
    towards = torch.from_numpy(scene.means - camera.centre.astype(np.float32))
    return colors_from_sh(torch.from_numpy(scene.sh0), torch.from_numpy(scene.shN), towards).numpy()


class Neutral:
    """One camera's view of the scene in neutral light, kept for further sums over the same pixels."""

    def __init__(self, scene: Gaussians, camera: Camera) -> None:
        self.camera = camera
        self.seen = Seen(scene, camera)
        channels = np.concatenate([neutral_colors(scene, camera), np.ones((len(scene), 1), np.float32)], 1)
        rendered = self.seen.render_channels(channels)
        self.picture = np.clip(rendered[..., :3], 0, 1)  # (H, W, 3) float32, RGB over black
        self.alpha = rendered[..., 3]  # (H, W) float32, how much of each pixel is covered
