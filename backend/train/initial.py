"""Sparse points of the capture into the first Gaussians."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from backend.render.harmonics import C0
from backend.scene.photos import Photo
from backend.scene.workspace import SparsePoints
from segwild_addon.protocol.errors import InputError

LEAST = 10_000  # fewer sparse points are filled up
TRACK_MIN, ERROR_MAX = 3, 2.0  # photos per point; pixels
OPACITY = 0.1


def initial(points: SparsePoints, photos: list[Photo], *, cap: int, sh_degree: int, seed: int) -> dict[str, Tensor]:
    """Parameters of the first rows: isotropic, as wide as their neighbours are far.

    A capture with few points is filled up with jittered copies, and with random points in front of the
    cameras, so that walls without features have something to grow from.
    """
    random = np.random.default_rng((seed, 1))
    good = (points.tracks >= TRACK_MIN) & (points.errors <= ERROR_MAX)
    if good.sum() < 100:
        good = np.ones(len(points.positions), bool)
    positions, colors = points.positions[good].astype(np.float64), points.colors[good] / 255.0
    if len(positions) < 4:
        raise InputError(
            "too-few-points",
            f"The capture left only {len(positions)} points: too few to start from.",
            "Take more photos of the scene from nearby viewpoints.",
        )
    if len(positions) > cap:
        chosen = random.choice(len(positions), cap, replace=False)
        positions, colors = positions[chosen], colors[chosen]
    wanted = min(LEAST, cap) - len(positions)
    if wanted > 0:
        spacing = _spacing(positions)
        source = random.integers(0, len(positions), wanted * 3 // 4)
        jitter = random.normal(0, 1, (len(source), 3)) * spacing[source, None]
        scattered = _in_front(photos, positions, wanted - len(source), random)
        colors = np.concatenate([colors, colors[source], np.full((len(scattered), 3), 0.5)])
        positions = np.concatenate([positions, positions[source] + jitter, scattered])
    spacing = _spacing(positions)
    spacing = np.clip(spacing, 1e-4, np.quantile(spacing, 0.99))
    count = len(positions)
    quats = np.zeros((count, 4))
    quats[:, 0] = 1
    arrays = {
        "means": positions,
        "quats": quats,
        "log_scales": np.repeat(np.log(spacing)[:, None], 3, 1),
        "opacity_logits": np.full(count, np.log(OPACITY / (1 - OPACITY))),
        "sh0": ((colors - 0.5) / C0)[:, None, :],
        "shN": np.zeros((count, (sh_degree + 1) ** 2 - 1, 3)),
    }
    return {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}


def _spacing(positions: np.ndarray) -> np.ndarray:
    """Mean distance (N,) to the 3 nearest neighbours."""
    distances, _ = cKDTree(positions).query(positions, k=min(4, len(positions)))
    return distances[:, 1:].mean(1)


def _in_front(photos: list[Photo], positions: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Random world points (count, 3) on rays of random photos, at depths like those of the points seen there."""
    cameras = [photo.camera for photo in photos if photo.camera is not None]
    parts = []
    for index, share in enumerate(np.bincount(random.integers(0, len(cameras), count), minlength=len(cameras))):
        camera = cameras[index]
        pixels, depths = camera.project(positions)
        inside = (depths > 0) & (pixels >= 0).all(1) & (pixels <= (camera.width, camera.height)).all(1)
        if share == 0 or inside.sum() < 2:
            continue
        low, high = np.quantile(depths[inside], [0.05, 0.95])
        through = random.uniform(0, 1, (share, 2)) * (camera.width, camera.height)
        # Uniform in inverse depth: as many points per pixel of parallax near as far.
        depth = 1 / random.uniform(1 / (2 * high), 1 / max(low, 1e-6), share)
        rays = camera.rays(through)
        parts.append(camera.centre + rays * (depth / (rays @ camera.forward))[:, None])
    return np.concatenate(parts) if parts else np.zeros((0, 3))
