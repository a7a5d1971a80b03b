"""Looks and grading of objects."""

import bpy
from bpy.props import EnumProperty, FloatProperty, StringProperty

from ..data import light, looks, repair, scenes, splats
from ..data.looks import Look
from ..protocol.errors import InputError, SegWildError
from .objects import OnSplats, changeable, chosen, counted


def lit(context: bpy.types.Context) -> list[bpy.types.Object]:
    """Whose light the panel's buttons change: the active object's, whose light it shows, and that of the others that
    are selected if it is selected too."""
    active, found = context.view_layer.objects.active, chosen(context)
    if active is None or active in found or not splats.is_splat(active):
        return found
    return [active] if changeable(active) else []


class _OnLight(OnSplats):
    objects = staticmethod(lit)


class SEGWILD_OT_set_look(bpy.types.Operator):
    """Show splats in the light of a photo, or of a mix of two"""

    bl_idname = "segwild.set_look"
    bl_label = "Set Look"
    bl_options = {"REGISTER", "UNDO"}

    photo: StringProperty(name="Photo", description="Name of the photo; empty: neutral light")
    second: StringProperty(name="Second photo", description="Name of the photo to mix with; empty: none")
    mix: FloatProperty(name="Mix", min=0, max=1, subtype="FACTOR")
    strength: FloatProperty(name="Strength", min=0, max=2, default=1)
    scope: EnumProperty(
        name="Objects",
        items=(("SELECTED", "Selected", "The selected splat objects"), ("SCENE", "Scene", "All of the SegWild scene")),
        default="SCENE",
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return scenes.active(context) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = scenes.active(context)
        objects = scenes.splat_objects(scene) if self.scope == "SCENE" else chosen(context)
        look = {"a": self.photo, "b": self.second, "mix": self.mix, "strength": self.strength}
        try:
            if self.photo:
                _check(scene, Look(**look))
        except SegWildError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        for ob in objects:
            if ob.is_editable:
                scenes.set_look(ob, look if self.photo else None)
        return {"FINISHED"}


class SEGWILD_OT_reset_look(_OnLight, bpy.types.Operator):
    """Set look and grading of the active object, and of what is selected with it, back to neutral"""

    bl_idname = "segwild.reset_look"
    bl_label = "Reset Look"

    def work(self, context: bpy.types.Context) -> str:
        for ob in lit(context):
            light.reset(ob)
        return "Look and grading are neutral."


class SEGWILD_OT_bake_look(_OnLight, bpy.types.Operator):
    """Write look and grading into the splats of the active object, and of what is selected with it, so that they need
    no workspace"""

    bl_idname = "segwild.bake_look"
    bl_label = "Bake Look"

    def work(self, context: bpy.types.Context) -> str:
        return f"Baked the look of {counted(self.each(lit(context), light.bake), 'object')}."


class SEGWILD_OT_original_colours(_OnLight, bpy.types.Operator):
    """Bring the trained colours of the active object, and of what is selected with it, back from the workspace"""

    bl_idname = "segwild.original_colours"
    bl_label = "Original Colours"

    def work(self, context: bpy.types.Context) -> str:
        return f"Brought back the colours of {sum(self.each(lit(context), repair.refill))} splats."


def _check(scene: bpy.types.Collection, look: Look) -> None:
    """Raises InputError if the scene has no such look."""
    found = looks.of_folder(scenes.trained(scene))
    if found is None:
        raise InputError(
            "no-looks", "This scene has no photo looks: it was imported, or trained with one light for all photos."
        )
    for name, _ in look.parts():
        found.embedding(name)


_CLASSES = (SEGWILD_OT_set_look, SEGWILD_OT_reset_look, SEGWILD_OT_bake_look, SEGWILD_OT_original_colours)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)


def unregister() -> None:
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
