"""Views of the origin for tests."""

from __future__ import annotations

import numpy as np

from segwild_addon.viewport.camera import View


def view_from(eye, *, orthographic=False, width=96, height=64, focal=90.0, cx=None, cy=None) -> View:
    """The origin seen from `eye` with +z up; `focal` in pixels, or pixels per unit."""
    forward = -np.asarray(eye, float)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    matrix[:3, 3] = -matrix[:3, :3] @ eye
    return View(
        matrix,
        fx=focal,
        fy=focal * 1.1,
        cx=width / 2 if cx is None else cx,
        cy=height / 2 if cy is None else cy,
        width=width,
        height=height,
        orthographic=orthographic,
        near=-50.0 if orthographic else 0.05,
        far=100.0,
    )


VIEWS = {
    "perspective": view_from((2.0, -3.0, 1.0)),
    "inside": view_from((0.2, -0.4, 0.1), focal=40.0),
    "off-centre": view_from((0.0, 4.0, 2.0), cx=20.0, cy=50.0, width=81, height=57),
    "orthographic": view_from((2.0, -3.0, 1.0), orthographic=True, focal=25.0),
    "orthographic, shifted": view_from((-1.0, -3.0, -2.0), orthographic=True, focal=18.0, cx=60.0, cy=20.0),
}
