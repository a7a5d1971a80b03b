"""Workspace -> Gaussians, appearance, transient masks."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

from backend.features.people import People
from backend.progress import Progress
from backend.render import chosen_engine
from backend.scene import Workspace
from backend.train.checkpoint import identity, identity_of
from backend.train.config import PRESETS, Candidates, TrainConfig, configured
from backend.train.loop import Training
from backend.train.views import Views
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Train


def run(request: Train, progress: Progress) -> dict[str, Any]:
    """Train, or continue, or return at once if exactly this training is already done.

    Raises InputError if there are no cameras, objects that a new training would orphan, or weights that are none.
    """
    workspace = Workspace.open(request.workspace)
    engine = chosen_engine(request.device, progress)
    configs = _configs(request, engine)
    photos = [photo for photo in workspace.used_photos() if photo.split == "train"]
    if not photos:
        raise InputError("no-photos", "No photo of the workspace can be trained on.", "Run segwild capture again.")
    people = None
    if request.people is not None:
        people = People(workspace, request.people, engine)
        candidates = Candidates(people.digest, request.people_mode)
        configs = [replace(config, candidates=candidates) for config in configs]
    masks = {"masks": str(request.masks) if request.masks else None}
    done = workspace.made("train")
    if done is not None and workspace.splats.exists() and not request.restart:
        for config in configs:
            if _completed(done["settings"], asdict(config) | masks) == asdict(config) | masks:
                return done["result"]
    if request.restart:
        workspace.checkpoint.unlink(missing_ok=True)
    if workspace.segments.exists():
        raise InputError(
            "objects-exist",
            "The workspace has named objects that refer to the Gaussians trained before.",
            "Delete them with segwild objects WORKSPACE delete NAME ..., or train in a new workspace.",
        )
    began = time.monotonic()
    if people is not None:
        people.look(photos, progress)
    long_side = configs[0].long_side
    views = Views(workspace, photos, long_side, request.masks, candidates=people and people.candidates)
    config = _begun(workspace, configs, views)
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
    workspace.record("train", settings=asdict(config) | masks, result=result, course=asdict(training.course))
    return result


def _configs(request: Train, engine: str) -> list[TrainConfig]:
    """What is trained, and what else would satisfy the request, if it is there: what auto means on another engine."""
    engines = (engine, "cuda" if engine == "cpu" else "cpu") if request.appearance == "auto" else (engine,)
    return [configured(request, each) for each in engines]


def _begun(workspace: Workspace, configs: list[TrainConfig], views: Views) -> TrainConfig:
    """The one whose training was stopped, else the first."""
    begun = identity_of(workspace.checkpoint) if len(configs) > 1 else None
    points = len(workspace.points().positions)
    return next((config for config in configs if identity(config, views.names, points) == begun), configs[0])


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
