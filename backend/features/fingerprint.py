"""The Gaussians' file into a short name, by which everything derived from it is recognised as stale."""

from __future__ import annotations

import hashlib

from backend.scene import Workspace

_CHUNK_BYTES = 1 << 22


def splat_hash(workspace: Workspace) -> str:
    """BLAKE2 of splats/base.safetensors, 32 hex digits; empty if there are no Gaussians yet."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with workspace.splats.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except FileNotFoundError:
        return ""
    return digest.hexdigest()
