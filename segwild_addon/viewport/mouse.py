"""The place of the mouse into the 3D view that is under it, where nothing lies upon that view."""

import bpy

GIZMO_MARGIN_PX = 20  # of the navigation gizmos, which take the mouse before us
GIZMO_BUTTON_PX = 32


def under(context: bpy.types.Context, event: bpy.types.Event):
    """The 3D view's space, window region and its RegionView3D under the mouse; None over anything else, also over
    a sidebar, toolbar or header that lies on the view."""
    for area in context.window.screen.areas:
        if area.type != "VIEW_3D" or not _within(area, event):
            continue
        window = None
        for region in area.regions:
            if not _within(region, event) or min(region.width, region.height) <= 1:
                continue
            if region.type == "WINDOW":
                window = region
            elif region.type != "HUD" and region.alignment != "NONE":
                return None
        if window is not None and not _on_gizmo(context, area, window, event):
            return area.spaces.active, window, window.data
    return None


def over_area(context: bpy.types.Context, event: bpy.types.Event) -> bool:
    """Whether the mouse is over a 3D view or what lies upon it, such as the sidebar whose button was just pressed."""
    return any(area.type == "VIEW_3D" and _within(area, event) for area in context.window.screen.areas)


def _on_gizmo(context: bpy.types.Context, area, window, event: bpy.types.Event) -> bool:
    """Whether the mouse is over the axes and buttons for navigation, at the upper right of a view."""
    space, view = area.spaces.active, context.preferences.view
    if not (space.show_gizmo and space.show_gizmo_navigate) or view.mini_axis_type == "NONE":
        return False
    scale = context.preferences.system.ui_scale
    sides = [region for region in area.regions if region.type == "UI" and region.width > 1]
    tops = [region for region in area.regions if region.type in {"HEADER", "TOOL_HEADER"} and region.height > 1]
    right = min([window.x + window.width, *(side.x for side in sides if side.y < window.y + window.height)])
    top = min([window.y + window.height, *(header.y for header in tops if header.y > window.y + window.height / 2)])
    ball = view.gizmo_size_navigate_v3d if view.mini_axis_type == "GIZMO" else view.mini_axis_size * 2
    x, y = (right - event.mouse_x) / scale, (top - event.mouse_y) / scale
    on_ball = 0 <= x <= ball + GIZMO_MARGIN_PX and 0 <= y <= ball + GIZMO_MARGIN_PX
    buttons = 4 * GIZMO_BUTTON_PX if view.show_navigate_ui else 0
    on_buttons = 0 <= x <= GIZMO_BUTTON_PX + GIZMO_MARGIN_PX and 0 <= y <= ball + GIZMO_MARGIN_PX + buttons
    return on_ball or on_buttons


def _within(box, event: bpy.types.Event) -> bool:
    return box.x <= event.mouse_x < box.x + box.width and box.y <= event.mouse_y < box.y + box.height
