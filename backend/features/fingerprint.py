"""The Gaussians' file into a short name, by which everything derived from it is recognised as stale."""

from __future__ import annotations

import hashlib
import os

from backend.scene import Workspace

_CHUNK_BYTES = 1 << 22
_REMEMBERED = 8  # files
_known: dict[tuple[str, int, int, int], str] = {}


def splat_hash(workspace: Workspace) -> str:
    """BLAKE2 of splats/base.safetensors, 32 hex digits; empty if there are no Gaussians yet.

    Reading takes a quarter of a second per million rows, and every touch of an object asks: a file is read once. It
    is never written into, but replaced by another, which has a number and a time of its own.
    """
    try:
        with workspace.splats.open("rb") as file:
            about = os.fstat(file.fileno())
            key = (str(workspace.splats), about.st_mtime_ns, about.st_size, about.st_ino)
            if (known := _known.get(key)) is not None:
                return known
            digest = hashlib.blake2b(digest_size=16)
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except FileNotFoundError:
        return ""
    if len(_known) >= _REMEMBERED:
        _known.clear()
    name = _known[key] = digest.hexdigest()
    return name
