"""Looking through the camera of a photo."""

import bpy
from bpy.props import StringProperty

from ..data import cameras, scenes


class SEGWILD_OT_look_through(bpy.types.Operator):
    """Look at the scene from where this photo was taken, with its picture behind it"""

    bl_idname = "segwild.look_through"
    bl_label = "Look Through Photo"
    bl_options = {"REGISTER", "UNDO"}

    photo: StringProperty(name="Photo", description="Name of the photo; without one, the selected camera")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return scenes.active(context) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = scenes.active(context)
        wanted = self.photo or (context.active_object.segwild.photo if context.active_object else "")
        found = [ob for ob in scenes.members(scene, "CAMERA") if wanted and ob.segwild.photo == wanted]
        if not found:
            self.report({"ERROR"}, f"The scene has no camera of the photo {wanted!r}. Select a camera of the scene.")
            return {"CANCELLED"}
        cameras.look_through(found[0], context.scene)
        space = context.space_data
        if space is not None and space.type == "VIEW_3D":
            space.region_3d.view_perspective = "CAMERA"
        return {"FINISHED"}


_CLASSES = (SEGWILD_OT_look_through,)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)


def unregister() -> None:
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
