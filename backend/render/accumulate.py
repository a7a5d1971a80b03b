"""Pixels back onto Gaussians, and Gaussians' features into pixels: sums over blending weights.

With w_i(p) = alpha·T the weight of Gaussian i at pixel p, `accumulate` gives A_i = Σ_p w·m·g and
Z_i = Σ_p w·m; `render_channels` gives Σ_i w·X_i. Each is the other's exact adjoint. This is the one
statistic behind lifting features, voting with masks and asking what a view can see (Gradient-Weighted
Feature Back-Projection, arXiv 2411.15193). No autograd and no N×D dummy tensors.
"""

from __future__ import annotations

import numpy as np
import torch

from backend.render import checked, compositing, cpu, sums
from backend.render.projection import Projected
from backend.render.shading import colors_of
from backend.render.splats import project
from backend.render.tiles import Binned
from backend.scene.cameras import Camera
from backend.scene.gaussians import Gaussians

CHUNK = 64  # channels per pass: slots take 4·(CHUNK+1) bytes each
FEW_LABELS = 16  # up to so many, a channel for each is faster than adding pixel by pixel


class Seen:
    """A scene as one camera sees it, projected and binned once for any number of sums."""

    def __init__(self, scene: Gaussians, view: Camera) -> None:
        checked.view(view)
        self.count = len(scene)
        self.view = view
        self.projected: Projected = project(
            torch.from_numpy(scene.means),
            torch.from_numpy(scene.quats),
            torch.from_numpy(scene.log_scales),
            torch.from_numpy(scene.opacity_logits),
            view,
        )
        self.rows = self.projected.rows.numpy()
        self.bins: Binned = cpu.binned(self.projected, view.width, view.height)

    def accumulate(
        self,
        signal: np.ndarray,  # (H, W, C) float, or (H, W) integer labels with -1 ignored
        weight: np.ndarray | None = None,  # (H, W) float >= 0; None: 1
        *,
        labels: int | None = None,  # number of labels, if `signal` holds labels
    ) -> tuple[np.ndarray, np.ndarray]:
        """A (N, C) float32 and Z (N,) float32. Pixels of weight 0 still absorb light."""
        bins = self.bins
        shape = (self.view.height, self.view.width)
        checked.signal(signal, weight, labels, self.view)
        weight = np.ones(shape, np.float32) if weight is None else np.ascontiguousarray(weight, np.float32)
        if labels is not None and labels <= FEW_LABELS:
            signal = signal[..., None] == np.arange(labels)
        elif labels is not None:
            signal = np.ascontiguousarray(signal, np.int32)
            with cpu.Threads() as workers:
                slots = sums.accumulate_labels(bins, signal, labels, weight, workers)
                added = compositing.gather(bins, slots)
            return self._spread(added[:, :labels]), self._spread(added.sum(1))
        added = np.zeros((self.count, signal.shape[2]), np.float32)
        mass = np.zeros(self.count, np.float32)
        for first in range(0, max(signal.shape[2], 1), CHUNK):
            chunk = np.ascontiguousarray(signal[:, :, first : first + CHUNK], np.float32)
            with cpu.Threads() as workers:
                slots = cpu.scratch(len(bins.slot_splat), chunk.shape[2] + 1)
                sums.accumulate_features(bins, chunk, weight, workers, slots)
                compositing.gather_rows(bins, slots, self.rows, added, first, mass)
        return added, mass

    def mass(self, weight: np.ndarray | None = None) -> np.ndarray:
        """Z (N,) float32 alone: how many pixels each Gaussian fills in this view."""
        return self.accumulate(np.zeros((self.view.height, self.view.width, 0), np.float32), weight)[1]

    def render_channels(self, features: np.ndarray) -> np.ndarray:
        """Per-Gaussian features (N, C) into pixels (H, W, C) float32, over zero."""
        checked.features(features, self.count)
        return self._composite(features)[0]

    def colors(self, scene: Gaussians) -> np.ndarray:
        """(N, 3) float32, at least 0: the harmonics of `scene` (same rows) as this camera sees them."""
        arrays = (torch.from_numpy(array) for array in (scene.means, scene.sh0, scene.shN))
        return self._spread(colors_of(self.projected.rows, *arrays, self.view.centre).numpy())

    def picture(self, scene: Gaussians, background: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Colours of `scene` (same rows) as (H, W, 3) float32 over a background (H, W, 3), and alpha (H, W)."""
        image, alpha = self._composite(self.colors(scene))
        return image if background is None else image + (1 - alpha)[..., None] * background, alpha

    def alpha(self) -> np.ndarray:
        """(H, W) float32, how much of each pixel is covered."""
        return self._composite(np.zeros((self.count, 0), np.float32))[1]

    def _composite(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        colors = np.ascontiguousarray(features[self.rows], np.float32)
        with cpu.Threads() as workers:
            image, T_end, _ = cpu.drawn(self.bins, colors, workers)
        return image, 1 - T_end

    def depth(self) -> np.ndarray:
        """Median depth (H, W) float32, world units, NaN where less than half is covered."""
        depths = np.ascontiguousarray(self.projected.depths.numpy(), np.float32)
        with cpu.Threads() as workers:
            return sums.median_depth(self.bins, depths, workers)

    def top_contributors(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k heaviest Gaussians of every pixel, in depth order: ids (H, W, k) int32, weights (H, W, k).

        -1 and 0 pad.
        """
        checked.top(k)
        with cpu.Threads() as workers:
            places, weights = sums.top_contributors(self.bins, k, workers)
        rows = self.rows if len(self.rows) else np.zeros(1, np.int64)
        return np.where(places >= 0, rows[places], -1).astype(np.int32), weights

    def _spread(self, sums: np.ndarray) -> np.ndarray:
        """Sums of the visible rows (S, ...) to all rows (N, ...)."""
        full = np.zeros((self.count, *sums.shape[1:]), np.float32)
        full[self.rows] = sums
        return full


def accumulate(
    scene: Gaussians,
    view: Camera,
    signal: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    labels: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A (N, C) and Z (N,): see `Seen.accumulate`. For several sums over one view, keep a `Seen`."""
    return Seen(scene, view).accumulate(signal, weight, labels=labels)


def render_channels(scene: Gaussians, view: Camera, features: np.ndarray) -> np.ndarray:
    """Per-Gaussian features (N, C) into pixels (H, W, C)."""
    return Seen(scene, view).render_channels(features)


def top_contributors(scene: Gaussians, view: Camera, pixels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k heaviest Gaussians at integer pixels (B, 2) x, y: ids (B, k) int32 and weights (B, k)."""
    checked.view(view)
    checked.pixels(pixels, view)
    ids, weights = Seen(scene, view).top_contributors(k)
    return ids[pixels[:, 1], pixels[:, 0]], weights[pixels[:, 1], pixels[:, 0]]


def depth(scene: Gaussians, view: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Median depth (H, W), NaN where less than half is covered, and coverage (H, W) in 0..1."""
    seen = Seen(scene, view)
    return seen.depth(), seen.alpha()
