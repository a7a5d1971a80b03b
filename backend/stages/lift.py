"""2D features of the photos' poses -> features of every Gaussian."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from backend.features import Lifted, Neutral, lift, splat_hash
from backend.progress import Progress
from backend.scene import Workspace
from backend.stages import embed
from segwild_addon.protocol.requests import Lift


def run(request: Lift, progress: Progress) -> dict[str, Any]:
    """Lift, or return at once if these Gaussians have these features. Missing 2D features are made.

    Returns the number of `gaussians`, of those `unseen` and of `channels`.
    """
    workspace = Workspace.open(request.workspace)
    embed.encoder_of(request.features)
    began = time.monotonic()
    scene, stamp = workspace.gaussians(), splat_hash(workspace)
    lifted = Lifted.load(workspace, request.features)
    if lifted is None:
        photos = workspace.used_photos()

        def encoded(number: int, view: Neutral) -> np.ndarray:
            known = embed.cached(workspace, request.features, photos[number].name, stamp)
            if known is not None:
                return known
            return embed.encoded(workspace, request.features, photos[number].name, view, stamp)

        lifted = lift(scene, [embed.camera_of(photo) for photo in photos], encoded, progress)
        lifted.save(workspace, request.features)
    result = {
        "features": request.features,
        "gaussians": len(scene),
        "unseen": int(lifted.unseen.sum()),
        "channels": int(lifted.features.shape[1]),
        "time_secs": round(time.monotonic() - began, 2),
    }
    workspace.record(f"lift-{request.features}", result=result)
    return result
