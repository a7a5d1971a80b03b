"""Looking through the camera of a photo."""

import bpy
from bpy.props import EnumProperty, StringProperty

from ..data import cameras, scenes

_items: list[tuple[str, str, str]] = []  # Blender keeps no reference to what it shows


def _photos(self: bpy.types.Operator, context: bpy.types.Context | None) -> list[tuple[str, str, str]]:
    scene = scenes.active(context or bpy.context)
    names = [ob.segwild.photo for ob in scenes.members(scene, "CAMERA")] if scene is not None else []
    _items[:] = [(name, name, "") for name in names]
    return _items


class SEGWILD_OT_look_through(bpy.types.Operator):
    """Look at the scene from where a photo was taken, with its picture behind it. Renders get this camera too, and the
    photo's size and pixel aspect"""

    bl_idname = "segwild.look_through"
    bl_label = "Look Through Photo"
    bl_options = {"REGISTER", "UNDO"}
    bl_property = "choice"

    photo: StringProperty(
        name="Photo", description="Name of the photo; without one, the selected camera", options={"SKIP_SAVE"}
    )
    choice: EnumProperty(name="Photo", items=_photos, options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return scenes.active(context) is not None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Without a photo and with no camera selected, a list to search in."""
        if self.photo or selected(context) or not _photos(self, context):
            return self.execute(context)
        context.window_manager.invoke_search_popup(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = scenes.active(context)
        listed = self.choice if self.properties.is_property_set("choice") else ""
        wanted = self.photo or listed or selected(context)
        found = [ob for ob in scenes.members(scene, "CAMERA") if wanted and ob.segwild.photo == wanted]
        if not found:
            self.report({"ERROR"}, f"The scene has no camera of the photo {wanted!r}. Select a camera of the scene.")
            return {"CANCELLED"}
        cameras.look_through(found[0], context.scene, stay=scene.segwild.show_cameras)
        space = context.space_data
        if space is not None and space.type == "VIEW_3D":
            space.region_3d.view_perspective = "CAMERA"
        return {"FINISHED"}


def selected(context: bpy.types.Context) -> str:
    """The photo of the active object if that is a photo's camera and selected; else empty."""
    ob = context.active_object
    return ob.segwild.photo if ob is not None and ob.select_get() else ""


_CLASSES = (SEGWILD_OT_look_through,)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)


def unregister() -> None:
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
