"""Cuts of objects, kept beside them and taken back; and which Gaussians a cut leaves to whom.

`segments/<id>.cut.safetensors` holds the parts. It knows the rows it was made for: when the object gets other rows,
the cut is void and the object whole again. Removing the file is all that reverting takes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.scene import Gaussians, Workspace
from backend.scene.files import read_arrays, write_arrays
from backend.scene.gaussians import FIELDS, concatenate
from backend.segment.cutter import MODES, REST, Cut
from backend.segment.objects import Object, cut_file
from segwild_addon.protocol.errors import InputError


def keep(workspace: Workspace, item: Object, made: Cut) -> None:
    """A cut that an object had is replaced."""
    arrays = {name: getattr(made.parts, name) for name in FIELDS}
    arrays |= {"parents": made.parents, "sides": made.sides, "given": made.given, "dropped": made.dropped}
    with workspace.changing():
        write_arrays(
            cut_file(workspace, item.id), arrays, {"content": "cut", "mode": made.mode, "rows": _digest(item.rows)}
        )


def load(workspace: Workspace, item: Object) -> Cut | None:
    """The object's cut; None if it is whole. Raises InputError if the file is damaged."""
    path = cut_file(workspace, item.id)
    if not path.exists():
        return None
    arrays, facts = read_arrays(path)
    try:
        if facts["rows"] != _digest(item.rows):
            return None
        (mode,) = (mode for mode in MODES if mode == facts["mode"])
        parts = Gaussians(**{name: arrays[name] for name in FIELDS})
        parents, given, dropped = (arrays[name].astype(np.int64) for name in ("parents", "given", "dropped"))
        if parents.shape != (len(parts),) or arrays["sides"].shape != (len(parts),):
            raise ValueError("sizes disagree")
        return Cut(mode, parts, parents, arrays["sides"], given, dropped)
    except (KeyError, ValueError, InputError) as error:
        raise _damaged(item.name, path) from error


def revert(workspace: Workspace, item: Object) -> bool:
    """The object is whole again; False if it was."""
    with workspace.changing():
        path = cut_file(workspace, item.id)
        there = path.exists()
        path.unlink(missing_ok=True)
    return there


@dataclass(frozen=True, eq=False)
class Part:
    """Some of a scene's Gaussians, with rows that were divided replaced by their parts."""

    kept: np.ndarray  # (N,) bool, whole rows
    pieces: Gaussians | None  # (P,) parts of other rows; None: there are none
    parents: np.ndarray  # (P,) int64

    @property
    def sources(self) -> np.ndarray:
        """(M,) int64: the row that each of the part's Gaussians is, or is a part of."""
        return np.concatenate([np.flatnonzero(self.kept), self.parents])

    def of(self, scene: Gaussians) -> Gaussians:
        """(M,) Gaussians with the colours of the scene's rows, pieces with that of the row they are a part of."""
        whole = scene.take(self.kept)
        if self.pieces is None or not len(self.parents):
            return whole
        fields = {name: getattr(self.pieces, name) for name in FIELDS}
        fields |= {"sh0": scene.sh0[self.parents], "shN": scene.shN[self.parents]}
        return concatenate([whole, Gaussians(**fields)])


def part_of(
    count: int,
    *,
    only: tuple[np.ndarray, Cut | None] | None = None,  # rows of an object, and how it was cut
    without: tuple[np.ndarray, Cut | None] | None = None,
) -> Part:
    """What an object keeps, or what is left when it is gone; a row split by its cut counts by its parts."""
    kept = np.ones(count, bool)
    mine, rest = np.ones(count, bool), np.ones(count, bool)  # rows that may be shown, divided ones included
    pieces: list[Gaussians] = []
    parents: list[np.ndarray] = []
    if only is not None:
        rows, made = only
        mine[:] = False
        mine[rows] = True
        kept &= mine
        if made is not None:
            kept[made.given] = kept[made.dropped] = kept[made.hidden] = False
    if without is not None:
        rows, made = without
        rest[rows] = False
        if made is not None:
            rest[made.given] = True
        kept &= rest
        if made is not None:
            kept[made.hidden] = False
    divided = np.zeros(count, bool)  # by the cut of `only`, whose parts come first
    if only is not None and only[1] is not None:
        made = only[1]
        wanted = made.inside & rest[made.parents]
        pieces.append(made.parts.take(wanted))
        parents.append(made.parents[wanted])
        divided[made.hidden] = True
    if without is not None and without[1] is not None:
        made = without[1]
        wanted = (made.sides == REST) & mine[made.parents] & ~divided[made.parents]
        pieces.append(made.parts.take(wanted))
        parents.append(made.parents[wanted])
    return Part(
        kept, concatenate(pieces) if pieces else None, np.concatenate(parents) if parents else np.zeros(0, np.int64)
    )


def applied(scene: Gaussians, rows: np.ndarray, made: Cut | None) -> tuple[Gaussians, np.ndarray]:
    """The whole scene with divided rows replaced by all their parts, and which of its rows are the object's.

    What is nobody's is there too: it is dropped only where the object and the rest are parted.
    """
    if made is None:
        return scene, rows
    shown = np.ones(len(scene), bool)
    shown[made.hidden] = False
    mine = np.zeros(len(scene), bool)
    mine[rows] = True
    mine[made.given] = mine[made.dropped] = False
    return concatenate([scene.take(shown), made.parts]), np.flatnonzero(np.concatenate([mine[shown], made.inside]))


def _digest(rows: np.ndarray) -> str:
    return hashlib.blake2b(rows.astype("<i8").tobytes(), digest_size=16).hexdigest()


def _damaged(name: str, path: Path) -> InputError:
    return InputError("file-damaged", f"The cut of the object {name!r} is damaged: {path}.", "Revert or cut it again.")
