"""What a test does in the window, and what it sees there: clicks on places of the scene, pictures, what is selected."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from .driver import Driver
from .views import part, regions, settled

EYE = (0.0, -2.6, 1.3)
RED, BLUE, GROUND = (-0.45, 0.0, 0.28), (0.45, 0.1, 0.28), (0.0, -0.6, 0.0)


def connect(blender: Driver, port: int) -> None:
    blender.run(f"bpy.ops.segwild.connect_backend(host='127.0.0.1', port={port}, token='word')")
    blender.until("link = addon('work').link_of(bpy.context); result = link is not None and link.running")


def above(blender: Driver) -> int:
    """Pixels of the screen above Blender's window, which stands on its lower edge."""
    return blender.shot("screen").shape[0] - blender.run("result = bpy.context.window.height")


def view_of(blender: Driver) -> dict[str, Any]:
    """The one window region, as a rectangle of the screen, and its camera."""
    (region,) = regions(blender)
    return region | {"top": region["top"] + above(blender)}


def picture(blender: Driver, name: str) -> np.ndarray:
    """(H, W, 3) 0..1: the view when it has settled."""
    settled(blender)
    return part(blender.shot(name), view_of(blender))


def screen_of(blender: Driver, point: tuple[float, float, float]) -> tuple[float, float]:
    """Where a point of the world is on the screen."""
    region = view_of(blender)
    x, y, z = np.array(region["matrix"])[:3] @ (*point, 1.0)
    return (
        region["left"] + region["fx"] * x / z + region["cx"],
        region["top"] + region["fy"] * y / z + region["cy"],
    )


def selected(blender: Driver) -> list[int]:
    """The ids that are selected, when the backend has answered."""
    blender.until("result = not addon('viewport.selection').waiting()")
    refusal = blender.run("result = str(addon('viewport.selection').refusal() or '')")
    assert not refusal, refusal
    return blender.run("result = addon('viewport.selection').ids().tolist()")


def names_in(workspace: Path) -> list[str]:
    """The objects of the workspace."""
    table = workspace / "segments.json"
    return [row["name"] for row in json.loads(table.read_text())["objects"]] if table.exists() else []


def no_traceback(blender: Driver) -> None:
    assert "Traceback" not in blender.log()
    assert not blender.run("result = addon('session').trouble()")


def drag(blender: Driver, start: tuple[float, float], end: tuple[float, float]) -> None:
    blender.move(*start)
    blender.x("mousedown", "1")
    for part_ in np.linspace(0, 1, 6):
        blender.drag_to(*(a + part_ * (b - a) for a, b in zip(start, end, strict=True)))
        time.sleep(0.05)
    blender.x("mouseup", "1")


def open_sidebar(blender: Driver) -> None:
    blender.run("bpy.context.space_data.show_region_ui = True")
    blender.until("result = max(region.width for region in bpy.context.area.regions if region.type == 'UI') > 50")


def open_tab(blender: Driver) -> None:
    """Click on the tab SegWild: the last one that there is room for."""
    x, top, bottom = blender.run("""
        side = next(region for region in bpy.context.area.regions if region.type == 'UI')
        height = bpy.context.window.height
        result = [side.x + side.width - 12, height - side.y - side.height, height - side.y]
    """)
    for y in range(round(top) + 20, round(bottom) - 20, 25):
        blender.click(x, y + above(blender))
        if blender.run("""
            side = next(region for region in bpy.context.area.regions if region.type == 'UI')
            result = side.active_panel_category == 'SegWild'
        """):
            return
    raise AssertionError("there is no tab SegWild")
