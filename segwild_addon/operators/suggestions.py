"""Objects there may be, in colours; likely junk, highlighted; the selection grown and shrunk; parts of an object; and
questions taken back."""

from collections.abc import Callable
from functools import partial

import bpy

from .. import cleaning, session, suggestions, work
from ..data import scenes
from ..protocol.errors import SegWildError
from ..viewport import proposals, selection
from .objects import changeable

Question = Callable[[bpy.types.Collection], None]


class _Asks:
    """Needs a backend, which it starts if it can, and tells in a sentence what went wrong."""

    bl_options = {"REGISTER"}  # what is found, a moment later, is what can be undone
    purpose: str

    @classmethod
    def scene(cls, context: bpy.types.Context) -> bpy.types.Collection | None:
        return scenes.active(context)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        scene = cls.scene(context)
        if context.mode != "OBJECT" or scene is None:
            cls.poll_message_set("Import a SegWild scene and be in Object Mode")
            return False
        if session.running(scene.segwild.workspace) is None and not work.startable(scene.segwild.workspace):
            cls.poll_message_set(f"Start the backend first: it {cls.purpose}")
            return False
        if len(context.scene.segwild.prompts) and selection.scene_uuid() != scene.segwild.uuid:
            cls.poll_message_set("Something of another scene is selected: make or cancel that first")
            return False
        if suggestions.busy():
            cls.poll_message_set("The backend is at work on the last question")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            suggestions.soon(self.scene(context), self.question(context))
        except SegWildError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class SEGWILD_OT_find_junk(_Asks, bpy.types.Operator):
    """Highlight what is likely junk: floaters, needles, what hangs before a camera, what no photo shows. Nothing is
    deleted; brush with Shift to take parts out of the highlight"""

    bl_idname = "segwild.find_junk"
    bl_label = "Find Likely Junk"
    purpose = "finds the junk"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        state = context.window_manager.segwild
        if not state.junk_causes:
            cls.poll_message_set("Choose what to look for")
            return False
        ob = scenes.active_splats(context)
        if state.junk_here and (ob is None or scenes.scene_of(ob) != cls.scene(context)):
            cls.poll_message_set("Select the object to look in, or look in all of them")
            return False
        return super().poll(context)

    def question(self, context: bpy.types.Context) -> Question:
        state = context.window_manager.segwild
        within = scenes.active_splats(context).segwild.uuid if state.junk_here else ""
        return partial(
            suggestions.find_junk, strength=state.junk_strength, causes=frozenset(state.junk_causes), within=within
        )


class SEGWILD_OT_find_objects(_Asks, bpy.types.Operator):
    """Show in colours what stands apart by itself. Click on one of these things with Select Object to have all of it"""

    bl_idname = "segwild.find_objects"
    bl_label = "Find Objects"
    purpose = "finds the objects"

    def question(self, context: bpy.types.Context) -> Question:
        return suggestions.find_objects


class _OnProposals:
    """Needs things in colours."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        scene = scenes.active(context)
        if scene is None or not proposals.shown(scene.segwild.uuid):
            cls.poll_message_set("Press Find Objects first")
            return False
        return context.mode == "OBJECT"


class SEGWILD_OT_hide_proposals(_OnProposals, bpy.types.Operator):
    """Show the things that were found without colours again"""

    bl_idname = "segwild.hide_proposals"
    bl_label = "Hide Proposals"

    def execute(self, context: bpy.types.Context) -> set[str]:
        proposals.hide(scenes.active(context).segwild.uuid)
        return {"FINISHED"}


class SEGWILD_OT_make_proposed(_OnProposals, bpy.types.Operator):
    """Make an object of each thing that is shown in a colour"""

    bl_idname = "segwild.make_proposed"
    bl_label = "Make All"

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = scenes.active(context)
        try:
            count = suggestions.make_all(scene)
        except SegWildError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"Made {count} object{'s' * (count != 1)}.")
        return {"FINISHED"}


class _Reshapes(_Asks):
    """Needs something highlighted, too."""

    purpose = "knows what touches what"

    @classmethod
    def scene(cls, context: bpy.types.Context) -> bpy.types.Collection | None:
        """What is selected may be in another scene than the active object."""
        return scenes.find(selection.scene_uuid())

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not len(context.scene.segwild.prompts) or selection.waiting():
            cls.poll_message_set("Select something first")
            return False
        if selection.consulting():  # what is added or taken out would be of what space said
            cls.poll_message_set("The photos are being asked; what they say is grown or shrunk then")
            return False
        return super().poll(context)


class SEGWILD_OT_grow_prompts(_Reshapes, bpy.types.Operator):
    """Add to the highlight what touches it and looks alike"""

    bl_idname = "segwild.grow_prompts"
    bl_label = "Grow"

    def question(self, context: bpy.types.Context) -> Question:
        return suggestions.grow


class SEGWILD_OT_shrink_prompts(_Reshapes, bpy.types.Operator):
    """Take the rim of what is highlighted out of it"""

    bl_idname = "segwild.shrink_prompts"
    bl_label = "Shrink"

    def question(self, context: bpy.types.Context) -> Question:
        return suggestions.shrink


class SEGWILD_OT_split_object(_Asks, bpy.types.Operator):
    """Make an object of each part of the active one that does not touch the others; the largest part stays it. Parts
    that are too small stay in it, too"""

    bl_idname = "segwild.split_object"
    bl_label = "Split into Parts"
    purpose = "knows what touches what"

    @classmethod
    def scene(cls, context: bpy.types.Context) -> bpy.types.Collection | None:
        return scenes.scene_of(context.active_object)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        ob = context.active_object
        if ob is None or not changeable(ob) or ob.segwild.kind != "SEGMENT" or not ob.select_get():
            cls.poll_message_set("Select an object of a scene")
            return False
        return super().poll(context)

    def question(self, context: bpy.types.Context) -> Question:
        least = context.window_manager.segwild.least_part
        return partial(suggestions.split, uuid=context.active_object.segwild.uuid, least=least)


class SEGWILD_OT_stop_question(bpy.types.Operator):
    """Stop what the backend is asked: finding, growing, shrinking, parting, cleaning edges. What is found is dropped,
    and what was cleaned before stays"""

    bl_idname = "segwild.stop_question"
    bl_label = "Stop"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not (suggestions.busy() or cleaning.cutting()):
            cls.poll_message_set("The backend is asked nothing")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        suggestions.stop()
        cleaning.stop()
        return {"FINISHED"}


_CLASSES = (
    SEGWILD_OT_stop_question,
    SEGWILD_OT_find_objects,
    SEGWILD_OT_hide_proposals,
    SEGWILD_OT_make_proposed,
    SEGWILD_OT_find_junk,
    SEGWILD_OT_grow_prompts,
    SEGWILD_OT_shrink_prompts,
    SEGWILD_OT_split_object,
)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)


def unregister() -> None:
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
