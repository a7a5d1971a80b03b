"""2D features of the photos' poses -> features of every Gaussian."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from backend.features import Lifted, lift, splat_hash
from backend.features.compress import Compressed, Training, compression, samples
from backend.features.encoders import Described, Options, open_encoder
from backend.features.lift import Scaling, Views, features_file
from backend.progress import Progress
from backend.scene import Gaussians, Workspace
from backend.scene.files import arrays_written, write_arrays
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Lift


def run(request: Lift, progress: Progress) -> dict[str, Any]:
    """Lift, or return at once if these Gaussians have these features. Missing 2D features are made.

    Returns the number of `gaussians`, of those `unseen`, of `channels` and of the `photos` that were described; if they
    were compressed, the mean `cosine` of features to what comes back. Files
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
    if request.compress and encoder.scaling != "unit":
        few = f"Features of {request.features!r} are few as they are."
        raise InputError("bad-option", few, "Leave out --compress.")
    if request.compress < 0:
        raise InputError("bad-option", "--compress counts from 0.", "16 suits networks' features.")
    # Features of photos stand beside those of renders, which selecting makes again where it finds none.
    name = f"{request.features}-photo" if request.input == "photo" else request.features
    name += f"-{request.compress}" if request.compress else ""
    made = f"{request.input} {'robust' if request.robust else 'plain'} {encoder.made}".strip()
    supplied = request.folder is not None
    lifted = None if supplied else Lifted.load(workspace, name, made)
    photos = cosine = None
    if lifted is None:
        views = Described(workspace, workspace.gaussians(), encoder, request.input)
        photos = len(views.photos)
        missing = sorted({photo.name for photo in workspace.used_photos()} - {photo.name for photo in views.photos})
        if missing:
            progress.warn("photos-not-described", f"{len(missing)} photos have no file and are left out.", missing)
        what: Views = views
        if request.compress:
            maps = compression(samples(views), request.compress, Training(), progress)
            path = workspace.root / "features" / f"{name}.compression.safetensors"
            write_arrays(path, maps.arrays(), {"splats": splat_hash(workspace), "made": made})
            what, cosine = Compressed(views, maps), maps.cosine
        lifted = _lifted(workspace, views.scene, what, name, made, encoder.scaling, request.robust, progress)
    result = {
        "features": name,
        "gaussians": len(lifted.unseen),
        "unseen": int(lifted.unseen.sum()),
        "channels": int(lifted.features.shape[1]),
        "time_secs": round(time.monotonic() - began, 2),
    }
    if photos is not None:
        result["photos"] = photos
    if cosine is not None:
        result["cosine"] = round(cosine, 4)
    if photos is not None or workspace.made(f"lift-{name}") is None:
        workspace.record(f"lift-{name}", result=result)
    return result


def _lifted(
    workspace: Workspace,
    scene: Gaussians,
    views: Views,
    name: str,
    made: str,
    scaling: Scaling,
    robust: bool,
    progress: Progress,
) -> Lifted:
    """Lifted into the file itself: a million rows of 512 numbers are a gigabyte; so is how far 500 views agree."""
    count = len(scene)
    shapes: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "features": (np.float16, (count, views.channels)),
        "confidence": (np.float32, (count,)),
        "mass": (np.float32, (count,)),
        "unseen": (np.bool_, (count,)),
    }
    metadata = {"splats": splat_hash(workspace), "features": name, "made": made}
    with ExitStack() as stack:
        arrays = stack.enter_context(arrays_written(features_file(workspace, name), shapes, metadata))
        shares = None
        if robust:
            file = features_file(workspace, f"{name}.shares")
            stack.callback(file.unlink, missing_ok=True)
            wanted = {"shares": (np.float16, (len(views.cameras), count))}
            shares = stack.enter_context(arrays_written(file, wanted, {}))["shares"]
        lifted = lift(scene, views, progress, scaling=scaling, robust=robust, into=arrays["features"], shares=shares)
        arrays["confidence"][:], arrays["mass"][:], arrays["unseen"][:] = lifted.confidence, lifted.mass, lifted.unseen
        described = replace(lifted, features=np.zeros((0, views.channels), np.float16))
        del lifted, shares  # they are mapped, and Windows renames no file that is
    return described
