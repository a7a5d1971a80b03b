"""A few labelled photos -> every Gaussian's label, as named objects."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from backend.features import Lifted, colour, splat_hash
from backend.features.supplied import label_names, read_labels
from backend.features.transfer import LONG_SIDE, UNSAID, Patches, Transferred, patches, transferred
from backend.progress import Progress
from backend.render import Seen
from backend.scene import Gaussians, Photo, Workspace
from backend.segment import objects
from backend.segment.posterior import feature_votes
from backend.segment.prepared import Prepared, Selection
from backend.stages import lift
from backend.train.views import in_picture
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Lift, Transfer

LABELS_MOST = 50  # more are shades of a grey picture
_NEIGHBOURS_MOST = 100


def run(request: Transfer, progress: Progress) -> dict[str, Any]:
    """Make an object of each label; one of that name gets the new rows, keeping id and look.

    Returns the `objects` with `name`, `label`, `id`, number of `gaussians` and of `patches`, the number of `photos`,
    and `time_secs`. Labels that no Gaussian gets, or that no patch shows, make no object and are a warning. Raises
    InputError for pictures or names that make no sense, and then changes nothing.
    """
    workspace = Workspace.open(request.workspace)
    began = time.monotonic()
    if not 1 <= request.neighbours <= _NEIGHBOURS_MOST:
        raise InputError(
            "bad-option", f"--neighbours is {request.neighbours}.", f"Choose 1 to {_NEIGHBOURS_MOST}; 5 is usual."
        )
    pictures = _labelled(workspace, request.labels)
    numbers = sorted(set(np.concatenate([np.unique(picture) for _, picture in pictures]).tolist()) - {0})
    names = _named(numbers, request.labels, progress)
    objects.names(workspace)  # a damaged or stale list is found before the work, not after
    splats = splat_hash(workspace)
    lift.run(Lift(workspace.root), progress)  # walks need colours, whatever is compared
    lifted = Lifted.find(workspace, request.features)
    known = _patches(workspace, workspace.gaussians(), lifted, pictures, request.rest, progress)
    shown = [number for number in numbers if (known.labels == number).any()]
    if not shown:
        raise InputError(
            "no-labels",
            f"No label covers a part of the scene that is large enough to be seen: {request.labels}.",
            "Paint labels where photos show the scene, at least a fiftieth of the photo wide.",
        )
    progress.phase("Comparing")
    found = transferred(lifted, known, request.neighbours)
    prepared = Prepared.of(
        workspace, lifted if request.features == colour.NAME else Lifted.find(workspace, colour.NAME)
    )
    progress.phase("Deciding", len(shown))
    chosen: dict[int, Selection] = {}
    for number in shown:
        selection = labelled(prepared, lifted, found, number)
        if selection.chosen.any():
            chosen[number] = selection
        progress.advance(1, names[number])
    missing = [names[number] for number in numbers if number not in chosen]
    if missing:
        progress.warn("labels-without-gaussians", f"{len(missing)} labels are those of no Gaussian.", missing)
    made = []
    for number, selection in chosen.items():
        told = selection.chosen, selection.probability, selection.evidence
        item = objects.save(workspace, names[number], *told, splats=splats)
        made.append(
            {
                "name": item.name,
                "label": number,
                "id": item.id,
                "gaussians": len(item.rows),
                "patches": int((known.labels == number).sum()),
            }
        )
    result = {"objects": made, "photos": len(pictures), "time_secs": round(time.monotonic() - began, 2)}
    workspace.record("transfer", labels=str(request.labels), features=request.features, result=result)
    return result


def labelled(prepared: Prepared, lifted: Lifted, found: Transferred, number: int) -> Selection:
    """The rows of one label. Each row that has features has a vote as large as they are certain: as much of it as the
    label is sure of is for its label, and the rest against all.
    """
    own = lifted.confidence * np.where(found.labels == number, found.confidence, 0)
    seen = found.labels != UNSAID
    return prepared.decided([feature_votes("labels", seen, own, lifted.confidence - own)])


def _labelled(workspace: Workspace, folder: Path) -> list[tuple[Photo, np.ndarray]]:
    """Photos and their label pictures (H, W) uint8, by name."""
    if not folder.is_dir():
        raise InputError("folder-missing", f"There is no such folder: {folder}.", "Check the path.")
    if not (workspace.root / "photos.json").exists():
        raise InputError(
            "no-photos-yet",
            f"The workspace has no photos that labels could be of: {workspace.root}.",
            "Import the splat again with --cameras and the scene it was trained from.",
        )
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".png")
    if not files:
        raise InputError("no-labels", f"The folder holds no <photo>.png: {folder}.", "Paint labels 1, 2 … on photos.")
    photos = [workspace.photo(path.stem) for path in files]  # a misspelt one is told before any work
    pictures = [read_labels(path, photo) for path, photo in zip(files, photos, strict=True)]
    if not any(picture.any() for picture in pictures):
        raise InputError("no-labels", f"All label pictures are 0 everywhere: {folder}.", "Paint labels 1, 2 …")
    return list(zip(photos, pictures, strict=True))


def _named(numbers: list[int], folder: Path, progress: Progress) -> dict[int, str]:
    """A name for every label that is painted."""
    if len(numbers) > LABELS_MOST:
        raise InputError(
            "too-many-labels",
            f"The pictures hold {len(numbers)} labels, {numbers[0]} to {numbers[-1]}: {folder}.",
            f"At most {LABELS_MOST} can be told apart. Save masks without smoothing: each number is a label.",
        )
    given = label_names(folder)
    unpainted = [name for number, name in given.items() if number not in numbers]
    if unpainted:
        progress.warn("labels-not-painted", f"{len(unpainted)} names are of labels that no picture has.", unpainted)
    names = {number: given.get(number, f"label {number}") for number in numbers}
    for name in names.values():
        objects.checked_name(name)
    if len(set(names.values())) < len(names):
        raise InputError("bad-names", f"Two labels would have the same name: {folder}.", "Name them all.")
    return names


def _patches(
    workspace: Workspace,
    scene: Gaussians,
    lifted: Lifted,
    pictures: list[tuple[Photo, np.ndarray]],
    rest: bool,
    progress: Progress,
) -> Patches:
    progress.phase("Looking at labels", len(pictures))
    parts = []
    for photo, picture in pictures:
        assert photo.camera is not None  # used
        camera = photo.camera.fitted(LONG_SIDE)
        labels = in_picture(picture, workspace, photo, camera).astype(np.int64)
        parts.append(patches(lifted, Seen(scene, camera), labels if rest else np.where(labels == 0, UNSAID, labels)))
        progress.advance(1, photo.name)
    return Patches.joined(parts)
