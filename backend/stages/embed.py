"""Workspace with Gaussians -> 2D features of each photo's pose, kept for lifting."""

from __future__ import annotations

import time
from typing import Any

from backend.features.encoders import Described, Options, open_encoder
from backend.progress import Progress
from backend.scene import Workspace
from segwild_addon.protocol.requests import Embed


def run(request: Embed, progress: Progress) -> dict[str, Any]:
    """Features are computed on neutral renders, where no passer-by stands and every photo has one light.

    Returns the number of `photos` and of `channels`. Photos whose features are there already are skipped. Raises
    SetupError if a network's weights are missing.
    """
    workspace = Workspace.open(request.workspace)
    began = time.monotonic()
    encoder = open_encoder(Options(request.encoder, request.input, request.checkpoint), workspace)
    views = Described(workspace, workspace.gaussians(), encoder, request.input)
    progress.phase("Describing pictures", len(views.photos))
    for number, photo in enumerate(views.photos):
        views.pixels(number)
        progress.advance(1, photo.name)
    result = {
        "photos": len(views.photos),
        "channels": views.channels,
        "time_secs": round(time.monotonic() - began, 2),
    }
    workspace.record(f"embed-{request.encoder}", result=result)
    return result
