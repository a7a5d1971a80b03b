"""Rows between objects, objects into place: what Blender's own operators would do wrong to splats."""

from collections.abc import Callable, Sequence, Sized
from typing import Any

import bpy
from bpy.props import StringProperty

from ..data import erasing, light, nesting, scenes, segments, splats
from ..protocol.errors import SegWildError
from ..viewport import portrait

TO_BAKE = "Other files know no light of photos: press Bake before you save this one."


def chosen(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The selected splat objects that can be edited."""
    return [ob for ob in context.selected_objects if changeable(ob)]


def changeable(ob: bpy.types.Object) -> bool:
    """Whether it is a splat object that can be edited."""
    return splats.is_splat(ob) and ob.is_editable and ob.data.is_editable


def parts_of_scenes(context: bpy.types.Context) -> list[bpy.types.Object]:
    """Of the selected splat objects those that a scene has beside its rest."""
    return [ob for ob in chosen(context) if ob.segwild.kind == "SEGMENT" and scenes.scene_of(ob) is not None]


def counted(things: Sized, noun: str) -> str:
    """How many there are, in words."""
    return f"{len(things)} {noun}{'s' * (len(things) != 1)}"


class OnSplats:
    """Needs selected splat objects, and tells in a sentence what went wrong."""

    bl_options = {"REGISTER", "UNDO"}
    objects = staticmethod(chosen)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.mode != "OBJECT":
            cls.poll_message_set("Leave edit mode first")
            return False
        if not cls.objects(context):
            cls.poll_message_set("Select splat objects")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            self.report({"INFO"}, self.work(context))
        except SegWildError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def each(self, objects: Sequence[bpy.types.Object], change: Callable[[bpy.types.Object], Any]) -> list[Any]:
        """Change one object after the other, and tell of which that cannot be; what the others gave.

        Raises SegWildError if none could be changed: then there is no step of undo.
        """
        found, refused = [], []
        for ob in objects:
            name = ob.name
            try:
                found.append(change(ob))
            except SegWildError as error:
                refused.append((name, error))
        if not found:
            raise refused[0][1]
        for name, error in refused:
            self.report({"WARNING"}, f"{name} stays as it is: {error}")
        return found


class SEGWILD_OT_make_object(OnSplats, bpy.types.Operator):
    """Make a new object of the splats that are selected in edit mode"""

    bl_idname = "segwild.make_object"
    bl_label = "Object from Selected Splats"

    name: StringProperty(name="Name", default="object")

    def work(self, context: bpy.types.Context) -> str:
        objects = chosen(context)
        scene = scenes.scene_of(objects[0])
        if scene is None:
            raise segments.not_in_a_scene(objects[0])
        picked = [(ob, segments.selected_rows(ob)) for ob in objects if scenes.scene_of(ob) == scene]
        made = segments.make_of_rows(scene, self.name, picked)
        segments.centre(made)
        return f"Made {made.name} of {len(made.data.points)} splats."


class SEGWILD_OT_join(OnSplats, bpy.types.Operator):
    """Join the selected splat objects to the active one, with their orientation and colours turned along"""

    bl_idname = "segwild.join"
    bl_label = "Join Splat Objects"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if context.active_object not in chosen(context) or len(chosen(context)) < 2:
            cls.poll_message_set("Select two splat objects or more; the active one gets all splats")
            return False
        return True

    def work(self, context: bpy.types.Context) -> str:
        target = context.active_object
        others = [ob for ob in chosen(context) if ob != target]
        said = f"Joined {counted(others, 'object')} to {target.name}."
        segments.merge(target, others)
        return said


class SEGWILD_OT_set_parent(OnSplats, bpy.types.Operator):
    """Make the other selected objects parts of the active one: they move along with it, and lists show them below it"""

    bl_idname = "segwild.set_parent"
    bl_label = "Set Parent"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        objects = parts_of_scenes(context)
        if context.active_object not in objects or len(objects) < 2:
            cls.poll_message_set("Select two objects of a scene or more; the others become parts of the active one")
            return False
        return True

    def work(self, context: bpy.types.Context) -> str:
        parent = context.active_object
        context.view_layer.update()
        others = [ob for ob in parts_of_scenes(context) if ob != parent]
        done = self.each(others, lambda ob: nesting.nest(ob, parent))
        return f"{counted(done, 'object')} {'is a part' if len(done) == 1 else 'are parts'} of {parent.name} now."


class SEGWILD_OT_clear_parent(OnSplats, bpy.types.Operator):
    """Have the selected objects be parts of no other object; they stay where they are"""

    bl_idname = "segwild.clear_parent"
    bl_label = "Clear Parent"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if not any(nesting.above(ob) for ob in parts_of_scenes(context)):
            cls.poll_message_set("Select objects that are parts of others")
            return False
        return True

    def work(self, context: bpy.types.Context) -> str:
        context.view_layer.update()
        parts = [ob for ob in parts_of_scenes(context) if nesting.above(ob)]
        done = self.each(parts, lambda ob: nesting.put(ob, scenes.root(scenes.scene_of(ob))))
        return f"{counted(done, 'object')} {'is a part' if len(done) == 1 else 'are parts'} of no other now."


class SEGWILD_OT_dissolve_object(OnSplats, bpy.types.Operator):
    """Give the splats of the selected objects back to the rest of their scene"""

    bl_idname = "segwild.dissolve_object"
    bl_label = "Dissolve Object"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if all(ob.segwild.kind == "REST" for ob in chosen(context)):
            cls.poll_message_set("This is the rest of the scene: select another object")
            return False
        return True

    def work(self, context: bpy.types.Context) -> str:
        done = self.each([ob for ob in chosen(context) if ob.segwild.kind != "REST"], segments.dissolve)
        return f"Dissolved {counted(done, 'object')}."


class SEGWILD_OT_erase_splats(OnSplats, bpy.types.Operator):
    """Hide the splats that are selected in edit mode; they can be restored at any time"""

    bl_idname = "segwild.erase_splats"
    bl_label = "Erase Selected Splats"

    def work(self, context: bpy.types.Context) -> str:
        count = sum(erasing.erase(ob, segments.selected_rows(ob)) for ob in chosen(context))
        return f"Erased {count} splats."


class SEGWILD_OT_restore_splats(OnSplats, bpy.types.Operator):
    """Bring back the erased splats of the selected objects"""

    bl_idname = "segwild.restore_splats"
    bl_label = "Restore Erased Splats"

    def work(self, context: bpy.types.Context) -> str:
        return f"Restored {sum(erasing.restore(ob) for ob in chosen(context))} splats."


class SEGWILD_OT_recover_rows(bpy.types.Operator):
    """Bring back from the workspace every splat that was deleted from this scene, into its rest"""

    bl_idname = "segwild.recover_rows"
    bl_label = "Recover Deleted Splats"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        scene = scenes.active(context)
        return context.mode == "OBJECT" and scene is not None and scene.is_editable and bool(scene.segwild.workspace)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            count = segments.recover(scenes.active(context))
        except SegWildError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"Recovered {count} splats.")
        return {"FINISHED"}


class SEGWILD_OT_apply_transform(OnSplats, bpy.types.Operator):
    """Apply location, rotation and scale to the splats themselves; Blender's own Apply leaves their orientation"""

    bl_idname = "segwild.apply_transform"
    bl_label = "Apply Transform to Splats"

    def work(self, context: bpy.types.Context) -> str:
        done = self.each(chosen(context), segments.apply_transform)
        return f"Applied the transforms of {counted(done, 'object')}."


class SEGWILD_OT_origin_to_centre(OnSplats, bpy.types.Operator):
    """Put the origins of the selected objects into the middle of their splats, to turn and scale them about it"""

    bl_idname = "segwild.origin_to_centre"
    bl_label = "Origin to Centre"

    def work(self, context: bpy.types.Context) -> str:
        objects = chosen(context)
        for ob in objects:
            segments.centre(ob)
        return f"Moved the origin of {counted(objects, 'object')}."


class SEGWILD_OT_mark_asset(OnSplats, bpy.types.Operator):
    """Offer the selected objects in the asset browser, to be placed in other files, each with a picture of it alone"""

    bl_idname = "segwild.mark_asset"
    bl_label = "Mark as Asset"

    def work(self, context: bpy.types.Context) -> str:
        objects = chosen(context)
        for ob in objects:
            segments.mark_asset(ob)
        said = f"Marked {counted(objects, 'object')} as {'an asset' if len(objects) == 1 else 'assets'}"
        try:
            painted = [portrait.paint(ob) for ob in objects]
        except SegWildError as error:
            said = f"{said}, without a picture. {error}"  # marked all the same
        else:
            said += "." if all(painted) else ". Where nothing is to be seen there is no picture."
        return said if all(light.look(ob).neutral for ob in objects) else f"{said} {TO_BAKE}"


def _menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    if chosen(context):
        self.layout.separator()
        for each in (SEGWILD_OT_apply_transform, SEGWILD_OT_join, SEGWILD_OT_dissolve_object):
            self.layout.operator(each.bl_idname)


_CLASSES = (
    SEGWILD_OT_make_object,
    SEGWILD_OT_join,
    SEGWILD_OT_set_parent,
    SEGWILD_OT_clear_parent,
    SEGWILD_OT_dissolve_object,
    SEGWILD_OT_erase_splats,
    SEGWILD_OT_restore_splats,
    SEGWILD_OT_recover_rows,
    SEGWILD_OT_apply_transform,
    SEGWILD_OT_origin_to_centre,
    SEGWILD_OT_mark_asset,
)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)
    bpy.types.VIEW3D_MT_object_context_menu.append(_menu)


def unregister() -> None:
    bpy.types.VIEW3D_MT_object_context_menu.remove(_menu)
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
