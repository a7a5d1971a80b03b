"""A picture into the `colour` encoder's 20 numbers per pixel: colour, texture and edge orientation.

Needs no weights. Colour is Lab at two blurs (6), texture its local deviation in two windows (6), and
orientation the gradient energy of lightness in four directions at two scales (8).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

NAME = "colour"
CHANNELS = 20
_BLURS_PX = (1.0, 4.0)
_WINDOWS_PX = (5, 15)
_GRADIENTS_PX = (1.0, 3.0)
_DIRECTIONS = 4


def lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB (..., 3) in 0..1 to CIE Lab (..., 3) float32 under D65: L in 0..100."""
    rgb = np.clip(rgb, 0, 1).astype(np.float32)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array(
        [
            [0.4124564 / 0.95047, 0.2126729, 0.0193339 / 1.08883],
            [0.3575761 / 0.95047, 0.7151522, 0.1191920 / 1.08883],
            [0.1804375 / 0.95047, 0.0721750, 0.9503041 / 1.08883],
        ],
        np.float32,
    )
    delta = 6 / 29
    root = np.where(xyz > delta**3, np.cbrt(xyz), xyz / (3 * delta**2) + 4 / 29)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1).astype(np.float32)


def encode(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) float RGB in 0..1 to (H, W, 20) float32, Lab units throughout, not yet standardised."""
    colors = lab(picture)
    parts = [ndimage.gaussian_filter(colors, (blur, blur, 0)) for blur in _BLURS_PX]
    for window in _WINDOWS_PX:
        mean = ndimage.uniform_filter(colors, (window, window, 1))
        square = ndimage.uniform_filter(colors * colors, (window, window, 1))
        parts.append(np.sqrt(np.maximum(square - mean * mean, 0)))
    for sigma in _GRADIENTS_PX:
        parts.append(_orientation_energy(colors[..., 0], sigma))
    return np.concatenate(parts, -1).astype(np.float32)


def _orientation_energy(lightness: np.ndarray, sigma: float) -> np.ndarray:
    """(H, W, 4): gradient strength shared among directions 0, 45, 90 and 135 degrees, pooled nearby."""
    dx = ndimage.gaussian_filter(lightness, sigma, order=(0, 1))
    dy = ndimage.gaussian_filter(lightness, sigma, order=(1, 0))
    strength, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    centres = np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS
    # cos² has period 180 degrees: light-to-dark and dark-to-light are one direction.
    shares = np.cos(angle[..., None] - centres) ** 2 / (_DIRECTIONS / 2)
    return ndimage.gaussian_filter(strength[..., None] * shares, (2 * sigma, 2 * sigma, 0))
