"""Embeddings of views, kept in the workspace: a view is embedded once per checkpoint."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from backend.features.sam.network import Embedding, Network
from backend.scene import Workspace
from backend.scene.files import read_arrays, write_arrays
from segwild_addon.protocol.errors import InputError

FOLDER = "sam"


def embedded(workspace: Workspace, photo: str, picture: np.ndarray, network: Network) -> Embedding:
    """The embedding of a picture (H, W, 3) uint8 RGB in float16, from embeddings/sam/<photo>.safetensors if it is that
    of the same picture and checkpoint; else made, and kept there. 2 MB.
    """
    path = workspace.root / "embeddings" / FOLDER / f"{photo}.safetensors"
    stamp = {"picture": picture_hash(picture), "network": network.digest}
    features = _kept(path, stamp)
    if features is None:
        # Rounded at once, so that the first answer is that of every later one.
        features = network.embed(picture).features.astype(np.float16)
        write_arrays(path, {"features": features}, stamp)
    return Embedding(features, *picture.shape[:2])


def picture_hash(picture: np.ndarray) -> str:
    """BLAKE2 of a picture's size and pixels, 32 hex digits."""
    digest = hashlib.blake2b(repr(picture.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()


def _kept(path: Path, stamp: dict[str, str]) -> np.ndarray | None:
    if not path.exists():
        return None
    try:
        arrays, metadata = read_arrays(path)
    except InputError:
        return None  # damaged: made again
    features = arrays.get("features")
    fits = features is not None and features.dtype == np.float16 and features.ndim == 3
    return features if fits and stamp.items() <= metadata.items() else None
