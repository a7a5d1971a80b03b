"""PSNR and SSIM on held-out photos: fit the left half, score the right."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from backend.capture.pictures import write_picture
from backend.progress import Progress
from backend.render import chosen_engine
from backend.scene import Workspace
from backend.train.evaluate import left_half_scores
from backend.train.soundness import soundness
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Evaluate


def run(request: Evaluate, progress: Progress) -> dict[str, Any]:
    """Scores per photo, their means, and how well objects can be cut from the scene.

    The renders go to report/held-out. Raises InputError without a split.
    """
    workspace = Workspace.open(request.workspace)
    engine = chosen_engine(request.device, progress)
    photos = [photo for photo in workspace.used_photos() if photo.split == "test"]
    if not photos:
        raise InputError(
            "nothing-held-out",
            "No photo was held out of the training, so there is nothing to score.",
            "Capture again into a new workspace with --hold-out N.",
        )
    scene = workspace.gaussians()
    trained = (workspace.made("train") or {}).get("settings", {})
    scores = left_half_scores(
        workspace, photos, fit_long_side=int(trained.get("long_side", 640)), progress=progress, engine=engine
    )
    for score in scores:
        write_picture(workspace.root / "report" / "held-out" / f"{score.photo}.png", score.picture)
    result = {
        "protocol": request.protocol,
        "photos": len(scores),
        "psnr": float(np.mean([score.psnr for score in scores])),
        "ssim": float(np.mean([score.ssim for score in scores])),
        "lpips": None,
        "lpips_reason": "trunk not available",
        "soundness": asdict(soundness(scene, [photo.camera for photo in workspace.used_photos() if photo.camera])),
        "per_photo": {score.photo: {"psnr": score.psnr, "ssim": score.ssim} for score in scores},
    }
    workspace.record("evaluate", result=result)
    return result
