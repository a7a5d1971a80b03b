"""Buttons of the object list: make active, select too, show and hide, show alone, show all."""

import bpy
from bpy.props import BoolProperty, StringProperty

from ..data import scenes


class _Named(bpy.types.Operator):
    """What buttons for one object share."""

    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    name: StringProperty(options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.mode == "OBJECT"

    def _object(self, context: bpy.types.Context) -> bpy.types.Object | None:
        return context.view_layer.objects.get(self.name)


class SEGWILD_OT_pick_object(_Named):
    """Make this object the active one"""

    bl_idname = "segwild.pick_object"
    bl_label = "Select in List"

    def execute(self, context: bpy.types.Context) -> set[str]:
        ob = self._object(context)
        if ob is None:
            return {"CANCELLED"}
        for other in context.view_layer.objects:
            other.select_set(False)
        ob.select_set(True)  # does nothing to a hidden object, which can still be active
        context.view_layer.objects.active = ob
        return {"FINISHED"}


class SEGWILD_OT_choose_object(_Named):
    """Select this object beside the others, or no longer: for Join and all that acts on several objects"""

    bl_idname = "segwild.choose_object"
    bl_label = "Select Too"

    def execute(self, context: bpy.types.Context) -> set[str]:
        ob = self._object(context)
        if ob is None:
            return {"CANCELLED"}
        ob.select_set(not ob.select_get())
        return {"FINISHED"}


class SEGWILD_OT_show(_Named):
    """Show or hide this object"""

    bl_idname = "segwild.show"
    bl_label = "Show"

    shown: BoolProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        ob = self._object(context)
        if ob is None:
            return {"CANCELLED"}
        ob.hide_set(not self.shown)
        return {"FINISHED"}


class SEGWILD_OT_isolate(_Named):
    """Show this object alone; again: show all"""

    bl_idname = "segwild.isolate"
    bl_label = "Isolate"

    def execute(self, context: bpy.types.Context) -> set[str]:
        ob = self._object(context)
        scene = scenes.scene_of(ob)
        if ob is None or scene is None:
            return {"CANCELLED"}
        others = [other for other in scenes.splat_objects(scene) if other != ob and _in_layer(context, other)]
        alone = not ob.hide_get() and all(other.hide_get() for other in others)
        for other in others:
            other.hide_set(not alone)
        ob.hide_set(False)
        return {"FINISHED"}


class SEGWILD_OT_show_all(bpy.types.Operator):
    """Show all objects of the scene"""

    bl_idname = "segwild.show_all"
    bl_label = "Show All"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.mode == "OBJECT" and scenes.active(context) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        for ob in scenes.splat_objects(scenes.active(context)):
            if _in_layer(context, ob):
                ob.hide_set(False)
        return {"FINISHED"}


def _in_layer(context: bpy.types.Context, ob: bpy.types.Object) -> bool:
    return context.view_layer.objects.get(ob.name) == ob


_CLASSES = (
    SEGWILD_OT_pick_object,
    SEGWILD_OT_choose_object,
    SEGWILD_OT_show,
    SEGWILD_OT_isolate,
    SEGWILD_OT_show_all,
)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)


def unregister() -> None:
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
