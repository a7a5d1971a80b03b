"""Points of a real or invented place into Gaussians of any number, and a camera that looks at them."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from backend.scene.cameras import Camera

GARDEN = Path("garden", "test_garden.npz")  # in gsplat's repository under assets/
SPACING_LIMITS = (1e-4, 0.05)  # world units
SPACING_LIMITS_SAMPLE = (1e-4, 0.5)  # the sample is in metres
HARMONICS = 3  # bases beyond the constant one: degree 1, as training uses


@dataclass(frozen=True, eq=False)
class Points:
    """What a test scene is made of."""

    name: str
    positions: np.ndarray  # (M, 3) float32, world units
    colors: np.ndarray  # (M, 3) float32 in 0..1
    camera: Camera
    spacing_limits: tuple[float, float]  # world units


def found_points(data: Path | None) -> Points:
    """The garden scene of `data` (the file, or a folder of test data) or of SEGWILD_TEST_DATA; else the sample.

    Raises FileNotFoundError if `data` is given and holds no scene.
    """
    places = [Path(os.environ["SEGWILD_TEST_DATA"])] if os.environ.get("SEGWILD_TEST_DATA") else []
    if data is not None:
        places = [data]
    for place in places:
        path = place if place.is_file() else place / GARDEN
        if path.is_file():
            return garden(path)
    if data is not None:
        raise FileNotFoundError(f"neither a .npz file nor a folder with {GARDEN}: {data}")
    return sample()


def garden(path: Path) -> Points:
    """A file with means3d (M, 3), colors (M, 3) uint8, viewmats and Ks of cameras, width and height."""
    with np.load(path, allow_pickle=False) as arrays:
        Ks = arrays["Ks"][0].astype(float)
        camera = Camera(
            arrays["viewmats"][0].astype(float),
            *(Ks[0, 0], Ks[1, 1], Ks[0, 2], Ks[1, 2]),
            int(arrays["width"]),
            int(arrays["height"]),
        )
        positions, colors = arrays["means3d"].astype(np.float32), arrays["colors"].astype(np.float32) / 255
    return Points(path.parent.name or path.stem, positions, colors, camera, SPACING_LIMITS)


def sample() -> Points:
    """Surface points that four photos of the bundled sample show."""
    from backend.capture.sample import generate

    with tempfile.TemporaryDirectory() as folder:
        collection = generate(Path(folder) / "sample", photos=4, long_side=640)
        positions = collection.points().points
        camera = collection.photos[0].camera
    colors = np.random.default_rng(0).uniform(0, 1, positions.shape).astype(np.float32)
    return Points("sample", positions, colors, camera, SPACING_LIMITS_SAMPLE)


def gaussians(points: Points, count: int, *, seed: int) -> dict[str, np.ndarray]:
    """Arrays of `count` isotropic Gaussians as wide as their 3 nearest neighbours are far, of random opacity.

    Fewer than there are points: a random subset. More: jittered copies, as if training had grown there.
    """
    random = np.random.default_rng((seed, count))
    available = len(points.positions)
    if count <= available:
        chosen = np.sort(random.choice(available, count, replace=False))
        positions = points.positions[chosen]
    else:
        own = _spacing(points.positions, points.spacing_limits)
        copied = random.integers(0, available, count - available)
        chosen = np.concatenate([np.arange(available), copied])
        positions = points.positions[chosen].copy()
        positions[available:] += random.normal(0, 0.5, (len(copied), 3)) * own[copied, None]
    positions = np.ascontiguousarray(positions, np.float32)
    spacing = _spacing(positions, points.spacing_limits)
    opacities = random.uniform(0, 1, count).clip(1e-6, 1 - 1e-6)
    quats = np.zeros((count, 4))
    quats[:, 0] = 1
    arrays = {
        "means": positions,
        "quats": quats,
        "log_scales": np.repeat(np.log(spacing)[:, None], 3, 1),
        "opacity_logits": np.log(opacities / (1 - opacities)),
        "colors": points.colors[chosen],
        "sh0": ((points.colors[chosen] - 0.5) / 0.28209479177387814)[:, None],
        "shN": random.normal(0, 0.05, (count, HARMONICS, 3)),
    }
    return {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}


def _spacing(positions: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Mean distance (M,) to the 3 nearest neighbours."""
    neighbours = min(4, len(positions))
    if neighbours < 2:
        return np.full(len(positions), limits[1])
    distances, _ = cKDTree(positions).query(positions, k=neighbours)
    return distances[:, 1:].mean(1).clip(*limits)
