"""A 3DGS .ply into encoded Gaussians, and rows into one.

The layout of the original code, which every viewer reads: x y z, nx ny nz (unused), f_dc_0..2, f_rest_* channel-major
(all of red, then green, then blue), opacity as a logit, scale_0..2 as natural logarithms, rot_0..3 as w x y z.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from ..protocol.errors import InputError
from .encoded import ROWS_MAX, Encoded, log_sizes, logits
from .plyheader import Vertices, read_header
from .rows import SH_COUNTS, Rows
from .steps import Steps
from .whole import written_whole

_POSITION = ("x", "y", "z")
_COLOUR = ("f_dc_0", "f_dc_1", "f_dc_2")
_SIZES = ("scale_0", "scale_1", "scale_2")
_TURN = ("rot_0", "rot_1", "rot_2", "rot_3")
_REQUIRED = (*_POSITION, *_COLOUR, "opacity", *_SIZES, *_TURN)
_CHUNK_ROWS = 1 << 14  # a few megabytes


def read(path: Path) -> Encoded:
    """The Gaussians of a binary or text .ply, in the file's own frame and order, mapped where that is possible.

    Raises InputError if the file is missing, cut short, malformed or holds no splats.
    """
    try:
        with path.open("rb") as file:
            vertices = read_header(file, path)
            start = file.tell() + vertices.bytes_before
            size = file.seek(0, os.SEEK_END)
        rest = _checked(vertices, path)
        cut_short = InputError(
            "ply-cut-short",
            f"The .ply should hold {vertices.count:,} splats but ends before them: {path}.",
            "Copy or download it again.",
        )
        if not vertices.byte_order:
            # A number and what parts it from the next take two bytes at least.
            if 2 * vertices.count * len(vertices.types) > size:
                raise cut_short
            return _gaussians(_from_text(path, vertices, cut_short), rest)
        dtype = np.dtype([(name, vertices.byte_order + kind) for name, kind in vertices.types.items()])
        if start + vertices.count * dtype.itemsize > size:
            raise cut_short
        table = np.memmap(path, dtype, "r", offset=start, shape=vertices.count).view(np.ndarray)
    except FileNotFoundError as error:
        raise InputError("file-missing", f"A file is missing: {path}.") from error
    except OSError as error:
        raise InputError("file-unreadable", f"A file cannot be read ({error.strerror or error}): {path}.") from error
    return _gaussians(table, rest)


def writing(path: Path, rows: Rows, *, with_ids: bool = False) -> Steps[int]:
    """Rows as a binary .ply, whole or not at all; returns how many were written.

    Rows that are not finite are left out. `with_ids` adds the integers segwild_id and segwild_label, which other
    programs ignore. Raises InputError if no row is left, ResourceError if the file cannot be written.
    """
    chosen = np.flatnonzero(rows.finite())
    if not len(chosen):
        raise InputError("nothing-to-write", f"There is no splat to write: {path}.", "Choose objects with splats.")
    bases = rows.sh.shape[1]
    names = [*_POSITION, "nx", "ny", "nz", *_COLOUR, *(f"f_rest_{k}" for k in range(3 * bases)), "opacity"]
    names += [*_SIZES, *_TURN]
    dtype = np.dtype([("floats", "<f4", len(names)), *([("ids", "<i4", 2)] if with_ids else [])])
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(chosen)}"]
    lines += [f"property float {name}" for name in names]
    lines += ["property int segwild_id", "property int segwild_label"] if with_ids else []
    header = "\n".join([*lines, "end_header", ""]).encode()

    with written_whole(path) as file:
        file.write(header)
        for start in range(0, len(chosen), _CHUNK_ROWS):
            part = chosen[start : start + _CHUNK_ROWS]
            table = np.zeros(len(part), dtype)
            floats = table["floats"]
            floats[:, 0:3] = rows.positions[part]
            floats[:, 6:9] = rows.base[part, :3]
            for k in range(bases):
                floats[:, 9 + k : 9 + 3 * bases : bases] = rows.sh[:, k][part]
            floats[:, -8] = logits(rows.base[part, 3])
            floats[:, -7:-4] = log_sizes(rows.scales[part])
            floats[:, -4:] = rows.rotations[part]
            if with_ids:
                table["ids"] = np.stack([rows.ids[part], rows.labels[part]], axis=1)
            file.write(table.tobytes())
            yield (start + len(part)) / len(chosen)
    return len(chosen)


def _checked(vertices: Vertices, path: Path) -> int:
    """The number of harmonics beyond the constant one. Raises InputError for what is no splat file."""
    missing = [name for name in _REQUIRED if name not in vertices.types]
    if set(missing) >= set(_REQUIRED[3:]):
        raise InputError(
            "ply-no-splats",
            f"This .ply is a point cloud or mesh, not splats (no f_dc, opacity, scale, rot): {path}.",
            "Choose a .ply that a 3D Gaussian Splatting program has written.",
        )
    if missing:
        raise InputError("ply-fields-missing", f"The .ply lacks {', '.join(missing)}: {path}.", "Choose a 3DGS .ply.")
    rest = [name for name in vertices.types if name.startswith("f_rest_")]
    if set(rest) != {f"f_rest_{k}" for k in range(len(rest))} or len(rest) not in {3 * n for n in SH_COUNTS}:
        raise InputError(
            "ply-harmonics",
            f"The .ply has {len(rest)} f_rest fields; 0, 9, 24 or 45 in sequence are expected: {path}.",
            "Export it with spherical harmonics of degree 0 to 3.",
        )
    if not vertices.count:
        raise InputError("ply-empty", f"The .ply holds no splats at all: {path}.", "Choose another file.")
    if vertices.count > ROWS_MAX:
        raise InputError("ply-too-large", f"The .ply claims {vertices.count:,} splats: {path}.", "Choose another file.")
    return len(rest) // 3


def _from_text(path: Path, vertices: Vertices, cut_short: InputError) -> np.ndarray:
    with path.open("rb") as file:
        read_header(file, path)
        for _ in range(vertices.lines_before):
            if not file.readline():
                raise cut_short
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # "input contained no data": told below
                numbers = np.loadtxt(file, np.float64, max_rows=vertices.count, ndmin=2, comments=None)
        except (ValueError, UnicodeDecodeError) as error:
            raise InputError("ply-malformed", f"The .ply has a line that is not numbers ({error}): {path}.") from error
    if len(numbers) < vertices.count:
        raise cut_short
    if numbers.shape[1] != len(vertices.types):
        raise InputError(
            "ply-malformed",
            f"The .ply has {numbers.shape[1]} numbers per line, its header says {len(vertices.types)}: {path}.",
        )
    table = np.empty(len(numbers), [(name, np.float64) for name in vertices.types])
    for k, name in enumerate(vertices.types):
        table[name] = numbers[:, k]
    return table


def _gaussians(table: np.ndarray, bases: int) -> Encoded:
    """Views of the table where its fields are float32 in the usual order, copies where they are not."""

    def block(*names: str) -> np.ndarray:  # (N, len(names)) float32
        offsets = [table.dtype.fields[name][1] for name in names]
        plain = all(table.dtype[name] == np.dtype("<f4") for name in names)
        if plain and offsets == list(range(offsets[0], offsets[0] + 4 * len(names), 4)):
            return np.ndarray((len(table), len(names)), "<f4", table, offsets[0], (table.strides[0], 4))
        result = np.empty((len(table), len(names)), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 becomes infinite, and is left out later
            for k, name in enumerate(names):
                result[:, k] = table[name]
        return result

    sh = np.zeros((len(table), 0, 3), np.float32)
    if bases:
        flat = block(*(f"f_rest_{k}" for k in range(3 * bases)))
        step = flat.strides[1]
        # Coefficient k is (k, bases + k, 2·bases + k) of the flat row.
        sh = np.lib.stride_tricks.as_strided(flat, (len(table), bases, 3), (flat.strides[0], step, bases * step))
    return Encoded(
        means=block(*_POSITION),
        quats=block(*_TURN),
        log_scales=block(*_SIZES),
        opacity_logits=block("opacity")[:, 0],
        sh0=block(*_COLOUR)[:, None],
        shN=sh,
    )
