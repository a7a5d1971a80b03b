"""2D features of the photos' poses -> features of every Gaussian."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from backend.features import Lifted, lift, splat_hash
from backend.features.encoders import Described, Options, open_encoder
from backend.features.lift import features_file
from backend.progress import Progress
from backend.scene import Workspace
from backend.scene.files import arrays_written
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Lift


def run(request: Lift, progress: Progress) -> dict[str, Any]:
    """Lift, or return at once if these Gaussians have these features. Missing 2D features are made.

    Returns the number of `gaussians`, of those `unseen`, of `channels` and of the `photos` that were described. Files
    that a person supplies are lifted anew each time: they may have changed.
    """
    workspace = Workspace.open(request.workspace)
    began = time.monotonic()
    options = Options(request.features, request.input, request.checkpoint, request.folder)
    encoder = open_encoder(options, workspace)
    if request.robust and encoder.scaling != "unit":
        raise InputError(
            "bad-option", f"--robust compares directions, which features of {request.features!r} have none of."
        )
    made = f"{request.input} {'robust' if request.robust else 'plain'} {encoder.made}".strip()
    supplied = request.folder is not None
    lifted = None if supplied else Lifted.load(workspace, request.features, made)
    photos = None
    if lifted is None:
        views = Described(workspace, workspace.gaussians(), encoder, request.input)
        photos = len(views.photos)
        missing = sorted({photo.name for photo in workspace.used_photos()} - {photo.name for photo in views.photos})
        if missing:
            progress.warn("photos-not-described", f"{len(missing)} photos have no file and are left out.", missing)
        lifted = _lifted(workspace, views, request, made, progress)
    result = {
        "features": request.features,
        "gaussians": len(lifted.unseen),
        "unseen": int(lifted.unseen.sum()),
        "channels": int(lifted.features.shape[1]),
        "time_secs": round(time.monotonic() - began, 2),
    }
    if photos is not None:
        result["photos"] = photos
    workspace.record(f"lift-{request.features}", result=result)
    return result


def _lifted(workspace: Workspace, views: Described, request: Lift, made: str, progress: Progress) -> Lifted:
    """Lifted into the file itself: a million rows of 512 numbers are a gigabyte."""
    count, stamp = len(views.scene), splat_hash(workspace)
    shapes: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "features": (np.float16, (count, views.channels)),
        "confidence": (np.float32, (count,)),
        "mass": (np.float32, (count,)),
        "unseen": (np.bool_, (count,)),
    }
    metadata = {"splats": stamp, "features": request.features, "made": made}
    with arrays_written(features_file(workspace, request.features), shapes, metadata) as arrays:
        lifted = lift(
            views.scene,
            views,
            progress,
            scaling=views.encoder.scaling,
            robust=request.robust,
            into=arrays["features"],
        )
        arrays["confidence"][:], arrays["mass"][:], arrays["unseen"][:] = lifted.confidence, lifted.mass, lifted.unseen
        described = replace(lifted, features=np.zeros((0, views.channels), np.float16))
        del lifted  # its features are mapped, and Windows renames no file that is
    return described
