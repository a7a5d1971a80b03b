"""What tests of the renderer draw: random and degenerate scenes, and a camera whose centre is off.

Fixtures give functions, so that property tests can ask for many scenes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from backend.scene.cameras import Camera, looking_at
from backend.scene.gaussians import Gaussians

Tensors = dict[str, torch.Tensor]
ROWS = ("means", "quats", "log_scales", "opacity_logits")
KINDS = ("ordinary", "needle", "disc", "huge", "tiny", "faint", "opaque", "aside", "behind")


def _camera(width: int = 37, height: int = 29) -> Camera:
    return looking_at(
        np.array([0.3, -3.0, 0.4]),
        np.zeros(3),
        np.array([0.0, 0.0, 1.0]),
        focal=34.0,
        width=width,
        height=height,
        cx=width * 0.4,
        cy=height * 0.55,
    )


def _scene(
    rows: int, *, channels: int | None, seed: int, spread: float = 0.8, bases: int = 15, background: bool = True
) -> Tensors:
    """Anisotropic, rotated, partly behind the camera or off screen; harmonics if channels is None. Float64."""
    random = np.random.default_rng(seed)
    arrays = {
        "means": random.normal(0, spread, (rows, 3)),
        "quats": random.normal(0, 1, (rows, 4)) * random.uniform(0.2, 3, (rows, 1)),
        "log_scales": random.uniform(np.log(0.01), np.log(0.4), (rows, 3)),
        "opacity_logits": random.uniform(-6, 6, rows),
    }
    if channels is None:
        arrays["sh0"] = random.normal(0, 1, (rows, 1, 3))
        arrays["shN"] = random.normal(0, 0.3, (rows, bases, 3))
    else:
        arrays["colors"] = random.uniform(0, 1, (rows, channels))
    if background:
        arrays["background"] = random.uniform(0, 1, channels or 3)
    return {name: torch.tensor(array, dtype=torch.float64) for name, array in arrays.items()}


def _degenerate(kinds: Sequence[str], camera: Camera, *, seed: int, **options: Any) -> Tensors:
    """A scene with one row of each given kind, placed as `camera` sees it. Float64 numbers that float32 holds."""
    random = np.random.default_rng(seed)
    tensors = _scene(len(kinds), seed=seed, **options)
    in_camera = random.uniform(-1, 1, (len(kinds), 3)) * (0.6, 0.45, 1.2) + (0, 0, 3)
    in_camera[:, :2] *= in_camera[:, 2:] / 3
    log_scales, logits = tensors["log_scales"].numpy(), tensors["opacity_logits"].numpy()
    for row, kind in enumerate(kinds):
        if kind == "needle":
            log_scales[row] = np.log([0.5, 1e-3, 1e-3])
        elif kind == "disc":
            log_scales[row] = np.log([0.5, 0.5, 1e-4])
        elif kind == "huge":
            log_scales[row] = np.log(random.uniform(3, 30, 3))
        elif kind == "tiny":
            log_scales[row] = np.log(random.uniform(1e-6, 1e-4, 3))
        elif kind == "faint":  # at the threshold where it may be seen at all
            logits[row] = np.log(1 / 254) + random.uniform(-0.1, 0.3)
        elif kind == "opaque":
            logits[row] = random.uniform(8, 20)
        elif kind == "aside":  # its centre far off the picture, its body inside
            in_camera[row, 0] = random.choice([-1, 1]) * random.uniform(2, 4)
            log_scales[row] = np.log(random.uniform(0.8, 2, 3))
        elif kind == "behind":
            in_camera[row, 2] *= -1
    rotation = camera.cam_from_world[:3, :3]
    tensors["means"] = torch.from_numpy((in_camera - camera.cam_from_world[:3, 3]) @ rotation)
    return {name: tensor.float().double() for name, tensor in tensors.items()}


def _gaussians(tensors: Tensors) -> Gaussians:
    """The same rows for calls without autograd; colours do not matter there."""
    rows = {name: tensors[name].float().numpy() for name in ROWS}
    count = len(rows["means"])
    return Gaussians(**rows, sh0=np.zeros((count, 1, 3), np.float32), shN=np.zeros((count, 0, 3), np.float32))


def _drawn(
    draw: Callable[..., Any], tensors: Tensors, view: Camera, dtype: torch.dtype, counted: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Picture, alpha and the gradients of a fixed random loss over the `counted` pixels (H, W), all float64."""
    leaves = {name: tensor.detach().to(dtype, copy=True).requires_grad_() for name, tensor in tensors.items()}
    result = draw(**leaves, view=view)
    image, alpha = (result.image, result.alpha) if hasattr(result, "image") else result[:2]
    random = np.random.default_rng(7)
    v_image, v_alpha = random.normal(0, 1, image.shape), random.normal(0, 1, alpha.shape)
    if counted is not None:
        v_image, v_alpha = v_image * counted[..., None], v_alpha * counted
    loss = (image * torch.tensor(v_image, dtype=dtype)).sum() + (alpha * torch.tensor(v_alpha, dtype=dtype)).sum()
    if loss.requires_grad:
        loss.backward()
    gradients = {name: leaf.grad.double().numpy() for name, leaf in leaves.items() if leaf.grad is not None}
    return image.detach().double().numpy(), alpha.detach().double().numpy(), gradients


@pytest.fixture(scope="session")
def drawn() -> Callable[..., tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]]:
    return _drawn


@pytest.fixture(scope="session")
def camera() -> Callable[..., Camera]:
    return _camera


@pytest.fixture(scope="session")
def scene() -> Callable[..., Tensors]:
    return _scene


@pytest.fixture(scope="session")
def degenerate() -> Callable[..., Tensors]:
    return _degenerate


@pytest.fixture(scope="session")
def gaussians_of() -> Callable[[Tensors], Gaussians]:
    return _gaussians
