"""Workspace with Gaussians -> 2D features of each photo's pose, kept for lifting."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from backend.features import colour, splat_hash
from backend.features.neutral import Neutral
from backend.progress import Progress
from backend.scene import Camera, Photo, Workspace
from backend.scene.files import read_arrays, write_arrays
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Embed

LONG_SIDE = 320  # pixels of the neutral renders; features are smooth, so more only costs time
_ENCODERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {colour.NAME: colour.encode}


def run(request: Embed, progress: Progress) -> dict[str, Any]:
    """Features are computed on neutral renders, where no passer-by stands and every photo has one light.

    Returns the number of `photos` and of `channels`. Photos whose features are there already are skipped.
    """
    workspace = Workspace.open(request.workspace)
    began = time.monotonic()
    scene, photos, stamp = workspace.gaussians(), workspace.used_photos(), splat_hash(workspace)
    channels = 0
    progress.phase("Describing pictures", len(photos))
    for photo in photos:
        features = cached(workspace, request.encoder, photo.name, stamp)
        if features is None:
            features = encoded(workspace, request.encoder, photo.name, Neutral(scene, camera_of(photo)), stamp)
        channels = features.shape[2]
        progress.advance(1, photo.name)
    result = {"photos": len(photos), "channels": channels, "time_secs": round(time.monotonic() - began, 2)}
    workspace.record(f"embed-{request.encoder}", result=result)
    return result


def camera_of(photo: Photo) -> Camera:
    """A used photo's pose on the grid that features have."""
    assert photo.camera is not None
    return photo.camera.fitted(LONG_SIDE)


def encoded(workspace: Workspace, encoder: str, photo: str, view: Neutral, stamp: str) -> np.ndarray:
    """(H, W, D) float32 features of a neutral render, kept in the workspace."""
    features = encoder_of(encoder)(view.picture)
    write_arrays(_file(workspace, encoder, photo), {"features": features.astype(np.float16)}, {"splats": stamp})
    return features


def cached(workspace: Workspace, encoder: str, photo: str, stamp: str) -> np.ndarray | None:
    """(H, W, D) float32 features computed before from the same Gaussians, or None."""
    path = _file(workspace, encoder, photo)
    if not path.exists():
        return None
    try:
        arrays, metadata = read_arrays(path)
    except InputError:
        return None  # damaged: made again
    return arrays["features"].astype(np.float32) if metadata.get("splats") == stamp else None


def encoder_of(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Raises InputError for an unknown encoder."""
    try:
        return _ENCODERS[name]
    except KeyError:
        raise InputError(
            "unknown-features", f"There is no encoder called {name!r}.", f"Known: {', '.join(_ENCODERS)}."
        ) from None


def _file(workspace: Workspace, encoder: str, photo: str) -> Path:
    return workspace.root / "embeddings" / encoder / f"{photo}.safetensors"
