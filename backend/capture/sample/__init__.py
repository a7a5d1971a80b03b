"""The bundled sample: a collection of photos of an invented square, with exact truth beside it.

Owns the square, its visitors and its light, and their ray-cast pictures. Shares nothing with the splat
renderer, so that what is measured against the sample is measured against something else. Does not own
how photos become cameras or Gaussians.
"""

from backend.capture.sample.collection import Collection, SampleObject, SamplePhoto, developed, generate
from backend.capture.sample.light import NEUTRAL, Light
from backend.capture.sample.truth import Click, SurfacePoints

__all__ = [
    "NEUTRAL",
    "Click",
    "Collection",
    "Light",
    "SampleObject",
    "SamplePhoto",
    "SurfacePoints",
    "developed",
    "generate",
]
