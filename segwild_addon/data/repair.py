"""What Blender itself does to our objects, put right: copied names, files of other versions, lost colours."""

from __future__ import annotations

import uuid

import bpy
import numpy as np
from bpy.app.handlers import persistent

from ..protocol.errors import InputError, SegWildError
from . import changes, compat, cuts, scenes, splats
from .encoded import Encoded
from .harmonics import turned
from .placement import matrices


def uuids() -> int:
    """Give what was duplicated (Shift+D, copied collections) names of its own; returns how many were given.

    The older of two keeps its uuid.
    """
    given = _collections()
    known: dict[str, bpy.types.Object] = {}
    roots: set[str] = set()
    for ob in sorted(_ours(bpy.data.objects), key=_age):
        facts = ob.segwild
        if not facts.uuid:
            continue
        if facts.uuid in known:
            facts.uuid = uuid.uuid4().hex
            # A scene has one rest and one root; their copies are an object like any other, and nothing.
            if facts.kind == "REST":
                facts.kind, facts.label = "SEGMENT", 0
            elif facts.kind == "ROOT" and facts.scene_uuid in roots:
                facts.kind = "NONE"
            changes.announce(facts.uuid)
            given += 1
        known[facts.uuid] = ob
        if facts.kind == "ROOT":
            roots.add(facts.scene_uuid)
    return given


def _collections() -> int:
    """A copied collection with a scene becomes a scene of its own, with the objects that were copied along."""
    known: dict[str, bpy.types.Collection] = {}
    given = 0
    for collection in sorted(_ours(scenes.all_scenes()), key=_age):
        facts = collection.segwild
        first = known.setdefault(facts.uuid, collection)
        if first == collection:
            continue
        old, facts.uuid = facts.uuid, uuid.uuid4().hex
        kept = set(first.all_objects)
        for ob in collection.all_objects:
            if ob.segwild.scene_uuid == old and ob not in kept and ob.is_editable:
                ob.segwild.scene_uuid = facts.uuid
                ob.segwild.uuid = uuid.uuid4().hex
        known[facts.uuid] = collection
        given += 1
    return given


def types() -> int:
    """Colours of files from older versions into the type this Blender's own splats use; returns how many objects."""
    mended = 0
    for ob in _ours(bpy.data.objects):
        if not splats.is_splat(ob) or ob.segwild.kind == "NONE":
            continue
        if ob.data.attributes[splats.BASE].data_type != compat.base_type() and ob.data.is_editable:
            splats.write_base(ob, splats.column(ob, splats.BASE, 4))
            mended += 1
    return mended


def colours() -> list[str]:
    """Refill colours that an older Blender dropped on opening a newer one's file; returns what could not be, told."""
    told = []
    for ob in _ours(bpy.data.objects):
        lost = ob.type == "POINTCLOUD" and ob.segwild.kind in scenes.SPLAT_KINDS and not splats.is_splat(ob)
        if lost and len(ob.data.points):
            try:
                refill(ob)
            except SegWildError as error:
                told.append(f"The colours of {ob.name!r} are lost: this Blender drops those a newer one saved. {error}")
    return told


def refill(ob: bpy.types.Object) -> int:
    """The trained colours and opacities of all rows the workspace knows; returns how many.

    Parts of divided rows get the opacity they were made with. Places stay, and so does what was erased.
    Raises InputError if the workspace cannot be read or was trained anew.
    """
    scene = scenes.scene_of(ob)
    if scene is None:
        raise InputError("no-scene", f"The object {ob.name!r} belongs to no SegWild scene.", "Import a workspace.")
    gaussians = scenes.trained(scene).splats()
    ids = splats.read_ids(ob)
    if len(ids) and int(ids.max()) > len(gaussians):
        raise InputError(
            "workspace-changed", f"The workspace has other Gaussians now than {ob.name!r}.", "Import it again."
        )
    if cuts.is_cut(ob):
        turn = cuts.on_whole(ob, lambda: _turn(ob, gaussians))
        cuts.on_whole(ob, lambda: _refill(ob, gaussians, turn))
    else:
        turn = _turn(ob, gaussians)
    _refill(ob, gaussians, turn)
    changes.announce(ob.segwild.uuid)
    return int((ids > 0).sum())


def _refill(ob: bpy.types.Object, gaussians: Encoded, turn: np.ndarray | None) -> None:
    ids, parts = splats.read_ids(ob), splats.column(ob, splats.PARTS)
    known = ids > 0
    own = ids[known] - 1
    base = splats.column(ob, splats.BASE, 4)
    base[known] = gaussians.base(own)
    base[parts > 0, 3] = parts[parts > 0]
    erased = splats.column(ob, splats.ERASED)
    hidden = erased > 0
    if hidden.any():
        erased[hidden & known] = base[hidden & known, 3]
        base[hidden, 3] = 0
        splats.write_column(ob, splats.ERASED, erased)
    splats.write_base(ob, base)
    for k in range(gaussians.shN.shape[1]):
        column = splats.column(ob, splats.harmonic(k), 3)
        column[known] = gaussians.harmonic(k, own)
        splats.write_column(ob, splats.harmonic(k), column)
    if turn is not None:
        _turned(ob, known, turn)


def _turn(ob: bpy.types.Object, gaussians: Encoded) -> np.ndarray | None:
    """How the rows were turned since they were trained (3, 3), where an applied transform did that; None if not."""
    ids = splats.read_ids(ob)
    known = (ids > 0) & (splats.column(ob, splats.PARTS) <= 0)
    if not known.any():
        return None
    now = matrices(splats.column(ob, "rotation", 4)[known].astype(float))
    trained = matrices(gaussians.rotations(ids[known] - 1).astype(float))
    u, _, vt = np.linalg.svd(np.einsum("nij,nkj->ik", now, trained))
    turn = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    return None if np.allclose(turn, np.eye(3), atol=1e-4) else turn


def _turned(ob: bpy.types.Object, known: np.ndarray, turn: np.ndarray) -> None:
    sh = splats.read(ob).sh
    sh[known] = turned(sh[known], turn)
    splats.write_sh(ob, sh)


def _ours(datablocks: object) -> list:
    """What this file owns: linked libraries cannot be written."""
    return [block for block in datablocks if block.library is None and block.is_editable]


def _age(block: bpy.types.ID) -> int:
    return block.session_uid


_seen = 0  # objects at the last look: duplicating adds some


@persistent
def _after_edit(_scene: object, _depsgraph: object = None) -> None:
    global _seen
    count = len(bpy.data.objects)
    if count != _seen:
        _seen = count
        uuids()


@persistent
def _after_undo(*_: object) -> None:
    """The step of a duplication holds the copy as Blender made it, with the name of the first."""
    uuids()


@persistent
def _after_load(_path: object = None, _unused: object = None) -> None:
    global _seen
    _seen = 0
    types()
    for sentence in colours():
        print(f"SegWild: {sentence}")
    changes.announce(None)


def register() -> None:
    bpy.app.handlers.depsgraph_update_post.append(_after_edit)
    bpy.app.handlers.undo_post.append(_after_undo)
    bpy.app.handlers.redo_post.append(_after_undo)
    bpy.app.handlers.load_post.append(_after_load)


def unregister() -> None:
    bpy.app.handlers.load_post.remove(_after_load)
    bpy.app.handlers.redo_post.remove(_after_undo)
    bpy.app.handlers.undo_post.remove(_after_undo)
    bpy.app.handlers.depsgraph_update_post.remove(_after_edit)
