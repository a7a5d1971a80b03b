"""Mouse and keys into prompts: the modal operator that selects by clicking, and its tool in the toolbar.

It takes clicks over a 3D view and five keys; everything else goes on to Blender, so that orbiting, numpad views
and Ctrl+Z work as ever while it runs.
"""

from functools import partial
from typing import Any

import bpy
import numpy as np
from bpy.app.handlers import persistent

from .. import cleaning, session, work
from ..client import Status
from ..data import scenes
from ..protocol.errors import SegWildError
from . import draw, markers, proposals, selection, strokes
from .camera import of_region
from .mouse import over_area, under
from .picking import pick

TICK_SECS = 0.1  # how often a Return that waits for an answer looks for it
STEP_PX = 2  # between points of a brushed path
WHEEL = {"WHEELUPMOUSE": 1, "WHEELDOWNMOUSE": -1}  # steps to the whole
HELP = {
    "CLICK": "Click: the object   Shift: not the object   Ctrl: remove a mark   Ctrl+Wheel: part or whole   "
    "B: box   C: brush   Enter: make object   Esc: cancel",
    "BOX": "Drag: add what is inside   Shift: take it out   B: back to clicks   Enter: make object   Esc: back",
    "BRUSH": "Drag: add what is painted   Shift: take it out   [ ]: size   C: back to clicks   "
    "Enter: make object   Esc: back",
}

_running: list["SEGWILD_OT_prompt"] = []  # at most one


def running() -> bool:
    """Whether clicks are being taken."""
    return bool(_running)


class SEGWILD_OT_prompt(bpy.types.Operator):
    """Select an object by clicking on it. Click: the object. Shift-click: not the object. Ctrl-click: remove a mark.
    Ctrl-wheel: a part of it, or what it is a part of. B: box, C: brush. Enter makes the object, Esc cancels"""

    bl_idname = "segwild.prompt"
    bl_label = "Select Object"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.mode != "OBJECT" or not scenes.all_scenes():
            cls.poll_message_set("Import a SegWild scene and be in Object Mode")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if _running:
            return {"PASS_THROUGH"}
        self._drag = None  # region, region data, space, path, positive
        self._held = False  # a press that was ours: so is its release
        self._accepting = False
        self._window = context.window
        _running.append(self)
        context.window_manager.modal_handler_add(self)
        self._timer = context.window_manager.event_timer_add(TICK_SECS, window=context.window)
        self._help(context)
        _start_backend(context)
        selection.prepare()
        if event.type == "LEFTMOUSE":  # the tool: this press is the first click
            self._pressed(context, event)
        selection.refresh()
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if context.mode != "OBJECT" or not scenes.all_scenes():
            return self._end(context, {"CANCELLED"})
        if event.type == "TIMER":
            return self._accepted(context) if self._accepting and not selection.waiting() else {"PASS_THROUGH"}
        if event.type == "MOUSEMOVE":
            return self._moved(context, event)
        if event.type == "LEFTMOUSE":
            if event.value == "RELEASE":
                return self._released(context)
            return self._pressed(context, event) if event.value in ("PRESS", "DOUBLE_CLICK") else {"PASS_THROUGH"}
        if event.type in WHEEL and event.ctrl and not event.shift and not event.alt:
            return self._turned(context, event)
        if event.value != "PRESS" or event.ctrl or event.alt or event.oskey or not over_area(context, event):
            return {"PASS_THROUGH"}
        if event.type in ("RET", "NUMPAD_ENTER"):
            self._accepting = True
            return self._accepted(context) if not selection.waiting() else {"RUNNING_MODAL"}
        if event.type == "ESC":
            return self._escaped(context)
        state = context.window_manager.segwild
        if event.type in ("B", "C") and not event.shift:
            mode = {"B": "BOX", "C": "BRUSH"}[event.type]
            state.prompt_mode = "CLICK" if state.prompt_mode == mode else mode
            self._help(context)
            return {"RUNNING_MODAL"}
        if event.type in ("LEFT_BRACKET", "RIGHT_BRACKET") and state.prompt_mode == "BRUSH":
            state.brush_px = max(2, round(state.brush_px * (1.25 if event.type == "RIGHT_BRACKET" else 0.8)))
            self._hover(context, event)
            return {"RUNNING_MODAL"}
        return {"PASS_THROUGH"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender ends it: another file, or the end."""
        self._end(context, {"CANCELLED"})

    # Mouse.

    def _pressed(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        found = under(context, event)
        if found is None or event.alt:  # Alt orbits where a three-button mouse is emulated
            return {"PASS_THROUGH"}
        return self.pressed_in(*found, context, event)

    def pressed_in(self, space, region, region_data, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """The button went down over this 3D view."""
        x, y = event.mouse_x - region.x + 0.5, event.mouse_y - region.y + 0.5
        self._held, self._accepting = True, False
        if context.window_manager.segwild.prompt_mode != "CLICK":
            self._drag = (region, region_data, space, [(x, y)], not event.shift)
            self._draw_drag(context)
        elif event.ctrl:
            if (index := markers.nearest(region, region_data, x, y)) is not None:
                selection.remove(index)
        else:
            self._click(region, region_data, space, x, y, positive=not event.shift)
        return {"RUNNING_MODAL"}

    def _click(self, region, region_data, space, x: float, y: float, *, positive: bool) -> None:
        try:
            hit = pick(region, region_data, x, y, space)
        except SegWildError as error:
            self.report({"ERROR"}, str(error))
            return
        if hit is None:
            self.report({"INFO"}, "There is nothing under the mouse.")
        elif _covered(region, region_data, x, y, hit):
            self.report({"INFO"}, "Another object is before the splats there.")
        elif len(selection.prompts()) and hit.scene_uuid != selection.scene_uuid():
            self.report({"WARNING"}, "This belongs to another scene. Make or cancel the present selection first.")
        elif not _proposed(hit, positive):
            selection.add_click(hit, positive)

    def _moved(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self._drag is None:
            self._hover(context, event)
            return {"PASS_THROUGH"}
        region, _, _, path, _ = self._drag
        x, y = event.mouse_x - region.x + 0.5, event.mouse_y - region.y + 0.5
        if context.window_manager.segwild.prompt_mode == "BOX":
            path[1:] = [(x, y)]
        elif abs(x - path[-1][0]) + abs(y - path[-1][1]) >= STEP_PX:
            path.append((x, y))
        self._draw_drag(context)
        return {"RUNNING_MODAL"}

    def _released(self, context: bpy.types.Context) -> set[str]:
        held, self._held = self._held, False
        if self._drag is not None:
            drag, self._drag = self._drag, None
            markers.drawing.clear()
            self._stroke(context, *drag)
        return {"RUNNING_MODAL"} if held else {"PASS_THROUGH"}

    def _stroke(self, context: bpy.types.Context, region, region_data, space, path, positive: bool) -> None:
        state = context.window_manager.segwild
        view = of_region(region, region_data)
        points = [(x, view.height - y) for x, y in path]
        if state.prompt_mode == "BOX":
            inside = strokes.rectangle(*points[0], *points[-1])
        else:
            inside = strokes.brushed(points, state.brush_px)
        by_scene: dict[str, list] = {}
        try:
            for uuid, cloud in strokes.clouds_of(space):
                by_scene.setdefault(uuid, []).append(cloud)
        except SegWildError as error:
            self.report({"ERROR"}, str(error))
            return
        covered = partial(_covered_rows, region, view)
        found = {
            uuid: strokes.chosen(view, clouds, inside, through=state.through, covered=covered)
            for uuid, clouds in by_scene.items()
        }
        uuid = selection.scene_uuid()
        if not len(selection.prompts()) and not found.get(uuid):
            uuid = max(found, key=lambda each: sum(map(len, found[each].values())), default=uuid)
        if found.get(uuid):
            selection.add_stroke(uuid, found[uuid], positive)
        else:
            session.redraw_views()
            self.report({"INFO"}, "There is nothing inside.")

    def _turned(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """The wheel over a 3D view: to a part of what the clicks mean, or to what it is a part of."""
        if under(context, event) is None or not selection.levels()[1]:
            return {"PASS_THROUGH"}
        if not selection.resize(WHEEL[event.type]):
            self.report({"INFO"}, "There is nothing larger." if WHEEL[event.type] > 0 else "There is nothing smaller.")
        return {"RUNNING_MODAL"}

    # What the mouse draws.

    def _draw_drag(self, context: bpy.types.Context) -> None:
        region, _, _, path, _ = self._drag
        (x0, y0), (x1, y1) = path[0], path[-1]
        if context.window_manager.segwild.prompt_mode == "BOX":
            lines = [[(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]]
        else:
            lines = [list(path), markers.circle(x1, y1, context.window_manager.segwild.brush_px)]
        markers.drawing.clear()
        markers.drawing[region.as_pointer()] = lines
        region.tag_redraw()

    def _hover(self, context: bpy.types.Context, event: bpy.types.Event) -> None:
        """The brush's circle under the mouse."""
        state, found = context.window_manager.segwild, under(context, event)
        if markers.drawing:
            markers.drawing.clear()
            session.redraw_views()
        if state.prompt_mode == "BRUSH" and found is not None:
            region = found[1]
            x, y = event.mouse_x - region.x, event.mouse_y - region.y
            markers.drawing[region.as_pointer()] = [markers.circle(x, y, state.brush_px)]
            region.tag_redraw()

    # Ends.

    def _accepted(self, context: bpy.types.Context) -> set[str]:
        """Return was pressed and the selection is known."""
        self._accepting = False
        if not selection.chosen():
            refusal = selection.refusal()
            self.report({"WARNING"}, str(refusal) if refusal else "Nothing is selected. Click on an object first.")
            return {"RUNNING_MODAL"}
        try:
            ob = cleaning.made(context)
        except SegWildError as error:
            self.report({"ERROR"}, str(error))
            return {"RUNNING_MODAL"}
        self.report({"INFO"}, f"Made {ob.name}.")
        return self._end(context, {"FINISHED"})

    def _escaped(self, context: bpy.types.Context) -> set[str]:
        state = context.window_manager.segwild
        if self._drag is not None:
            self._drag = None
        elif self._accepting:
            self._accepting = False
        elif state.prompt_mode != "CLICK":
            state.prompt_mode = "CLICK"
        else:
            selection.clear()
            return self._end(context, {"CANCELLED"})
        markers.drawing.clear()
        session.redraw_views()
        self._help(context)
        return {"RUNNING_MODAL"}

    def _help(self, context: bpy.types.Context) -> None:
        context.workspace.status_text_set(HELP[context.window_manager.segwild.prompt_mode])
        session.redraw_panels()

    def _end(self, context: bpy.types.Context, result: set[str]) -> set[str]:
        _running.clear()
        markers.drawing.clear()
        context.window_manager.segwild.prompt_mode = "CLICK"
        if context.workspace is not None:
            context.workspace.status_text_set(None)
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None
        session.redraw_views()
        return result


def _covered_rows(region, view, pixels: np.ndarray, depths: np.ndarray) -> np.ndarray:
    return draw.covered(region, view, pixels[:, 0], view.height - pixels[:, 1], depths)


def _covered(region, region_data, x: float, y: float, hit) -> bool:
    view = of_region(region, region_data)
    z = float((view.cam_from_world @ [*hit.location, 1.0])[2])
    return bool(draw.covered(region, view, x, y, z))


def _proposed(hit: Any, positive: bool) -> bool:
    """Whether the click was on a thing that is shown in a colour, of which all is chosen then, or taken out."""
    scene = scenes.find(hit.scene_uuid)
    rest = scenes.rest(scene) if scene is not None else None
    if rest is None or hit.object_uuid != rest.segwild.uuid:
        return False
    ids = proposals.at(scene, int(hit.row))
    if len(ids):
        selection.add_stroke(hit.scene_uuid, {hit.object_uuid: ids}, positive, "Select: Proposal")
    return bool(len(ids))


class SEGWILD_OT_prompt_click(bpy.types.Operator):
    """A click of the running selection where a sidebar lies over the view but shows nothing: only Blender knows where
    that is, and sends it on to the view"""

    bl_idname = "segwild.prompt_click"
    bl_label = "Click of Select Object"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        # What runs hears of its own window alone: in another one a drag would have no end.
        return running() and context.region_data is not None and context.window == _running[0]._window

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        _running[0].pressed_in(context.space_data, context.region, context.region_data, context, event)
        return {"FINISHED"}


_CLASSES = (
    SEGWILD_OT_prompt,
    SEGWILD_OT_prompt_click,
)


@persistent
def _before_load(*_: object) -> None:
    _running.clear()
    markers.drawing.clear()


def _start_backend(context: bpy.types.Context) -> None:
    """Clicks are the backend's: it is started if it is installed here and away. What goes wrong, the panel tells."""
    scene = scenes.active(context)
    if context.window_manager.segwild.prompt_mode != "CLICK" or scene is None:
        return
    folder = scene.segwild.workspace
    if work.startable(folder) and (trouble := work.start(context, folder)):
        work.say(trouble)


def _heard(_link: object, item: object) -> None:
    if running() and isinstance(item, Status) and item.state == "running":
        selection.prepare()


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)
    bpy.app.handlers.load_pre.append(_before_load)
    session.listeners.append(_heard)


def unregister() -> None:
    bpy.app.handlers.load_pre.remove(_before_load)
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
    if _running:  # Blender drops the operator without a word
        _running.clear()
        for workspace in bpy.data.workspaces:
            workspace.status_text_set(None)
