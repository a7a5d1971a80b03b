"""Rows of a file into rows a renderer can draw, and rows of a scene into rows a file can hold.

What every format does alike: which rows are left out and how that is said, and the encodings that several
formats share.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from backend.progress import Progress
from backend.scene.gaussians import Gaussians
from backend.scene.placement import transformed
from backend.scene.transforms import Similarity
from segwild_addon.protocol.errors import InputError

LARGEST = 1e18  # squares of larger values overflow float32 in every renderer
LARGEST_LOG_SCALE = 40.0  # the same for sizes, e^40 = 2e17
FLATTEST_LOG_SCALE = -30.0  # stands for log 0: flat splats
SOLID_LOGIT = 20.0  # stands for the logit of 1, which some converters write as infinity


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file for reading. Raises InputError if it is missing or the system refuses to read it."""
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise InputError("file-missing", f"A file is missing: {path}.") from error
    except OSError as error:
        raise InputError("file-unreadable", f"A file cannot be read ({error.strerror or error}): {path}.") from error


def drawable(
    gaussians: Gaussians,  # as decoded; changed in place
    kind: str,  # the format's suffix without its dot, for codes and sentences
    path: Path,
    progress: Progress,
) -> Gaussians:
    """The rows a renderer can draw; infinities that mean something (solid, flat) become large numbers.

    Warns with a count of what is left out. Raises InputError if no row remains.
    """
    logits, log_scales, quats = gaussians.opacity_logits, gaussians.log_scales, gaussians.quats
    logits[np.isposinf(logits)] = SOLID_LOGIT
    log_scales[np.isneginf(log_scales)] = FLATTEST_LOG_SCALE
    good = gaussians.finite_rows() & (log_scales <= LARGEST_LOG_SCALE).all(axis=1)
    for array in (gaussians.means, quats, gaussians.sh0, gaussians.shN):
        good &= (np.abs(array) <= LARGEST).reshape(len(good), -1).all(axis=1)
    if not good.any():
        raise InputError(
            f"{kind}-empty", f"Every splat of the .{kind} is NaN, infinite or absurd: {path}.", "Choose another."
        )
    if not good.all():
        count = int((~good).sum())
        progress.warn("rows-left-out", f"{count} of {len(good)} splats are NaN, infinite or absurd: {path}.")
        gaussians = gaussians.take(good)
        quats = gaussians.quats
    norms = np.linalg.norm(quats.astype(np.float64), axis=1)
    unturned = norms == 0
    if unturned.any():
        progress.warn("rotations-missing", f"{int(unturned.sum())} splats have no rotation and stay unturned: {path}.")
        quats[unturned] = (1, 0, 0, 0)
    tiny = ~unturned & (norms < 1e-12)  # their squares vanish in float32
    quats[tiny] = quats[tiny] / norms[tiny, None]
    return gaussians


def writable(
    gaussians: Gaussians,
    world_from_scene: Similarity | None,  # undoes the scene's normalisation; None: as they are
    path: Path,
    progress: Progress,
) -> Gaussians:
    """The finite rows, in the frame of the file. Warns with a count of the others.

    Raises InputError if no row remains.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if world_from_scene is not None:
            gaussians = transformed(gaussians, world_from_scene)
    finite = gaussians.finite_rows()
    if not finite.any():
        raise InputError("nothing-to-write", f"There is no finite Gaussian to write: {path}.")
    if finite.all():
        return gaussians
    count = int((~finite).sum())
    progress.warn("rows-left-out", f"{count} of {len(finite)} Gaussians are not finite and were not written: {path}.")
    return gaussians.take(finite)


def unit_quats(quats: np.ndarray) -> np.ndarray:
    """(N, 4) float64 of norm 1; a quaternion of zeros becomes the one that turns nothing."""
    quats = quats.astype(np.float64)
    norms = np.linalg.norm(quats, axis=1, keepdims=True)
    return np.where(norms > 0, quats / np.where(norms > 0, norms, 1), (1.0, 0.0, 0.0, 0.0))


def logits_from_bytes(alphas: np.ndarray) -> np.ndarray:
    """Opacities as bytes (N,), 255 is solid, into float32 logits within ±SOLID_LOGIT."""
    opacities = np.arange(256) / 255
    with np.errstate(divide="ignore"):
        table = np.log(opacities) - np.log1p(-opacities)
    return table.clip(-SOLID_LOGIT, SOLID_LOGIT).astype(np.float32)[alphas]


def nearest_bytes(values: np.ndarray) -> np.ndarray:
    """uint8 of the same shape: each value rounded, what lies beyond 0..255 at the end it passed."""
    return np.rint(values).clip(0, 255).astype(np.uint8)
