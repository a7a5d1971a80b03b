"""Residuals into masks of what was there only when one photo was taken.

A robust filter in the spirit of SpotLessSplats (Sabour et al. 2024): pixels that stay badly explained,
in photos that are badly explained, in groups. It needs no network and no weights.

Where a network has seen what comes and goes, less must differ. It is never believed alone unless a person asks for
that: networks take statues and façades for people.

Light is no passer-by. The sunny side of a tower differs from its render as much as a van before it does, and what is
masked is never learned. But it has the render's edges, brighter or darker, and a van has its own: pixels whose
surroundings correlate with the render's are left to the appearance, unless most of what differs there does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numba import njit, prange
from scipy import ndimage
from torch import Tensor

from backend.render import Threads
from backend.train import on_device
from backend.train.sky import neighbours

SHARE_MAX = 0.4  # of a photo that is explained worst
RESIDUAL_MIN = 0.08  # mean absolute difference per channel, colours in 0..1
BLUR_SHARE = 0.012  # of the picture's width: differences are averaged before they are judged
AGREE_SHARE = 0.04  # of the picture's width: surroundings whose edges are compared
AGREE_FROM = 0.5  # correlation of brightness from which surroundings are the same in another light
CONTRAST = 0.03  # deviation of brightness below which there is little to compare
MOSTLY = 0.5  # of a region of outliers alike: from here on it is the same in another light
WINDOW_SHARE = 0.6  # outliers among a window's pixels
GROW_PX = 2
CANDIDATE_SHARE = 0.5  # of the limit for an outlier, where a network has seen what comes and goes
OBSERVED_FROM, RAMP_FROM, FULL_FROM = 0.05, 0.10, 0.20  # fractions of the steps
KEEP = 0.7  # of a photo's memory per visit
SUSPICIOUS_SHARE = 0.6  # more transient than this is worth a warning
MEMORY_DIVISOR = 4


@dataclass
class Transients:
    """What each photo's filter remembers from one visit to the next."""

    memory: dict[str, np.ndarray] = field(default_factory=dict)  # (H/4, W/4) float32 at training size
    latest: dict[str, float] = field(default_factory=dict)  # mean residual at the last visit

    def observe(
        self,
        name: str,
        image: Tensor,  # (H, W, 3) float32, rendered
        photo: Tensor,  # (H, W, 3) float32
        sky: np.ndarray,  # (H, W) bool, never transient
        fraction: float,  # of the training done
        memory_size: tuple[int, int],  # (rows, columns) of this photo's memory
        candidates: np.ndarray | None = None,  # (H, W) bool, where a network saw what comes and goes
        *,
        union: bool = False,  # all candidates are transient, not only those that differ
    ) -> np.ndarray:
        """Update the photo's memory; returns the pixels to leave out now, (H, W) bool."""
        height, width = sky.shape
        found = candidates.copy() if union and candidates is not None else np.zeros((height, width), bool)
        if fraction < OBSERVED_FROM:
            return found
        # Signed differences are averaged first: detail that is not learned yet cancels, a person does not.
        window = max(5, round(width * BLUR_SHARE) | 1)
        with Threads():
            smooth = _smoothed((image - photo).numpy(), window // 2)
        smooth[sky] = 0
        lit = alike(image, photo).numpy()
        unexplained = np.where(lit, np.float32(0), smooth)
        self.latest[name] = float(unexplained.mean())
        ramp = np.clip((fraction - RAMP_FROM) / (FULL_FROM - RAMP_FROM), 0, 1)
        share = ramp * self._share(name)
        if share > 0 or (ramp > 0 and candidates is not None):
            limit = max(float(np.quantile(unexplained[::2, ::2], 1 - share)), RESIDUAL_MIN)
            outlier = smooth > limit
            if candidates is not None:
                # Photos that are explained well lose pixels here alone: somebody may be faint in them.
                outlier = np.where(candidates, smooth > CANDIDATE_SHARE * limit, outlier & (share > 0))
            strange = strangers(outlier, lit)
            window = max(5, round(width / 130) | 1)
            with Threads():
                _grow(_crowded(strange.astype(np.float32), np.float32(0.5), window // 2), found)
        small = _shares(found, *memory_size)
        before = self.memory.get(name)
        self.memory[name] = small if before is None else KEEP * before + (1 - KEEP) * small
        return self.mask(name, (height, width))

    def observe_on_device(
        self,
        name: str,
        image: Tensor,  # (H, W, 3), rendered
        photo: Tensor,  # (H, W, 3)
        sky: Tensor,  # (H, W) bool
        fraction: float,
        memory_size: tuple[int, int],
        candidates: Tensor | None = None,  # (H, W) bool
        *,
        union: bool = False,
    ) -> Tensor:
        """`observe` in torch: pictures stay on their device, only the small memory travels."""
        size = sky.shape
        if fraction < OBSERVED_FROM:
            return candidates if union and candidates is not None else torch.zeros_like(sky)
        window = max(5, round(size[1] * BLUR_SHARE) | 1)
        smooth = on_device.box_mean((image - photo).permute(2, 0, 1), window).abs().mean(0)
        smooth = torch.where(sky, 0.0, smooth)
        lit = alike(image, photo)
        unexplained = torch.where(lit, 0.0, smooth)
        self.latest[name] = float(unexplained.mean())
        ramp = np.clip((fraction - RAMP_FROM) / (FULL_FROM - RAMP_FROM), 0, 1)
        share = float(ramp * self._share(name))
        if share > 0 or (ramp > 0 and candidates is not None):
            limit = torch.quantile(unexplained[::2, ::2].reshape(-1), 1 - share).clamp_min(RESIDUAL_MIN)
            outlier = smooth > limit
            if candidates is not None:
                outlier = torch.where(candidates, smooth > CANDIDATE_SHARE * limit, outlier & (share > 0))
            strange = strangers(outlier.cpu().numpy(), lit.cpu().numpy())  # regions are joined on the CPU
            outlier = torch.from_numpy(strange).to(sky.device, torch.float32)
            window = max(5, round(size[1] / 130) | 1)
            found = outlier * (on_device.box_mean(outlier[None], window)[0] > WINDOW_SHARE)
            found = on_device.grown(found, GROW_PX)
        else:
            found = torch.zeros_like(smooth)
        if union and candidates is not None:
            found = torch.maximum(found, candidates.to(found.dtype))
        small = on_device.resampled(found, memory_size).cpu().numpy()
        before = self.memory.get(name)
        self.memory[name] = small if before is None else KEEP * before + (1 - KEEP) * small
        return on_device.resampled(torch.from_numpy(self.memory[name]).to(sky.device), size) > 0.5

    def share(self, name: str) -> float:
        """Of the photo that is held to be transient, 0..1."""
        return float((self.memory[name] > 0.5).mean()) if name in self.memory else 0.0

    def mask(self, name: str, size: tuple[int, int]) -> np.ndarray:
        """What is held to be transient in a photo, at a size (rows, columns): bool."""
        if name not in self.memory:
            return np.zeros(size, bool)
        with Threads():
            return _enlarged(self.memory[name], *size)

    def _share(self, name: str) -> float:
        """0 for the best explained photos up to SHARE_MAX for the worst: only these lose pixels."""
        values = np.array(list(self.latest.values()))
        low, high = np.quantile(values, [0.05, 0.95])
        if high - low < 1e-6:
            return SHARE_MAX / 2
        return SHARE_MAX * float(np.clip((self.latest[name] - low) / (high - low), 0, 1))

    def state(self) -> dict[str, np.ndarray]:
        arrays = {f"transients.memory.{name}": array for name, array in self.memory.items()}
        arrays |= {f"transients.latest.{name}": np.array([value]) for name, value in self.latest.items()}
        return arrays

    @classmethod
    def restored(cls, arrays: dict[str, np.ndarray]) -> Transients:
        restored = cls()
        for key, array in arrays.items():
            if key.startswith("transients.memory."):
                restored.memory[key.removeprefix("transients.memory.")] = array.copy()
            elif key.startswith("transients.latest."):
                restored.latest[key.removeprefix("transients.latest.")] = float(array[0])
        return restored


def strangers(
    outlier: np.ndarray,  # (H, W) bool, badly explained
    lit: np.ndarray,  # (H, W) bool, `alike`
) -> np.ndarray:
    """(H, W) bool: outliers that are not alike, and the rest of a region of outliers that mostly is not.

    What stands behind somebody runs on beside them, and agrees with a window here and there.
    """
    regions, count = ndimage.label(outlier)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    mostly = np.bincount(regions.ravel(), weights=lit.ravel(), minlength=count + 1) < MOSTLY * sizes
    return outlier & (~lit | mostly[regions])


def alike(image: Tensor, photo: Tensor) -> Tensor:
    """(H, W) bool: where a photo (H, W, 3) shows what an image does, perhaps in another light.

    Correlation of brightness over windows, on every second pixel; where there is little contrast nothing is known, and
    nothing is alike.
    """
    reach = max(2, round(image.shape[1] * AGREE_SHARE / 4))
    if image.is_cpu:
        with Threads():
            return torch.from_numpy(_alike(image.numpy(), photo.numpy(), reach))
    a, b = (on_device.halved(picture.mean(-1)) for picture in (image, photo))
    mean_a, mean_b, aa, bb, ab = on_device.box_mean(torch.stack([a, b, a * a, b * b, a * b]), 2 * reach + 1)
    variances = (aa - mean_a**2).clamp_min(0) * (bb - mean_b**2).clamp_min(0)
    found = (ab - mean_a * mean_b) > AGREE_FROM * (variances.sqrt() + CONTRAST**2)
    return on_device.doubled(found, image.shape[:2])


@njit(parallel=True, cache=True)
def _alike(image, photo, reach):
    """`alike` with windows of side 2·reach + 1 on every second pixel; beyond the edge the outermost repeats."""
    height, width = image.shape[:2]
    rows, columns = max(height // 2, 1), max(width // 2, 1)
    across = np.empty((rows, columns, 5), np.float32)
    for y in prange(rows):
        line = np.empty((columns, 5), np.float32)
        for x in range(columns):
            a = b = np.float32(0)
            for i in range(2):
                for j in range(2):
                    for c in range(3):
                        a += image[min(2 * y + i, height - 1), min(2 * x + j, width - 1), c]
                        b += photo[min(2 * y + i, height - 1), min(2 * x + j, width - 1), c]
            a, b = a / np.float32(12), b / np.float32(12)
            line[x, 0], line[x, 1], line[x, 2], line[x, 3], line[x, 4] = a, b, a * a, b * b, a * b
        for k in range(5):
            window = np.float32(0)
            for x in range(-reach - 1, reach):
                window += line[min(max(x, 0), columns - 1), k]
            for x in range(columns):
                window += line[min(x + reach, columns - 1), k] - line[max(x - reach - 1, 0), k]
                across[y, x, k] = window
    found = np.empty((height, width), np.bool_)
    scale = np.float32(1 / (2 * reach + 1) ** 2)
    for y in prange(rows):
        sums = np.zeros((columns, 5), np.float32)
        for k in range(-reach, reach + 1):
            sums += across[min(max(y + k, 0), rows - 1)]
        below = height if y == rows - 1 else 2 * y + 2
        for x in range(columns):
            a, b = scale * sums[x, 0], scale * sums[x, 1]
            spread = max(scale * sums[x, 2] - a * a, 0) * max(scale * sums[x, 3] - b * b, 0)
            same = scale * sums[x, 4] - a * b > AGREE_FROM * (np.sqrt(spread) + CONTRAST**2)
            beside = width if x == columns - 1 else 2 * x + 2
            found[2 * y : below, 2 * x : beside] = same
    return found


@njit(cache=True)
def _shares(found, rows, columns):
    """(H, W) bool to the share that is true in each of fewer (rows, columns) blocks: float32."""
    height, width = found.shape
    shares = np.empty((rows, columns), np.float32)
    for i in range(rows):
        top, bottom = i * height // rows, (i + 1) * height // rows
        for j in range(columns):
            left, right = j * width // columns, (j + 1) * width // columns
            hits = 0
            for y in range(top, bottom):
                for x in range(left, right):
                    hits += found[y, x]
            shares[i, j] = np.float32(hits) / np.float32(max((bottom - top) * (right - left), 1))
    return shares


@njit(parallel=True, cache=True)
def _enlarged(memory, rows, columns):
    """Where memory (h, w) float32, interpolated at (rows, columns), is above one half: bool."""
    top, bottom, down = neighbours(rows, memory.shape[0])
    left, right, across = neighbours(columns, memory.shape[1])
    above = np.empty((rows, columns), np.bool_)
    for y in prange(rows):
        line = np.empty(memory.shape[1], np.float32)
        for x in range(memory.shape[1]):
            line[x] = memory[top[y], x] + down[y] * (memory[bottom[y], x] - memory[top[y], x])
        for x in range(columns):
            value = line[left[x]] + across[x] * (line[right[x]] - line[left[x]])
            above[y, x] = value > np.float32(0.5)
    return above


@njit(parallel=True, cache=True)
def _crowded(smooth, limit, reach):
    """(H, W) bool: above the limit, as more than WINDOW_SHARE of the square around it is. The outermost repeat."""
    height, width = smooth.shape
    across = np.empty((height, width), np.int32)
    for y in prange(height):
        hits = 0
        for x in range(-reach - 1, reach):
            hits += smooth[y, min(max(x, 0), width - 1)] > limit
        for x in range(width):
            hits += smooth[y, min(x + reach, width - 1)] > limit
            hits -= smooth[y, max(x - reach - 1, 0)] > limit
            across[y, x] = hits
    crowded = np.empty((height, width), np.bool_)
    enough = WINDOW_SHARE * (2 * reach + 1) ** 2
    for y in prange(height):
        for x in range(width):
            crowded[y, x] = False
            if smooth[y, x] > limit:
                hits = 0
                for k in range(-reach, reach + 1):
                    hits += across[min(max(y + k, 0), height - 1), x]
                crowded[y, x] = hits > enough
    return crowded


@njit(cache=True)
def _grow(seeds, grown):
    """Mark in `grown` what lies within GROW_PX steps of a seed, along rows and columns."""
    height, width = seeds.shape
    for y in range(height):
        for x in range(width):
            if seeds[y, x]:
                for k in range(-GROW_PX, GROW_PX + 1):
                    reach = GROW_PX - abs(k)
                    if 0 <= y + k < height:
                        grown[y + k, max(x - reach, 0) : min(x + reach + 1, width)] = True


@njit(parallel=True, cache=True)
def _smoothed(difference, reach):
    """|mean over a square window of side 2·reach + 1| of (H, W, C), averaged over channels: (H, W) float32.

    Beyond the edge the outermost pixel repeats.
    """
    height, width, channels = difference.shape
    across = np.empty((height, width, channels), np.float32)
    for y in prange(height):
        for c in range(channels):
            window = np.float32(0)
            for x in range(-reach - 1, reach):
                window += difference[y, min(max(x, 0), width - 1), c]
            for x in range(width):
                window += difference[y, min(x + reach, width - 1), c] - difference[y, max(x - reach - 1, 0), c]
                across[y, x, c] = window
    smooth = np.empty((height, width), np.float32)
    scale = np.float32(1 / (channels * (2 * reach + 1) ** 2))
    for y in prange(height):
        sums = np.zeros((width, channels), np.float32)
        for k in range(-reach, reach + 1):
            sums += across[min(max(y + k, 0), height - 1)]
        for x in range(width):
            size = np.float32(0)
            for c in range(channels):
                size += abs(sums[x, c])
            smooth[y, x] = scale * size
    return smooth
