"""Pinhole cameras: where a photo was taken from and how it maps space to pixels.

OpenCV axes (x right, y down, z forward). Pixel (0, 0) is the picture's top-left corner and pixel centres
lie at +0.5. Every photo has its own focal lengths, principal point and size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Camera:
    """One pinhole view of the scene."""

    cam_from_world: np.ndarray  # (4, 4) float64, rigid
    fx: float  # pixels
    fy: float
    cx: float  # pixels from the left edge, anywhere
    cy: float
    width: int  # pixels
    height: int

    @property
    def centre(self) -> np.ndarray:
        """(3,) float64, the camera's position in the world."""
        return -self.cam_from_world[:3, :3].T @ self.cam_from_world[:3, 3]

    @property
    def forward(self) -> np.ndarray:
        """(3,) float64, unit, the viewing direction in the world."""
        return self.cam_from_world[2, :3].copy()

    @property
    def intrinsics(self) -> np.ndarray:
        """(3, 3) float64, pixels from camera rays."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def resized(self, width: int, height: int) -> Camera:
        """The same view on another pixel grid; intrinsics scale by the exact ratios of the sizes."""
        ratio_x, ratio_y = width / self.width, height / self.height
        return replace(
            self,
            fx=self.fx * ratio_x,
            cx=self.cx * ratio_x,
            fy=self.fy * ratio_y,
            cy=self.cy * ratio_y,
            width=width,
            height=height,
        )

    def fitted(self, long_side: int) -> Camera:
        """The same view with its long side at most `long_side` pixels; never enlarged."""
        ratio = min(1.0, long_side / max(self.width, self.height))
        return self.resized(max(1, round(self.width * ratio)), max(1, round(self.height * ratio)))

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (M, 3) to pixels (M, 2) and depths z (M,), float64; NaN pixels where z <= 0."""
        in_camera = points @ self.cam_from_world[:3, :3].T + self.cam_from_world[:3, 3]
        depths = in_camera[:, 2]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            pixels = in_camera[:, :2] / depths[:, None] * (self.fx, self.fy) + (self.cx, self.cy)
        pixels[depths <= 0] = np.nan
        return pixels, depths

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Unit world directions (..., 3) float64 through pixel positions (..., 2)."""
        directions = np.concatenate(
            [(pixels - (self.cx, self.cy)) / (self.fx, self.fy), np.ones((*pixels.shape[:-1], 1))], axis=-1
        )
        directions = directions @ self.cam_from_world[:3, :3]
        return directions / np.linalg.norm(directions, axis=-1, keepdims=True)

    def pixel_centres(self) -> np.ndarray:
        """(H, W, 2) float64 positions x, y of all pixel centres."""
        x, y = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        return np.stack([x, y], axis=-1)


def looking_at(
    centre: np.ndarray,  # (3,) world
    target: np.ndarray,  # (3,) world
    up: np.ndarray,  # (3,) world, not parallel to the viewing direction
    *,
    focal: float,  # pixels
    width: int,
    height: int,
    cx: float | None = None,
    cy: float | None = None,
) -> Camera:
    """A camera at `centre` with `target` on its optical axis and `up` pointing up in the picture."""
    forward = np.asarray(target, float) - np.asarray(centre, float)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3] = rotation
    cam_from_world[:3, 3] = -rotation @ np.asarray(centre, float)
    cx = width / 2 if cx is None else cx
    cy = height / 2 if cy is None else cy
    return Camera(cam_from_world, focal, focal, cx, cy, width, height)
