"""Clicks, a mask or a box on one photo -> a named object."""

from __future__ import annotations

import time
from typing import Any

from backend.progress import Progress
from backend.scene import Workspace
from backend.segment import objects
from backend.segment.graph import scene_graph
from backend.segment.prompts import Mask, prompt_of
from backend.segment.refine import Refinement
from backend.segment.selection import select_by_mask
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Segment


def run(request: Segment, progress: Progress) -> dict[str, Any]:
    """Select and keep. The object of that name, if there is one, gets the new rows."""
    workspace = Workspace.open(request.workspace)
    began = time.monotonic()
    objects.checked_name(request.name)
    photo = workspace.photo(request.view)
    prompt = prompt_of(photo, request.click, request.mask, request.box)
    scene = workspace.gaussians()
    if not isinstance(prompt, Mask):
        raise InputError("bad-prompt", "Only masks are understood so far.", "Give --mask FILE.")
    selection = select_by_mask(prompt, scene, scene_graph(scene), workspace, photo, Refinement())
    item = objects.save(workspace, request.name, selection.chosen, selection.probability, selection.evidence)
    return {
        "object": item.name,
        "id": item.id,
        "gaussians": len(item.rows),
        "view": photo.name,
        "time_secs": round(time.monotonic() - began, 2),
    }
