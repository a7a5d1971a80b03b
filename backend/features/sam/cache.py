"""Embeddings of views, kept in the workspace: a view is embedded once per checkpoint."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backend.features.kept import kept
from backend.features.sam.network import Embedding, Network
from backend.scene import Workspace

LONG_SIDE = 640  # pixels of the views; the network enlarges them, and renders hold no more detail


def embedded(
    workspace: Workspace,
    photo: str,
    picture: Callable[[], np.ndarray],  # (H, W, 3) uint8 RGB; asked for only if it must be embedded
    size: tuple[int, int],  # H, W of the picture
    network: Network,
    stamp: str,  # hash of what the picture is made from
    *,
    folder: str = "sam",
) -> Embedding:
    """The embedding of a photo's view in float16, from embeddings/<folder>/<photo>.safetensors if it is that of the
    same size, stamp and checkpoint; else made, and kept there. 2 MB.
    """

    def made() -> dict[str, np.ndarray]:
        # Rounded at once, so that the first answer is that of every later one.
        return {"features": network.embed(picture()).features.astype(np.float16)}

    marks = {"splats": stamp, "network": network.digest, "size": f"{size[0]}x{size[1]}"}
    return Embedding(kept(workspace, folder, photo, marks, made)["features"], *size)
