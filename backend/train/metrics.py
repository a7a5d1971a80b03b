"""Two pictures into a number: PSNR and SSIM, as NerfBaselines' Photo Tourism protocol computes them.

Each rule below moves the numbers; a change makes them incomparable with the published ones.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import correlate1d

from segwild_addon.protocol.errors import InputError

_TAPS = 11
_SIGMA_PX = 1.5
_C1, _C2 = 0.01**2, 0.03**2  # (k · range)², range 1
_FLOOR = float(np.finfo(np.float32).eps) ** 2  # of variances, as in dm-pix, which TensorFlow's form follows


def quantised(picture: np.ndarray) -> np.ndarray:
    """A picture (..., 3) as an 8-bit file would hold it, float64 in 0..1.

    Floats (0..1, others are clipped) are truncated to 255 levels, not rounded; uint8 is only divided.
    """
    if picture.dtype != np.uint8:
        picture = np.clip(picture * picture.dtype.type(255), 0, 255).astype(np.uint8)
    return picture / 255.0


def left_half(picture: np.ndarray) -> np.ndarray:
    """Columns an appearance is fitted on: 0 … W − ⌊W/2⌋ − 1 of (H, W, ...). A view."""
    return picture[:, : picture.shape[1] - picture.shape[1] // 2]


def right_half(picture: np.ndarray) -> np.ndarray:
    """Columns that are scored: ⌊W/2⌋ … W − 1 of (H, W, ...). For odd W the halves share one. A view."""
    return picture[:, picture.shape[1] // 2 :]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Decibels between pictures (H, W, 3) in 0..1; infinite for equal ones.

    Average the values of several photos, never their errors. Raises InputError if the sizes differ.
    """
    a, b = _pair(a, b)
    error = float(np.square(a - b).mean())
    return -10 * math.log10(error) if error > 0 else math.inf


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of pictures (H, W, 3) in 0..1, at most 1, mean over windows and channels.

    Wang et al. 2004 with an 11-tap Gaussian of 1.5 pixels, windows wholly inside the picture only. Raises
    InputError if the sizes differ or no window fits.
    """
    a, b = _pair(a, b)
    if min(a.shape[:2]) < _TAPS:
        raise InputError("picture-too-small", f"SSIM needs {_TAPS} x {_TAPS} pixels, not {a.shape[1]} x {a.shape[0]}.")
    mean_a, mean_b = _blurred(a), _blurred(b)
    variance_a = np.maximum(_blurred(a * a) - mean_a * mean_a, _FLOOR)
    variance_b = np.maximum(_blurred(b * b) - mean_b * mean_b, _FLOOR)
    limit = np.sqrt(variance_a * variance_b)
    covariance = np.clip(_blurred(a * b) - mean_a * mean_b, -limit, limit)
    likeness = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    likeness /= (mean_a * mean_a + mean_b * mean_b + _C1) * (variance_a + variance_b + _C2)
    return float(likeness.mean())


def _pair(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if a.shape != b.shape or a.size == 0:
        raise InputError("sizes-differ", f"Pictures of shapes {a.shape} and {b.shape} cannot be compared.")
    return np.asarray(a, np.float64), np.asarray(b, np.float64)


def _blurred(picture: np.ndarray) -> np.ndarray:
    """(H, W, C) to (H - 10, W - 10, C): Gaussian means of all windows that lie inside."""
    reach = _TAPS // 2
    weights = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / _SIGMA_PX))
    weights /= weights.sum()
    rows = correlate1d(picture, weights, axis=0)[reach:-reach]
    return correlate1d(rows, weights, axis=1)[:, reach:-reach]
