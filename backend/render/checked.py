"""Arguments of a rendering call into one clear error, if they do not fit one another.

These are mistakes in code that calls the renderer, not in a person's files: TypeError for a wrong dtype,
ValueError for everything else, and the message names the argument, what it should be and what it is. Only
shapes and single numbers are looked at, and label pictures: rows with bad numbers are counted by the
projection.
"""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np
import torch
from torch import Tensor

from backend.render.harmonics import Light, Relight
from backend.scene.cameras import Camera
from backend.scene.gaussians import SH_COUNTS

DEGREES = range(4)


def view(camera: Camera) -> None:
    """A camera that can be drawn with."""
    for name in ("width", "height"):
        size = getattr(camera, name)
        if not isinstance(size, Integral):
            raise TypeError(f"view.{name}: expected a whole number of pixels, got {size!r}")
        if size < 1:
            raise ValueError(f"view.{name}: expected at least 1 pixel, got {size}")
    for name in ("fx", "fy", "cx", "cy"):
        number = getattr(camera, name)
        if not isinstance(number, Real):
            raise TypeError(f"view.{name}: expected a number of pixels, got {number!r}")
        if not math.isfinite(number) or (name in ("fx", "fy") and number <= 0):
            raise ValueError(f"view.{name}: expected a {'positive ' * (name[0] == 'f')}number of pixels, got {number}")
    if np.shape(camera.cam_from_world) != (4, 4):
        raise ValueError(f"view.cam_from_world: expected (4, 4), got {np.shape(camera.cam_from_world)}")
    if not np.isfinite(camera.cam_from_world).all():
        raise ValueError("view.cam_from_world: expected finite numbers, got NaN or infinity")


def gaussians(
    *,
    means: Tensor,
    quats: Tensor,
    log_scales: Tensor,
    opacity_logits: Tensor,
    sh0: Tensor | None,
    shN: Tensor | None,
    colors: Tensor | None,
    background: Tensor | None,
    sh_degree: int | None,
    light: Light | Relight | None = None,
) -> None:
    """Tensors of one dtype and device whose rows and channels agree; harmonics or colours, not both."""
    if not isinstance(means, Tensor) or means.dim() != 2:
        raise ValueError(f"means: expected (N, 3), got {_shape(means)}")
    rows = len(means)
    _tensor("means", means, means, (rows, 3))
    _tensor("quats", quats, means, (rows, 4))
    _tensor("log_scales", log_scales, means, (rows, 3))
    _tensor("opacity_logits", opacity_logits, means, (rows,))
    if colors is not None:
        if sh0 is not None or shN is not None:
            raise ValueError("colors: expected either colors or sh0 and shN, got both")
        if light is not None:
            raise ValueError("light: expected with harmonics only, got colors too")
        channels = colors.shape[1] if isinstance(colors, Tensor) and colors.dim() == 2 else 0
        if not channels:
            raise ValueError(f"colors: expected ({rows}, D) with D at least 1, got {_shape(colors)}")
        _tensor("colors", colors, means, (rows, channels))
    else:
        if sh0 is None or shN is None:
            raise ValueError(f"{'sh0' if sh0 is None else 'shN'}: expected sh0 and shN, or colors, got None")
        channels = 3
        _tensor("sh0", sh0, means, (rows, 1, 3))
        bases = shN.shape[1] if isinstance(shN, Tensor) and shN.dim() == 3 else -1
        if bases not in SH_COUNTS:
            expected = ", ".join(map(str, SH_COUNTS))
            raise ValueError(f"shN: expected ({rows}, K-1, 3) with K-1 one of {expected}, got {_shape(shN)}")
        _tensor("shN", shN, means, (rows, bases, 3))
        if light is not None and not callable(light):
            rank = len(light.weights)
            _tensor("light.gain", light.gain, means, (3, 3))
            _tensor("light.offset", light.offset, means, (3,))
            _tensor("light.response", light.response, means, (rows, 3, rank))
            _tensor("light.weights", light.weights, means, (rank,))
    if background is not None:
        _tensor("background", background, means, (channels,))
    if sh_degree is not None and sh_degree not in DEGREES:
        raise ValueError(f"sh_degree: expected 0 to {DEGREES[-1]} or None, got {sh_degree!r}")


def signal(picture: np.ndarray, weight: np.ndarray | None, labels: int | None, camera: Camera) -> None:
    """A picture of numbers or of labels, and a weight per pixel, that fit the view."""
    size = (camera.height, camera.width)
    if labels is None:
        if np.ndim(picture) != 3 or picture.shape[:2] != size:
            raise ValueError(f"signal: expected ({size[0]}, {size[1]}, C), got {np.shape(picture)}")
        _numbers("signal", picture)
    else:
        if not isinstance(labels, Integral):
            raise TypeError(f"labels: expected a whole number, got {labels!r}")
        if labels < 1:
            raise ValueError(f"labels: expected at least 1, got {labels}")
        if np.shape(picture) != size:
            raise ValueError(f"signal: expected labels {size}, got {np.shape(picture)}")
        if picture.dtype.kind not in "iu":
            raise TypeError(f"signal: expected integer labels, got {picture.dtype}")
        least, most = int(picture.min()), int(picture.max())
        if least < -1 or most >= labels:
            wrong = least if least < -1 else most
            raise ValueError(f"signal: expected labels from -1 to {labels - 1}, got {wrong}")
    if weight is not None:
        if np.shape(weight) != size:
            raise ValueError(f"weight: expected {size}, got {np.shape(weight)}")
        _numbers("weight", weight)
        if not weight.min() >= 0:  # NaN too
            raise ValueError(f"weight: expected numbers from 0 on, got {weight.min()}")


def features(array: np.ndarray, rows: int) -> None:
    """A row of numbers for every Gaussian."""
    if np.ndim(array) != 2 or len(array) != rows:
        raise ValueError(f"features: expected ({rows}, C), got {np.shape(array)}")
    _numbers("features", array)


def pixels(places: np.ndarray, camera: Camera) -> None:
    """Whole positions x, y inside the view."""
    if np.ndim(places) != 2 or places.shape[1] != 2:
        raise ValueError(f"pixels: expected (B, 2), got {np.shape(places)}")
    if places.dtype.kind not in "iu":
        raise TypeError(f"pixels: expected integers, got {places.dtype}")
    outside = ((places < 0) | (places >= (camera.width, camera.height))).any(1)
    if outside.any():
        first = tuple(places[outside][0].tolist())
        raise ValueError(
            f"pixels: expected x, y inside {camera.width}x{camera.height}, got {first} and {outside.sum() - 1} more"
        )


def top(k: int) -> None:
    """How many contributors are wanted."""
    if not isinstance(k, Integral):
        raise TypeError(f"k: expected a whole number, got {k!r}")
    if k < 1:
        raise ValueError(f"k: expected at least 1, got {k}")


def _tensor(name: str, tensor: Tensor, means: Tensor, shape: tuple[int, ...]) -> None:
    if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
        raise ValueError(f"{name}: expected {shape}, got {_shape(tensor)}")
    if tensor.dtype != torch.float32:
        raise TypeError(f"{name}: expected float32, got {str(tensor.dtype).removeprefix('torch.')}")
    if tensor.device != means.device:
        raise ValueError(f"{name}: expected on {means.device} like means, got {tensor.device}")


def _numbers(name: str, array: np.ndarray) -> None:
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected real numbers, got {array.dtype}")


def _shape(value: object) -> object:
    return tuple(value.shape) if isinstance(value, Tensor | np.ndarray) else type(value).__name__
