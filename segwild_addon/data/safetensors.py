"""A .safetensors file into numpy arrays that are read where they are touched.

The format: 8 bytes little-endian header length, a JSON header (name -> dtype, shape, data_offsets), the raw arrays.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..protocol.errors import InputError

_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
_LONGEST_HEADER = 100_000_000  # bytes, what the format itself allows


def mapped(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays by name, read-only views of the mapped file, and its metadata.

    The file stays open while any of the arrays lives. Raises InputError if it is missing or damaged.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _LONGEST_HEADER):
                raise ValueError("its header does not end")
            header = json.loads(file.read(length))
        if not isinstance(header, dict):
            raise ValueError("its header is no table")
        metadata = header.pop("__metadata__", None) or {}
        if not isinstance(metadata, dict):
            raise ValueError("its metadata is no table")
        data = np.memmap(path, np.uint8, "r")[8 + length :]
        return {name: _view(data, name, entry) for name, entry in header.items()}, metadata
    except FileNotFoundError as error:
        raise InputError("file-missing", f"A file is missing: {path}.") from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        raise InputError(
            "file-damaged", f"A file is damaged ({error}): {path}.", "Copy it again, or make it again."
        ) from error


def _view(data: np.ndarray, name: str, entry: Any) -> np.ndarray:
    if entry["dtype"] not in _TYPES:
        raise ValueError(f"{name} has numbers of type {entry['dtype']}")
    dtype = np.dtype(_TYPES[entry["dtype"]])
    shape, (start, end) = entry["shape"], entry["data_offsets"]
    if not all(type(number) is int and number >= 0 for number in (*shape, start, end)):
        raise ValueError(f"{name} has a wrong shape")
    if not start <= end <= len(data) or math.prod(shape) * dtype.itemsize != end - start:
        raise ValueError(f"{name} does not fit into the file")
    return data[start:end].view(np.ndarray).view(dtype).reshape(shape)
