"""What the backend suggests, in the window: likely junk and a selection that shrinks, each a step of Ctrl+Z."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .conftest import NEEDLES
from .driver import Driver
from .hands import RED, connect, no_traceback, open_sidebar, open_tab, picture, screen_of, selected


def test_junk_is_found_undone_and_erased(spiky: Path, imported: Driver, service: dict[str, Any]) -> None:
    connect(imported, service["port"])
    open_sidebar(imported)
    open_tab(imported)
    before = picture(imported, "with junk")
    imported.run("bpy.context.window_manager.segwild.junk_strength = 0.2; bpy.ops.segwild.find_junk('INVOKE_DEFAULT')")
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 1")
    found = selected(imported)
    assert set(NEEDLES + 1) & set(found)
    assert np.abs(picture(imported, "likely junk") - before).max() > 0.2
    imported.move(*screen_of(imported, RED))
    imported.key("ctrl+z")
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 0")
    imported.key("ctrl+shift+z")
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 1")
    assert selected(imported) == found
    imported.run("bpy.ops.segwild.erase_prompts('INVOKE_DEFAULT')")
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 0")
    assert np.abs(picture(imported, "without junk") - before).max() > 0.2
    no_traceback(imported)


def test_a_selection_shrinks_and_is_undone(imported: Driver, service: dict[str, Any]) -> None:
    connect(imported, service["port"])
    imported.run("bpy.ops.segwild.prompt('INVOKE_DEFAULT')")
    imported.click(*screen_of(imported, RED))
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 1 and not addon('viewport.selection').waiting()")
    before = selected(imported)
    imported.run("bpy.ops.segwild.shrink_prompts('INVOKE_DEFAULT')")
    imported.until("result = len(bpy.context.scene.segwild.prompts) > 1")
    assert set(selected(imported)) < set(before)
    imported.move(*screen_of(imported, RED))
    imported.key("ctrl+z")
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 1")
    assert selected(imported) == before
    no_traceback(imported)


def test_things_are_shown_in_colours_and_taken_by_a_click(imported: Driver, service: dict[str, Any]) -> None:
    connect(imported, service["port"])
    open_sidebar(imported)
    open_tab(imported)
    imported.run("bpy.context.scene.segwild.clean_edges = False")

    def pictured(name: str) -> np.ndarray:
        return picture(imported, name)[:, :400]  # what the sidebar leaves free

    before = pictured("without colours")
    imported.run("bpy.ops.segwild.find_objects('INVOKE_DEFAULT')")
    imported.until("result = not addon('suggestions').busy()")
    count = imported.run("""
        scene = addon('data.scenes').active(bpy.context)
        result = len(addon('viewport.proposals').things(scene))
    """)
    assert count == 2
    assert np.abs(pictured("things in colours") - before).max() > 0.2
    imported.run("bpy.ops.segwild.prompt('INVOKE_DEFAULT')")
    imported.click(*screen_of(imported, RED))
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 1")
    found = set(selected(imported))
    red = set(range(2, 3001, 3))
    assert len(red & found) > 0.8 * len(red)
    imported.key("Return")
    imported.until("result = 'Object' in bpy.data.objects")
    assert np.abs(pictured("one thing taken") - before).max() < 0.2
    imported.run("bpy.ops.segwild.make_proposed('INVOKE_DEFAULT')")
    imported.until("result = 'Object.001' in bpy.data.objects")
    assert np.abs(pictured("no colours left") - before).max() < 0.2
    imported.run("bpy.ops.ed.undo()")
    assert imported.run("result = [name for name in ('Object', 'Object.001') if name in bpy.data.objects]") == [
        "Object"
    ]
    no_traceback(imported)
