"""A workspace folder, or a splat file, into a scene."""

import contextlib
import math
import time
from pathlib import Path

import bpy
from bpy.props import BoolProperty, StringProperty
from bpy_extras.io_utils import ImportHelper

from .. import session
from ..data import scenes
from ..data.steps import Steps
from ..protocol.errors import SegWildError
from ..ui import thumbnails
from ..viewport import framing

_AT_ONCE_SECS = 0.2  # what is done by then needs no slices
_SLICE_SECS = 0.03  # of work between two moments in which Blender may draw


class _Import:
    """Runs the steps of an import: at once from a script, a slice per timer tick in the window."""

    def work(self) -> Steps[bpy.types.Collection]:
        raise NotImplementedError

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.mode == "OBJECT"

    def execute(self, context: bpy.types.Context) -> set[str]:
        self._warnings: list[str] = []
        self._work = self.work()
        sliced = self.options.is_invoke and context.window is not None and not bpy.app.background
        result = self._advance(context, _AT_ONCE_SECS if sliced else math.inf)
        if result == {"RUNNING_MODAL"}:
            self._timer = context.window_manager.event_timer_add(0.01, window=context.window)
            context.window_manager.progress_begin(0, 1)
            context.window_manager.modal_handler_add(self)
        return result

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type == "ESC":
            self.cancel(context)
            self.report({"INFO"}, "Import cancelled.")
            return {"CANCELLED"}
        if event.type == "Z" and (event.ctrl or event.oskey):
            return {"RUNNING_MODAL"}  # an undo would take away what is being filled
        if event.type == "TAB":
            return {"RUNNING_MODAL"}  # some Blenders make point clouds in Object Mode alone
        if event.type != "TIMER" or context.mode != "OBJECT":  # which menus leave too
            return {"PASS_THROUGH"}
        try:
            result = self._advance(context, _SLICE_SECS)
        except Exception as error:
            self.report({"ERROR"}, session.mistake(error))
            result = {"CANCELLED"}
        if result != {"RUNNING_MODAL"}:
            self._stop(context)
        return result

    def _advance(self, context: bpy.types.Context, secs: float) -> set[str]:
        """Work for so long, or to the end."""
        end = time.monotonic() + secs
        try:
            while time.monotonic() < end:
                context.window_manager.progress_update(next(self._work))
        except StopIteration as done:
            return self._told(done.value)
        except SegWildError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        if hasattr(self, "_timer"):
            self._work.close()  # removes what is there so far
            self._stop(context)

    def warn(self, sentence: str) -> None:
        self._warnings.append(sentence)

    def _stop(self, context: bpy.types.Context) -> None:
        with contextlib.suppress(ReferenceError, ValueError):  # a loaded file has removed the timer
            context.window_manager.event_timer_remove(self._timer)
        context.window_manager.progress_end()

    def _told(self, scene: bpy.types.Collection) -> set[str]:
        scenes.make_active(scene)
        thumbnails.forget(scene.segwild.workspace)
        if self.options.is_invoke:  # a script has its own idea of where to look
            if older := scenes.put_aside(scene):
                self._warnings.append(scenes.told_aside(older))
            if hidden := framing.hidden(scene):
                self._warnings.append(hidden)
            framing.look_at(scene)
        for sentence in self._warnings:
            self.report({"WARNING"}, sentence)
        self.report({"INFO"}, f"Imported {scene.name}: {len(scenes.splat_objects(scene))} splat objects.")
        return {"FINISHED"}


def _beside(context: bpy.types.Context) -> str:
    """Where workspaces are likely to lie: beside the open one, or beside the photos; empty if nothing is known."""
    scene, settings = scenes.active(context), context.scene.segwild
    for known in (
        scene.segwild.workspace if scene is not None else "",
        settings.workspace_folder,
        settings.photos_folder,
    ):
        parent = Path(bpy.path.abspath(known)).parent if known else None
        if parent is not None and parent.is_dir():
            return str(parent / "_")[:-1]  # Blender wants the separator
    return ""


class SEGWILD_OT_import_workspace(_Import, bpy.types.Operator):
    """Bring a finished workspace into this file: its splats, its objects and its cameras"""

    bl_idname = "segwild.import_workspace"
    bl_label = "Import Scene"
    bl_options = {"REGISTER", "UNDO"}

    directory: StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})
    filter_folder: BoolProperty(default=True, options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.directory:
            return self.execute(context)
        self.directory = _beside(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, context: bpy.types.Context) -> None:
        """Beside the list of folders."""
        column = self.layout.column(align=True)
        for line in ("Go into the folder", "that ends in .segwild,", "then press Import Scene."):
            column.label(text=line)

    def work(self) -> Steps[bpy.types.Collection]:
        return scenes.importing(Path(bpy.path.abspath(self.directory)), self.warn)


class SEGWILD_OT_import_ply(_Import, bpy.types.Operator, ImportHelper):
    """Bring a splat file (.ply) of any 3D Gaussian Splatting program into this file"""

    bl_idname = "segwild.import_ply"
    bl_label = "Import Splats"
    bl_options = {"REGISTER", "UNDO"}

    filename_ext = ".ply"
    filter_glob: StringProperty(default="*.ply", options={"HIDDEN"})
    y_down: BoolProperty(
        name="Y points down",
        description="The file has the axes of a camera, as most training programs leave them; turn it upright",
        default=True,
    )

    def work(self) -> Steps[bpy.types.Collection]:
        return scenes.importing_ply(Path(bpy.path.abspath(self.filepath)), self.warn, y_down=self.y_down)


def _menu(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.operator(SEGWILD_OT_import_workspace.bl_idname, text="SegWild workspace (folder)")
    self.layout.operator(SEGWILD_OT_import_ply.bl_idname, text="Splats (.ply)")


_CLASSES = (SEGWILD_OT_import_workspace, SEGWILD_OT_import_ply)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)
    bpy.types.TOPBAR_MT_file_import.append(_menu)


def unregister() -> None:
    bpy.types.TOPBAR_MT_file_import.remove(_menu)
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
