"""Gaussians at a camera's pose into a picture in neutral light: no passers-by, no change of weather."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from backend.render import Seen
from backend.scene import Camera, Gaussians


class Neutral:
    """One camera's view of the scene in neutral light, kept for further sums over the same pixels.

    Its picture is drawn when it is asked for.
    """

    def __init__(self, scene: Gaussians, camera: Camera) -> None:
        self.camera = camera
        self.seen = Seen(scene, camera)
        self._scene = scene

    @cached_property
    def _drawn(self) -> tuple[np.ndarray, np.ndarray]:
        picture, alpha = self.seen.picture(self._scene)
        return np.clip(picture, 0, 1), alpha

    @property
    def picture(self) -> np.ndarray:
        """(H, W, 3) float32, RGB over black."""
        return self._drawn[0]

    @property
    def alpha(self) -> np.ndarray:
        """(H, W) float32, how much of each pixel is covered."""
        return self._drawn[1]
