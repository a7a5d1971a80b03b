"""Buttons of the backend's life: install, start, stop, restart, connect, read its log."""

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from .. import environment, session, work
from ..client import Address
from ..client.link import tail_of
from ..ui.preferences import preferences


class SEGWILD_OT_install_backend(bpy.types.Operator):
    """Install the backend into a folder of its own. Blender's own Python stays as it is"""

    bl_idname = "segwild.install_backend"
    bl_label = "Install Backend"

    build: EnumProperty(
        name="For",
        items=(
            ("cpu", "Processor", "Runs everywhere; about 1 GB to download, 4 GB on disk"),
            ("cuda", "NVIDIA card", "Much faster training; about 4 GB to download, 14 GB on disk"),
        ),
    )
    folder: StringProperty(name="Folder", description="The environment goes here", subtype="DIR_PATH")
    offline: BoolProperty(name="From a Folder of Wheels", description="Download nothing")
    wheels: StringProperty(
        name="Wheels", description="A folder of Python packages: SegWild and all it needs", subtype="DIR_PATH"
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        known = preferences(context)
        self.folder = known.folder or str(environment.default_folder())
        self.wheels, self.offline = known.wheels, bool(known.wheels) or not environment.online()
        return context.window_manager.invoke_props_dialog(self, width=480)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "folder")
        column = layout.column()
        column.enabled = environment.online()
        column.prop(self, "offline")
        if self.offline:
            layout.prop(self, "wheels")
        else:
            layout.prop(self, "build", expand=True)

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.offline and not environment.online():
            self.report({"ERROR"}, "Blender is not allowed to go online. Allow it, or choose a folder of wheels.")
            return {"CANCELLED"}
        known = preferences(context)
        folder = work.path(self.folder) if self.folder else environment.default_folder()
        known.folder, known.wheels, known.python = str(folder), self.wheels if self.offline else "", ""
        context.preferences.is_dirty = True  # else Blender does not save them at its end
        environment.install(
            folder,
            build=self.build,
            base=known.base_python,
            package=known.package or "segwild",
            wheels=work.path(self.wheels) if self.offline and self.wheels else None,
        )
        return {"FINISHED"}


class SEGWILD_OT_cancel_install(bpy.types.Operator):
    """Stop the installation. What was downloaded is kept"""

    bl_idname = "segwild.cancel_install"
    bl_label = "Cancel Installation"

    def execute(self, context: bpy.types.Context) -> set[str]:
        environment.cancel()
        return {"FINISHED"}


class SEGWILD_OT_use_python(bpy.types.Operator):
    """Choose the Python of an environment in which SegWild is installed"""

    bl_idname = "segwild.use_python"
    bl_label = "Use Existing Python"

    filepath: StringProperty(subtype="FILE_PATH")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        preferences(context).python = self.filepath
        context.preferences.is_dirty = True  # else Blender does not save them at its end
        work.look_for_backend()
        return {"FINISHED"}


class SEGWILD_OT_start_backend(bpy.types.Operator):
    """Start the backend for this scene"""

    bl_idname = "segwild.start_backend"
    bl_label = "Start Backend"

    workspace: StringProperty(
        description="Of the scene; empty: of the one that the panel speaks of", options={"HIDDEN", "SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not work.workspace_of(context):
            cls.poll_message_set("Import a scene, or choose photos for a new one")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        trouble = work.start(context, self.workspace)
        if trouble:
            self.report({"ERROR"}, trouble)
            return {"CANCELLED"}
        return {"FINISHED"}


class SEGWILD_OT_stop_backend(bpy.types.Operator):
    """End the backend of this scene. A job that runs is interrupted and can go on later"""

    bl_idname = "segwild.stop_backend"
    bl_label = "Stop Backend"

    def execute(self, context: bpy.types.Context) -> set[str]:
        link = work.link_of(context)
        if link is None:
            return {"CANCELLED"}
        link.stop()
        session.wake()
        return {"FINISHED"}


class SEGWILD_OT_restart_backend(bpy.types.Operator):
    """End the backend and start it anew. A job that was interrupted goes on where it was"""

    bl_idname = "segwild.restart_backend"
    bl_label = "Restart Backend"

    def execute(self, context: bpy.types.Context) -> set[str]:
        link = work.link_of(context)
        if link is None or link.where is None:
            return bpy.ops.segwild.start_backend()
        link.restart()
        session.wake()
        return {"FINISHED"}


class SEGWILD_OT_connect_backend(bpy.types.Operator):
    """Use a backend that was started by hand, on this machine or at the end of an SSH tunnel"""

    bl_idname = "segwild.connect_backend"
    bl_label = "Connect to Backend"

    host: StringProperty(name="Host", default="127.0.0.1")
    port: IntProperty(name="Port", default=8765, min=1, max=65535)
    token: StringProperty(
        name="Token",
        description="The word that the backend was started with",
        subtype="PASSWORD",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not work.workspace_of(context):
            cls.poll_message_set("Import a scene, or choose photos for a new one")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self, width=360)

    def execute(self, context: bpy.types.Context) -> set[str]:
        work.connect(context, Address(self.host, self.port, self.token))
        return {"FINISHED"}


class SEGWILD_OT_open_log(bpy.types.Operator):
    """Show the end of the log in a text editor of Blender"""

    bl_idname = "segwild.open_log"
    bl_label = "Open Log"

    def execute(self, context: bpy.types.Context) -> set[str]:
        logs = [log for log in work.logs(context) if log.is_file()]
        if not logs:
            self.report({"WARNING"}, "There is no log yet.")
            return {"CANCELLED"}
        text = bpy.data.texts.get("SegWild log") or bpy.data.texts.new("SegWild log")
        text.clear()
        for log in logs:
            text.write(f"{log}\n\n" + "\n".join(tail_of(log, 300)) + "\n\n")
        if context.window is not None and not bpy.app.background:
            bpy.ops.wm.window_new()
            area = context.window_manager.windows[-1].screen.areas[0]
            area.type = "TEXT_EDITOR"
            area.spaces.active.text = text
        self.report({"INFO"}, f"The log is in the text “{text.name}”.")
        return {"FINISHED"}


class SEGWILD_OT_copy_report(bpy.types.Operator):
    """Copy what went wrong to the clipboard, to send it to whoever may help"""

    bl_idname = "segwild.copy_report"
    bl_label = "Copy Report"

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.clipboard = work.report(context)
        self.report({"INFO"}, "The report is in the clipboard.")
        return {"FINISHED"}


class SEGWILD_OT_open_preferences(bpy.types.Operator):
    """Show SegWild's preferences"""

    bl_idname = "segwild.open_preferences"
    bl_label = "SegWild Preferences"

    def execute(self, context: bpy.types.Context) -> set[str]:
        if __package__.startswith("bl_ext."):
            bpy.ops.preferences.addon_show(module=__package__.rpartition(".")[0])
        else:
            bpy.ops.screen.userpref_show()
        return {"FINISHED"}


class SEGWILD_OT_allow_online(bpy.types.Operator):
    """Show the preference Allow Online Access, in System > Network"""

    bl_idname = "segwild.allow_online"
    bl_label = "Network Preferences"

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.preferences.active_section = "SYSTEM"
        bpy.ops.screen.userpref_show(section="SYSTEM")
        return {"FINISHED"}


_CLASSES = (
    SEGWILD_OT_install_backend,
    SEGWILD_OT_cancel_install,
    SEGWILD_OT_use_python,
    SEGWILD_OT_start_backend,
    SEGWILD_OT_stop_backend,
    SEGWILD_OT_restart_backend,
    SEGWILD_OT_connect_backend,
    SEGWILD_OT_open_log,
    SEGWILD_OT_copy_report,
    SEGWILD_OT_open_preferences,
    SEGWILD_OT_allow_online,
)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)


def unregister() -> None:
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
