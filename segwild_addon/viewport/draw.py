"""Splats in Blender's 3D views: one drawing handler, and whatever tells it what has changed.

Blender without a window has nothing to draw into: there, `enable` does nothing. Everything on the graphics card is let
go of before another file is loaded.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from bpy.app.handlers import persistent

from ..data import changes
from ..protocol.errors import SegWildError
from .buffers import uploads
from .camera import View, of_region
from .painting import Highlight, Painter, forget_programs
from .shaders import DISPLAY_GAMMA
from .stock import SHARED

SETTLED_SECS = 0.15  # after the last change of a view it is drawn in full
SLOW_SECS = 0.025  # a full drawing that takes longer is made coarser while the view moves
SLOW_CHANGE_SECS = 0.1  # and one that takes longer than this while what it shows changes
ROUGH_SECS = 0.15  # a coarse drawing may take: beyond that, rows are left out
THIN_MAX = 16  # of so many rows at least one is drawn
TICK_SECS = 0.02
# What may stand before splats. Wires and empties of other kinds leave no depth.
SOLIDS = {"MESH", "CURVE", "SURFACE", "META", "FONT", "CURVES", "VOLUME", "GREASEPENCIL", "POINTCLOUD"}


@dataclass
class _Region:
    """What is remembered of one region of a 3D view between drawings."""

    looking: bytes = b""  # the matrices of the last drawing
    shown: Any = None  # what was drawn last
    changed_at: float = -1e9  # when the view moved
    other_at: float = -1e9  # when it showed something else
    rough: bool = False  # the last drawing was not the final one
    cost_secs: float = 0.0  # of the last full drawing in which nothing was uploaded
    thin: float = 1.0  # of so many rows one is drawn in a coarse drawing, for it to take no longer than it may
    depth: np.ndarray | None = None  # (H, W) from the bottom, what hid splats in the last drawing; None: nothing
    depth_texture: Any = None
    depth_number: int = 0


_painter = Painter()
_regions: dict[int, _Region] = {}
_handle: Any = None
_problem = ""
drawings = 0  # since the add-on was enabled; tests read it


def enable() -> None:
    """Draw from now on."""
    global _handle
    if bpy.app.background or _handle is not None:
        return
    _handle = bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_VIEW")
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)
    redraw()


def disable() -> None:
    """Draw no more, and leave nothing behind on the graphics card."""
    global _handle
    if _handle is not None:
        bpy.types.SpaceView3D.draw_handler_remove(_handle, "WINDOW")
        _handle = None
        for name, handler in _HANDLERS:
            getattr(bpy.app.handlers, name).remove(handler)
        if bpy.app.timers.is_registered(_tick):
            bpy.app.timers.unregister(_tick)
    free()
    forget_programs()


def free() -> None:
    """Forget all that was read and uploaded; it is made anew when something is drawn."""
    global _problem
    SHARED.free()
    _painter.free()
    _regions.clear()
    _problem = ""


def problem() -> str:
    """Why splats, or their looks, are not drawn at the moment, in a sentence; empty if they are."""
    return _problem or next(filter(None, SHARED.notes.values()), "")


def changed(object_uuid: str | None) -> None:
    """Rows of the object's datablock (None: of any) were changed."""
    SHARED.changed(object_uuid)
    redraw()


def relit(object_uuid: str | None) -> None:
    """The look or grading of the object (None: of any) was changed."""
    SHARED.relit(object_uuid)
    redraw()


def highlight(scene_uuid: str, chosen: Mapping[str, np.ndarray] | None) -> None:
    """Tint, of each object of a scene by its uuid, the rows with these segwild_ids (M,) int32; None: none of them."""
    SHARED.mark(scene_uuid, chosen)
    redraw()


def color(scene_uuid: str, numbers: np.ndarray | None) -> None:
    """Tint the rows of a scene that belong to no object: (M,) uint8 by row of the workspace, 0 as it is; None: all."""
    SHARED.color(scene_uuid, numbers)
    redraw()


def preview(scene_uuid: str, arrays: Mapping[str, np.ndarray] | None, place: Any = None) -> None:
    """Draw what a running training has made, in the place of the scene's objects; None: the objects again.

    `arrays` has the names of a Snapshot: means, colors, scales, quats, opacities; scene frame. The scene's root,
    or else `place` (4, 4), puts them into the world.
    """
    SHARED.preview(scene_uuid, arrays, place)
    redraw()


def redraw() -> None:
    """Have all 3D views drawn again: what went wrong before may go well now."""
    global _problem
    _problem = ""
    # While an add-on is being installed there is no file to look at.
    for manager in getattr(bpy.data, "window_managers", ()):
        for window in manager.windows:
            for area in window.screen.areas:
                if area.type == "VIEW_3D":
                    area.tag_redraw()


def hides(ob: bpy.types.Object) -> bool:
    """Whether splats can lie behind the object."""
    if ob.type == "EMPTY":
        return ob.instance_type == "COLLECTION"
    if ob.type == "POINTCLOUD":
        return ob.display_type not in ("BOUNDS", "WIRE")
    return ob.type in SOLIDS and ob.display_type not in ("BOUNDS", "WIRE")


def covered(region: bpy.types.Region, view: View, x: Any, y: Any, z: Any) -> Any:
    """Whether another object was before these depths z at these pixels when the region was drawn last: bool, or (M,)
    bool of arrays. Pixels count from the lower left corner."""
    known = _regions.get(region.as_pointer())
    before = known.depth if known is not None else None
    if before is None or before.shape != (view.height, view.width):
        return np.zeros(np.shape(z), bool)
    columns = np.clip(np.asarray(x).astype(int), 0, view.width - 1)
    rows = np.clip(np.asarray(y).astype(int), 0, view.height - 1)
    a, b = view.depth_terms
    place = (a + (b * z if view.orthographic else b / np.maximum(z, 1e-6)) + 1) / 2
    return place > before[rows, columns]


def _draw() -> None:
    """Whatever goes wrong here would be repeated with every drawing: it is said once."""
    global _problem
    if _problem:
        return
    try:
        _draw_region(bpy.context)
    except SegWildError as error:
        _problem = str(error)
        print(f"SegWild: {_problem}")
    except Exception as error:
        _problem = f"The splats cannot be drawn ({error})."
        traceback.print_exc()


def _draw_region(context: bpy.types.Context) -> None:
    global drawings
    region, region_data, space = context.region, context.region_data, context.space_data
    if region is None or region_data is None or space is None or min(region.width, region.height) < 2:
        return
    began, uploaded = time.perf_counter(), uploads.total()
    objects = SHARED.sync()
    view = of_region(region, region_data)
    name = region.as_pointer()
    if name not in _regions:
        _forget_closed()
    known = _regions.setdefault(name, _Region())
    looking = b"".join([np.array(region_data.perspective_matrix).tobytes(), *_matrices(objects)])
    if looking != known.looking:
        # The first look at anything is no movement.
        known.changed_at = began if known.looking else -1e9
        known.looking = looking
    moving = began - known.changed_at < SETTLED_SECS
    strokes = SHARED.strokes(
        view,
        objects,
        lambda ob: ob.visible_in_viewport_get(space),
        name=name,
        moving=moving,
    )
    if not strokes:
        return
    settings = context.scene.segwild
    shown = [stroke.made_of for stroke in strokes], tuple(settings.highlight_color)
    if shown != known.shown:
        known.other_at = began if known.shown is not None else -1e9
        known.shown = shown
    other = began - known.other_at < SETTLED_SECS
    slow = known.cost_secs > (SLOW_SECS if moving else SLOW_CHANGE_SECS)
    coarse = (moving or other) and slow and settings.half_resolution
    count = sum(stroke.count for stroke in strokes)
    every = max(1, -(-count // settings.budget)) if moving else 1
    if coarse:
        every = max(every, round(known.thin))
    painted = view.resized(-(-view.width // 2), -(-view.height // 2)) if coarse else view
    behind = None
    known.depth, kept = None, known.depth
    if space.shading.type != "WIREFRAME" and _anything_before(context, space):
        behind = _depth_texture(known, kept, view.width, view.height)
    paintings = _painter.paintings
    framebuffer, picture = _painter.paint(
        strokes,
        painted,
        behind=behind,
        depth_ratio=view.width / painted.width,
        every=every,
        highlight=Highlight(tuple(np.array(settings.highlight_color) ** (1 / DISPLAY_GAMMA))),
        name=name,
        behind_number=known.depth_number,
    )
    _painter.merge(picture, view, _background(context))
    # Where what is fast moves, waiting would cost more than the figure is worth.
    telling = not known.cost_secs or known.cost_secs > SLOW_CHANGE_SECS or not (moving or coarse)
    if telling and paintings != _painter.paintings:
        # Reading a pixel waits for the graphics card.
        framebuffer.read_color(0, 0, 1, 1, 4, 0, "FLOAT")
        _learn(known, time.perf_counter() - began, coarse, every, uploaded != uploads.total())
    drawings += 1
    known.rough = moving or coarse
    if (known.rough or SHARED.orders.waiting) and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=TICK_SECS)


def _matrices(objects: list[bpy.types.Object]) -> list[bytes]:
    return [np.array(ob.matrix_world).tobytes() for ob in objects]


def _anything_before(context: bpy.types.Context, space: bpy.types.SpaceView3D) -> bool:
    return any(hides(ob) and ob.visible_in_viewport_get(space) for ob in context.view_layer.objects)


def _background(context: bpy.types.Context) -> np.ndarray:
    """(3,) display colour of an empty view; where it is a picture or a light, a dark grey stands for it."""
    shading = context.space_data.shading
    if shading.type in ("SOLID", "WIREFRAME"):
        if shading.background_type == "VIEWPORT":
            return np.array(shading.background_color) ** (1 / DISPLAY_GAMMA)
        if shading.background_type == "THEME":
            gradients = context.preferences.themes[0].view_3d.space.gradients
            color = np.array(gradients.high_gradient)
            return color if gradients.background_type == "SINGLE_COLOR" else (color + gradients.gradient) / 2
    world = context.scene.world
    if world is not None and shading.type != "MATERIAL":
        return np.clip(np.array(world.color), 0, 1) ** (1 / DISPLAY_GAMMA)
    return np.full(3, 0.25)


def _learn(known: _Region, secs: float, coarse: bool, every: int, uploaded: bool) -> None:
    """What a drawing has cost tells how coarse the next ones have to be."""
    if coarse:
        known.thin = min(max(every * secs / ROUGH_SECS, 1.0), THIN_MAX)
    elif not uploaded or not known.cost_secs:
        if not known.cost_secs:
            known.thin = min(max(secs / ROUGH_SECS, 1.0), THIN_MAX)
        known.cost_secs = secs


def _forget_closed() -> None:
    """Let go of what is kept for regions that are no longer there."""
    there = {
        region.as_pointer()
        for window in bpy.context.window_manager.windows
        for area in window.screen.areas
        if area.type == "VIEW_3D"
        for region in area.regions
    }
    for name in _regions.keys() - there:
        del _regions[name]
    _painter.keep(there)
    SHARED.orders.keep(lambda key: key[0] in there)


def _depth_texture(known: _Region, kept: np.ndarray | None, width: int, height: int) -> Any:
    """The depth that Blender has drawn into the region; the texture of before if it is as what was `kept`."""
    import gpu

    depth = gpu.state.active_framebuffer_get().read_depth(0, 0, width, height)
    depth.dimensions = width * height
    values = np.array(depth, np.float32).reshape(height, width)
    if kept is None or not np.array_equal(values, kept):
        known.depth_texture = gpu.types.GPUTexture((width, height), format="R32F", data=depth)
        known.depth_number += 1
    known.depth = values
    return known.depth_texture


def _tick() -> float | None:
    """While a view moves or an order is being made: draw again when that ends."""
    if _problem:
        return None
    now = time.perf_counter()
    rough = [known for known in _regions.values() if known.rough]
    settled = [known for known in rough if now - max(known.changed_at, known.other_at) >= SETTLED_SECS]
    for known in settled:
        known.rough = False  # asked for once: a region that is not on the screen is not drawn
    if SHARED.orders.ready:
        _forget_closed()  # or what nobody takes would be ready for ever
    if SHARED.orders.ready or settled:
        redraw()
    return TICK_SECS if rough or SHARED.orders.waiting else None


@persistent
def _before_load(*_: Any) -> None:
    free()


@persistent
def _after_undo(*_: Any) -> None:
    changed(None)


@persistent
def _after_update(_scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """Rows may also be changed by Blender's own tools, and what was too much for the graphics card be deleted."""
    global _problem
    for update in depsgraph.updates:
        if not update.is_updated_geometry:
            continue
        _problem = ""  # of what is deleted, its collection is updated
        if isinstance(update.id, bpy.types.Object) and update.id.type == "POINTCLOUD":
            SHARED.changed(update.id.segwild.uuid)


_HANDLERS = (
    ("load_pre", _before_load),
    ("undo_post", _after_undo),
    ("redo_post", _after_undo),
    ("depsgraph_update_post", _after_update),
)


def register() -> None:
    changes.row_listeners.append(changed)
    changes.look_listeners.append(relit)
    enable()


def unregister() -> None:
    disable()
    changes.look_listeners.remove(relit)
    changes.row_listeners.remove(changed)
