"""2D features of pictures into per-Gaussian features.

Owns neutral renders of photo poses, what describes a pixel, and the weighted sums that carry it onto
Gaussians. Does not own what features are used for: selections are made in `segment`.
"""

from backend.features.fingerprint import splat_hash
from backend.features.lift import Lifted, lift
from backend.features.neutral import Neutral
from backend.features.pca import principal_colors

__all__ = ["Lifted", "Neutral", "lift", "principal_colors", "splat_hash"]
