"""A .splat into Gaussians and back: 32 bytes per splat, without view-dependent colour.

The layout is that of the first WebGL viewer for 3DGS (github.com/antimatter15/splat). There is no header;
every splat is, little-endian:

    position   3 × float32
    size       3 × float32, linear standard deviations
    colour     3 × uint8 of 0.5 + C0·sh0, C0 the constant spherical harmonic
    opacity    1 × uint8
    rotation   4 × uint8, a unit quaternion wxyz as q·128 + 128

Axes: the format names none. Files that come from a .ply have its axes (x right, y down, z forward for a
scene that stands upright), and so have these. That viewer's converter sorts rows by size and opacity, so
that a file half loaded shows the most; readers need no order, and here rows keep theirs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.formats.rows import (
    LARGEST_LOG_SCALE,
    drawable,
    logits_from_bytes,
    nearest_bytes,
    opened,
    unit_quats,
    writable,
)
from backend.progress import Progress, Quiet
from backend.scene.files import written_whole
from backend.scene.gaussians import Gaussians
from backend.scene.harmonics import C0
from backend.scene.transforms import Similarity
from segwild_addon.protocol.errors import InputError

_ROW = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("colour", "u1", 3), ("alpha", "u1"), ("rotation", "u1", 4)])


def read_splat(path: Path, progress: Progress | None = None) -> Gaussians:
    """The Gaussians of a .splat, in the file's own frame and row order, of harmonic degree 0.

    Rows that hold NaN, infinite, negative or absurdly large values are left out, with a warning that counts
    them. Raises InputError if the file is missing, cut short, or holds no splats.
    """
    progress = progress or Quiet()
    with opened(path) as file:
        size = file.seek(0, 2)
        if size % _ROW.itemsize:
            raise InputError(
                "splat-cut-short",
                f"A .splat has {_ROW.itemsize} bytes per splat, and {size:,} is no multiple of that: {path}.",
                "Copy or download it again; another format needs its own suffix.",
            )
        if size == 0:
            raise InputError("splat-empty", f"The .splat holds no splats at all: {path}.", "Choose another file.")
        file.seek(0)
        table = np.fromfile(file, _ROW)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 is flat; what is negative becomes NaN and is left out
        log_scales = np.log(table["scale"]).astype(np.float32)
    gaussians = Gaussians(
        means=table["mean"].astype(np.float32),
        quats=(table["rotation"].astype(np.float32) - 128) / 128,
        log_scales=log_scales,
        opacity_logits=logits_from_bytes(table["alpha"]),
        sh0=((table["colour"][:, None] / 255 - 0.5) / C0).astype(np.float32),
        shN=np.zeros((len(table), 0, 3), np.float32),
    )
    return drawable(gaussians, "splat", path, progress)


def write_splat(
    path: Path,
    gaussians: Gaussians,
    *,
    world_from_scene: Similarity | None = None,  # undoes the scene's normalisation; None: written as they are
    progress: Progress | None = None,
) -> None:
    """Gaussians as a .splat, whole or not at all. Colour that depends on the view is dropped with a warning.

    Colours beyond 0..1 are clipped. Rows that are not finite are left out with a warning. Raises InputError if
    no row remains, ResourceError if the disk is full or the folder cannot be written.
    """
    progress = progress or Quiet()
    gaussians = writable(gaussians, world_from_scene, path, progress)
    if gaussians.shN.any():
        progress.warn(
            "harmonics-dropped",
            f"A .splat has one colour per splat; harmonics of degree 1 to {gaussians.sh_degree} were not written "
            f"(.spz and .ply keep them): {path}.",
        )
    table = np.empty(len(gaussians), _ROW)
    table["mean"] = gaussians.means
    table["scale"] = np.exp(np.minimum(gaussians.log_scales, LARGEST_LOG_SCALE))
    table["colour"] = nearest_bytes((0.5 + C0 * gaussians.sh0[:, 0]) * 255)
    table["alpha"] = nearest_bytes(gaussians.opacities * 255)
    table["rotation"] = nearest_bytes(unit_quats(gaussians.quats) * 128 + 128)
    with written_whole(path) as file:
        file.write(table.tobytes())
