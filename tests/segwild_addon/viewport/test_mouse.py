"""Which view is under the mouse. Regions are drawn up here; the settings are Blender's own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

import bpy

from segwild_addon.viewport.mouse import under

SIDEBAR, HEADER = 250, 26


def box(kind, x, y, width, height, alignment="NONE"):
    return SimpleNamespace(type=kind, x=x, y=y, width=width, height=height, alignment=alignment, data=f"{kind} data")


def look(x, y, *, sidebar=False, gizmos=True, kind="VIEW_3D"):
    """What is under the mouse in a window of one area of 1000 x 700 pixels."""
    window = box("WINDOW", 0, 0, 1000, 700)
    regions = [window, box("HEADER", 0, 700 - HEADER, 1000, HEADER, "TOP")]
    if sidebar:
        regions.append(box("UI", 1000 - SIDEBAR, 0, SIDEBAR, 700 - HEADER, "RIGHT"))
    space = SimpleNamespace(show_gizmo=gizmos, show_gizmo_navigate=True)
    area = SimpleNamespace(
        type=kind, x=0, y=0, width=1000, height=700, regions=regions, spaces=SimpleNamespace(active=space)
    )
    # Without a window Blender has no scale of its interface.
    preferences = SimpleNamespace(view=bpy.context.preferences.view, system=SimpleNamespace(ui_scale=1.0))
    context = SimpleNamespace(window=SimpleNamespace(screen=SimpleNamespace(areas=[area])), preferences=preferences)
    found = under(context, SimpleNamespace(mouse_x=x, mouse_y=y))
    if found is not None:
        assert found == (space, window, "WINDOW data")
    return found is not None


def test_the_middle_is_the_view():
    assert look(500, 350)
    assert not look(500, 350, kind="OUTLINER")
    assert not look(1200, 350)


def test_what_lies_upon_the_view_keeps_the_mouse():
    assert not look(500, 690)
    assert look(900, 300)
    assert not look(900, 300, sidebar=True)


@pytest.mark.parametrize("kind", ["GIZMO", "MINIMAL"])
def test_navigation_gizmos_keep_the_mouse_wherever_the_sidebar_pushes_them(kind, blender):
    view = bpy.context.preferences.view
    before = view.mini_axis_type
    try:
        view.mini_axis_type = kind
        assert not look(960, 640)
        assert look(960, 640, gizmos=False)
        assert not look(960 - SIDEBAR, 640, sidebar=True)
        view.mini_axis_type = "NONE"
        assert look(960, 640)
    finally:
        view.mini_axis_type = before
