"""Arrays as `.npy` files that another program reads: named by their content, the oldest removed.

A file never changes once it has its name, so that whoever still reads an older answer reads what was meant.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from pathlib import Path
from typing import cast

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
    if path.exists():  # the same content: whoever has mapped it need not let go of it, which Windows would want
        with contextlib.suppress(OSError):
            os.utime(path)
    else:
        with written_whole(path) as file:
            file.write(encoded.getbuffer())
    _date_last(path, group)
    _remove_old(path, group, kept)
    return ArrayRef(f"{FOLDER}/{path.name}", cast(DType, array.dtype.name), array.shape, digest)


def _date_last(newest: Path, group: str) -> None:
    """Make it the youngest of its group: the clock may have been set back since the others were written."""
    youngest = max((_age(file) for file in newest.parent.glob(f"{group}-*") if file != newest), default=0)
    if youngest >= _age(newest):
        with contextlib.suppress(OSError):
            os.utime(newest, ns=(youngest + 1, youngest + 1))


def _age(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _remove_old(newest: Path, group: str, kept: int) -> None:
    files = sorted(newest.parent.glob(f"{group}-*"), key=_age)
    for file in files[: max(0, len(files) - kept)]:
        if file != newest:
            with contextlib.suppress(OSError):  # on Windows, someone still reads it
                file.unlink()
