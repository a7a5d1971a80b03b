"""A named object and masks of photos -> IoU, boundary IoU, extracted IoU and spill."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from backend.capture.pictures import read_mask
from backend.progress import Progress
from backend.scene import Workspace
from backend.segment import cuts, objects
from backend.segment.metrics import mean_over_views
from backend.segment.scoring import ViewScore, score
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import EvaluateMasks

_SKIPPED, _SMALL = "skipped on request", "smaller than --least"
_FIGURES = ("iou", "boundary_iou", "extracted_iou", "spill")


def run(request: EvaluateMasks, progress: Progress) -> dict[str, Any]:
    """Score the object in every photo that has a mask `<photo>.png` in the folder.

    Returns the unweighted means over photos, `n` scored, `n_empty` (masks without a white pixel), one entry
    per photo in `views`, and masks that were `not_scored` with the reason. Raises InputError if none was.
    """
    workspace = Workspace.open(request.workspace)
    item = objects.find(workspace, request.object)
    scene, rows = cuts.applied(workspace.gaussians(), item.rows, cuts.load(workspace, item))
    photos = {photo.name: photo for photo in workspace.photos()}
    if not request.masks.is_dir():
        raise InputError("no-masks", f"There is no folder of masks: {request.masks}.", "Give a folder of <photo>.png.")
    if not 0 <= request.least < 1:
        raise InputError("bad-option", f"--least is {request.least:g}.", "Give a share from 0 to below 1.")
    for name in request.skip:
        workspace.photo(name)
    files = sorted(path for path in request.masks.iterdir() if path.suffix.lower() == ".png")
    progress.phase("Scoring masks", len(files))
    views: list[ViewScore] = []
    not_scored: list[dict[str, str]] = []
    for path in files:
        photo = photos.get(path.stem)
        if photo is None:
            not_scored.append({"mask": path.name, "reason": "no photo has this name"})
        elif not photo.used:
            not_scored.append({"mask": path.name, "reason": f"the photo was left out: {photo.excluded}"})
        elif photo.name in request.skip:
            not_scored.append({"mask": path.name, "reason": _SKIPPED})
        else:
            mask = read_mask(path, photo.width, photo.height)
            if mask.any() and mask.mean() < request.least:
                not_scored.append({"mask": path.name, "reason": _SMALL})
            else:
                views.append(score(scene, rows, workspace, photo, mask))
        progress.advance(1, path.stem)
    unexpected = [row["mask"] for row in not_scored if row["reason"] not in (_SKIPPED, _SMALL)]
    if unexpected:
        progress.warn("masks-not-scored", f"{len(unexpected)} of {len(files)} masks fit no photo in use.", unexpected)
    if not views:
        raise InputError(
            "no-masks",
            f"None of the {len(files)} masks in the folder could be scored: {request.masks}.",
            "Masks are named <photo>.png after photos of the workspace.",
        )
    means = {name: mean_over_views([getattr(view, name) for view in views]) for name in _FIGURES}
    result = {
        "object": item.name,
        **{name: mean.value for name, mean in means.items()},
        "n": means["iou"].n,
        "n_empty": means["iou"].n_empty,
        "views": [asdict(view) for view in views],
        "not_scored": not_scored,
    }
    workspace.record(f"evaluate-masks {item.name}", masks=str(request.masks), result=result)
    return result
