"""Segment-anything (Kirillov et al., arXiv 2304.02643) with a checkpoint of the user's.

Owns finding and reading the checkpoint, what the network sees of a picture, and its answers to points and boxes. Of
the package `segment_anything` only the network's classes are used. What masks are for is decided in `segment`.
"""

from backend.features.sam.cache import LONG_SIDE, embedded
from backend.features.sam.checkpoint import PUBLISHED, find_checkpoint, on_this_machine, open_network
from backend.features.sam.network import Embedding, Network, Predicted

__all__ = [
    "LONG_SIDE",
    "PUBLISHED",
    "Embedding",
    "Network",
    "Predicted",
    "embedded",
    "find_checkpoint",
    "on_this_machine",
    "open_network",
]
