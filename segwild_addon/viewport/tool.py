"""The tool in the toolbar that selects by clicking, and the key with which Blender hands on clicks of a selection."""

import bpy

HELD = ({}, {"shift": True}, {"ctrl": True})

_keys: list[tuple[bpy.types.KeyMap, bpy.types.KeyMapItem]] = []


class SegwildSelectTool(bpy.types.WorkSpaceTool):
    bl_space_type = "VIEW_3D"
    bl_context_mode = "OBJECT"
    bl_idname = "segwild.select_tool"
    bl_label = "SegWild Select"
    bl_description = (
        "Select an object of a splat scene by clicking on it.\n"
        "• Click: the object\n• Shift-click: not the object\n• Ctrl-click: remove a mark\n• Ctrl-wheel: part or whole\n"
        "• B, C: box, brush\n• Enter: make the object\n• Esc: cancel"
    )
    bl_icon = "ops.generic.select_circle"
    bl_keymap = tuple(("segwild.prompt", {"type": "LEFTMOUSE", "value": "PRESS", **held}, None) for held in HELD)

    def draw_settings(context, layout, tool) -> None:  # noqa: N805  (Blender calls it without an instance)
        state = context.window_manager.segwild
        layout.prop(state, "prompt_mode", expand=True)
        if state.prompt_mode == "BRUSH":
            layout.prop(state, "brush_px")
        layout.prop(state, "ask_photos" if state.prompt_mode == "CLICK" else "through")


def register() -> None:
    if bpy.app.background:
        return
    # A group of its own: else the separator becomes part of the lasso's group, on which Blender fails later.
    bpy.utils.register_tool(SegwildSelectTool, after={"builtin.select_lasso"}, separator=True, group=True)
    added = bpy.context.window_manager.keyconfigs.addon
    if added is not None:
        keymap = added.keymaps.new(name="Object Mode", space_type="EMPTY")
        for held in HELD:
            item = keymap.keymap_items.new("segwild.prompt_click", "LEFTMOUSE", "PRESS", head=True, **held)
            _keys.append((keymap, item))


def unregister() -> None:
    if bpy.app.background:
        return
    while _keys:
        keymap, item = _keys.pop()
        keymap.keymap_items.remove(item)
    bpy.utils.unregister_tool(SegwildSelectTool)
