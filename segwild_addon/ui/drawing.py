"""How the 3D view draws splats, and pictures of what it draws."""

import bpy

from ..data import scenes
from ..operators import cameras


class SEGWILD_PT_drawing(bpy.types.Panel):
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "SegWild"
    bl_label = "View and Render"
    bl_order = 5
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return scenes.anything(context)

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.segwild
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(settings, "highlight_color")
        layout.prop(settings, "half_resolution", text="Coarse While Moving")
        whole = layout.column()
        whole.use_property_split = False  # beside the field the label would be cut off
        whole.prop(settings, "budget", text="Splats While Moving")
        scene = scenes.active(context)
        if scene is not None:
            layout.prop(scene.segwild, "show_cameras")
        column = layout.column(align=True)
        column.operator_context = "INVOKE_DEFAULT"
        photo = cameras.selected(context)
        column.operator("segwild.look_through", text=f"Look Through {photo or 'Photo…'}", icon="VIEW_CAMERA")
        column.operator("segwild.render", icon="RENDER_STILL")
        column.operator("segwild.render", text="Render Animation with Splats", icon="RENDER_ANIMATION").animation = True
        column.operator_context = "INVOKE_REGION_WIN"  # the sidebar is no 3D view
        column.operator("segwild.viewport_image", icon="IMAGE_DATA")


def register() -> None:
    bpy.utils.register_class(SEGWILD_PT_drawing)


def unregister() -> None:
    bpy.utils.unregister_class(SEGWILD_PT_drawing)
