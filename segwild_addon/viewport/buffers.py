"""Rows of the objects of one scene into the textures that the shaders read, uploaded only when they differ."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data.rows import Rows, among
from ..protocol.errors import ResourceError
from .shaders import HARMONIC_TEXELS, OBJECT_TEXELS, TINTS, WIDTH

ROWS_MAX = 1 << 24  # what a float32 counts exactly
COLORS = 14  # tints beside the highlight
HALF = 127  # eight bits with a zero in the middle: 0..254
ZERO = HALF * (1 + 256 + 65536)  # the code of a coefficient that is zero in all channels

# How many textures of each kind were sent to the graphics card, and their bytes; tests read them.
uploads: Counter[str] = Counter()
upload_bytes: Counter[str] = Counter()
_versions = itertools.count(1)


@dataclass(frozen=True, eq=False)
class Packed:
    """The rows of one object as the shaders read them."""

    positions: np.ndarray  # (N, 3) float32, contiguous: what is sorted
    centres: np.ndarray  # (N, 8) float32: x y z opacity, scale x y z, 0
    turns: np.ndarray  # (N, 4) float32
    colours: np.ndarray  # (N, 4) float32: constant term r g b, 0
    harmonics: np.ndarray  # (N, 4·T) float32
    longest: np.ndarray  # (N,) float32, largest standard deviation: what a click compares first
    ids: np.ndarray  # (N,) int32
    degree: int
    sh_mark: int  # of the coefficients that `harmonics` was made of

    def __len__(self) -> int:
        return len(self.positions)

    def with_base(self, base: np.ndarray) -> Packed:
        """Another constant term (N, 3): what a look changes."""
        colours = np.zeros_like(self.colours)
        colours[:, :3] = base
        return replace(self, colours=colours)


def packed(rows: Rows, known: Packed | None = None) -> Packed:
    """Rows that are not finite are kept, so that row numbers stay, and never drawn.

    `known` is what the object's rows were before: harmonics that have not changed are not encoded again, which is
    most of the time.
    """
    mark = _mark(rows.sh)
    same = known is not None and len(known) == len(rows) and known.degree == rows.degree and known.sh_mark == mark
    centres = np.zeros((len(rows), 8), np.float32)
    centres[:, :3], centres[:, 3], centres[:, 4:7] = rows.positions, rows.base[:, 3], rows.scales
    colours = np.zeros((len(rows), 4), np.float32)
    colours[:, :3] = rows.base[:, :3]
    if not all(np.isfinite(array).all() for array in (centres, rows.rotations, colours)):
        bad = ~(np.isfinite(centres).all(1) & np.isfinite(rows.rotations).all(1) & np.isfinite(colours).all(1))
        centres[bad] = 0
        colours[bad] = 0
    positions = np.ascontiguousarray(centres[:, :3])
    longest = np.maximum(np.maximum(centres[:, 4], centres[:, 5]), centres[:, 6])
    encoded = known.harmonics if same else harmonics(rows.sh)
    return Packed(positions, centres, rows.rotations, colours, encoded, longest, rows.ids, rows.degree, mark)


def _mark(sh: np.ndarray) -> int:
    """A number that other coefficients, or the same in another order of rows, do not share but by chance of 2^-64."""
    if not sh.size:
        return 0
    sums = np.ascontiguousarray(sh).view(np.uint32).reshape(len(sh), -1).sum(1, dtype=np.uint64)
    return int((sums * np.arange(1, len(sums) + 1, dtype=np.uint64)).sum())


def harmonics(sh: np.ndarray) -> np.ndarray:
    """Coefficients (N, K-1, 3) into (N, 4·T) float32: eight bits a channel of a unit that each row has to itself."""
    count, bases, _ = sh.shape
    texels = HARMONIC_TEXELS[{0: 0, 3: 1, 8: 2, 15: 3}[bases]]
    result = np.full((count, 4 * texels), ZERO, np.float32)
    if not texels or not count:
        return result
    places = np.array([1, 256, 65536], np.float32)
    step = 1 << 12  # what is computed in between stays in the processor's cache
    for start in range(0, count, step):
        part = sh[start : start + step].reshape(-1, 3 * bases)
        unit = np.abs(part).max(1) / np.float32(HALF)
        unit[~np.isfinite(unit)] = 0
        inverse = np.divide(1, unit, out=np.zeros_like(unit), where=unit > 1e-30)
        with np.errstate(invalid="ignore"):  # 0·inf of a row that is not finite
            levels = np.rint(part * inverse[:, None])
        if not unit.all():
            levels[inverse == 0] = 0
        result[start : start + step, :bases] = (levels.reshape(-1, 3) @ places).reshape(-1, bases) + ZERO
        result[start : start + step, -1] = unit
    return result


def texture(array: np.ndarray, form: str, kind: str) -> Any:
    """A float texture of WIDTH texels a row, filled with the array's floats in order; the rest is zero."""
    channels = 4 if form.startswith("RGBA") else 1
    flat = np.ascontiguousarray(array, np.float32).reshape(-1)
    height = max(1, -(-flat.size // (WIDTH * channels)))
    if flat.size != height * WIDTH * channels:
        whole = np.zeros(height * WIDTH * channels, np.float32)
        whole[: flat.size] = flat
        flat = whole
    return uploaded(flat, (WIDTH, height), form, kind)


def uploaded(flat: np.ndarray, size: tuple[int, int], form: str, kind: str) -> Any:
    """A texture of exactly these float32 values. Raises ResourceError if the graphics card refuses it."""
    import gpu

    uploads[kind] += 1
    upload_bytes[kind] += flat.nbytes
    try:
        return gpu.types.GPUTexture(size, format=form, data=gpu.types.Buffer("FLOAT", flat.size, flat))
    except (RuntimeError, MemoryError, ValueError) as error:
        raise ResourceError(
            "graphics-memory", "The graphics card has no memory left for the splats.", "Delete some objects."
        ) from error


_KINDS = {"centres": "RGBA32F", "turns": "RGBA16F", "colours": "RGBA16F", "harmonics": "RGBA32F"}


class Layer:
    """All objects of one scene, whose rows are drawn in one order."""

    def __init__(self) -> None:
        self.members: dict[Any, slice] = {}  # key of each object -> its rows
        self.positions = np.zeros((0, 3), np.float32)
        self.ids = np.zeros(0, np.int32)
        self.degree = 0
        self.layout = 0  # another number, of this and all layers, whenever row numbers mean something else
        self.moved = 0  # grows whenever positions or opacities change
        self.version = next(_versions)  # another number, of this and all layers, whenever anything changes
        self._packs: dict[Any, Packed] = {}
        self._textures: dict[str, Any] = {}
        self._marked: dict[Any, np.ndarray] = {}
        self._colored: dict[Any, np.ndarray] = {}
        self._places: dict[int, list[tuple[Any, np.ndarray]]] = {}  # what `places` has found

    def __len__(self) -> int:
        return len(self.positions)

    def middle(self, start: int, stop: int) -> np.ndarray:
        """(3,) about the mean position of some rows, in the axes of their object."""
        step = max(1, (stop - start) // 1000)
        return self.positions[start:stop:step].mean(0) if stop > start else np.zeros(3, np.float32)

    def pack(self, key: Any) -> Packed | None:
        """The rows of one object as they were last set."""
        return self._packs.get(key)

    def places(self, row: int) -> list[tuple[Any, np.ndarray]]:
        """Where a row of the workspace (its id) is: key of each object that has it, and its position (3,) there."""
        if row not in self._places:
            self._places[row] = [
                (key, pack.positions[index])
                for key, pack in self._packs.items()
                for index in np.flatnonzero(pack.ids == row)[:1]
            ]
        return self._places[row]

    def set(self, packs: Mapping[Any, Packed]) -> None:
        """Show exactly these objects' rows. What is equal to what was shown is not uploaded again.

        Raises ResourceError for more rows than can be numbered.
        """
        counts = {key: len(pack) for key, pack in packs.items()}
        if sum(counts.values()) > ROWS_MAX:
            raise ResourceError(
                "too-many-splats",
                f"A scene of {sum(counts.values()):,} splats cannot be drawn; {ROWS_MAX:,} can.",
                "Delete splats or split the scene.",
            )
        degree = max((pack.degree for pack in packs.values()), default=0)
        same = list(counts.items()) == [(key, len(pack)) for key, pack in self._packs.items()]
        stale = {
            kind
            for kind in _KINDS
            if not same
            or (kind == "harmonics" and degree != self.degree)
            or any(not _equal(getattr(pack, kind), getattr(self._packs[key], kind)) for key, pack in packs.items())
        }
        new_ids = not same or any(not _equal(pack.ids, self._packs[key].ids) for key, pack in packs.items())
        if not same:
            stops = np.cumsum([0, *counts.values()])
            self.members = {key: slice(int(stops[i]), int(stops[i + 1])) for i, key in enumerate(counts)}
            self.layout = next(_versions)
        self._packs, self.degree = dict(packs), degree
        if stale or new_ids or not same:
            self._places.clear()
        if stale or new_ids:
            self.version = next(_versions)
        for kind in stale:
            self._textures.pop(kind, None)
        if "centres" in stale:
            self.positions = _joined([pack.positions for pack in packs.values()], (0, 3))
            self.moved += 1
        if new_ids:
            self.ids = _joined([pack.ids for pack in packs.values()], (0,)).astype(np.int32)
            self._textures.pop("mask", None)

    def mark(self, marked: Mapping[Any, np.ndarray]) -> None:
        """Highlight, of each object by its key, the rows with these workspace ids (row + 1), and no others."""
        if not _same(marked, self._marked):
            self._marked = dict(marked)
            self._tint()

    def color(self, colored: Mapping[Any, np.ndarray]) -> None:
        """Tint the rows of objects by their keys, and of no others: numbers of colours by row of the workspace,
        (M,) uint8, any from 1 on; 0: as it is. A highlight covers them."""
        if not _same(colored, self._colored):
            self._colored = dict(colored)
            self._tint()

    def _tint(self) -> None:
        self.version = next(_versions)
        self._textures.pop("mask", None)

    def textures(self) -> dict[str, Any]:
        """Everything a shader reads of the rows, uploading what is stale."""
        for kind, form in _KINDS.items():
            if kind not in self._textures:
                self._textures[kind] = texture(self._joined(kind), form, kind)
        if "mask" not in self._textures:
            self._textures["mask"] = texture(tint_words(self._tints()), "R32F", "mask")
        return self._textures

    def _tints(self) -> np.ndarray:
        """(N,) uint8: 1 for rows that are highlighted, 2 to 15 for other colours."""
        tints = np.zeros(len(self.ids), np.uint8)
        for key, numbers in self._colored.items():
            if key in self.members and len(numbers):
                ids = self.ids[self.members[key]]
                known = (ids > 0) & (ids <= len(numbers))
                own = np.where(known, numbers[np.where(known, ids - 1, 0)], 0)
                tints[self.members[key]] = np.where(own > 0, 2 + (own.astype(np.int32) - 1) % COLORS, 0)
        for key, ids in self._marked.items():
            if key in self.members:
                tints[self.members[key]][among(self.ids[self.members[key]], ids)] = 1
        return tints

    def _joined(self, kind: str) -> np.ndarray:
        packs = self._packs.values()
        if kind == "centres":
            slots = [pack.centres.copy() for pack in packs]
            for slot, array in enumerate(slots):
                array[:, 7] = slot
            return _joined(slots, (0, 8))
        if kind == "harmonics":
            texels = HARMONIC_TEXELS[self.degree]
            return _joined([_widened(pack.harmonics, 4 * texels) for pack in packs], (0, 4 * texels))
        return _joined([getattr(pack, kind) for pack in packs], (0, 4))

    def free(self) -> None:
        """Let go of all textures; the next drawing makes them anew."""
        self._textures.clear()


def tint_words(tints: np.ndarray) -> np.ndarray:
    """(ceil(N/6),) float32, four bits of a word for each row, lowest first, of (N,) uint8 below 16."""
    words = max(1, -(-len(tints) // TINTS))
    if not tints.any():
        return np.zeros(words, np.float32)
    padded = np.zeros(words * TINTS, np.float32)
    padded[: len(tints)] = tints
    return padded.reshape(-1, TINTS) @ np.array([16**place for place in range(TINTS)], np.float32)


@dataclass(frozen=True, eq=False)
class Shown:
    """How one object is drawn; a row of the table of objects."""

    cam_from_object: np.ndarray  # (4, 4) float64
    eye: np.ndarray  # (4,) eye in object axes and 1, or viewing direction and 0
    grading: np.ndarray  # (3, 3), of display colours
    look: np.ndarray  # (3, 3), of the harmonics beyond the constant one
    opacity: float
    degree: int


def object_table(shown: Sequence[Shown]) -> np.ndarray:
    """(objects, OBJECT_TEXELS, 4) float32."""
    table = np.zeros((max(1, len(shown)), OBJECT_TEXELS, 4), np.float32)
    for row, each in zip(table, shown, strict=False):
        row[:3] = each.cam_from_object[:3]
        row[3] = each.eye
        row[4:7, :3] = each.grading
        row[7, :2] = each.opacity, each.degree
        row[8:11, :3] = each.look
    return table


def object_texture(table: np.ndarray) -> Any:
    return uploaded(table.reshape(-1), (OBJECT_TEXELS, len(table)), "RGBA32F", "objects")


def _same(one: Mapping[Any, np.ndarray], other: Mapping[Any, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(_equal(array, other[key]) for key, array in one.items())


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one is other or np.array_equal(one, other)


def _joined(parts: list[np.ndarray], none: tuple[int, ...]) -> np.ndarray:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(none, np.float32)


def _widened(array: np.ndarray, width: int) -> np.ndarray:
    """Harmonics of a lower degree in the places of a higher one; the unit stays last."""
    if array.shape[1] == width:
        return array
    result = np.full((len(array), width), ZERO, np.float32)
    result[:, -1] = 0
    if array.shape[1]:
        result[:, : array.shape[1] - 1] = array[:, :-1]
        result[:, -1] = array[:, -1]
    return result
