"""Arrays that were made of a photo, kept in the workspace until what they were made from changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from backend.scene import Workspace
from backend.scene.files import read_arrays, write_arrays
from segwild_addon.protocol.errors import InputError


def kept(
    workspace: Workspace,
    folder: str,
    photo: str,
    stamp: Mapping[str, str],  # what they depend on
    made: Callable[[], dict[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Those in embeddings/<folder>/<photo>.safetensors if they carry the stamp; else made, and kept there."""
    path = workspace.root / "embeddings" / folder / f"{photo}.safetensors"
    if path.exists():
        try:
            arrays, metadata = read_arrays(path)
        except InputError:
            metadata = {}  # damaged: made again
        if stamp.items() <= metadata.items() and metadata:
            return arrays
    arrays = made()
    write_arrays(path, arrays, dict(stamp))
    return arrays
