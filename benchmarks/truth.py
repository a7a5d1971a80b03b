"""What the sample collection knows of its photos, in the pictures of a workspace that was captured from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from backend.capture.pictures import write_picture
from backend.capture.sample import Collection
from backend.capture.undistort import undistorted
from backend.scene import Photo, Workspace
from backend.train.appearance import Appearance
from backend.train.evaluate import shown
from backend.train.metrics import psnr


def without_passers(sample: Collection, workspace: Workspace) -> None:
    """Every picture as if nobody had walked by, behind the lens that was found with them in it."""
    for photo in workspace.used_photos():
        write_picture(workspace.picture_file(photo.name), _behind(sample.clean, workspace, photo))


def neutral_scores(sample: Collection, workspace: Workspace, photos: Sequence[Photo]) -> list[float]:
    """PSNR of renders in neutral light against the empty scene in that of the sample, dB, one per photo.

    Which light a training calls neutral is its own: each picture's colours are first matched to the truth's by the
    best affine map (of 12 numbers).
    """
    scene, appearance = workspace.gaussians(), Appearance.load(workspace)
    scores = []
    for photo in photos:
        assert photo.camera is not None
        truth = _behind(sample.neutral, workspace, photo).astype(np.float64) / 255
        image = shown(scene, appearance, photo.camera, None)
        scores.append(psnr(matched(image, truth), truth))
    return scores


def matched(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(H, W, 3) image with the affine map of its colours that brings it closest to the truth, in 0..1."""
    colors = np.concatenate([image.reshape(-1, 3), np.ones((image.shape[0] * image.shape[1], 1))], 1)
    found, *_ = np.linalg.lstsq(colors, truth.reshape(-1, 3), rcond=None)
    return (colors @ found).reshape(truth.shape).clip(0, 1)


def _behind(source: Callable[[str], np.ndarray], workspace: Workspace, photo: Photo) -> np.ndarray:
    """(H, W, 3) uint8, a photo of the collection as the workspace's picture of it."""
    taken = source(photo.name)
    lens = workspace.lens(photo)
    return taken if lens is None else undistorted(taken, lens, (photo.width, photo.height))
