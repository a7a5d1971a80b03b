"""A gsplat checkpoint (.pt, .ckpt, .pth) into Gaussians. Reading only.

gsplat's trainers write `torch.save({"step": …, "splats": …})`, where `splats` names tensors:

    means       (N, 3)
    quats       (N, 4), wxyz, of any length
    scales      (N, 3), natural logs
    opacities   (N,), logits
    sh0, shN    (N, 1, 3) and (N, K-1, 3): coefficient, then channel

Everything else in the file is passed over. The file is mapped, and tensors alone are loaded from it
(`weights_only`): no code in it runs.

Axes and frame are those of the training. gsplat's trainer moves, turns and scales the COLMAP scene unless it
was told `--no-normalize-world-space`, and the file does not say so. A training on several cards writes a file per
card, each with a part of the splats.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backend.formats.rows import drawable, opened
from backend.progress import Progress, Quiet
from backend.scene.gaussians import SH_COUNTS, Gaussians
from segwild_addon.protocol.errors import InputError

_SHAPES = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": (), "sh0": (1, 3), "shN": (-1, 3)}  # without N


def read_checkpoint(path: Path, progress: Progress | None = None) -> Gaussians:
    """The Gaussians of a gsplat checkpoint, in the frame of its training and the file's row order.

    Rows that hold NaN, infinite or absurdly large values are left out, with a warning that counts them. Raises
    InputError if the file is missing, damaged, holds anything but tensors, or no splats of this kind.
    """
    progress = progress or Quiet()
    size = _checked_size(path)
    try:
        arrays = _arrays(path, size)
    except InputError:
        raise
    except Exception as error:  # whatever a wrong pickle makes torch do; its text is a page long
        raise InputError(
            "checkpoint-malformed",
            f"The checkpoint is damaged or holds more than tensors ({type(error).__name__}): {path}.",
            "Copy it again, or export a .ply from the program that made it.",
        ) from error
    gaussians = Gaussians(
        means=arrays["means"],
        quats=arrays["quats"],
        log_scales=arrays["scales"],
        opacity_logits=arrays["opacities"],
        sh0=arrays["sh0"],
        shN=arrays["shN"],
    )
    return drawable(gaussians, path.suffix[1:].lower(), path, progress)


def _checked_size(path: Path) -> int:
    """Bytes of the file. InputError unless it is a zip archive that packs nothing smaller than it is."""
    with opened(path) as file:
        size = file.seek(0, 2)
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise InputError(
                "checkpoint-malformed",
                f"This is no whole checkpoint as torch.save writes it: {path}.",
                "Copy it again, or export a .ply from the program that made it.",
            ) from error
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size > size for entry in entries):
        raise InputError(
            "checkpoint-malformed", f"The checkpoint is packed, which torch.save never does: {path}.", "Choose another."
        )
    return size


def _arrays(path: Path, size: int) -> dict[str, np.ndarray]:
    """float32 arrays of `_SHAPES` by name, copied out of the file of `size` bytes.

    Raises InputError for splats of another kind, and whatever torch raises for a file that is none of its own.
    """
    import torch  # takes a second, and no other format needs it

    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    splats = content.get("splats") if isinstance(content, Mapping) else None
    if not isinstance(splats, Mapping):
        raise InputError(
            "checkpoint-no-splats",
            f"The checkpoint holds no `splats`: {path}.",
            "Choose one that gsplat's trainer has written, or export a .ply from the program that made it.",
        )
    missing = [name for name in _SHAPES if name not in splats]
    if missing:
        raise InputError(
            "checkpoint-fields-missing",
            f"The checkpoint's splats lack {', '.join(missing)}: {path}.",
            "Colours that a network makes (gsplat's --app_opt) cannot be imported; train without.",
        )
    return {name: _array(splats[name], name, len(splats["means"]), size, path) for name in _SHAPES}


def _array(value: Any, name: str, count: int, size: int, path: Path) -> np.ndarray:
    """One tensor, which must have `count` rows and must lie in the file whole."""
    import torch

    if type(value) not in (torch.Tensor, torch.nn.Parameter) or value.device.type != "cpu":
        raise InputError("checkpoint-malformed", f"{name} of the checkpoint is no plain tensor: {path}.")
    if name == "opacities" and value.shape[1:] == (1,):
        value = value[:, 0]
    bases = value.shape[1] if name == "shN" and value.dim() == 3 else -1
    expected = (count, *(bases if length < 0 else length for length in _SHAPES[name]))
    if tuple(value.shape) != expected or (name == "shN" and bases not in SH_COUNTS) or not value.is_floating_point():
        raise InputError(
            "checkpoint-malformed",
            f"{name} of the checkpoint is {value.dtype} {tuple(value.shape)}, which splats are not: {path}.",
            "Export a .ply from the program that made it, with harmonics of degree 0 to 3.",
        )
    if count == 0:
        raise InputError("checkpoint-empty", f"The checkpoint holds no splats at all: {path}.", "Choose another file.")
    # Strides of 0 or a storage made up by the file would claim any number of rows.
    if not value.is_contiguous() or value.numel() * value.element_size() > size:
        raise InputError(
            "checkpoint-malformed", f"{name} of the checkpoint claims more rows than the file holds: {path}."
        )
    return value.detach().to(torch.float32, copy=True).numpy()
