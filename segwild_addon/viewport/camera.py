"""What Blender looks through (a 3D view, a camera object) into a pinhole or parallel view with OpenCV axes.

x right, y down, z forward; pixel (0, 0) is the top-left corner of the picture and pixel centres lie at +0.5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..protocol.errors import InputError

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # between Blender's camera axes and OpenCV's; its own inverse


@dataclass(frozen=True, eq=False)
class View:
    """One way of seeing. A point (x, y, z) of camera axes lies at pixel

    perspective:  u = fx·x/z + cx,  v = fy·y/z + cy
    orthographic: u = fx·x + cx,    v = fy·y + cy   (fx, fy in pixels per unit)
    """

    cam_from_world: np.ndarray  # (4, 4) float64, rigid
    fx: float
    fy: float
    cx: float
    cy: float
    width: int  # pixels
    height: int
    orthographic: bool
    near: float  # z of the clipping planes; may be negative in an orthographic view
    far: float

    @property
    def eye(self) -> np.ndarray:
        """(3,) float64, where the view is from; of an orthographic view a point of its axis."""
        return -self.cam_from_world[:3, :3].T @ self.cam_from_world[:3, 3]

    @property
    def forward(self) -> np.ndarray:
        """(3,) float64, unit, in the world."""
        return self.cam_from_world[2, :3].copy()

    @property
    def depth_terms(self) -> tuple[float, float]:
        """a, b of the depth -1..1 that the graphics card compares: a + b/z, or a + b·z if orthographic."""
        span = self.far - self.near
        if self.orthographic:
            return -(self.far + self.near) / span, 2 / span
        return (self.far + self.near) / span, -2 * self.far * self.near / span

    @property
    def window_matrix(self) -> np.ndarray:
        """(4, 4) float64, Blender's projection: clip space from Blender's camera axes."""
        a, b = self.depth_terms
        matrix = np.zeros((4, 4))
        matrix[0, 0], matrix[1, 1] = 2 * self.fx / self.width, 2 * self.fy / self.height
        if self.orthographic:
            matrix[0, 3], matrix[1, 3] = 2 * self.cx / self.width - 1, 1 - 2 * self.cy / self.height
            matrix[2, 2], matrix[2, 3], matrix[3, 3] = -b, a, 1
        else:
            matrix[0, 2], matrix[1, 2] = 1 - 2 * self.cx / self.width, 2 * self.cy / self.height - 1
            matrix[2, 2], matrix[2, 3], matrix[3, 2] = -a, b, -1
        return matrix

    @property
    def view_matrix(self) -> np.ndarray:
        """(4, 4) float64, Blender's camera axes from the world."""
        return FLIP @ self.cam_from_world

    def resized(self, width: int, height: int) -> View:
        """The same view on another grid of pixels."""
        x, y = width / self.width, height / self.height
        return replace(self, fx=self.fx * x, cx=self.cx * x, fy=self.fy * y, cy=self.cy * y, width=width, height=height)

    def within(self, world_from_frame: np.ndarray) -> View:
        """The same view for points given in another frame, which `world_from_frame` (4, 4) places in the world.

        Its scale must be uniform: then lengths of camera axes become those of the frame.
        """
        scale = abs(np.linalg.det(world_from_frame[:3, :3])) ** (1 / 3)
        cam_from_frame = self.cam_from_world @ world_from_frame
        cam_from_frame[:3] /= scale
        focal = scale if self.orthographic else 1.0
        return replace(
            self,
            cam_from_world=cam_from_frame,
            fx=self.fx * focal,
            fy=self.fy * focal,
            near=self.near / scale,
            far=self.far / scale,
        )

    def ray(self, u: float, v: float) -> tuple[np.ndarray, np.ndarray]:
        """Origin (3,) and unit direction (3,) in the world of what pixel position (u, v) sees.

        The origin has z = 0, for perspective it is the eye.
        """
        world_from_cam = np.linalg.inv(self.cam_from_world)
        x, y = (u - self.cx) / self.fx, (v - self.cy) / self.fy
        origin, towards = ((x, y, 0.0), (0, 0, 1.0)) if self.orthographic else ((0, 0, 0), (x, y, 1.0))
        direction = world_from_cam[:3, :3] @ towards
        return world_from_cam[:3, :3] @ origin + world_from_cam[:3, 3], direction / np.linalg.norm(direction)

    def pixel_size(self, z: float) -> float:
        """Length in the world of one pixel's side at depth z."""
        return 1 / self.fx if self.orthographic else z / self.fx


def from_matrices(
    window_matrix: Any,  # (4, 4), clip space from Blender's camera axes
    view_matrix: Any,  # (4, 4), Blender's camera axes from the world, rigid
    width: int,  # pixels
    height: int,
) -> View:
    """Whatever Blender projects with: free views, quad views, a camera's view with zoom and offset."""
    P, V = np.array(window_matrix, np.float64), np.array(view_matrix, np.float64)
    fx, fy = width / 2 * P[0, 0], height / 2 * P[1, 1]
    if P[3, 3] == 1:
        cx, cy = width / 2 * (1 + P[0, 3]), height / 2 * (1 - P[1, 3])
        near, far = (-1 - P[2, 3]) / -P[2, 2], (1 - P[2, 3]) / -P[2, 2]
    else:
        cx, cy = width / 2 * (1 - P[0, 2]), height / 2 * (1 + P[1, 2])
        near, far = P[2, 3] / (P[2, 2] - 1), P[2, 3] / (P[2, 2] + 1)
    # Plain numbers: numpy's would make float64 of every array of rows they meet.
    lens = (float(number) for number in (fx, fy, cx, cy))
    return View(FLIP @ V, *lens, width, height, bool(P[3, 3] == 1), float(near), float(far))


def of_region(region: Any, region_data: Any) -> View:
    """What a window region of a 3D view shows; `region_data` is its RegionView3D (quad views have four)."""
    return from_matrices(region_data.window_matrix, region_data.view_matrix, region.width, region.height)


def of_camera(ob: Any, scene: Any, width: int | None = None, height: int | None = None) -> View:
    """What a camera object sees in a render of `scene`, or in a picture of another size.

    Raises InputError for panoramic lenses.
    """
    data, render = ob.data, scene.render
    if data.type not in ("PERSP", "ORTHO"):
        raise InputError(
            "camera-type",
            f"Panoramic cameras cannot be used: {ob.name}.",
            "Set the lens to Perspective or Orthographic.",
        )
    if width is None or height is None:
        width = max(1, render.resolution_x * render.resolution_percentage // 100)
        height = max(1, render.resolution_y * render.resolution_percentage // 100)
    aspect_x, aspect_y = render.pixel_aspect_x, render.pixel_aspect_y
    q = aspect_y / aspect_x
    fit = data.sensor_fit
    if fit == "AUTO":
        fit = "HORIZONTAL" if aspect_x * width >= aspect_y * height else "VERTICAL"
    across = width if fit == "HORIZONTAL" else height * q
    sensor = data.sensor_height if data.sensor_fit == "VERTICAL" else data.sensor_width
    orthographic = data.type == "ORTHO"
    k = across / data.ortho_scale if orthographic else across * data.lens / sensor
    world_from_cam = np.array(ob.matrix_world, np.float64)
    world_from_cam[:3, :3] /= np.linalg.norm(world_from_cam[:3, :3], axis=0)
    return View(
        FLIP @ np.linalg.inv(world_from_cam),
        fx=k,
        fy=k / q,
        cx=width / 2 - data.shift_x * across,
        cy=height / 2 + data.shift_y * across / q,
        width=width,
        height=height,
        orthographic=orthographic,
        near=data.clip_start,
        far=data.clip_end,
    )
