"""Gaussians and cameras into pixels, and pixels back onto Gaussians.

Owns projection, compositing, spherical harmonics, and the choice of engine; the only importer of gsplat
and of the compiled kernels. Does not own what a colour means: appearance is baked before it gets here.
"""

from backend.render.accumulate import Seen, accumulate, depth, render_channels, top_contributors
from backend.render.cells import Cells
from backend.render.cpu import Threads, picked
from backend.render.cuda_seen import seen_by
from backend.render.engine import chosen_engine
from backend.render.harmonics import Light, Relight
from backend.render.rasterize import Rendered, rasterize

__all__ = [
    "Cells",
    "Light",
    "Relight",
    "Rendered",
    "Seen",
    "Threads",
    "accumulate",
    "chosen_engine",
    "depth",
    "picked",
    "rasterize",
    "render_channels",
    "seen_by",
    "top_contributors",
]
