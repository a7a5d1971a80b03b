"""What becomes of what is highlighted: an object, or erased, or forgotten."""

import bpy

from .. import cleaning
from ..protocol.errors import SegWildError
from ..viewport import selection


class _OnPrompts:
    """Needs something highlighted, and tells in a sentence what went wrong."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not len(context.scene.segwild.prompts):
            cls.poll_message_set("Select something first")
            return False
        if selection.waiting():
            cls.poll_message_set("What the clicks select is being looked for")
            return False
        return context.mode == "OBJECT"

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            self.report({"INFO"}, self.work(context))
        except SegWildError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class SEGWILD_OT_accept_prompts(_OnPrompts, bpy.types.Operator):
    """Make an object of what is highlighted (Enter in the 3D view)"""

    bl_idname = "segwild.accept_prompts"
    bl_label = "Make Object"

    def work(self, context: bpy.types.Context) -> str:
        return f"Made {cleaning.made(context).name}."


class SEGWILD_OT_erase_prompts(_OnPrompts, bpy.types.Operator):
    """Hide the splats that are highlighted; Restore Erased Splats brings them back at any time"""

    bl_idname = "segwild.erase_prompts"
    bl_label = "Erase"

    def work(self, context: bpy.types.Context) -> str:
        count = selection.erase()
        return f"Erased {count} splat{'s' * (count != 1)}."


class SEGWILD_OT_clear_prompts(bpy.types.Operator):
    """Forget the clicks and strokes of this selection; objects stay as they are"""

    bl_idname = "segwild.clear_prompts"
    bl_label = "Clear"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(len(context.scene.segwild.prompts))

    def execute(self, context: bpy.types.Context) -> set[str]:
        selection.clear()
        return {"FINISHED"}


class _Resizes:
    """To a part of what clicks mean, or to what it is a part of."""

    steps: int
    end: str

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        place, sizes = selection.levels()
        if not sizes:
            cls.poll_message_set("Click on an object first")
        elif 0 <= place + cls.steps < len(sizes):
            return context.mode == "OBJECT"
        else:
            cls.poll_message_set(cls.end)
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        return {"FINISHED"} if selection.resize(self.steps) else {"CANCELLED"}


class SEGWILD_OT_part_prompts(_Resizes, bpy.types.Operator):
    """Have the clicks mean a smaller part (Ctrl-wheel down in the 3D view)"""

    bl_idname = "segwild.part_prompts"
    bl_label = "Part"
    steps, end = -1, "There is nothing smaller"


class SEGWILD_OT_whole_prompts(_Resizes, bpy.types.Operator):
    """Have the clicks mean what the highlight is a part of (Ctrl-wheel up in the 3D view)"""

    bl_idname = "segwild.whole_prompts"
    bl_label = "Whole"
    steps, end = 1, "There is nothing larger"


_CLASSES = (
    SEGWILD_OT_part_prompts,
    SEGWILD_OT_whole_prompts,
    SEGWILD_OT_accept_prompts,
    SEGWILD_OT_erase_prompts,
    SEGWILD_OT_clear_prompts,
)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)


def unregister() -> None:
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
