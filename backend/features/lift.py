"""2D features per view into per-Gaussian features: sums over blending weights, views outer.

f_i = ΣA_i / ΣZ_i (Gradient-Weighted Feature Back-Projection, arXiv 2411.15193). A Gaussian that all views
describe alike has confidence 1; one that no view shows has none and is excluded from decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.features.fingerprint import splat_hash
from backend.features.neutral import Neutral
from backend.progress import Progress
from backend.scene import Camera, Gaussians, Workspace
from backend.scene.files import read_arrays, write_arrays
from segwild_addon.protocol.errors import InputError

UNSEEN_BELOW_PX = 0.5  # summed weight over all views
_LEAST_PX = 1e-6


@dataclass(frozen=True, eq=False)
class Lifted:
    """Features of every row."""

    features: np.ndarray  # (N, D) float16, standardised: mean 0 and deviation 1 over seen pixels; 0 if unseen
    confidence: np.ndarray  # (N,) float32 in 0..1: 1 / (1 + variance between views)
    mass: np.ndarray  # (N,) float32 pixels, summed weight over all views
    unseen: np.ndarray  # (N,) bool

    def save(self, workspace: Workspace, name: str) -> None:
        write_arrays(features_file(workspace, name), vars(self), {"splats": splat_hash(workspace), "features": name})

    @classmethod
    def load(cls, workspace: Workspace, name: str) -> Lifted | None:
        """None if they were never lifted, or from other Gaussians. Raises InputError if damaged."""
        path = features_file(workspace, name)
        if not path.exists():
            return None
        arrays, metadata = read_arrays(path)
        if metadata.get("splats") != splat_hash(workspace):
            return None
        try:
            return cls(**arrays)
        except TypeError as error:
            raise InputError("file-damaged", f"Not a file of features: {path}.", "Delete it and lift again.") from error


def features_file(workspace: Workspace, name: str) -> Path:
    return workspace.root / "features" / f"{name}.safetensors"


def lift(
    scene: Gaussians,
    cameras: Sequence[Camera],
    encoded: Callable[[int, Neutral], np.ndarray],  # view number and its render -> (H, W, D) features
    progress: Progress,
) -> Lifted:
    """Features of all views onto the rows, each pixel weighted by how much of it is covered.

    One pass over the views: lifting is linear, so features are standardised afterwards. Raises InputError
    if there are no views.
    """
    progress.phase("Lifting features", len(cameras))
    mass = np.zeros(len(scene))
    sums = squares = first = second = np.zeros(0)
    covered = 0.0
    for number, camera in enumerate(cameras):
        view = Neutral(scene, camera)
        features = encoded(number, view)
        A, Z = view.seen.accumulate(features, view.alpha)
        A = A.astype(np.float64)
        weights = view.alpha.ravel().astype(np.float64)
        flat = features.reshape(-1, features.shape[2]).astype(np.float64)
        if number == 0:
            sums, squares = np.zeros((2, len(scene), features.shape[2]))
            first, second = np.zeros((2, features.shape[2]))
        sums += A
        squares += A**2 / np.maximum(Z, _LEAST_PX)[:, None]
        mass += Z
        first += weights @ flat
        second += weights @ flat**2
        covered += weights.sum()
        progress.advance()
    if not len(cameras):
        raise InputError("no-photos", "No photo shows the scene.", "Import the splat with --cameras.")
    unseen = mass < UNSEEN_BELOW_PX
    mean = first / max(covered, _LEAST_PX)
    variance = np.maximum(second / max(covered, _LEAST_PX) - mean**2, 1e-6)
    raw = sums / np.maximum(mass, _LEAST_PX)[:, None]
    features = np.where(unseen[:, None], 0, (raw - mean) / np.sqrt(variance))
    between_views = np.maximum(squares / np.maximum(mass, _LEAST_PX)[:, None] - raw**2, 0) / variance
    return Lifted(
        np.clip(features, -60_000, 60_000).astype(np.float16),
        np.where(unseen, 0, 1 / (1 + between_views.mean(1))).astype(np.float32),
        mass.astype(np.float32),
        unseen,
    )
