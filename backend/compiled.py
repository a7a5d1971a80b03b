"""Where compiled code is kept: once per user, also when the package is read-only, apart for each state of its sources.

numba compiles a function anew when its own file changes, but not when one of those does from which it takes others: an
update would leave the old arithmetic in what was compiled before.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

_KEPT = 3  # states of the package, those used last


def cache_folder() -> Path:
    """The folder of this state of the package, which a process says here that it uses; older ones are cleared."""
    parent = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segwild" / "numba"
    package, digest = Path(__file__).parent, hashlib.blake2b(digest_size=8)
    for path in sorted(package.rglob("*.py")):
        # The renderer's constants and instructions are compiled into others' functions, too.
        if b"@njit" in (text := path.read_bytes()) or path.parent == package / "render":
            digest.update(text)
    folder = parent / digest.hexdigest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        for old in sorted(parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT:]:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    except OSError:  # a disk that is full or read-only: numba says so if it matters
        return folder
    return folder
