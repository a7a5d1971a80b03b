"""A splat file from elsewhere into a workspace, with cameras if the photos' COLMAP scene is at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backend.capture.inputs import recognised
from backend.formats import reader_of
from backend.progress import Progress, Quiet
from backend.scene import Workspace
from backend.scene.placement import transformed
from backend.stages import capture
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Capture, Import

_BEGUN = "import begun"  # noted before the Gaussians are written


def run(request: Import, progress: Progress) -> dict[str, Any]:
    """Rows keep the file's order; means move into the scene's frame, so that exports come back in the file's.

    The file must lie in the frame of the cameras it was trained from. Nothing is made if it cannot be read
    or the cameras are none, and Gaussians that are there already are never replaced: InputError.
    """
    _refuse_to_overwrite(request.out)
    if request.cameras is not None and recognised(request.cameras, Quiet()).model is None:
        raise InputError(
            "no-cameras",
            f"The folder holds no COLMAP model, and cameras found anew would not fit the splats: {request.cameras}.",
            "Give the scene the splats were trained from, with sparse/ and images/.",
        )
    progress.phase("import")
    gaussians = reader_of(request.file)(request.file, progress)
    if request.cameras is not None:
        # Nothing will be trained, so there is nothing to hold out.
        capture.run(Capture(photos=request.cameras, out=request.out, hold_out=0), progress)
    workspace = Workspace.create(request.out)
    gaussians = transformed(gaussians, workspace.scene_from_capture())
    workspace.record(_BEGUN, file=str(request.file.resolve()))
    gaussians.save(workspace.splats)
    summary = {
        "file": str(request.file.resolve()),
        "gaussians": len(gaussians),
        "sh_degree": gaussians.sh_degree,
        "cameras": None if request.cameras is None else str(request.cameras.resolve()),
    }
    workspace.record("import", **summary)
    return summary


def _refuse_to_overwrite(root: Path) -> None:
    workspace = Workspace(root)
    if not workspace.exists():
        return
    Workspace.open(root)
    if workspace.made(_BEGUN) is not None and workspace.made("import") is None:
        return  # its Gaussians are of an import that was cut short
    for file, what in ((workspace.splats, "Gaussians"), (workspace.checkpoint, "an unfinished training")):
        if file.exists():
            raise InputError(
                "has-splats", f"The workspace already has {what}: {root}.", "Choose a new folder for the import."
            )
