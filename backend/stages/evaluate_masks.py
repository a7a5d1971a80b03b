"""A named object and masks of photos -> IoU, boundary IoU, extracted IoU and spill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backend.capture.pictures import read_mask
from backend.progress import Progress
from backend.scene import Gaussians, Photo, Workspace
from backend.segment import cuts, objects
from backend.segment.metrics import mean_over_views
from backend.segment.scoring import Judge, ViewScore
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import EvaluateMasks

_SKIPPED, _SMALL = "skipped on request", "smaller than --least"
_FIGURES = ("iou", "boundary_iou", "extracted_iou", "spill")


def run(request: EvaluateMasks, progress: Progress) -> dict[str, Any]:
    """Score the object in every photo that has a mask `<photo>.png` in the folder.

    Returns the unweighted means over photos, `n` scored, `n_empty` (masks without a white pixel), one entry
    per photo in `views`, and masks that were `not_scored` with the reason. Raises InputError if none was.
    """
    return run_all([request], progress)[0]


def run_all(requests: Sequence[EvaluateMasks], progress: Progress) -> list[dict[str, Any]]:
    """The same for several objects of one workspace, which is drawn once per photo for all of them."""
    workspace = Workspace.open(requests[0].workspace)
    photos = {photo.name: photo for photo in workspace.photos()}
    scene = workspace.gaussians()
    tasks = [_Task.of(request, workspace, scene, photos) for request in requests]
    names = sorted({name for task in tasks for name in task.masks})
    progress.phase("Scoring masks", len(names))
    for name in names:
        judges: dict[int, Judge] = {}  # by scene: an object that was cut has one of its own
        for task in tasks:
            if name in task.masks:
                mask = read_mask(task.masks[name], photos[name].width, photos[name].height)
                if mask.any() and mask.mean() < task.request.least:
                    task.not_scored.append({"mask": task.masks[name].name, "reason": _SMALL})
                    continue
                if id(task.scene) not in judges:
                    judges[id(task.scene)] = Judge(task.scene, workspace, photos[name])
                task.views.append(judges[id(task.scene)].score(task.rows, mask))
        progress.advance(1, name)
    return [_result(task, workspace, progress) for task in tasks]


@dataclass(eq=False)
class _Task:
    """One object, the masks to hold it against, and what came of it so far."""

    request: EvaluateMasks
    name: str
    scene: Gaussians
    rows: np.ndarray  # (M,) of the scene
    masks: dict[str, Path]  # by photo
    files: int
    not_scored: list[dict[str, str]]
    views: list[ViewScore] = field(default_factory=list)

    @classmethod
    def of(cls, request: EvaluateMasks, workspace: Workspace, whole: Gaussians, photos: Mapping[str, Photo]) -> _Task:
        """Raises InputError for what cannot be scored at all."""
        item = objects.find(workspace, request.object)
        scene, rows = cuts.applied(whole, item.rows, cuts.load(workspace, item))
        if not request.masks.is_dir():
            raise InputError(
                "no-masks", f"There is no folder of masks: {request.masks}.", "Give a folder of <photo>.png."
            )
        if not 0 <= request.least < 1:
            raise InputError("bad-option", f"--least is {request.least:g}.", "Give a share from 0 to below 1.")
        for name in request.skip:
            workspace.photo(name)
        files = sorted(path for path in request.masks.iterdir() if path.suffix.lower() == ".png")
        masks, not_scored = {}, []
        for path in files:
            photo = photos.get(path.stem)
            if photo is None:
                not_scored.append({"mask": path.name, "reason": "no photo has this name"})
            elif not photo.used:
                not_scored.append({"mask": path.name, "reason": f"the photo was left out: {photo.excluded}"})
            elif photo.name in request.skip:
                not_scored.append({"mask": path.name, "reason": _SKIPPED})
            else:
                masks[photo.name] = path
        return cls(request, item.name, scene, rows, masks, len(files), not_scored)


def _result(task: _Task, workspace: Workspace, progress: Progress) -> dict[str, Any]:
    views, not_scored = task.views, sorted(task.not_scored, key=lambda row: row["mask"])
    unexpected = [row["mask"] for row in not_scored if row["reason"] not in (_SKIPPED, _SMALL)]
    if unexpected:
        progress.warn("masks-not-scored", f"{len(unexpected)} of {task.files} masks fit no photo in use.", unexpected)
    if not views:
        raise InputError(
            "no-masks",
            f"None of the {task.files} masks in the folder could be scored: {task.request.masks}.",
            "Masks are named <photo>.png after photos of the workspace.",
        )
    means = {name: mean_over_views([getattr(view, name) for view in views]) for name in _FIGURES}
    result = {
        "object": task.name,
        **{name: mean.value for name, mean in means.items()},
        "n": means["iou"].n,
        "n_empty": means["iou"].n_empty,
        "views": [asdict(view) for view in views],
        "not_scored": not_scored,
    }
    workspace.record(f"evaluate-masks {task.name}", masks=str(task.request.masks), result=result)
    return result
