"""A named object -> its cut: Gaussians that stick out of it divided at its edge, and back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from backend.progress import Progress
from backend.scene import Workspace
from backend.segment import cuts, objects
from backend.segment.cutter import Cut, Cutting, Mode, cut
from backend.segment.outline import Outline
from backend.segment.prepared import Prepared
from backend.segment.selection import LONG_SIDE
from backend.segment.silhouettes import outlines_of
from backend.train.views import in_picture
from segwild_addon.protocol.errors import InputError


def cut_object(
    workspace: Workspace, name: str, mode: Mode, progress: Progress, prepared: Prepared | None = None
) -> dict[str, Any]:
    """`divided`, told in numbers.

    Returns the `mode`, how many Gaussians were `divided` into how many `parts`, how many were `given` away whole or,
    looking like the object, `dropped`, the `outlines` by photo, and `time_secs`.
    """
    began = time.monotonic()
    _, made, outlines = divided(workspace, name, mode, progress, prepared)
    return {
        "mode": mode,
        "divided": len(made.hidden),
        "parts": len(made.parts),
        "given": len(made.given),
        "dropped": len(made.dropped),
        "outlines": outlines,
        "time_secs": round(time.monotonic() - began, 2),
    }


def divided(
    workspace: Workspace,
    name: str,
    mode: Mode,
    progress: Progress,
    prepared: Prepared | None = None,
    check: Callable[[], None] = lambda: None,
) -> tuple[objects.Object, Cut, list[str]]:
    """Cut an object along the masks it was selected by and those found from its rows; an older cut is replaced.

    Returns the object, its cut, and the photos whose outlines were used. `prepared` spares loading the scene. Raises
    InputError if no photo shows the object, and then changes nothing; nor does it if `progress` or `check`, which is
    called before the cut is kept, raise anything.
    """
    item = objects.find(workspace, name)
    prepared = prepared or Prepared.of(workspace)
    scene = prepared.scene
    used = workspace.used_photos() if (workspace.root / "photos.json").exists() else []
    photos = [(photo.name, photo.camera) for photo in used if photo.camera is not None]
    chosen = np.zeros(len(scene), bool)
    chosen[item.rows] = True
    settings = Cutting(mode=mode)
    progress.phase("Finding outlines")
    given = []
    known = {photo.name: photo for photo in used}
    for view, mask in item.masks.items():
        photo = known.get(view)
        if photo is not None and photo.camera is not None:
            camera = photo.camera.fitted(LONG_SIDE)
            pixels = in_picture(mask, workspace, photo, camera)
            given.append(Outline(view, camera, pixels, drawn=view not in item.guessed))
    outlines = outlines_of(scene, chosen, prepared.graph.spacing, photos, given, settings, progress)
    if not outlines:
        raise InputError(
            "no-outline", f"No photo shows an edge of {name!r} to cut at.", "Select more of it, or leave it whole."
        )
    progress.phase("Cutting")
    made = cut(scene, chosen, outlines, settings, progress)
    progress.advance()
    check()
    cuts.keep(workspace, item, made)
    return item, made, [outline.name for outline in outlines]
