"""A finished workspace folder into arrays, cameras and objects, without a backend.

The folder is described in backend/scene/workspace.py; here it is only read.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..protocol.errors import InputError
from .encoded import Encoded
from .safetensors import mapped
from .steps import Steps

FORMAT = 1
_CHUNK_BYTES = 1 << 24
_MARKED = 256  # Gaussians of which a mark is made

_marks: dict[Path, tuple[Any, str]] = {}  # by file: its size and time, and its mark


@dataclass(frozen=True, eq=False)
class Camera:
    """One pinhole view, OpenCV axes, scene frame; pixel (0, 0) is the picture's corner."""

    cam_from_world: np.ndarray  # (4, 4) float64, rigid
    fx: float  # pixels
    fy: float
    cx: float
    cy: float
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Photo:
    name: str
    camera: Camera  # of the undistorted picture
    test: bool  # kept from training


@dataclass(frozen=True, eq=False)
class Segment:
    """A named object of the workspace. Objects may overlap."""

    id: int
    name: str
    color: tuple[float, float, float]
    parent: int
    look: dict[str, Any] | None  # a, b, mix, strength; None: the scene's
    rows: np.ndarray  # (M,) int64, ascending
    probability: np.ndarray  # (M,) float32


class Folder:
    """One workspace. Nothing is kept open between calls but arrays that the caller holds."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def open(cls, root: Path) -> Folder:
        """Raises InputError if `root` is no workspace, or of another format."""
        folder = cls(root)
        if not root.is_dir():
            raise InputError(
                "no-folder",
                f"The folder of the workspace is not there: {root}.",
                "Choose where it is now in the panel SegWild, under Workspace.",
            )
        if not (root / "scene.json").is_file():
            raise InputError(
                "not-a-workspace",
                f"This folder is not a SegWild workspace (it has no scene.json): {root}.",
                "Choose the folder that ends in .segwild.",
            )
        version = folder.scene().get("format")
        if version != FORMAT:
            raise InputError(
                "workspace-format",
                f"The workspace has format {version!r}, this SegWild reads format {FORMAT}: {root}.",
                "Update SegWild.",
            )
        return folder

    @property
    def name(self) -> str:
        return self.root.name.removesuffix(".segwild") or "scene"

    @property
    def _splats_file(self) -> Path:
        return self.root / "splats" / "base.safetensors"

    def picture(self, name: str) -> Path:
        """The undistorted picture of a photo."""
        return self.root / "photos" / f"{name}.jpg"

    def scene(self) -> dict[str, Any]:
        value = _json(self.root / "scene.json")
        if not isinstance(value, dict):
            raise InputError("file-damaged", f"Not a scene description: {self.root / 'scene.json'}.")
        return value

    def look(self) -> dict[str, Any] | None:
        """The look that was set for the whole scene, if any."""
        return _look(self.scene().get("look"))

    def scene_from_capture(self) -> np.ndarray:
        """(4, 4) float64, from the frame of the photos' reconstruction (or an imported file) to the scene's."""
        matrix = np.eye(4)
        value = self.scene().get("scene_from_capture")
        if value is None:
            return matrix
        try:
            matrix[:3, :3] = float(value["scale"]) * np.array(value["rotation"], float).reshape(3, 3)
            matrix[:3, 3] = np.array(value["translation"], float).reshape(3)
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(self.root / "scene.json", error) from error
        if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-30:
            raise _damaged(self.root / "scene.json", "a frame that cannot be inverted")
        return matrix

    def photos(self) -> list[Photo]:
        """The photos whose camera is known; none for an imported splat. Raises InputError for a damaged list."""
        path = self.root / "photos.json"
        if not path.exists():
            return []
        try:
            return [
                Photo(str(row["name"]), _camera(row["camera"]), row["split"] == "test")
                for row in _json(path)
                if row["camera"] is not None and not row["excluded"]
            ]
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise _damaged(path, error) from error

    def splats(self) -> Encoded:
        """Raises InputError if nothing was trained yet, or the file is damaged."""
        path = self._splats_file
        if not path.is_file():
            raise InputError(
                "no-splats-yet", f"The workspace has no Gaussians yet: {self.root}.", "Train it first, then import it."
            )
        arrays, _ = mapped(path)
        try:
            return Encoded(**{field.name: arrays[field.name] for field in fields(Encoded)})
        except (KeyError, ValueError) as error:
            raise _damaged(path, error) from error

    def fingerprint(self) -> Steps[str]:
        """The name by which segments.json knows these Gaussians: BLAKE2 of their file."""
        digest = hashlib.blake2b(digest_size=16)
        size = max(self._splats_file.stat().st_size, 1)
        with self._splats_file.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                yield min(file.tell() / size, 1.0)
        return digest.hexdigest()

    def expect(self, mark: str) -> None:
        """Raises InputError if the workspace has other Gaussians than those that `mark` was made of.

        Without a mark (of an older file) nothing is known, and nothing raised.
        """
        if mark and mark != self._mark():
            raise InputError(
                "workspace-changed",
                "The workspace was trained again after this scene was imported, or is another one: its splats, looks"
                " and objects do not fit.",
                "Import it again.",
            )

    def _mark(self) -> str:
        """`mark` of its Gaussians, once per state of the file."""
        path = self._splats_file
        try:
            stamp: Any = (path.stat().st_size, path.stat().st_mtime_ns)
        except OSError:
            stamp = None
        known = _marks.get(path)
        if known is None or known[0] != stamp:
            known = (stamp, mark(self.splats()))
            _marks.clear()
            _marks[path] = known
        return known[1]

    def segments(self, fingerprint: str | None = None) -> list[Segment]:
        """The named objects, by id. Raises InputError if they are damaged or not of these Gaussians.

        `fingerprint` is what `fingerprint()` returned; None leaves that unchecked.
        """
        path = self.root / "segments.json"
        if not path.exists():
            return []
        table = _json(path)
        try:
            if table["format"] != FORMAT:
                raise ValueError(f"format {table['format']}")
            stamp, entries = table["splats"], list(table["objects"])
            known = [(int(row["id"]), str(row["name"]), _color(row), int(row["parent"]), row) for row in entries]
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, error) from error
        if fingerprint is not None and stamp != fingerprint:
            raise InputError(
                "objects-stale", f"The objects were made for other Gaussians than the workspace has now: {path}."
            )
        return [
            Segment(id_, name, color, parent, _look(row["look"]), *self._rows_of(id_, name))
            for id_, name, color, parent, row in known
        ]

    def cut(self, segment: Segment) -> dict[str, np.ndarray] | None:
        """The parts of an object that is cut, as the fields of `cuts.Parts`; None if it is whole.

        Raises InputError if the file is damaged.
        """
        path = self.root / "segments" / f"{segment.id}.cut.safetensors"
        if not path.is_file():
            return None
        arrays, facts = mapped(path)
        try:
            digest = hashlib.blake2b(segment.rows.astype("<i8").tobytes(), digest_size=16).hexdigest()
            if facts["rows"] != digest:
                return None  # of rows it had before
            parts = Encoded(**{field.name: arrays[field.name] for field in fields(Encoded)})
            parents, given, dropped = (arrays[name].astype(np.int32) for name in ("parents", "given", "dropped"))
            sides = arrays["sides"].astype(np.uint8)
            if not parents.shape == sides.shape == (len(parts),) or given.ndim != 1 or dropped.ndim != 1:
                raise ValueError("sizes disagree")
            whole = self.splats()
            for rows in (parents, given, dropped):
                if len(rows) and not 0 <= rows.min() <= rows.max() < len(whole):
                    raise ValueError("rows beyond the last Gaussian")
        except (KeyError, ValueError) as error:
            raise _damaged(path, error) from error
        everything = slice(None)
        return {
            "parents": parents + 1,
            "sides": sides,
            "anchors": whole.positions(parents),
            "means": parts.positions(everything),
            "scales": parts.scales(everything),
            "quats": parts.rotations(everything),
            "opacities": parts.base(everything)[:, 3],
            "given": given + 1,
            "dropped": dropped + 1,
        }

    def _rows_of(self, id_: int, name: str) -> tuple[np.ndarray, np.ndarray]:
        path = self.root / "segments" / f"{id_}.npz"
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                rows, probability = arrays["rows"].astype(np.int64), arrays["probability"].astype(np.float32)
            if rows.ndim != 1 or rows.shape != probability.shape or (len(rows) and rows.min() < 0):
                raise ValueError("rows and probabilities disagree")
        except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise InputError("file-damaged", f"The rows of the object {name!r} cannot be read: {path}.") from error
        return rows, probability


def mark(gaussians: Encoded) -> str:
    """Tells the Gaussians of one training from those of another, as fast as a click needs it: how many there are, and
    where some of them lie."""
    count = len(gaussians)
    some = np.linspace(0, count - 1, min(count, _MARKED)).astype(np.int64)
    return f"{count}:{hashlib.blake2b(gaussians.positions(some).tobytes(), digest_size=16).hexdigest()}"


def labels(segments: list[Segment], count: int) -> np.ndarray:
    """(count,) int32: one segment per row, 0 = none. Where segments overlap, the more probable one wins.

    Raises InputError if a segment names rows that are not there.
    """
    ids = np.zeros(count, np.int32)
    best = np.zeros(count, np.float32)
    for segment in segments:
        if len(segment.rows) and segment.rows.max() >= count:
            raise InputError("file-damaged", f"The object {segment.name!r} has rows beyond the last Gaussian.")
        wins = segment.rows[segment.probability > best[segment.rows]]
        best[segment.rows] = np.maximum(best[segment.rows], segment.probability)
        ids[wins] = segment.id
    return ids


def _camera(value: Any) -> Camera:
    """Raises KeyError, TypeError or ValueError for what is none."""
    matrix = np.array(value["cam_from_world"], float).reshape(4, 4)
    numbers = [float(value[key]) for key in ("fx", "fy", "cx", "cy")]
    width, height = int(value["width"]), int(value["height"])
    if not np.isfinite(matrix).all() or not all(map(math.isfinite, numbers)) or min(*numbers[:2], width, height) <= 0:
        raise ValueError("a camera is not finite")
    return Camera(matrix, *numbers, width, height)


def _color(row: dict[str, Any]) -> tuple[float, float, float]:
    r, g, b = (min(max(float(part), 0.0), 1.0) for part in row["color"])
    return r, g, b


def _look(value: Any) -> dict[str, Any] | None:
    """A stored look with every field, or None for none or neutral."""
    if not isinstance(value, dict) or not isinstance(value.get("a"), str):
        return None
    b, mix, strength = value.get("b"), value.get("mix", 0.0), value.get("strength", 1.0)
    numbers = all(isinstance(number, int | float) and math.isfinite(number) for number in (mix, strength))
    if not numbers:
        return None
    return {
        "a": value["a"],
        "b": b if isinstance(b, str) else None,
        "mix": min(max(float(mix), 0.0), 1.0),
        "strength": min(max(float(strength), 0.0), 2.0),
    }


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("file-missing", f"A file is missing: {path}.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, why: Any) -> InputError:
    return InputError("file-damaged", f"A file is damaged ({why}): {path}.", "Restore it, or make it again.")
