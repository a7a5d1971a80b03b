"""The edges of an object in the window: cleaned a moment after it was made, undone, restored by a button."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .conftest import LONG, NEEDLES
from .driver import Driver
from .hands import RED, connect, no_traceback, picture, screen_of, selected


def needles(blender: Driver) -> int:
    """How many of the object's splats are as long as needles were made."""
    return blender.run(f"""
        ob = bpy.data.objects['Object']
        scales = np.zeros(3 * len(ob.data.points), np.float32)
        ob.data.attributes['scale'].data.foreach_get('vector', scales)
        result = int((scales > {0.99 * LONG}).sum())
    """)


def test_edges_are_cleaned_undone_and_restored(spiky: Path, imported: Driver, service: dict[str, Any]) -> None:
    connect(imported, service["port"])
    imported.run("import numpy as np")
    imported.run("bpy.ops.segwild.prompt('INVOKE_DEFAULT')")
    imported.click(*screen_of(imported, RED))
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 1")
    chosen = selected(imported)
    assert set(NEEDLES + 1) & set(chosen)
    imported.move(*screen_of(imported, RED))
    imported.key("Return")
    imported.until("result = 'Object' in bpy.data.objects")
    imported.until("result = addon('data.cuts').is_cut(bpy.data.objects['Object'])")
    assert "Cleaned the edges of Object" in imported.run("result = bpy.context.window_manager.segwild.status")
    imported.run("addon('data.scenes').rest(addon('data.scenes').all_scenes()[0]).hide_set(True)")
    clean = picture(imported, "clean")
    assert needles(imported) == 0
    imported.run("bpy.ops.segwild.restore_edges()")
    assert not imported.run("result = addon('data.cuts').is_cut(bpy.data.objects['Object'])")
    assert needles(imported) == len(set(NEEDLES + 1) & set(chosen))
    spikes = picture(imported, "restored")
    assert np.abs(clean - spikes).max() > 0.2
    imported.run("bpy.ops.ed.undo_push(message='Restored'); bpy.ops.ed.undo()")
    imported.until("result = addon('data.cuts').is_cut(bpy.data.objects['Object'])")
    assert needles(imported) == 0
    assert imported.run("result = len(addon('data.cuts').ids(bpy.data.objects['Object']))") == len(chosen)
    no_traceback(imported)
