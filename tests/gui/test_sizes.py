"""The mouse wheel with Ctrl goes from what a click means to a part of it, and to what it is a part of."""

from __future__ import annotations

from typing import Any

from .driver import Driver
from .hands import RED, connect, no_traceback, open_sidebar, open_tab, picture, screen_of, selected

WHEEL_UP, WHEEL_DOWN = 4, 5  # buttons, to X


def test_the_wheel_chooses_a_part_or_the_whole(imported: Driver, service: dict[str, Any]) -> None:
    connect(imported, service["port"])
    open_sidebar(imported)
    open_tab(imported)
    imported.run("bpy.ops.segwild.prompt('INVOKE_DEFAULT')")
    at = screen_of(imported, RED)
    imported.click(*at)
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 1")
    first = selected(imported)
    distance = imported.run("result = bpy.context.region_data.view_distance")

    def turned(button: int, place: int) -> set[int]:
        imported.click(*at, "ctrl", button=button)
        imported.until(f"result = addon('viewport.selection').levels()[0] == {place}")
        return set(selected(imported))

    place = imported.run("result = addon('viewport.selection').levels()[0]")
    whole = turned(WHEEL_UP, place + 1)
    assert len(whole) > len(first)
    picture(imported, "whole")
    assert turned(WHEEL_DOWN, place) == set(first)
    part = turned(WHEEL_DOWN, place - 1)
    assert len(part) < len(first)
    picture(imported, "part")
    assert imported.run("result = bpy.context.region_data.view_distance") == distance  # it did not zoom
    imported.key("ctrl+z")
    imported.until(f"result = addon('viewport.selection').levels()[0] == {place}")
    assert set(selected(imported)) == set(first)
    imported.click(*at, button=WHEEL_UP)
    imported.until(f"result = bpy.context.region_data.view_distance < {distance}")  # without Ctrl it does
    no_traceback(imported)
