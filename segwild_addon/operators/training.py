"""Buttons of long work: make a scene from photos, train it further, cancel, try again."""

import random

import bpy

from .. import session, work
from ..client import Answered

SEEDS = 1_000_000  # to choose from


class _Job(bpy.types.Operator):
    """What buttons that queue a job share."""

    bl_options = {"REGISTER"}

    def _queue(self, context: bpy.types.Context, verb: str, **request) -> set[str]:
        trouble = work.queue(context, verb, **request)
        if trouble:
            self.report({"ERROR"}, trouble)
            return {"CANCELLED"}
        return {"FINISHED"}

    def _train(self, context: bpy.types.Context, verb: str, workspace: str, **request) -> set[str]:
        settings = context.scene.segwild
        people = settings.people_weights or None
        return self._queue(context, verb, workspace=workspace, preset=settings.preset, people=people, **request)


class SEGWILD_OT_make_scene(_Job):
    """Find the cameras of the photos, train the splats and prepare them for selecting, all in one go.
    The result is imported when it is ready"""

    bl_idname = "segwild.make_scene"
    bl_label = "Make Scene"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not context.scene.segwild.photos_folder:
            cls.poll_message_set("Choose the folder of your photos first")
            return False
        if not work.new_workspace(context):
            cls.poll_message_set("There is no folder beside these photos: choose one under Workspace")
            return False
        if not work.possible(context):
            cls.poll_message_set("This needs the backend: see the panel Backend")
            return False
        return not work.busy(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        workspace = work.new_workspace(context)  # not that of the active scene, which has photos of its own
        return self._train(context, "run", workspace, photos=context.scene.segwild.photos_folder)


class SEGWILD_OT_train(_Job):
    """Train the splats of this scene again from its cameras, with the preset above.
    Objects made before no longer fit the new splats; the scene of before is hidden when the new one is there"""

    bl_idname = "segwild.train"
    bl_label = "Train Again"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(work.workspace_of(context)) and not work.busy(context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        # A training that is done is not done twice. Another seed makes this one another, which Go On continues.
        return self._train(context, "train", work.workspace_of(context), seed=random.randrange(1, SEEDS))


class SEGWILD_OT_lift(_Job):
    """Prepare the splats of this scene for selecting objects by clicks"""

    bl_idname = "segwild.lift"
    bl_label = "Prepare Selecting"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(work.workspace_of(context)) and not work.busy(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self._queue(context, "lift")


class SEGWILD_OT_retry_job(_Job):
    """Queue the job again. It goes on from what was finished"""

    bl_idname = "segwild.retry_job"
    bl_label = "Try Again"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        link = work.link_of(context)
        return link is not None and link.courses.current is not None and not work.busy(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        trouble = work.again(context)
        if trouble:
            self.report({"ERROR"}, trouble)
            return {"CANCELLED"}
        return {"FINISHED"}


class SEGWILD_OT_cancel_job(bpy.types.Operator):
    """Stop the job that runs. What was finished is kept, and Go On continues from there"""

    bl_idname = "segwild.cancel_job"
    bl_label = "Cancel"

    def execute(self, context: bpy.types.Context) -> set[str]:
        link = work.link_of(context)
        course = link.courses.current if link is not None else None
        if link is None or course is None or course.ended:
            return {"CANCELLED"}

        def told(answered: Answered) -> None:
            if answered.error is not None:
                work.say(str(answered.error))

        link.cancel(course.job, told)
        session.wake()
        return {"FINISHED"}


class SEGWILD_OT_import_result(bpy.types.Operator):
    """Bring the finished scene into this file"""

    bl_idname = "segwild.import_result"
    bl_label = "Import Scene"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(work.workspace_of(context)) and context.mode == "OBJECT"

    def execute(self, context: bpy.types.Context) -> set[str]:
        work.import_scene(work.workspace_of(context))
        return {"FINISHED"}


_CLASSES = (
    SEGWILD_OT_make_scene,
    SEGWILD_OT_train,
    SEGWILD_OT_lift,
    SEGWILD_OT_retry_job,
    SEGWILD_OT_cancel_job,
    SEGWILD_OT_import_result,
)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)


def unregister() -> None:
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
