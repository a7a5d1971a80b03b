"""Splat objects into a file."""

from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty
from bpy_extras.io_utils import ExportHelper

from ..data import compact, export, ply
from ..data.rows import Rows
from ..data.steps import Steps
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

    def execute(self, context: bpy.types.Context) -> set[str]:
        path = Path(bpy.path.abspath(self.filepath))
        wm = context.window_manager
        wm.progress_begin(0, 1)
        try:
            depsgraph = context.evaluated_depsgraph_get()
            objects = export.chosen(context, self.scope)
            rows = export.gathered(objects, depsgraph, frame=self.frame, lit=self.lit)
            work = self._writing(path, rows)
            while True:
                try:
                    wm.progress_update(next(work))
                except StopIteration as done:
                    written = done.value
                    break
        except SegWildError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        finally:
            wm.progress_end()
        if written < len(rows):
            self.report({"WARNING"}, f"{len(rows) - written} splats are not finite and were not written.")
        self.report({"INFO"}, f"Wrote {written} splats of {len(objects)} objects to {path}.")
        return {"FINISHED"}

    def _writing(self, path: Path, rows: Rows) -> Steps[int]:
        form = path.suffix.lower() if path.suffix.lower() in (".ply", ".spz", ".splat") else self.filename_ext
        if form == ".spz":
            return compact.writing_spz(path, rows)
        if form == ".splat":
            return compact.writing_splat(path, rows)
        return ply.writing(path, rows, with_ids=self.with_ids)


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
