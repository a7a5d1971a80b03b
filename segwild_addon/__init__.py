"""The Blender side of SegWild, and the contract (`protocol`) it shares with the backend."""

from importlib import import_module

# In the order in which they need each other. Imported only inside Blender: the backend reads `protocol` without bpy.
_MODULES = (
    "properties",
    "session",
    "environment",
    "data.repair",
    "viewport.draw",
    "viewport.keyframes",
    "viewport.selection",
    "viewport.proposals",
    "viewport.markers",
    "viewport.prompts",
    "viewport.tool",
    "ui.preferences",
    "work",
    "mirror",
    "cleaning",
    "suggestions",
    "operators.importing",
    "operators.exporting",
    "operators.cameras",
    "operators.objects",
    "operators.edges",
    "operators.selecting",
    "operators.suggestions",
    "operators.appearance",
    "operators.backend",
    "operators.training",
    "operators.visibility",
    "operators.rendering",
    "ui.thumbnails",
    "ui.panels",
    "ui.lists",
    "ui.light",
    "ui.export",
    "ui.drawing",
)


def register() -> None:
    """Everything or nothing: if one part fails, those before it are taken back."""
    done: list[str] = []
    try:
        for name in _MODULES:
            import_module(f".{name}", __package__).register()
            done.append(name)
    except BaseException:
        for name in reversed(done):
            import_module(f".{name}", __package__).unregister()
        raise


def unregister() -> None:
    for name in reversed(_MODULES):
        import_module(f".{name}", __package__).unregister()
