"""Arrays as `.npy` files that another program reads: named by their content, the oldest removed.

A file never changes once it has its name, so that whoever still reads an older answer reads what was meant.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any, cast

import numpy as np

from backend.scene.files import written_whole
from segwild_addon.protocol.values import ITEM_BYTES, ArrayRef, DType

FOLDER = "previews"


def handed_out(root: Path, group: str, array: np.ndarray, *, kept: int) -> ArrayRef:
    """Write an array into the workspace at `root`; of its `group`, the newest `kept` files stay.

    Raises ResourceError if the disk is full.
    """
    assert array.dtype.name in ITEM_BYTES, array.dtype
    encoded = io.BytesIO()
    np.save(encoded, np.ascontiguousarray(array))
    digest = hashlib.blake2b(encoded.getbuffer(), digest_size=16).hexdigest()
    path = root / FOLDER / f"{group}-{digest}.npy"
    with written_whole(path) as file:
        file.write(encoded.getbuffer())
    _remove_old(path, group, kept)
    return ArrayRef(f"{FOLDER}/{path.name}", cast(DType, array.dtype.name), array.shape, digest)


def _remove_old(newest: Path, group: str, kept: int) -> None:
    def age(entry: os.DirEntry[Any]) -> int:
        try:
            return entry.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    entries = [entry for entry in os.scandir(newest.parent) if entry.name.startswith(f"{group}-")]
    for entry in sorted(entries, key=age)[: max(0, len(entries) - kept)]:
        if entry.name != newest.name:
            try:
                os.unlink(entry.path)
            except OSError:  # on Windows, someone still reads it
                continue
