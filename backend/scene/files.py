"""Files that are either whole or not there: atomic writes, and reads that blame the right file."""

from __future__ import annotations

import errno
import json
import math
import mmap
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as encode_safetensors

from segwild_addon.protocol.errors import InputError, ResourceError

_PART = ".part"
_ZEROS = 1 << 22  # bytes written at once
_TENSOR_TYPES = {"float16": "F16", "float32": "F32", "bool": "BOOL"}
_READING_SECS = 2.0 if os.name == "nt" else 0.0


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A binary file that appears at `path` only when the block ends without an exception.

    Temporary file beside it, fsync, rename: after a kill at any instant `path` holds the old content or
    the new. Raises ResourceError if the disk is full or the folder cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A photo's name may be as long as the file system allows; the temporary one must not be longer.
        prefix = f".{path.name[:20]}.{os.getpid()}."
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=prefix, suffix=_PART, delete=False) as file:
            temporary = Path(file.name)
            yield file  # type: ignore[misc]
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        take_name(temporary, path)
    except OSError as error:
        raise disk_trouble(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def take_name(temporary: Path, path: Path) -> None:
    """Rename. Windows replaces no file that someone reads: there readers are given a moment."""
    deadline = time.monotonic() + _READING_SECS
    while True:
        try:
            temporary.replace(path)
            return
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.02)


def clear_parts(root: Path) -> None:
    """Remove what writers that were killed left below `root`; files that are being written stay."""
    for part in root.rglob(f".*{_PART}"):
        writer = part.name.removesuffix(_PART).split(".")[-2]
        if not (writer.isdigit() and _alive(int(writer))):
            part.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    if os.name == "nt":
        return True  # there, signal 0 would interrupt the process; leftovers stay
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def disk_trouble(error: OSError, path: Path) -> ResourceError:
    """The sentence for an operating-system error met while writing `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(
            "disk-full", f"The disk is full: {path} was not written.", "Free some space and run again."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ResourceError(
            "not-writable", f"Writing is not allowed: {path}.", "Choose another folder or change its permissions."
        )
    return ResourceError(
        "write-failed", f"Writing failed ({error.strerror or error}): {path}.", "Check the path and the disk."
    )


def write_json(path: Path, value: Any) -> None:
    with written_whole(path) as file:
        # File names that are not UTF-8 hold lone surrogates; a backslash escape is their JSON form too.
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
        file.write(text.encode(errors="backslashreplace"))


def read_json(path: Path) -> Any:
    """Raises InputError if the file is missing or not JSON (NaN is not)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise InputError("file-missing", f"A file is missing: {path}.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            "file-damaged", f"A file cannot be read as JSON ({error}): {path}.", "Restore it, or make it again."
        ) from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """Arrays by name as one safetensors file."""
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with written_whole(path) as file:
        # None: safetensors 0.8 writes a broken header for no arrays and empty metadata.
        file.write(encode_safetensors(contiguous, dict(metadata) if metadata else None))


@contextmanager
def arrays_written(
    path: Path, shapes: Mapping[str, tuple[type[np.generic], tuple[int, ...]]], metadata: Mapping[str, str]
) -> Iterator[dict[str, np.ndarray]]:
    """Arrays on disk to be filled piece by piece, for those that memory should not hold: zeros at first.

    The safetensors file appears at `path` when the block ends without an exception. Its room is taken at once, so
    that a full disk is an error here and not a crash at some later assignment. Raises ResourceError then.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    place, parts = 0, {}
    # Wide types first: everything is then aligned.
    for name, (kind, shape) in sorted(shapes.items(), key=lambda item: -np.dtype(item[1][0]).itemsize):
        dtype = np.dtype(kind)
        size = dtype.itemsize * math.prod(shape)
        header[name] = {"dtype": _TENSOR_TYPES[dtype.name], "shape": list(shape), "data_offsets": [place, place + size]}
        parts[name] = (place, dtype, shape)
        place += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with written_whole(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for first in range(0, place, _ZEROS):
            file.write(bytes(min(_ZEROS, place - first)))
        file.flush()
        start = 8 + len(text)
        arrays = {
            name: np.memmap(file.name, dtype, "r+", start + offset, shape)
            if math.prod(shape)
            else np.zeros(shape, dtype)
            for name, (offset, dtype, shape) in parts.items()
        }
        yield arrays
        for array in arrays.values():
            if isinstance(array, np.memmap):
                array.flush()
        arrays.clear()  # Windows renames no file that is mapped


def let_go(array: np.ndarray) -> None:
    """Give back the memory of an array of `arrays_written`; what was written stays. Nothing for other arrays."""
    mapped = getattr(array, "_mmap", None)
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def read_arrays(path: Path, *wanted: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays by name, and the metadata. Raises InputError if the file is missing or damaged.

    With names, only those arrays that are there, and nothing else of the file is read.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if not wanted or name in wanted]  # noqa: SIM118
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except FileNotFoundError as error:
        raise InputError("file-missing", f"A file is missing: {path}.") from error
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:  # the last two: foreign dtypes
        raise InputError(
            "file-damaged", f"A file is damaged ({error}): {path}.", "Delete it and run the stage that makes it again."
        ) from error
