"""The edges of an object in the window: cleaned a moment after it was made, undone, restored by a button."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .driver import Driver
from .hands import RED, connect, no_traceback, picture, screen_of, selected

NEEDLES = np.arange(1, 3000, 3)[::25]  # rows of the red blob
LONG = 0.45


@pytest.fixture
def spiky(workspace: Path) -> Path:
    """The blobs with needles in the red one that reach far out of it."""
    from backend.scene import Gaussians, Workspace

    kept = Workspace.open(workspace)
    scene = kept.gaussians()
    log_scales, logits = scene.log_scales.copy(), scene.opacity_logits.copy()
    log_scales[NEEDLES] = np.log([LONG, 0.012, 0.012])
    logits[NEEDLES] = 3
    changed = replace(scene, log_scales=log_scales, opacity_logits=logits)
    assert isinstance(changed, Gaussians)
    changed.save(kept.splats)
    return workspace


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
