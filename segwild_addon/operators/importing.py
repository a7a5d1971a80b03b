"""A workspace folder into a scene."""

import contextlib
import time
from pathlib import Path

import bpy
from bpy.props import StringProperty

from ..data import scenes
from ..data.steps import Steps, finished
from ..protocol.errors import SegWildError

_SLICE_SECS = 0.04  # of work between two moments in which Blender may draw


class SEGWILD_OT_import_workspace(bpy.types.Operator):
    """Bring a finished workspace into this file: its splats, its objects and its cameras"""

    bl_idname = "segwild.import_workspace"
    bl_label = "Import SegWild Workspace"
    bl_options = {"REGISTER", "UNDO"}

    directory: StringProperty(subtype="DIR_PATH", options={"HIDDEN"})
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.mode == "OBJECT"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.directory:
            return self._start(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """From a script everything at once; after the file browser in steps."""
        if not bpy.app.background and context.window is not None and self.options.is_invoke:
            return self._start(context)
        self._warnings: list[str] = []
        try:
            scene = finished(self._steps())
        except SegWildError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return self._told(scene)

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type == "ESC":
            self._work.close()  # removes what is there so far
            self._stop(context)
            self.report({"INFO"}, "Import cancelled.")
            return {"CANCELLED"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        end = time.monotonic() + _SLICE_SECS
        try:
            while time.monotonic() < end:
                context.window_manager.progress_update(next(self._work))
        except StopIteration as done:
            self._stop(context)
            return self._told(done.value)
        except SegWildError as error:
            self._stop(context)
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        if hasattr(self, "_work"):
            self._work.close()
            self._stop(context)

    def _steps(self) -> Steps[bpy.types.Collection]:
        return scenes.importing(Path(bpy.path.abspath(self.directory)), self._warnings.append)

    def _start(self, context: bpy.types.Context) -> set[str]:
        self._warnings = []
        self._work = self._steps()
        self._timer = context.window_manager.event_timer_add(0.01, window=context.window)
        context.window_manager.progress_begin(0, 1)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def _stop(self, context: bpy.types.Context) -> None:
        with contextlib.suppress(ReferenceError, ValueError):  # a loaded file has removed the timer
            context.window_manager.event_timer_remove(self._timer)
        context.window_manager.progress_end()

    def _told(self, scene: bpy.types.Collection) -> set[str]:
        for sentence in self._warnings:
            self.report({"WARNING"}, sentence)
        self.report({"INFO"}, f"Imported {scene.name}: {len(scenes.splat_objects(scene))} objects.")
        return {"FINISHED"}


def _menu(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.operator(SEGWILD_OT_import_workspace.bl_idname, text="SegWild workspace (folder)")


_CLASSES = (SEGWILD_OT_import_workspace,)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)
    bpy.types.TOPBAR_MT_file_import.append(_menu)


def unregister() -> None:
    bpy.types.TOPBAR_MT_file_import.remove(_menu)
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
