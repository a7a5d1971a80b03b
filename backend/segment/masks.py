"""Masks of everything in a photo's view, kept in masks/<segmenter>/<photo>.npz: packed bits, and what made them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.scene import Workspace
from backend.scene.files import written_whole
from backend.segment.segmenters import Generated
from backend.segment.suppression import unpacked
from segwild_addon.protocol.errors import InputError


@dataclass(frozen=True, eq=False)
class Masks:
    """Those of one view, best score first."""

    masks: np.ndarray  # (n, ceil(H·W/8)) uint8, see `suppression.packed`
    size: np.ndarray  # (2,) int32, H and W of the view
    scores: np.ndarray  # (n,) float32
    stability: np.ndarray  # (n,) float32
    points: np.ndarray  # (n, 2) float32, pixels
    parent: np.ndarray  # (n,) int32, the smallest mask around each; -1: none

    @classmethod
    def of(cls, generated: Generated, parent: np.ndarray) -> Masks:
        size = np.array([generated.height, generated.width], np.int32)
        return cls(generated.masks, size, generated.scores, generated.stability, generated.points, parent)

    @property
    def pixels(self) -> np.ndarray:
        """(n, H, W) bool."""
        return unpacked(self.masks, *self.size.tolist())

    def save(self, workspace: Workspace, segmenter: str, photo: str, stamp: Mapping[str, str]) -> None:
        marks = np.array([f"{name}={value}" for name, value in sorted(stamp.items())])
        with written_whole(masks_file(workspace, segmenter, photo)) as file:
            np.savez(file, stamp=marks, **vars(self))

    @classmethod
    def load(
        cls, workspace: Workspace, segmenter: str, photo: str, stamp: Mapping[str, str] | None = None
    ) -> Masks | None:
        """None if there are none, or `stamp` says otherwise than theirs. Raises InputError if damaged."""
        path = masks_file(workspace, segmenter, photo)
        if not path.exists():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                marks = set(arrays["stamp"].tolist())
                found = cls(**{name: arrays[name] for name in arrays.files if name != "stamp"})
                rows = {len(found.masks), len(found.scores), len(found.points), len(found.parent)}
                if len(rows) != 1 or found.masks.shape[1] != -(-int(found.size.prod()) // 8):
                    raise ValueError("sizes differ")
        except (OSError, ValueError, KeyError, TypeError, EOFError, IndexError, zipfile.BadZipFile) as error:
            raise InputError(
                "file-damaged", f"Not a file of masks ({error}): {path}.", "Delete it and run segwild masks again."
            ) from error
        if stamp is not None and not marks >= {f"{name}={value}" for name, value in stamp.items()}:
            return None
        return found


def masks_file(workspace: Workspace, segmenter: str, photo: str) -> Path:
    return workspace.root / "masks" / segmenter / f"{photo}.npz"
