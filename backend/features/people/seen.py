"""What a network sees in a workspace's photos, kept there: it looks at each photo once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backend.capture.pictures import read_picture
from backend.features import weights
from backend.features.kept import kept
from backend.features.people.checkpoint import HINT, open_network
from backend.features.people.network import COME_AND_GO, LONG_SIDE_MAX, SHORT_SIDE, SURE_FROM, Network
from backend.progress import Progress
from backend.scene import Photo, Workspace

FOLDER = "people"


class People:
    """A checkpoint and a workspace, in whose embeddings/people/<photo>.safetensors its answers are kept."""

    def __init__(self, workspace: Workspace, checkpoint: Path, device: str = "cpu") -> None:
        """Raises InputError if there is no such file."""
        self.digest = weights.digest(weights.existing(checkpoint, HINT))
        self._workspace, self._checkpoint, self._device = workspace, checkpoint, device
        self._network: Network | None = None

    def look(self, photos: Sequence[Photo], progress: Progress) -> None:
        """Find and keep the candidates of every photo that has none yet; those of the others stay.

        Raises InputError for a file that is no checkpoint, SetupError if torchvision is missing; Cancelled with what
        was found so far kept.
        """
        progress.phase("Looking for passers-by", len(photos))
        for photo in photos:
            self.candidates(photo.name)
            progress.advance(1, photo.name)
        self._network = None  # its memory is the training's now

    def candidates(self, photo: str) -> np.ndarray:
        """(h, w) bool over the photo's picture at the network's size: where something is that comes and goes."""
        file = self._workspace.picture_file(photo)

        def made() -> dict[str, np.ndarray]:
            if self._network is None:
                self._network = open_network(self._checkpoint).to(self._device)
            return {"candidates": self._network.candidates(read_picture(file))}

        stamp = {
            "network": self.digest,
            "picture": weights.digest(file),
            "classes": f"{' '.join(COME_AND_GO)} from {SURE_FROM:g}",
            "sides": f"{SHORT_SIDE} {LONG_SIDE_MAX}",
        }
        return kept(self._workspace, FOLDER, photo, stamp, made)["candidates"]
