"""The scene or one object -> a file other programs open, with its look baked in."""

from __future__ import annotations

from typing import Any

from backend.formats import writer_of
from backend.progress import Progress
from backend.scene import Workspace
from backend.segment.shown import Shown, look_of
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Export


def run(request: Export, progress: Progress) -> dict[str, Any]:
    """Write the file whole, in the capture's own frame. Raises InputError for an unknown suffix or name."""
    write = writer_of(request.out)
    if request.out.is_dir():
        raise InputError("not-a-file", f"The export needs a file name, but this is a folder: {request.out}.")
    workspace = Workspace.open(request.workspace)
    shown = Shown.open(workspace)
    if request.look == "own":
        raise InputError("bad-option", "An export has one look.", "Give --look neutral or a photo's name.")
    gaussians = shown.of(shown.part(only=request.object), look_of(request.look), only=request.object)
    write(request.out, gaussians, world_from_scene=workspace.scene_from_capture().inverse(), progress=progress)
    return {"file": str(request.out), "gaussians": len(gaussians), "bytes": request.out.stat().st_size}
