"""Splat objects into a file."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty
from bpy_extras.io_utils import ExportHelper

from .. import session
from ..data import compact, export, ply, scenes
from ..data.steps import Aside, Steps, finished, within
from ..protocol.errors import SegWildError

SCOPES = (
    ("SELECTED", "Selected", "The selected splat objects"),
    ("VISIBLE", "Visible", "The splat objects that are visible"),
    ("ALL", "All", "Every splat object of the Blender scene, hidden ones too"),
)
FRAMES = (
    ("CAPTURE", "As captured", "Where the photos' cameras are, or where the imported file was: fits other exports"),
    ("WORLD", "Blender's world", "Positions as Blender shows them, z up"),
)
FORMS = (
    ("PLY", "PLY", "What training and viewing programs of 3D Gaussian Splatting read; nothing is lost"),
    ("SPZ", "SPZ", "Niantic's compressed splats, a tenth of the size, for viewers in browsers and on phones"),
    ("SPLAT", "SPLAT", "For the first viewers in browsers; one colour for all directions"),
)


TICK_SECS = 0.02
SLICE_SECS = 0.02  # of reading between two moments in which Blender may draw
READING, JOINING = 0.2, 0.3  # about what part of the time reading, and of the rest joining takes


class SEGWILD_OT_export_ply(bpy.types.Operator, ExportHelper):
    """Write splats as a .ply, .spz or .splat for other programs, with their places and light baked in"""

    bl_idname = "segwild.export_ply"
    bl_label = "Export Splats"

    filter_glob: StringProperty(default="*.ply;*.spz;*.splat", options={"HIDDEN"})
    form: EnumProperty(name="Format", items=FORMS, description="A suffix in the file's name counts more")
    scope: EnumProperty(name="Objects", items=SCOPES, default="VISIBLE")
    frame: EnumProperty(name="Frame", items=FRAMES, default="CAPTURE")
    lit: BoolProperty(name="Look and grading", description="As they are shown; else in neutral light", default=True)
    with_ids: BoolProperty(
        name="Row numbers", description="Add the splats' numbers and objects, which other programs ignore"
    )

    @property
    def filename_ext(self) -> str:
        """What the file browser puts at the end of the name."""
        return f".{self.form.lower()}"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return any(ob.type == "POINTCLOUD" for ob in context.scene.objects)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """The file browser, with the name of what is written in the folder of the last export."""
        if not self.properties.is_property_set("filepath"):  # what is there from the last time does not count as set
            # Blender remembers no settings of what ends later than its file browser.
            folder = Path(context.window_manager.segwild.export_folder or Path(bpy.data.filepath).parent)
            self.filepath = str(folder / (self._name(context) + self.filename_ext))
        return super().invoke(context, event)

    def _name(self, context: bpy.types.Context) -> str:
        """That of the only object there is to write, or else of the scene."""
        try:
            objects = export.chosen(context, self.scope)
        except SegWildError:
            return "splats"
        scene = scenes.scene_of(objects[0])
        name = objects[0].name if len(objects) == 1 or scene is None else scene.name.removeprefix("SegWild ")
        return bpy.path.clean_name(name)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """From a script at once; else in slices of reading and a thread that writes, while Blender stays alive."""
        self._path = Path(bpy.path.abspath(self.filepath))
        self._aside: Aside[int] | None = None
        try:
            objects = export.chosen(context, self.scope)
            self._count = len(objects)
            self._taking = export.taking(objects, frame=self.frame, lit=self.lit)
            if not self.options.is_invoke or context.window is None or bpy.app.background:
                self._taken = finished(self._taking)
                return self._told(context, finished(self._writing()))
        except SegWildError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self._timer = context.window_manager.event_timer_add(TICK_SECS, window=context.window)
        context.window_manager.progress_begin(0, 1)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type == "ESC":
            self.cancel(context)
            self.report({"INFO"}, "Export cancelled.")
            return {"CANCELLED"}
        if event.type != "TIMER":
            # What is being read must stay as it is.
            return {"PASS_THROUGH"} if self._aside is not None else {"RUNNING_MODAL"}
        try:
            written = self._advance(context)
        except (SegWildError, ReferenceError) as error:
            self._stop(context)
            # An object that something else has removed meanwhile is no longer there to be read.
            sentence = str(error) if isinstance(error, SegWildError) else "An object was removed while it was read."
            self.report({"ERROR"}, sentence)
            return {"CANCELLED"}
        except MemoryError:
            self._stop(context)
            self.report({"ERROR"}, "Memory ran out. Close other programs, or export one object after the other.")
            return {"CANCELLED"}
        except Exception as error:
            self._stop(context)
            self.report({"ERROR"}, session.mistake(error))
            return {"CANCELLED"}
        if written is None:
            return {"RUNNING_MODAL"} if self._aside is None else {"PASS_THROUGH"}
        self._stop(context)
        return self._told(context, written)

    def cancel(self, context: bpy.types.Context) -> None:
        if not hasattr(self, "_timer"):  # the file browser was left: nothing has begun
            return
        if self._aside is not None:
            self._aside.cancel()
        self._taking.close()
        self._stop(context)

    def _advance(self, context: bpy.types.Context) -> int | None:
        """A slice of reading, or a look at the thread; how many splats were written, once they are."""
        if self._aside is None:
            end = time.monotonic() + SLICE_SECS
            try:
                while time.monotonic() < end:
                    self._say(context, READING * next(self._taking))
            except StopIteration as done:
                self._taken = done.value
                self._aside = Aside(self._writing(), "export")
            return None
        self._say(context, READING + (1 - READING) * self._aside.part)
        return self._aside.result() if self._aside.ended else None

    def _say(self, context: bpy.types.Context, part: float) -> None:
        context.window_manager.progress_update(part)
        if context.workspace is not None:
            context.workspace.status_text_set(f"Writing {self._path.name}: {part:.0%}   Esc: cancel")

    def _stop(self, context: bpy.types.Context) -> None:
        with contextlib.suppress(ReferenceError, ValueError):  # a loaded file has removed the timer
            context.window_manager.event_timer_remove(self._timer)
        context.window_manager.progress_end()
        if context.workspace is not None:
            context.workspace.status_text_set(None)

    def _told(self, context: bpy.types.Context, written: int) -> set[str]:
        context.window_manager.segwild.export_folder = str(self._path.parent)
        left_out = sum(len(each) for each in self._taken) - written
        if left_out:
            self.report({"WARNING"}, f"{left_out} splats are not finite and were not written.")
        objects = "1 object" if self._count == 1 else f"{self._count} objects"
        self.report({"INFO"}, f"Wrote {written:,} splats of {objects} to {self._path}.")
        return {"FINISHED"}

    def _writing(self) -> Steps[int]:
        """The rest of the work, with all it has to know of the operator, whose settings are Blender's."""
        suffix = self._path.suffix.lower()
        form = suffix if suffix in (".ply", ".spz", ".splat") else self.filename_ext
        return writing(self._taken, self._path, form, with_ids=self.with_ids)


def writing(taken: Sequence[export.Taken], path: Path, form: str, *, with_ids: bool) -> Steps[int]:
    """Everything that needs nothing of Blender's, for a thread; returns how many splats were written."""
    rows = yield from within(export.joining(taken), 0.0, JOINING)
    if form == ".spz":
        steps = compact.writing_spz(path, rows)
    elif form == ".splat":
        steps = compact.writing_splat(path, rows)
    else:
        steps = ply.writing(path, rows, with_ids=with_ids)
    return (yield from within(steps, JOINING, 1 - JOINING))


def _menu(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.operator(SEGWILD_OT_export_ply.bl_idname, text="Splats (.ply, .spz, .splat)")


_CLASSES = (SEGWILD_OT_export_ply,)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)
    bpy.types.TOPBAR_MT_file_export.append(_menu)


def unregister() -> None:
    bpy.types.TOPBAR_MT_file_export.remove(_menu)
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
