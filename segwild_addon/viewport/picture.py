"""A view into a picture of the splats as an array, and that picture together with what a renderer has drawn.

All pictures count rows from the top and hold display colours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from ..protocol.errors import InputError, SetupError
from .buffers import uploaded
from .camera import View
from .painting import Painter
from .stock import Stock

NOTHING = 1e10  # depth where there is nothing; what Blender's own renderers write


@dataclass(frozen=True, eq=False)
class Picture:
    """Splats in front of nothing."""

    colour: np.ndarray  # (H, W, 4) float32, premultiplied
    depth: np.ndarray  # (H, W) float32, z of what is seen on average; NOTHING where alpha is below one half


def check() -> None:
    """Raises SetupError where Blender has no graphics: before 5.2, without a window."""
    import gpu

    if bpy.app.background:
        try:
            gpu.platform.renderer_get()
        except SystemError as error:
            if hasattr(gpu, "init"):
                gpu.init()
                return
            raise SetupError(
                "no-graphics",
                "This Blender draws nothing without a window.",
                "Render with Blender's window open, or with Blender 5.2 or later.",
            ) from error


def draw(
    stock: Stock,
    view: View,
    visible: Callable[[bpy.types.Object], bool],
    *,
    behind: np.ndarray | None = None,  # (H, W) float32, 0..1: hides what lies farther
    painter: Painter | None = None,
) -> Picture:
    """All visible splats of the file, exactly sorted, in 32 bits. Raises SetupError, ResourceError or InputError."""
    import gpu

    check()
    if max(view.width, view.height) > gpu.capabilities.max_texture_size_get():
        raise InputError(
            "picture-too-large",
            f"A picture of {view.width} × {view.height} pixels is too large for the graphics card.",
            f"Choose at most {gpu.capabilities.max_texture_size_get()}.",
        )
    painter = painter or Painter()
    strokes = stock.strokes(view, stock.sync(), visible, name="picture", patient=False)
    hiding = None
    if behind is not None:
        flat = np.ascontiguousarray(behind[::-1], np.float32).reshape(-1)
        hiding = uploaded(flat, (view.width, view.height), "R32F", "depth")
    framebuffer, *_ = painter.paint(strokes, view, behind=hiding, with_depth=True)
    colour, depths = (_read(framebuffer, view, slot) for slot in (0, 1))
    alpha = depths[..., 3]
    depth = np.where(alpha >= 0.5, depths[..., 0] / np.maximum(alpha, 1e-6), NOTHING).astype(np.float32)
    return Picture(colour, depth)


def _read(framebuffer: Any, view: View, slot: int) -> np.ndarray:
    """(H, W, 4) float32 of one of the textures."""
    import gpu

    values = np.empty(view.height * view.width * 4, np.float32)
    buffer = gpu.types.Buffer("FLOAT", values.size, values)
    framebuffer.read_color(0, 0, view.width, view.height, 4, slot, "FLOAT", data=buffer)
    return values.reshape(view.height, view.width, 4)[::-1]


def composed(front: np.ndarray, everything: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Splats before and behind what another renderer drew; all (H, W, 4) float32, premultiplied.

    `front` holds what lies before it, `everything` all splats: where the other picture lets through, at its rims or
    where it is empty, what lies behind it is seen.
    """
    behind = everything - front
    return front + (1 - front[..., 3:]) * other + (1 - other[..., 3:]) * behind


def straight(colour: np.ndarray) -> np.ndarray:
    """Premultiplied (H, W, 4) to straight, 0..1."""
    alpha = np.clip(colour[..., 3:], 0, 1)
    rgb = np.divide(colour[..., :3], alpha, out=np.zeros_like(colour[..., :3]), where=alpha > 1e-6)
    return np.concatenate([np.clip(rgb, 0, 1), alpha], -1)


def distances(depth: np.ndarray, view: View) -> np.ndarray:
    """Depths 0..1 of the graphics card into z of camera axes; NOTHING for 1."""
    a, b = view.depth_terms
    ndc = 2 * depth.astype(np.float64) - 1
    with np.errstate(divide="ignore"):
        z = (ndc - a) / b if view.orthographic else b / (ndc - a)
    return np.where(depth < 1, z, NOTHING).astype(np.float32)
