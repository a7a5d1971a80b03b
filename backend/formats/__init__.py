"""Exchange formats: one file each, turning a splat file into `Gaussians` and back.

A format module owns its encoding, field names and order, and every way in which a foreign file can be
wrong. It does not own looks (baked before), frames beyond the one similarity it is handed, or workspaces.

How do I add a file format?

1. Write `<format>.py` with `read_<format>(path, progress) -> Gaussians` (InputError for a file that cannot
   be used, `progress.warn` with a count for rows left out) and `write_<format>(path, gaussians, *,
   world_from_scene, progress)`, whole or not at all (`backend.scene.files.written_whole`). One direction
   alone is fine. What all formats do alike with rows is in `rows.py`; say the format's axes in the docstring.
2. Check what the header claims against the file's size before allocating anything.
3. Add its suffix to `READERS` and `WRITERS` below; the commands find it there.
4. Test it: a round trip, each field against another program's reader, a truncated file, rows of NaN.
5. Name the suffix in the help of `Import` and `Export` in `segwild_addon/protocol/requests.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from backend.formats.checkpoint import read_checkpoint
from backend.formats.ply import read_ply, write_ply
from backend.formats.splat import read_splat, write_splat
from backend.formats.spz import read_spz, write_spz
from backend.scene.gaussians import Gaussians
from segwild_addon.protocol.errors import InputError

READERS: Mapping[str, Callable[..., Gaussians]] = {
    ".ply": read_ply,
    ".splat": read_splat,
    ".spz": read_spz,
    ".pt": read_checkpoint,
    ".ckpt": read_checkpoint,
    ".pth": read_checkpoint,
}
WRITERS: Mapping[str, Callable[..., None]] = {".ply": write_ply, ".splat": write_splat, ".spz": write_spz}


def reader_of(path: Path) -> Callable[..., Gaussians]:
    """The function that reads files of this suffix. Raises InputError for an unknown one."""
    return _by_suffix(READERS, path, "read")


def writer_of(path: Path) -> Callable[..., None]:
    """The function that writes files of this suffix. Raises InputError for an unknown one."""
    return _by_suffix(WRITERS, path, "written")


def _by_suffix(table: Mapping[str, Any], path: Path, verb: str) -> Any:
    try:
        return table[path.suffix.lower()]
    except KeyError:
        suffix = f"Files ending in {path.suffix}" if path.suffix else "Files without a suffix"
        raise InputError(
            "unknown-format", f"{suffix} cannot be {verb}: {path}.", f"Known formats: {', '.join(table)}."
        ) from None


__all__ = [
    "READERS",
    "WRITERS",
    "read_checkpoint",
    "read_ply",
    "read_splat",
    "read_spz",
    "reader_of",
    "write_ply",
    "write_splat",
    "write_spz",
    "writer_of",
]
