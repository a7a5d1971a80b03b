"""Held-out photos into scores: fit the left half, score the right.

The strict Photo Tourism protocol: the scene is frozen, only the photo's embedding is found, on the left
half of its pixels, at the size of the training and without a frame around it; the right half of the full-size
render is compared, both quantised to 8 bits. Without looks there is nothing to fit and the neutral render is scored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from backend.capture.pictures import read_picture, resized
from backend.progress import Progress
from backend.render import seen_by
from backend.scene import Camera, Gaussians, Photo, Workspace
from backend.train.appearance import Appearance
from backend.train.fit import FIT_STEPS, Fit
from backend.train.metrics import left_half, psnr, quantised, right_half, ssim


@dataclass(frozen=True)
class Scored:
    """One held-out photo."""

    photo: str
    psnr: float
    ssim: float
    embedding: np.ndarray  # (R + S,) float32, found on the left half
    picture: np.ndarray  # (H, W, 3) uint8, the full-size render in the found light


def left_half_scores(
    workspace: Workspace, photos: list[Photo], *, fit_long_side: int, progress: Progress, engine: str = "cpu"
) -> list[Scored]:
    """Scores of held-out photos, one by one."""
    gaussians = workspace.gaussians()
    appearance = Appearance.load(workspace)
    progress.phase("Fitting held-out photos", len(photos) * FIT_STEPS if appearance else len(photos))
    scores = []
    for photo in photos:
        assert photo.camera is not None
        picture = read_picture(workspace.picture_file(photo.name))
        embedding = torch.zeros(0)
        if appearance is not None:
            camera = photo.camera.fitted(fit_long_side)
            small = resized(picture, camera.width, camera.height)
            columns = left_half(small).shape[1]
            embedding = Fit(gaussians, appearance, engine).embedding(camera, small, columns, progress.advance)
        else:
            progress.advance()
        image = shown(gaussians, appearance, photo.camera, embedding, engine)
        render, truth = quantised(image), quantised(picture.astype(np.float32) / 255)
        scores.append(
            Scored(
                photo=photo.name,
                psnr=psnr(right_half(render), right_half(truth)),
                ssim=ssim(right_half(render), right_half(truth)),
                embedding=embedding.numpy(),
                picture=np.round(render * 255).astype(np.uint8),
            )
        )
    return scores


def shown(
    gaussians: Gaussians,
    appearance: Appearance | None,
    camera: Camera,
    embedding: Tensor | None,
    engine: str = "cpu",
) -> np.ndarray:
    """The scene in the light of an embedding (None: neutral), sky included: (H, W, 3) float32."""
    seen = seen_by(engine, gaussians, camera)
    if appearance is None:
        return seen.picture(gaussians)[0]
    if embedding is None:
        embedding = torch.zeros(appearance.numbers)
    return seen.picture(appearance.baked(gaussians, embedding), appearance.sky(camera, embedding))[0]
