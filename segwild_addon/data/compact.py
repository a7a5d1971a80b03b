"""Rows into the two compact formats that viewers in a browser read: .spz and .splat.

.splat (github.com/antimatter15/splat) has 32 bytes a splat and one colour for all directions. .spz (version 2,
github.com/nianticlabs/spz) is one gzip stream of columns, a tenth of a .ply, with y up and z back where a .ply has y
down and z forward.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable
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
_SPZ_FLATTEST = np.float32(1e-30)  # a flat splat has the smallest size there is
_UPRIGHT = np.diag([1.0, -1.0, -1.0])  # half a turn about x
_UPRIGHT_QUAT = np.float32([1, 1, -1, -1])  # the same of a quaternion, turned about too: signs alone change


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
    signs = np.rint(turned(np.ones((1, rows.sh.shape[1], 3), np.float32), _UPRIGHT))
    columns: tuple[Callable[[slice], np.ndarray], ...] = (
        lambda part: _fixed(rows.positions[part] * _UPRIGHT.diagonal(), bits),
        lambda part: _bytes(255 * rows.base[part, 3]),
        lambda part: _bytes(255 * (_SPZ_COLOUR * rows.base[part, :3] + 0.5)),
        lambda part: _bytes(16 * (np.log(np.maximum(rows.scales[part], _SPZ_FLATTEST)) + 10)),
        lambda part: _bytes(127.5 * _with_large_w(rows.rotations[part] * _UPRIGHT_QUAT)[:, 1:] + 127.5),
        lambda part: _coarse(rows.sh[part] * signs),
    )
    header = struct.pack("<IIIBBBB", _SPZ_MAGIC, _SPZ_VERSION, len(rows), rows.degree, bits, 0, 0)
    with written_whole(path) as file:
        # Rounded numbers of many splats repeat themselves by chance alone: but for runs of one byte a search for
        # repetitions takes most of the time and makes larger files. 64 MB of harmonics: 9.6 s and 31 %, or 1.0 s and
        # 28 %; a trained scene's: 2.5 s and 9.9 %, or 0.4 s and 9.2 %.
        deflate = zlib.compressobj(wbits=16 + zlib.MAX_WBITS, strategy=zlib.Z_RLE)
        file.write(deflate.compress(header))
        for number, column in enumerate(columns):
            for start in range(0, len(rows), _CHUNK_ROWS):
                data = column(slice(start, start + _CHUNK_ROWS))
                file.write(deflate.compress(np.ascontiguousarray(data).data))
                yield (number + min(1.0, (start + _CHUNK_ROWS) / len(rows))) / len(columns)
        file.write(deflate.flush())
    return len(rows)


def _finite(rows: Rows, path: Path) -> Rows:
    good = rows.finite()
    if not good.any():
        raise InputError("nothing-to-write", f"There is no splat to write: {path}.", "Choose objects with splats.")
    return rows if good.all() else rows.take(np.flatnonzero(good))


def _fixed(places: np.ndarray, bits: int) -> np.ndarray:
    """(N, 3, 3) uint8, coordinates as little-endian integers of 24 bits, `bits` of them behind the point."""
    whole = np.rint(places * 2.0**bits).clip(-(2**23), 2**23 - 1).astype("<i4")
    return whole[..., None].view(np.uint8)[..., :3]


def _with_large_w(quats: np.ndarray) -> np.ndarray:
    """Unit quaternions (N, 4) wxyz of the same ellipsoids with the largest w, positive: w is not written, and a small
    one comes out wrong. Half a turn about an axis of its own leaves an ellipsoid as it is, and w is another entry.
    """
    w, x, y, z = quats.T
    alike = np.stack([[w, x, y, z], [-x, w, z, -y], [-y, -z, w, x], [-z, y, -x, w]]).transpose(2, 0, 1)
    chosen = alike[np.arange(len(quats)), np.abs(quats).argmax(1)]
    return np.where(chosen[:, :1] < 0, -chosen, chosen)


def _coarse(sh: np.ndarray) -> np.ndarray:
    """(N, K-1, 3) uint8: 5 bits of what is in degree 1, 4 bits of the rest, as Niantic's own files have them."""
    levels = np.arange(256)
    result = np.empty(sh.shape, np.uint8)
    for k in range(sh.shape[1]):
        step = 8 if k < 3 else 16
        coarse = ((levels + step // 2) // step * step).clip(0, 255).astype(np.uint8)
        result[:, k] = coarse[_bytes(128 * sh[:, k] + 128)]
    return result


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)
