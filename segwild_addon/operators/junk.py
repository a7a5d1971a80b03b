"""Likely junk, highlighted."""

import bpy

from .. import junk
from ..data import scenes
from ..protocol.errors import SegWildError


class SEGWILD_OT_find_junk(bpy.types.Operator):
    """Highlight what is likely junk: floaters, needles, what hangs before a camera, what no photo shows. Nothing is
    deleted; brush with Shift to take parts out of the highlight"""

    bl_idname = "segwild.find_junk"
    bl_label = "Find Likely Junk"
    bl_options = {"REGISTER"}  # what is found, a moment later, is what can be undone

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        scene = scenes.active(context)
        if context.mode != "OBJECT" or scene is None:
            cls.poll_message_set("Import a SegWild scene and be in Object Mode")
            return False
        if junk.link_of(scene) is None:
            cls.poll_message_set("Start the backend first: it finds the junk")
            return False
        if junk.busy():
            cls.poll_message_set("The backend is looking for it")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            junk.find(scenes.active(context), context.window_manager.segwild.junk_strength)
        except SegWildError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


def register() -> None:
    bpy.utils.register_class(SEGWILD_OT_find_junk)


def unregister() -> None:
    bpy.utils.unregister_class(SEGWILD_OT_find_junk)
