"""The light of the active object: photos to take it from, and grading."""

import contextlib

import bpy
from bpy.props import EnumProperty, IntProperty

from ..data import light, scenes
from ..operators import appearance
from . import thumbnails
from .lists import index_get, index_set, rest_name
from .panels import text

ICONS_SCALE = 5.0


class SEGWILD_PT_light(bpy.types.Panel):
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "SegWild"
    bl_label = "Light"
    bl_order = 3

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return scenes.anything(context)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        ob = target(context)
        if ob is None:
            text(layout, context, "Choose an object in the list above.")
            return
        facts, state = ob.segwild, context.window_manager.segwild_light
        layout.label(text=rest_name(ob) if facts.kind == "REST" else ob.name, icon="OUTLINER_OB_POINTCLOUD")
        if scenes.scene_of(ob) is None:
            text(layout, context, "Its scene is not in this file, and so are no photos. Grading works all the same.")
        elif not thumbnails.photos(_workspace(context)):
            text(layout, context, "This scene has no light of photos. Grading below works all the same.")
        else:
            row = layout.split(factor=0.5)
            for name, label, chosen in (("a", "Photo", facts.look_a), ("b", "Second photo", facts.look_b)):
                column = row.column(align=True)
                column.enabled = name == "a" or bool(facts.look_a)
                head = column.row(align=True)  # in the line of the name, the symbol would leave no room for that
                head.label(text=label)
                if chosen:
                    head.operator("segwild.look_through", text="", icon="VIEW_CAMERA", emboss=False).photo = chosen
                column.template_icon_view(state, f"photo_{name}", show_labels=True, scale=ICONS_SCALE, scale_popup=4.0)
                column.prop(state, f"photo_{name}", text="")
                column.active = bool(chosen) or name == "a"
            column = layout.column()
            column.use_property_split = True
            mix = column.column()
            mix.active = bool(facts.look_a and facts.look_b)
            mix.prop(facts, "look_mix", slider=True)
            strength = column.column()
            strength.active = bool(facts.look_a)
            strength.prop(facts, "look_strength", slider=True)
        grading = layout.column()
        grading.use_property_split = True
        for name in ("exposure", "tint", "saturation", "opacity", "sh_degree"):
            grading.prop(facts, name)
        layout.operator("segwild.copy_light", icon="COPYDOWN")
        column = layout.column(align=True)
        if (count := len(appearance.lit(context))) > 1:
            column.label(text=f"{count} selected objects:")
        row = column.row(align=True)
        row.operator("segwild.reset_look", text="Reset", icon="LOOP_BACK")
        row.operator("segwild.bake_look", text="Bake")
        row.operator("segwild.original_colours", text="Unbake")


def target(context: bpy.types.Context) -> bpy.types.Object | None:
    """The object whose light the panel shows: the active one, if it is of splats."""
    return scenes.active_splats(context)


def _workspace(context: bpy.types.Context) -> str:
    scene = scenes.scene_of(target(context))
    return scene.segwild.workspace if scene is not None else ""


def _items_a(self, context):
    return thumbnails.items(_workspace(context or bpy.context), thumbnails.NEUTRAL)


def _items_b(self, context):
    return thumbnails.items(_workspace(context or bpy.context), thumbnails.NONE)


def _chosen(name: str):
    """Getter and setter of an enum that stands for a photo's name: its place among the photos, from 1.

    Blender makes no step of its undo of what is changed through the window manager: the setter does.
    """

    def get(self) -> int:
        ob = target(bpy.context)
        photo = getattr(ob.segwild, name) if ob is not None else ""
        names = thumbnails.photos(_workspace(bpy.context))
        return names.index(photo) + 1 if photo in names else 0

    def set_(self, value: int) -> None:
        ob = target(bpy.context)
        names = thumbnails.photos(_workspace(bpy.context))
        photo = names[value - 1] if 0 < value <= len(names) else ""
        if ob is not None and getattr(ob.segwild, name) != photo:
            setattr(ob.segwild, name, photo)
            with contextlib.suppress(RuntimeError):  # without a window there is nothing to undo
                bpy.ops.ed.undo_push(message=f"Light of {photo}" if photo else "No Photo's Light")

    return {"get": get, "set": set_}


class SegwildLight(bpy.types.PropertyGroup):
    """The photos of the active object as choices with pictures, and its place in the list; never saved."""

    photo_a: EnumProperty(
        name="Photo", description="Show the object in the light of this photo", items=_items_a, **_chosen("look_a")
    )
    photo_b: EnumProperty(
        name="Second photo", description="Mix it with the light of this photo", items=_items_b, **_chosen("look_b")
    )
    object_index: IntProperty(name="Object", options={"SKIP_SAVE"}, get=index_get, set=index_set)


class SEGWILD_OT_copy_light(bpy.types.Operator):
    """Show all objects of the scene in the light of this one"""

    bl_idname = "segwild.copy_light"
    bl_label = "Use for All"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if scenes.scene_of(target(context)) is None:
            cls.poll_message_set("Choose an object of a scene that is in this file")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        source = target(context)
        for ob in scenes.splat_objects(scenes.scene_of(source)):
            if ob != source and ob.is_editable:
                light.copy(source, ob)
        return {"FINISHED"}


_CLASSES = (SegwildLight, SEGWILD_PT_light, SEGWILD_OT_copy_light)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)
    bpy.types.WindowManager.segwild_light = bpy.props.PointerProperty(type=SegwildLight)


def unregister() -> None:
    del bpy.types.WindowManager.segwild_light
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
