"""Splat objects into a file."""

from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty
from bpy_extras.io_utils import ExportHelper

from ..data import export, ply
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


class SEGWILD_OT_export_ply(bpy.types.Operator, ExportHelper):
    """Write splats as a .ply that 3D Gaussian Splatting programs read, with their places and light baked in"""

    bl_idname = "segwild.export_ply"
    bl_label = "Export Splats"

    filename_ext = ".ply"
    filter_glob: StringProperty(default="*.ply", options={"HIDDEN"})
    scope: EnumProperty(name="Objects", items=SCOPES, default="VISIBLE")
    frame: EnumProperty(name="Frame", items=FRAMES, default="CAPTURE")
    lit: BoolProperty(name="Look and grading", description="As they are shown; else in neutral light", default=True)
    with_ids: BoolProperty(
        name="Row numbers", description="Add the splats' numbers and objects, which other programs ignore"
    )

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
            work = ply.writing(path, rows, with_ids=self.with_ids)
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


def _menu(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.operator(SEGWILD_OT_export_ply.bl_idname, text="Splats (.ply)")


_CLASSES = (SEGWILD_OT_export_ply,)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)
    bpy.types.TOPBAR_MT_file_export.append(_menu)


def unregister() -> None:
    bpy.types.TOPBAR_MT_file_export.remove(_menu)
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
