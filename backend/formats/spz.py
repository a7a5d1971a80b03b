"""A .spz into Gaussians and back: Niantic's compressed splats, about a tenth of a .ply.

The layout is that of github.com/nianticlabs/spz. Version 2 is written, versions 2 and 3 are read. A file is
one gzip stream; in it, little-endian:

    header      uint32 magic 0x5053474e ("NGSP"), uint32 version, uint32 count, uint8 harmonic degree,
                uint8 fractional bits, uint8 flags (1: trained with antialiasing, 2: extensions), uint8 0

and then, one attribute after the other, each for all splats:

    position    3 × int24, fixed point with so many fractional bits
    opacity     uint8
    colour      3 × uint8 of (0.15·sh0 + 0.5)·255: wider than 0..1
    size        3 × uint8 of (ln s + 10)·16
    rotation    version 2: x y z of a unit quaternion whose w is positive, 3 × uint8 of 127.5·q + 127.5
                version 3: uint32; its two highest bits name the largest of x y z w, which is positive and left
                out, then 10 bits each of the others in that order: a sign, and 9 bits of |q|·511·sqrt(2)
    harmonics   degree 1 and up: uint8 of 128·c + 128, the channels of a coefficient side by side

Axes: x right, y up, z back, while a .ply has x right, y down, z forward; y and z change their signs in both
directions here, as Niantic's own converter does it, so that a scene looks alike from either file.

Written files have as many fractional bits as hold the farthest position, at most 16; Niantic's own always have 12,
which reaches 2048 units. Harmonics are rounded as Niantic's own files have them, to 5 bits in degree 1 and 4 above.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from backend.formats.rows import (
    LARGEST_LOG_SCALE,
    drawable,
    logits_from_bytes,
    nearest_bytes,
    opened,
    unit_quats,
    writable,
)
from backend.progress import Progress, Quiet
from backend.scene.files import written_whole
from backend.scene.gaussians import Gaussians
from backend.scene.harmonics import rotated_sh
from backend.scene.transforms import Similarity
from segwild_addon.protocol.errors import InputError

_HEADER = struct.Struct("<IIIBBBB")
_MAGIC = 0x5053474E
_EXTENSIONS = 2  # the flag
_BASES = {0: 0, 1: 3, 2: 8, 3: 15, 4: 24}  # beyond the constant one, by degree
_COLOUR = 0.15  # instead of C0, to hold colours that the other harmonics bring back into range
_FLIP = np.diag([1.0, -1.0, -1.0])  # half a turn about x: between the axes of a .ply and these
_GZIP = 16 + zlib.MAX_WBITS
_MOST = 10_000_000  # splats; Niantic's own reader takes no more
_DEEPEST = 1032  # deflate makes at most so many bytes of one
_FINEST = 16  # fractional bits, a step of 15 µm where the unit is a metre; more is noise, which does not compress


@dataclass(frozen=True)
class _Claim:
    """What the header says. Nothing of that size is to be allocated before the file's own size is held against it."""

    version: int
    count: int
    degree: int
    fractional_bits: int

    def lengths(self) -> dict[str, int]:
        """Bytes per splat by attribute, in file order."""
        rotation = 3 if self.version == 2 else 4
        harmonics = 3 * _BASES[self.degree]
        return {"mean": 9, "alpha": 1, "colour": 3, "scale": 3, "rotation": rotation, "harmonics": harmonics}


def read_spz(path: Path, progress: Progress | None = None) -> Gaussians:
    """The Gaussians of a .spz of version 2 or 3, in the axes of a .ply and the file's row order.

    Harmonics of degree 4 are dropped with a warning. Raises InputError if the file is missing, cut short,
    damaged, of another version, claims more than its size can hold, or holds no splats or extensions (their
    place in the file is not the same in all versions of Niantic's library).
    """
    progress = progress or Quiet()
    with opened(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        stream = _Inflated(file, path)
        claim = _claim(stream, size, path)
        parts = {
            name: np.frombuffer(stream.take(claim.count * length), np.uint8).reshape(claim.count, length)
            for name, length in claim.lengths().items()
        }
        stream.finish()
    bases = _BASES[claim.degree]
    shN = ((parts["harmonics"].astype(np.float32) - 128) / 128).reshape(claim.count, bases, 3)
    if claim.degree == 4:
        progress.warn("harmonics-dropped", f"Harmonics of degree 4 were left out, 1 to 3 are kept: {path}.")
        shN = shN[:, : _BASES[3]]
    gaussians = Gaussians(
        means=_means(parts["mean"], claim.fractional_bits),
        quats=_from_first_three(parts["rotation"]) if claim.version == 2 else _from_smallest_three(parts["rotation"]),
        log_scales=parts["scale"].astype(np.float32) / 16 - 10,
        opacity_logits=logits_from_bytes(parts["alpha"][:, 0]),
        sh0=((parts["colour"][:, None].astype(np.float32) / 255 - 0.5) / _COLOUR).astype(np.float32),
        shN=np.ascontiguousarray(shN),
    )
    return drawable(_flipped(gaussians), "spz", path, progress)


def write_spz(
    path: Path,
    gaussians: Gaussians,  # in the axes of a .ply once `world_from_scene` is applied
    *,
    world_from_scene: Similarity | None = None,  # undoes the scene's normalisation; None: written as they are
    progress: Progress | None = None,
) -> None:
    """Gaussians as a .spz of version 2, whole or not at all.

    Warns if positions must be rounded more coarsely than the middle splat is large, and counts splats too large
    for the format (beyond 384 units). Rows that are not finite are left out with a warning. Raises InputError
    if no row remains, there are too many or they reach too far, ResourceError if the disk is full or the folder
    cannot be written.
    """
    progress = progress or Quiet()
    gaussians = _flipped(writable(gaussians, world_from_scene, path, progress))
    if len(gaussians) > _MOST:
        raise InputError(
            "spz-too-many",
            f"Programs read at most {_MOST:,} splats from a .spz, and these are {len(gaussians):,}: {path}.",
            "Export single objects, or write a .ply.",
        )
    bits = _fractional_bits(gaussians, path, progress)
    scales = (gaussians.log_scales + 10) * 16
    huge = int((scales > 255.5).any(axis=1).sum())
    if huge:
        progress.warn("sizes-clipped", f"{huge} Gaussians are larger than a .spz can say and were shrunk: {path}.")
    header = _HEADER.pack(_MAGIC, 2, len(gaussians), gaussians.sh_degree, bits, 0, 0)
    positions = np.rint(gaussians.means.astype(np.float64) * 2.0**bits).clip(-(2**23), 2**23 - 1).astype("<i4")
    parts = [
        positions[..., None].view(np.uint8)[..., :3],
        nearest_bytes(gaussians.opacities * 255),
        nearest_bytes((gaussians.sh0 * _COLOUR + 0.5) * 255),
        nearest_bytes(scales),
        nearest_bytes(_with_largest_w(unit_quats(gaussians.quats))[:, 1:] * 127.5 + 127.5),
        _harmonics(gaussians.shN),
    ]
    with written_whole(path) as file:
        # Rounded numbers repeat themselves by chance alone: a search for more than runs of one byte takes several
        # times as long and makes larger files (figures: segwild_addon/data/compact.py).
        deflate = zlib.compressobj(wbits=_GZIP, strategy=zlib.Z_RLE)
        file.write(deflate.compress(header))
        for part in parts:
            file.write(deflate.compress(part.tobytes()))
        file.write(deflate.flush())


class _Inflated:
    """The content of a gzip file, of which never more is decompressed than was asked for."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._inflate = zlib.decompressobj(_GZIP)

    def take(self, count: int) -> bytearray:
        """The next `count` bytes. Raises InputError if there are fewer."""
        taken = bytearray()
        while len(taken) < count:
            more = self._some(count - len(taken))
            if not more:
                raise self._cut_short()
            taken += more
        return taken

    def finish(self) -> None:
        """Raises InputError if the checksum at the end is wrong or missing. What follows the splats is ignored."""
        if not self._some(1) and not self._inflate.eof:
            raise self._cut_short()

    def _some(self, most: int) -> bytes:
        """1 to `most` (at least 1) bytes, none at the end of the stream or the file."""
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._file.read(1 << 16)
            try:
                more = self._inflate.decompress(packed, most)
            except zlib.error as error:
                raise InputError(
                    "spz-malformed", f"The .spz is damaged ({error}): {self._path}.", "Copy or download it again."
                ) from error
            if more or not packed:
                return more
        return b""

    def _cut_short(self) -> InputError:
        return InputError("spz-cut-short", f"The .spz ends before its splats do: {self._path}.", "Copy it again.")


def _claim(stream: _Inflated, size: int, path: Path) -> _Claim:
    """The header, held against the file's `size` in bytes."""
    magic, version, count, degree, fractional_bits, flags, _ = _HEADER.unpack(stream.take(_HEADER.size))
    if magic != _MAGIC:
        raise InputError("spz-malformed", f"This is not a .spz file: {path}.", "Choose one of Niantic's format.")
    if version not in (2, 3):
        raise InputError(
            "spz-version", f"The .spz is of version {version}; 2 and 3 can be read: {path}.", "Save it as a .ply."
        )
    if flags & _EXTENSIONS:
        raise InputError(
            "spz-extensions",
            f"The .spz has extensions, which cannot be read: {path}.",
            "Save it without, or as a .ply.",
        )
    if degree not in _BASES or fractional_bits > 30:
        raise InputError(
            "spz-malformed",
            f"The .spz says harmonics of degree {degree} and {fractional_bits} fractional bits: {path}.",
            "Copy or download it again.",
        )
    if count == 0:
        raise InputError("spz-empty", f"The .spz holds no splats at all: {path}.", "Choose another file.")
    claim = _Claim(version, count, degree, fractional_bits)
    if count > _MOST or count * sum(claim.lengths().values()) > size * _DEEPEST:
        raise InputError(
            "spz-too-many",
            f"The .spz claims {count:,} splats, more than {size:,} bytes can hold or programs read: {path}.",
            "Copy or download it again.",
        )
    return claim


def _flipped(gaussians: Gaussians) -> Gaussians:
    """From the axes of a .ply into those of a .spz, or back. Signs alone change.

    The axes of each Gaussian's own frame turn along; the shape is symmetric in them.
    """
    # Of half a turn about an axis every basis of the harmonics knows only its sign.
    ones = np.ones((1, gaussians.shN.shape[1], 3), np.float32)
    return Gaussians(
        means=gaussians.means * np.float32([1, -1, -1]),
        quats=gaussians.quats * np.float32([1, 1, -1, -1]),
        log_scales=gaussians.log_scales,
        opacity_logits=gaussians.opacity_logits,
        sh0=gaussians.sh0,
        shN=gaussians.shN * np.rint(rotated_sh(ones, _FLIP)),
    )


def _means(packed: np.ndarray, fractional_bits: int) -> np.ndarray:
    """(N, 9) uint8 into (N, 3) float32."""
    low, middle, high = np.moveaxis(packed.reshape(-1, 3, 3), 2, 0)
    fixed = low.astype(np.int32) | middle.astype(np.int32) << 8 | high.view(np.int8).astype(np.int32) << 16
    return (fixed * 2.0**-fractional_bits).astype(np.float32)


def _fractional_bits(gaussians: Gaussians, path: Path, progress: Progress) -> int:
    """The most bits with which the farthest position fits into 24."""
    reach = float(np.abs(gaussians.means).max())
    if reach >= 2.0**23 - 1:
        raise InputError(
            "spz-too-far",
            f"A Gaussian lies {reach:.3g} units from the origin, and a .spz reaches 8,388,607: {path}.",
            "Export single objects, or write a .ply.",
        )
    bits = min(_FINEST, math.floor(math.log2((2.0**23 - 1) / max(reach, 1e-9))))
    step, size = 2.0**-bits, math.exp(min(float(np.median(gaussians.log_scales.max(axis=1))), LARGEST_LOG_SCALE))
    if step > size:
        progress.warn(
            "positions-coarse",
            f"Positions are rounded to {step:.2g} units, because the farthest is {reach:.3g} away; the middle Gaussian "
            f"is {size:.2g} large (a .ply is exact): {path}.",
        )
    return bits


def _from_first_three(packed: np.ndarray) -> np.ndarray:
    """Version 2: (N, 3) uint8 into (N, 4) float32 wxyz."""
    xyz = packed.astype(np.float32) / np.float32(127.5) - 1
    w = np.sqrt(np.maximum(0, 1 - (xyz * xyz).sum(axis=1, keepdims=True)))
    return np.concatenate([w, xyz], axis=1)


def _from_smallest_three(packed: np.ndarray) -> np.ndarray:
    """Version 3: (N, 4) uint8 into (N, 4) float32 wxyz."""
    bits = packed.view("<u4")[:, 0]
    largest = (bits >> 30).astype(np.intp)  # of x y z w
    groups = np.stack([bits >> 20, bits >> 10, bits], axis=1) & 1023
    small = (groups & 511) * np.float32(math.sqrt(0.5) / 511)
    small = np.where(groups >> 9 == 1, -small, small).astype(np.float32)
    rest = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])[largest]
    xyzw = np.empty((len(bits), 4), np.float32)
    np.put_along_axis(xyzw, rest, small, axis=1)
    left = np.sqrt(np.maximum(0, 1 - (small * small).sum(axis=1)))
    np.put_along_axis(xyzw, largest[:, None], left[:, None], axis=1)
    return xyzw[:, [3, 0, 1, 2]]


def _with_largest_w(quats: np.ndarray) -> np.ndarray:
    """(N, 4) unit wxyz: the same ellipsoids, with a w of at least a half.

    Readers make w of the rest, which is exact to a few hundredths of a radian near 1 but only to a tenth near 0.
    Half a turn about an axis of its own leaves an ellipsoid as it is; one of the four choices has |w| >= 1/2.
    """
    w, x, y, z = quats.T
    choices = np.stack([quats.T, [-x, w, z, -y], [-y, -z, w, x], [-z, y, -x, w]])  # q times 1, i, j, k
    best = choices[np.abs(quats).argmax(axis=1), :, np.arange(len(quats))]
    return np.where(best[:, :1] < 0, -best, best)


def _harmonics(shN: np.ndarray) -> np.ndarray:
    """(N, K-1, 3) into uint8, rounded to multiples of 8 in degree 1 and of 16 above; 128 stays 128."""
    steps = np.where(np.arange(shN.shape[1]) < 3, 8, 16)[:, None]
    return nearest_bytes(np.rint(shN * 128 / steps) * steps + 128)
