"""2D features per view into per-Gaussian features: sums over blending weights, a few channels at a time.

f_i = ΣA_i / ΣZ_i (Gradient-Weighted Feature Back-Projection, arXiv 2411.15193). A Gaussian that all views describe
alike has confidence 1; one that no view shows has none and is excluded from decisions. Lifting is linear, so that
channels are independent: as many are summed at once as memory allows, and the views are gone through again for the
next ones. No array of all Gaussians and all channels exists but the result, which may lie on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from backend.features.fingerprint import splat_hash
from backend.features.pixels import Grid, Pixels
from backend.progress import Progress
from backend.render import Cells, Seen
from backend.scene import Camera, Gaussians, Workspace
from backend.scene.files import let_go, read_arrays, write_arrays
from segwild_addon.protocol.errors import InputError

UNSEEN_BELOW_PX = 0.5  # summed weight over all views
BUDGET_BYTES = 512 << 20  # of sums at a time
_LEAST_PX = 1e-6
_PLAIN = "neutral plain"  # how features are made that do not say
_ARRAYS = 3  # of rows and channels that are held at once: the sums, a view's, and what is made of them
_STEP = 64  # channels that the renderer sums in one pass
_ROWS = 1 << 16  # of the result that are worked on at once

Scaling = Literal["standard", "unit", "mean"]


@dataclass(frozen=True, eq=False)
class Lifted:
    """Features of every row, 0 if unseen.

    `standard` ones have mean 0 and deviation 1 over seen pixels, and confidence 1 / (1 + variance between views).
    `unit` ones have length 1, and confidence ‖ΣA‖ / ΣZ of unit pixel features. `mean` ones are what pixels say on
    average, with a confidence of 1.
    """

    features: np.ndarray  # (N, D) float16
    confidence: np.ndarray  # (N,) float32 in 0..1
    mass: np.ndarray  # (N,) float32 pixels, summed weight over all views
    unseen: np.ndarray  # (N,) bool

    def save(self, workspace: Workspace, name: str) -> None:
        write_arrays(features_file(workspace, name), vars(self), {"splats": splat_hash(workspace), "features": name})

    @classmethod
    def load(cls, workspace: Workspace, name: str, made: str = "") -> Lifted | None:
        """None if they were never lifted, from other Gaussians, or in another way than `made` says, if it does.

        Raises InputError if damaged.
        """
        path = features_file(workspace, name)
        if not path.exists():
            return None
        arrays, metadata = read_arrays(path)
        if metadata.get("splats") != splat_hash(workspace) or (made and metadata.get("made", _PLAIN) != made):
            return None
        try:
            return cls(**arrays)
        except TypeError as error:
            raise InputError("file-damaged", f"Not a file of features: {path}.", "Delete it and lift again.") from error

    @classmethod
    def find(cls, workspace: Workspace, name: str) -> Lifted:
        """Raises InputError, with the names there are, if these Gaussians have no features of that name."""
        known = sorted(path.stem for path in features_file(workspace, "").parent.glob("*.safetensors"))
        known = [each for each in known if "." not in each]  # maps of a compression lie beside what they made
        lifted = cls.load(workspace, name) if name in known else None  # no path reaches the file system
        if lifted is None:
            there = f" There is: {', '.join(known)}." if known and name not in known else ""
            raise InputError(
                "no-features",
                f"The features {name!r} were {'lifted from other Gaussians' if name in known else 'not lifted yet'}.",
                f"Run: segwild lift WORKSPACE --features NAME.{there}",
            )
        return lifted


class Views(Protocol):
    """2D features of some views, asked for by number as often as channels are gone through."""

    cameras: Sequence[Camera]
    channels: int

    def pixels(self, number: int) -> Pixels:
        """Of H x W pixels of the view's camera."""

    def weight(self, number: int, seen: Seen) -> np.ndarray | None:
        """(H, W) float32 in 0..1, how much each pixel counts; None: 1."""


def features_file(workspace: Workspace, name: str) -> Path:
    return workspace.root / "features" / f"{name}.safetensors"


def lift(
    scene: Gaussians,
    views: Views,
    progress: Progress,
    *,
    scaling: Scaling = "unit",
    robust: bool = False,  # a second pass, in which views that contradict the rest count less
    into: np.ndarray | None = None,  # (N, D) float16, written instead of a new array
    shares: np.ndarray | None = None,  # (V, N) float16, likewise, of a robust lift
    budget_bytes: int = BUDGET_BYTES,
) -> Lifted:
    """Features of all views onto the rows. Raises InputError if there are no views."""
    if not len(views.cameras):
        raise InputError("no-photos", "No photo shows the scene.", "Import the splat with --cameras.")
    count = len(scene)
    features = np.zeros((count, views.channels), np.float16) if into is None else into
    held = _ARRAYS if robust or scaling == "standard" or not isinstance(views.pixels(0), Grid) else 1
    chunks = _chunks(count, views.channels, budget_bytes, held)
    passes = len(chunks) * (2 if robust else 1) + (1 if robust else 0)
    progress.phase("Lifting features", passes * len(views.cameras))
    mass, confidence = _summed(scene, views, chunks, features, scaling, None, progress)
    if robust:
        if shares is None:
            shares = np.zeros((len(views.cameras), count), np.float16)
        _agreement(scene, views, chunks, features, shares, progress)
        mass, confidence = _summed(scene, views, chunks, features, scaling, shares, progress)
    return Lifted(features, confidence, mass.astype(np.float32), mass < UNSEEN_BELOW_PX)


def _chunks(count: int, channels: int, budget_bytes: int, arrays: int) -> list[tuple[int, int]]:
    """First and last channels: as many as memory allows, in full passes of the renderer where there are several.

    `arrays` of rows and channels are held at once.
    """
    size = budget_bytes // (arrays * 4 * max(count, 1))
    size = channels if size >= channels else max(size // _STEP * _STEP, min(size, _STEP), 8)
    return [(first, min(first + size, channels)) for first in range(0, channels, size)]


def _summed(
    scene: Gaussians,
    views: Views,
    chunks: Sequence[tuple[int, int]],
    features: np.ndarray,
    scaling: Scaling,
    shares: np.ndarray | None,  # (V, N) float16, how much each view counts for each row; None: 1
    progress: Progress,
) -> tuple[np.ndarray, np.ndarray]:
    """Writes `features`; returns the mass (N,) float64 and the confidence (N,) float32."""
    count = len(scene)
    squared, spread = np.zeros((2, count), np.float32)
    for first, last in chunks:
        mass = np.zeros(count)
        sums = np.zeros((count, last - first), np.float32)
        squares = np.zeros_like(sums) if scaling == "standard" else None
        moments = np.zeros((2, last - first))
        covered = 0.0
        for number, camera in enumerate(views.cameras):
            seen = Seen(scene, camera)
            weight, pixels = views.weight(number, seen), views.pixels(number)
            if isinstance(pixels, Grid) and squares is None and shares is None and _coarse(pixels, camera):
                cells = Cells(seen, pixels.cells.shape[1:], pixels.inner, weight)
                cells.add(pixels.nodes(first, last), sums)
                mass += cells.mass
                progress.advance()
                continue
            A, Z = _view_sums(seen, pixels, camera, weight, first, last)
            if shares is not None:
                A *= shares[number][:, None]
                Z = Z * shares[number]
                let_go(shares)
            if squares is not None:
                squares += A**2 / np.maximum(Z, _LEAST_PX)[:, None]
                flat = pixels.of(first, last).reshape(-1, last - first).astype(np.float64)
                weights = np.ones(len(flat)) if weight is None else weight.ravel().astype(np.float64)
                moments += np.stack([weights @ flat, weights @ flat**2])
                covered += weights.sum()
            sums += A
            mass += Z
            progress.advance()
        per_mass = np.where(mass < UNSEEN_BELOW_PX, 0, 1 / np.maximum(mass, _LEAST_PX)).astype(np.float32)
        mean, variance = np.zeros(1, np.float32), np.ones(1, np.float32)
        if squares is not None:
            mean = moments[0] / max(covered, _LEAST_PX)
            variance = np.maximum(moments[1] / max(covered, _LEAST_PX) - mean**2, 1e-6)
        for top in range(0, count, _ROWS):
            rows = slice(top, top + _ROWS)
            raw = sums[rows] * per_mass[rows, None]
            squared[rows] += np.einsum("ij,ij->i", raw, raw)
            if squares is not None:
                between = np.maximum(squares[rows] * per_mass[rows, None] - raw**2, 0) / variance
                spread[rows] += between.sum(1)
                raw = np.where(per_mass[rows, None] > 0, (raw - mean) / np.sqrt(variance), 0)
            features[rows, first:last] = np.clip(raw, -60_000, 60_000)
            let_go(features)
    length = np.sqrt(squared)
    if scaling == "unit":
        for top in range(0, count, _ROWS):
            rows = slice(top, top + _ROWS)
            features[rows] = features[rows] / np.maximum(length[rows, None], 1e-6)
            let_go(features)
        confidence = np.clip(length, 0, 1)
    elif scaling == "standard":
        confidence = 1 / (1 + spread / views.channels)
    else:
        confidence = np.ones(count, np.float32)
    return mass, np.where(mass < UNSEEN_BELOW_PX, 0, confidence).astype(np.float32)


def _coarse(pixels: Grid, camera: Camera) -> bool:
    return Cells.fits(camera.height, camera.width, pixels.cells.shape[1:], pixels.inner)


def _view_sums(
    seen: Seen, pixels: Pixels, camera: Camera, weight: np.ndarray | None, first: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """A (N, last - first) and Z (N,) float32 of one view."""
    if not (isinstance(pixels, Grid) and _coarse(pixels, camera)):
        return seen.accumulate(pixels.of(first, last), weight)
    cells = Cells(seen, pixels.cells.shape[1:], pixels.inner, weight)
    A = np.zeros((seen.count, last - first), np.float32)
    cells.add(pixels.nodes(first, last), A)
    return A, cells.mass


def _agreement(
    scene: Gaussians,
    views: Views,
    chunks: Sequence[tuple[int, int]],
    features: np.ndarray,  # (N, D) float16 of the first pass
    shares: np.ndarray,  # (V, N) float16, written: max(0, cos(f_i, A_i(v)))
    progress: Progress,
) -> None:
    """How far each view says of a row what all of them say together."""
    for number, camera in enumerate(views.cameras):
        seen = Seen(scene, camera)
        weight, pixels = views.weight(number, seen), views.pixels(number)
        product, own, common = np.zeros((3, len(scene)), np.float32)
        for first, last in chunks:
            A, _ = _view_sums(seen, pixels, camera, weight, first, last)
            for top in range(0, len(scene), _ROWS):
                rows = slice(top, top + _ROWS)
                part = features[rows, first:last].astype(np.float32)
                product[rows] += np.einsum("ij,ij->i", A[rows], part)
                own[rows] += np.einsum("ij,ij->i", A[rows], A[rows])
                common[rows] += np.einsum("ij,ij->i", part, part)
            let_go(features)
            progress.advance(1 if last == chunks[-1][1] else 0)
        shares[number] = np.clip(product / np.maximum(np.sqrt(own * common), 1e-12), 0, 1)
        let_go(shares)
