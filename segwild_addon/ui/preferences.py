"""What a person sets once: where the backend is, and what it runs on."""

from types import SimpleNamespace
from typing import Any

import bpy
from bpy.props import EnumProperty, StringProperty

ADDON = __package__.rpartition(".")[0]
_WITHOUT = SimpleNamespace(python="", folder="", wheels="", package="", base_python="", device="auto")


def preferences(context: bpy.types.Context | None = None) -> Any:
    """The add-on's preferences; where it is registered without being enabled, as in tests, a stand-in."""
    found = (context or bpy.context).preferences.addons.get(ADDON)
    return found.preferences if found is not None and found.preferences is not None else _WITHOUT


def _look(self: bpy.types.AddonPreferences, _context: bpy.types.Context) -> None:
    from .. import work

    work.look_for_backend()


class SegwildPreferences(bpy.types.AddonPreferences):
    bl_idname = ADDON

    python: StringProperty(
        name="Python",
        description="The Python of an environment in which SegWild is installed; empty: the one in the folder below",
        subtype="FILE_PATH",
        update=_look,
    )
    folder: StringProperty(
        name="Folder",
        description="Where the backend is installed; empty: a folder of Blender's user data",
        subtype="DIR_PATH",
        update=_look,
    )
    device: EnumProperty(
        name="Train on",
        description="What training runs on",
        items=(
            ("auto", "Automatic", "The graphics card where it works, else the processor"),
            ("cpu", "Processor", "Slower, works everywhere"),
            ("cuda", "NVIDIA card", "Fails where there is none, instead of being slow"),
        ),
    )
    package: StringProperty(
        name="Package", description="What is installed: a name, a wheel or a source folder", default="segwild"
    )
    wheels: StringProperty(
        name="Wheels", description="A folder of packages to install from, without downloads", subtype="DIR_PATH"
    )
    base_python: StringProperty(
        name="Make With",
        description="The Python (3.11 to 3.13) that makes the environment; empty: Blender's own",
        subtype="FILE_PATH",
    )

    def draw(self, context: bpy.types.Context) -> None:
        from . import panels

        layout = self.layout
        layout.use_property_split = True
        panels.draw_backend(layout.box(), context)
        layout.prop(self, "device")
        layout.prop(self, "python")
        layout.prop(self, "folder")
        header, body = layout.panel("segwild_install", default_closed=True)
        header.label(text="Installing")
        if body is not None:
            body.prop(self, "package")
            body.prop(self, "wheels")
            body.prop(self, "base_python")


def register() -> None:
    bpy.utils.register_class(SegwildPreferences)


def unregister() -> None:
    bpy.utils.unregister_class(SegwildPreferences)
    vars(_WITHOUT).update(python="", folder="", wheels="", package="", base_python="", device="auto")
