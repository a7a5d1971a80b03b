"""Rows into the two compact formats that viewers in a browser read: .spz and .splat.

.splat (github.com/antimatter15/splat) has 32 bytes a splat and one colour for all directions. .spz (version 2,
github.com/nianticlabs/spz) is one gzip stream of columns, a tenth of a .ply, with y up and z back where a .ply has y
down and z forward.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..protocol.errors import InputError
from .harmonics import turned
from .rows import Rows
from .steps import Steps
from .whole import written_whole

_CHUNK_ROWS = 1 << 16
_C0 = 0.28209479177387814
_SPLAT = np.dtype([("place", "<f4", 3), ("size", "<f4", 3), ("colour", "u1", 4), ("turn", "u1", 4)])
_SPZ_MAGIC, _SPZ_VERSION, _SPZ_MOST = 0x5053474E, 2, 10_000_000  # what Niantic's own reader takes
_SPZ_FINEST, _SPZ_COLOUR = 16, 0.15
_UPRIGHT = np.diag([1.0, -1.0, -1.0])


def writing_splat(path: Path, rows: Rows) -> Steps[int]:
    """Rows as a .splat, whole or not at all; returns how many. Colour that depends on the direction is left out.

    Raises InputError if no row is left, ResourceError if the file cannot be written.
    """
    rows = _finite(rows, path)
    with written_whole(path) as file:
        for start in range(0, len(rows), _CHUNK_ROWS):
            part = rows.take(np.arange(start, min(start + _CHUNK_ROWS, len(rows))))
            table = np.empty(len(part), _SPLAT)
            table["place"], table["size"] = part.positions, part.scales
            table["colour"] = _bytes(255 * np.c_[0.5 + _C0 * part.base[:, :3], part.base[:, 3]])
            table["turn"] = _bytes(128 * part.rotations + 128)
            file.write(table.tobytes())
            yield (start + len(part)) / len(rows)
    return len(rows)


def writing_spz(path: Path, rows: Rows) -> Steps[int]:
    """Rows as a .spz of version 2, whole or not at all; returns how many.

    Raises InputError if no row is left, there are too many or they reach too far, ResourceError as above.
    """
    rows = _finite(rows, path)
    if len(rows) > _SPZ_MOST:
        raise InputError("spz-too-many", f"A .spz holds {_SPZ_MOST:,} splats at most: {path}.", "Write a .ply.")
    farthest = float(np.abs(rows.positions).max())
    bits = min(_SPZ_FINEST, 23 - math.frexp(farthest)[1])  # farthest · 2^bits < 2^23
    if bits < 0:
        raise InputError("spz-too-far", f"A .spz holds no place that is {farthest:.3g} away: {path}.", "Write a .ply.")
    rows = _upright(rows)
    fixed = np.rint(rows.positions.astype(float) * 2.0**bits).clip(-(2**23), 2**23 - 1).astype("<i4")
    with np.errstate(divide="ignore"):  # a flat splat has the smallest size there is
        sizes = 16 * (np.log(rows.scales) + 10)
    parts = (
        fixed[..., None].view(np.uint8)[..., :3],
        _bytes(255 * rows.base[:, 3]),
        _bytes(255 * (_SPZ_COLOUR * rows.base[:, :3] + 0.5)),
        _bytes(sizes),
        _bytes(127.5 * _with_large_w(rows.rotations)[:, 1:] + 127.5),
        _coarse(rows.sh),
    )
    header = struct.pack("<IIIBBBB", _SPZ_MAGIC, _SPZ_VERSION, len(rows), rows.degree, bits, 0, 0)
    whole = sum(part.nbytes for part in parts)
    done = 0
    with written_whole(path) as file:
        deflate = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
        file.write(deflate.compress(header))
        for part in parts:
            data = memoryview(np.ascontiguousarray(part).reshape(-1))
            for start in range(0, len(data), 1 << 20):
                piece = data[start : start + (1 << 20)]
                file.write(deflate.compress(piece))
                done += len(piece)
                yield done / whole
        file.write(deflate.flush())
    return len(rows)


def _finite(rows: Rows, path: Path) -> Rows:
    good = np.isfinite(rows.positions).all(1) & np.isfinite(rows.scales).all(1) & np.isfinite(rows.rotations).all(1)
    good &= np.isfinite(rows.base).all(1) & np.isfinite(rows.sh).all((1, 2))
    if not good.any():
        raise InputError("nothing-to-write", f"There is no splat to write: {path}.", "Choose objects with splats.")
    return rows if good.all() else rows.take(np.flatnonzero(good))


def _upright(rows: Rows) -> Rows:
    """Half a turn about x: signs alone change."""
    return replace(
        rows,
        positions=rows.positions * np.float32([1, -1, -1]),
        rotations=rows.rotations * np.float32([1, 1, -1, -1]),
        sh=turned(rows.sh, _UPRIGHT),
    )


def _with_large_w(quats: np.ndarray) -> np.ndarray:
    """Unit quaternions (N, 4) wxyz of the same ellipsoids with the largest w, positive: w is not written, and a small
    one comes out wrong. Half a turn about an axis of its own leaves an ellipsoid as it is, and w is another entry.
    """
    w, x, y, z = quats.T
    alike = np.stack([[w, x, y, z], [-x, w, z, -y], [-y, -z, w, x], [-z, y, -x, w]]).transpose(2, 0, 1)
    chosen = alike[np.arange(len(quats)), np.abs(quats).argmax(1)]
    return np.where(chosen[:, :1] < 0, -chosen, chosen)


def _coarse(sh: np.ndarray) -> np.ndarray:
    """(N, 3·(K-1)) uint8: 5 bits of what is in degree 1, 4 bits of the rest, as Niantic's own files have them."""
    step = np.where(np.arange(sh.shape[1]) < 3, 8, 16)[:, None]
    return _bytes((np.rint(128 * sh + 128) + step // 2) // step * step).reshape(len(sh), -1)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)
