"""Edges of objects cleaned, and taken back."""

import bpy

from .. import cleaning
from ..data import cuts
from .objects import OnSplats, chosen


def _segments(context: bpy.types.Context) -> list[bpy.types.Object]:
    return [ob for ob in chosen(context) if ob.segwild.kind == "SEGMENT"]


class SEGWILD_OT_clean_edges(OnSplats, bpy.types.Operator):
    """Divide the splats that stick out of the selected objects at their edges; what lies outside goes to the rest"""

    bl_idname = "segwild.clean_edges"
    bl_label = "Clean Edges"
    bl_options = {"REGISTER"}  # the cut itself, a moment later, is what can be undone

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if not _segments(context):
            cls.poll_message_set("Select objects of a scene")
            return False
        if all(cleaning.link_of(ob) is None for ob in _segments(context)):
            cls.poll_message_set("Start the backend first: it finds the edges")
            return False
        return True

    def work(self, context: bpy.types.Context) -> str:
        names = [ob.name for ob in _segments(context) if cleaning.clean(ob)]
        return f"Cleaning the edges of {', '.join(names)} …"


class SEGWILD_OT_restore_edges(OnSplats, bpy.types.Operator):
    """Make the selected objects whole again, as they were before their edges were cleaned"""

    bl_idname = "segwild.restore_edges"
    bl_label = "Restore Edges"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if not any(cuts.is_cut(ob) or cleaning.busy(ob) for ob in _segments(context)):
            cls.poll_message_set("Select objects whose edges were cleaned")
            return False
        return True

    def work(self, context: bpy.types.Context) -> str:
        count = sum(cleaning.restore(ob) for ob in _segments(context))
        return f"Restored the edges of {count} object{'s' if count != 1 else ''}."


_CLASSES = (SEGWILD_OT_clean_edges, SEGWILD_OT_restore_edges)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)


def unregister() -> None:
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
