"""An object cut at its edge, and whole again: what stuck out of it is divided, and the outer parts are the rest's.

A cut object keeps all its rows as they were in a second point cloud, `segwild.whole`. Parts have the id of the row they
are of, so that light and clicks treat them alike; the column `parts` tells them from it. Which rows the object has in
the workspace does not change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import bpy
import numpy as np

from ..protocol.errors import InputError
from . import changes, erasing, splats
from .placement import moved, similarity
from .rows import Rows, among, concatenate, rows

Result = TypeVar("Result")

REST, OBJECT, NOBODY = 0, 1, 2
GIVEN = -1.0  # in the column `parts`, of a whole row that a cut gave to the rest
_FITS = 1e-3  # of the rows' extent: farther off, they were deformed


@dataclass(frozen=True, eq=False)
class Parts:
    """Row i of the first seven arrays is one part of a splat. Scene frame, ids as `segwild_id`."""

    parents: np.ndarray  # (P,) int32 ids
    sides: np.ndarray  # (P,) uint8: REST, OBJECT or NOBODY
    anchors: np.ndarray  # (P, 3) float32, where the parent is
    means: np.ndarray  # (P, 3) float32
    scales: np.ndarray  # (P, 3) float32, standard deviations
    quats: np.ndarray  # (P, 4) float32, wxyz, unit length
    opacities: np.ndarray  # (P,) float32, 0..1
    given: np.ndarray  # (G,) int32 ids of rows that are the rest's as they are
    dropped: np.ndarray  # (D,) int32 ids of rows that are nobody's


def is_cut(ob: bpy.types.Object) -> bool:
    return ob.segwild.whole is not None


def ids(ob: bpy.types.Object) -> np.ndarray:
    """(N,) int32 ids of the object's rows as they are when it is whole."""
    return splats.ids_of(ob.segwild.whole if is_cut(ob) else ob.data)


def cut(ob: bpy.types.Object, rest: bpy.types.Object | None, parts: Parts) -> int:
    """Replace divided rows by their parts; returns how many rows were divided or went. A former cut is taken back.

    The rest of its scene gets what is its, in the place the scene has it, wherever the object stands by now. Raises
    InputError if the object's rows were deformed since they were imported.
    """
    revert(ob, rest)
    own = splats.read(ob)
    place = np.full(int(max(own.ids.max(initial=0), parts.parents.max(initial=0))) + 1, -1)
    whole = own.parts <= 0  # what was taken from beside another cut object is a part already
    place[own.ids[whole]] = np.flatnonzero(whole)
    place[0] = -1
    here = place[parts.parents] >= 0  # rows may have gone to other objects
    sides, parents = parts.sides[here], place[parts.parents[here]]
    given, dropped = whole & np.isin(own.ids, parts.given), whole & np.isin(own.ids, parts.dropped)
    gone = given | dropped
    gone[parents] = True
    if not gone.any() or (gone.all() and not (sides == OBJECT).any()):
        return 0
    own_from_scene = _frame(parts.anchors[here].astype(float), own.positions[parents].astype(float), ob.name)
    pieces = _pieces(own.take(parents), parts, here, own_from_scene)
    handed = own.take(given)
    handed = replace(handed, parts=np.full(len(handed), GIVEN, np.float32))
    outer = concatenate([pieces.take(sides == REST), handed])
    ob.segwild.whole = ob.data  # what follows copies a cloud that has two users
    splats.keep(ob, ~gone)
    splats.extend(ob, pieces.take(sides == OBJECT))
    changes.announce(ob.segwild.uuid)
    if rest is not None and len(outer):
        outer = moved(outer, np.linalg.inv(own_from_scene))
        splats.extend(rest, replace(outer, labels=np.zeros(len(outer), np.int32)))
        changes.announce(rest.segwild.uuid)
    return int(gone.sum())


def revert(ob: bpy.types.Object, rest: bpy.types.Object | None) -> bool:
    """The object has all its rows again, and the rest what its cut put there no more; False if it was whole.

    What was erased stays so. While another object, a copy, is cut at the same rows, the rest keeps what lies around it.
    """
    whole = ob.segwild.whole
    if whole is None:
        return False
    erased = splats.read_ids(ob)[splats.column(ob, splats.ERASED) > 0]
    shift = _shift(ob)
    former, name = ob.data, ob.data.name
    ob.data = whole if whole.users == 1 else whole.copy()  # that of a copy is the same one
    ob.segwild.whole = None
    _drop(former)
    ob.data.name = name
    if shift.any():
        splats.write_positions(ob, splats.column(ob, "position", 3) + shift)
    if len(erased):
        erasing.erase(ob, np.isin(splats.read_ids(ob), erased))
    if rest is not None:
        theirs = splats.read_ids(rest)
        back = among(theirs, splats.read_ids(ob)) & (splats.column(rest, splats.PARTS) != 0)
        back &= ~among(theirs, cut_ids(ob.segwild.scene_uuid))
        if back.any():
            splats.keep(rest, ~back)
            changes.announce(rest.segwild.uuid)
    changes.announce(ob.segwild.uuid)
    return True


def forget(ob: bpy.types.Object, gone: np.ndarray) -> None:
    """Rows with these ids went to another object: taking the cut back must not bring them again."""
    if is_cut(ob) and np.isin(ids(ob), gone).any():
        on_whole(ob, lambda: splats.keep(ob, ~np.isin(splats.read_ids(ob), gone)))


def tidy(ob: bpy.types.Object) -> None:
    """Drop parts of rows that the object has whole, but for those that lie around another object that is cut."""
    own, parts = splats.read_ids(ob), splats.column(ob, splats.PARTS)
    if (parts > 0).any():
        spare = (parts > 0) & among(own, own[parts <= 0]) & ~among(own, cut_ids(ob.segwild.scene_uuid))
        if spare.any():
            splats.keep(ob, ~spare)


def cut_ids(scene_uuid: str) -> np.ndarray:
    """(M,) int32 ids that the cut objects of a scene have when they are whole."""
    found = [ids(ob) for ob in bpy.data.objects if ob.segwild.scene_uuid == scene_uuid and is_cut(ob)]
    return np.concatenate(found) if found else np.zeros(0, np.int32)


def on_whole(ob: bpy.types.Object, work: Callable[[], Result]) -> Result:
    """Do something to the rows of a cut object as they were."""
    shown, former = ob.data, ob.segwild.whole
    ob.data = former
    try:
        result = work()
        ob.segwild.whole = ob.data
    finally:
        ob.data = shown
        _drop(former)
    return result


def _shift(ob: bpy.types.Object) -> np.ndarray:
    """(3,) float32, by how much Blender moved a cut object's rows since: it sets origins without asking us."""
    now, before = splats.column(ob, "position", 3), splats.position_of(ob.segwild.whole)
    _, here, there = np.intersect1d(splats.read_ids(ob), ids(ob), return_indices=True)
    if not len(here):
        return np.zeros(3, np.float32)
    moves = now[here] - before[there]
    shift = np.median(moves, axis=0)  # parts are elsewhere than their parents, but they are few
    unlike = np.abs(moves - shift).max(1) > 1e-5 * max(1.0, float(np.abs(now).max()))
    none = np.abs(shift).max() <= 1e-7 * max(1.0, float(np.abs(now).max()))
    return np.zeros(3, np.float32) if none or unlike.mean() > 0.5 else shift.astype(np.float32)


def _pieces(parents: Rows, parts: Parts, here: np.ndarray, own_from_scene: np.ndarray) -> Rows:
    """Parts in the frame of the object's rows, with the colours of their parents (P rows)."""
    placed = moved(
        rows(parts.means[here], parts.scales[here], parts.quats[here], np.zeros((int(here.sum()), 4), np.float32)),
        own_from_scene,
    )
    hidden, opacities = parents.erased > 0, parts.opacities[here].astype(np.float32)
    base = parents.base.copy()
    base[:, 3] = np.where(hidden, 0, opacities)
    erased = np.where(hidden, opacities, 0).astype(np.float32)
    return replace(
        parents,
        positions=placed.positions,
        scales=placed.scales,
        rotations=placed.rotations,
        base=base,
        erased=erased,
        parts=np.maximum(opacities, np.float32(1e-6)),
    )


def _frame(scene: np.ndarray, own: np.ndarray, name: str) -> np.ndarray:
    """(4, 4) from the scene frame to that of an object's rows, by points (M, 3) of both: turned, scaled and moved at
    most. Rows that never left the scene frame have it bit by bit.
    """
    if not len(scene) or np.abs(own - scene).max() <= 1e-6 * max(1.0, np.abs(scene).max()):
        return np.eye(4)
    result = similarity(scene, own)
    off = np.abs(scene @ result[:3, :3].T + result[:3, 3] - own).max()
    if off > max(_FITS * max(float(np.ptp(scene, axis=0).max()), 1e-6), 1e-5 * np.abs(own).max()):
        raise InputError(
            "object-deformed", f"The splats of {name!r} are not where the scene has them.", "Import the scene again."
        )
    return result


def _drop(cloud: bpy.types.PointCloud) -> None:
    if not cloud.users:
        bpy.data.pointclouds.remove(cloud)
