"""What a 3D view shows, and what the backend's renderer makes of the same camera."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from backend.render import seen_by
from backend.scene import Camera, Workspace
from backend.segment.shown import Shown, look_of

from .driver import Driver

EDGE = 40  # pixels at the rim of a region, where its corners are rounded and buttons may lie
FAR_AWAY = 1e4  # a perspective from there is parallel, as good as float32 depths allow


def look_from(blender: Driver, eye: Any, target: Any, *, lens: float = 40.0, parallel: float = 0.0) -> None:
    """Set the first 3D view; `parallel` is the distance of an orthographic view, 0 for perspective."""
    blender.run(f"""
        from mathutils import Vector
        region = bpy.context.space_data.region_3d
        eye, target = Vector({list(map(float, eye))}), Vector({list(map(float, target))})
        region.view_perspective = 'ORTHO' if {parallel} else 'PERSP'
        bpy.context.space_data.lens = {lens}
        bpy.context.space_data.clip_start = 0.01
        region.view_rotation = (eye - target).to_track_quat('Z', 'Y')
        region.view_location = target
        region.view_distance = {parallel} or (eye - target).length
        region.update()
    """)


def settled(blender: Driver) -> None:
    """Wait until the view is drawn in full quality and in its final order."""
    blender.until("""
        import time
        draw = addon('viewport.draw')
        now = time.perf_counter()
        result = draw.problem() or bool(draw.SHARED.layers) and not draw.SHARED.orders.waiting and all(
            now - known.changed_at > 0.4 for known in draw._regions.values())
    """)
    problem = blender.run("result = addon('viewport.draw').problem()")
    assert not problem, problem
    blender.run("bpy.context.area.tag_redraw()")
    blender.run("result = 0")  # answered after that drawing


def regions(blender: Driver) -> list[dict[str, Any]]:
    """Every window region of the first 3D view: rectangle of the screen from the top, and its camera."""
    return blender.run("""
        camera = addon('viewport.camera')
        area, space = bpy.context.area, bpy.context.space_data
        found = [region for region in area.regions if region.type == 'WINDOW']
        datas = [region.data for region in found]
        result = []
        for region, data in zip(found, datas):
            view = camera.of_region(region, data)
            result.append({
                "left": region.x, "top": bpy.context.window.height - region.y - region.height,
                "width": region.width, "height": region.height, "orthographic": view.orthographic,
                "matrix": view.cam_from_world.tolist(), "fx": view.fx, "fy": view.fy, "cx": view.cx, "cy": view.cy,
                "near": view.near,
            })
    """)


def part(screen: np.ndarray, region: dict[str, Any]) -> np.ndarray:
    """(H, W, 3) float 0..1, a region of a screenshot."""
    rows = slice(region["top"], region["top"] + region["height"])
    return screen[rows, region["left"] : region["left"] + region["width"]].astype(float) / 255


def inner(picture: np.ndarray) -> np.ndarray:
    return picture[EDGE:-EDGE, EDGE:-EDGE]


def camera_of(region: dict[str, Any]) -> Camera:
    """The backend's camera; one that looks in parallel stands far away instead."""
    matrix = np.array(region["matrix"])
    fx, fy = region["fx"], region["fy"]
    if region["orthographic"]:
        matrix[2, 3] += FAR_AWAY
        fx, fy = fx * FAR_AWAY, fy * FAR_AWAY
    return Camera(matrix, fx, fy, region["cx"], region["cy"], region["width"], region["height"])


def backends_picture(
    root: Path, region: dict[str, Any], *, only: str | None = None, without: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Premultiplied colours (H, W, 3) and alpha (H, W) of a workspace in neutral light."""
    import torch

    shown = Shown.open(Workspace.open(root))
    gaussians = shown.baked(look_of("neutral")).take(shown.rows(only=only, without=without))
    with torch.no_grad():
        picture, alpha = seen_by("cpu", gaussians, camera_of(region)).picture(gaussians, None)
    return np.asarray(picture), np.asarray(alpha)


def laid_over(picture: np.ndarray, alpha: np.ndarray, background: Any) -> np.ndarray:
    """What the screen shows over one display colour."""
    return np.clip(picture, 0, alpha[..., None]) + np.asarray(background) * (1 - alpha[..., None])


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference without the rim, in levels of 255."""
    return float(255 * np.abs(inner(one) - inner(other)).mean())


def turned(angle_deg: float, distance: float, height: float) -> tuple[float, float, float]:
    angle = math.radians(angle_deg)
    return distance * math.cos(angle), distance * math.sin(angle), height
