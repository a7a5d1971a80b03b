"""Workspace -> Gaussians, appearance, transient masks."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any, Literal

from backend.features.people import People
from backend.progress import Progress
from backend.render import chosen_engine
from backend.scene import Photo, Workspace
from backend.train.checkpoint import Checkpoint, identity
from backend.train.config import PRESETS, Candidates, TrainConfig, configured
from backend.train.loop import Training
from backend.train.views import Views, masks_digest
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Train


def run(request: Train, progress: Progress) -> dict[str, Any]:
    """Train, or continue, or return at once if exactly this training is already done.

    Raises InputError if there are no cameras, objects that a new training would orphan, or weights that are none.
    """
    workspace = Workspace.open(request.workspace)
    photos = [photo for photo in workspace.used_photos() if photo.split == "train"]
    engine = chosen_engine(request.device, progress)
    configs = [configured(request, len(photos), kind) for kind in _presets_of(engine, request)]
    if not photos:
        raise InputError("no-photos", "No photo of the workspace can be trained on.", "Run segwild capture again.")
    people = None
    if request.people is not None:
        people = People(workspace, request.people, engine)
        configs = [replace(config, candidates=Candidates(people.digest, request.people_mode)) for config in configs]
    masks = {
        "masks": str(request.masks) if request.masks else None,
        "mask_files": masks_digest(request.masks, [photo.name for photo in photos]),
    }
    if request.masks is not None and masks["mask_files"] is None:
        progress.warn(
            "no-masks",
            f"No mask in {request.masks} has the name of a photo, such as {photos[0].name}.png, so none is used.",
        )
    done = workspace.made("train")
    if done is not None and workspace.splats.exists() and not request.restart:
        # Earlier trainings noted the folder alone: what lay in it is taken to be what lies there now.
        found = {"mask_files": masks["mask_files"]} | done["settings"]
        if any(_completed(found, wished) == wished for wished in (asdict(config) | masks for config in configs)):
            return done["result"]
    if workspace.segments.exists():
        raise InputError(
            "objects-exist",
            "The workspace has named objects that refer to the Gaussians trained before.",
            "Delete them with segwild objects WORKSPACE delete NAME ..., or train in a new workspace.",
        )
    if request.restart:
        workspace.checkpoint.unlink(missing_ok=True)
    config = _begun(configs, workspace, photos, masks["mask_files"])
    settings = asdict(config) | masks
    began = time.monotonic()
    if people is not None:
        people.look(photos, progress)
    views = Views(workspace, photos, config.long_side, request.masks, candidates=people and people.candidates)
    training = Training(workspace, config, views, progress, engine)
    training.run()
    result = {
        "gaussians": len(workspace.gaussians()),
        "photos": len(photos),
        "loss": training.course.loss[-1] if training.course.loss else None,
        "time_secs": round(time.monotonic() - began, 1),
    }
    if training.poses is not None:
        result |= {"cameras_moved": training.poses.told(), "cameras": training.poses.summary()}
    workspace.record("train", settings=settings, result=result, course=asdict(training.course))
    return result


def _presets_of(engine: Literal["cpu", "cuda"], request: Train) -> tuple[Literal["cpu", "cuda"], ...]:
    """Whose presets may be meant: the engine's own first.

    Where a card came or went since, and nobody asked for an engine, what the other one made or began is still meant.
    """
    other: Literal["cpu", "cuda"] = "cuda" if engine == "cpu" else "cpu"
    return (engine, other) if request.device == "auto" else (engine,)


def _begun(configs: list[TrainConfig], workspace: Workspace, photos: list[Photo], masks: str | None) -> TrainConfig:
    """The one that the checkpoint belongs to, otherwise the first."""
    found = Checkpoint.identity_in(workspace.checkpoint)
    names, points = [photo.name for photo in photos], len(workspace.points().positions)
    return next((config for config in configs if identity(config, names, points, masks) == found), configs[0])


def _completed(found: dict[str, Any], settings: dict[str, Any], defaults: Any = None) -> dict[str, Any]:
    """Settings of an earlier training with those it did not know yet, which it had as they are by default."""
    if defaults is None:
        defaults = asdict(PRESETS["standard"])
        if "rank" in found:  # of before there were several kinds of appearance
            others = {name: value for name, value in found.items() if name != "rank"}
            found = others | {"appearance": {"rank": found["rank"]}}
    completed = {name: defaults[name] for name in settings if name in defaults} | found
    for name, value in found.items():
        if isinstance(value, dict) and isinstance(defaults.get(name), dict):
            completed[name] = _completed(value, settings.get(name, {}), defaults[name])
    return completed
