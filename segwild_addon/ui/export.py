"""What can be written to files."""

import bpy

from ..data import scenes
from .panels import text

SCOPES = (("SELECTED", "Selected Objects…"), ("VISIBLE", "What Is Visible…"), ("ALL", "Everything…"))


class SEGWILD_PT_export(bpy.types.Panel):
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "SegWild"
    bl_label = "Export"
    bl_order = 4
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return scenes.anything(context)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        column = layout.column(align=True)
        column.operator_context = "INVOKE_DEFAULT"
        for scope, label in SCOPES:
            column.operator("segwild.export_ply", text=label, icon="EXPORT").scope = scope
        text(layout, context, "A .ply, .spz or .splat for other programs, with places and light as shown.")
        layout.operator("segwild.mark_asset", icon="ASSET_MANAGER")


def register() -> None:
    bpy.utils.register_class(SEGWILD_PT_export)


def unregister() -> None:
    bpy.utils.unregister_class(SEGWILD_PT_export)
