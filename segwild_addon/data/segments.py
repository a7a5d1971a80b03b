"""Rows between the rest of a scene and the objects in it. No id is ever lost: rows move, or are marked erased.

Rows keep their place in the scene when they move between objects that stand in different places.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import bpy
import numpy as np
from mathutils import Matrix

from ..protocol.errors import InputError
from . import changes, cuts, light, nesting, scenes, splats
from .placement import invertible, moved
from .rows import Rows, among, concatenate

SELECTED = "segwild_selected"
_SELECTIONS = (SELECTED, ".selection")  # ours, and that of Blender's own edit mode


def make(
    scene: bpy.types.Collection,
    name: str,
    ids: np.ndarray,  # (M,) int32, segwild_ids
    label: int,  # of the object in the workspace; 0: unknown there
    color: tuple[float, float, float] | None = None,
) -> bpy.types.Object:
    """A new object of exactly these rows, each taken from one object of the scene that has it.

    A segment that gives its last row away is removed. Raises InputError if none of the rows is there.
    """
    return make_of_rows(scene, name, picked(scene, spread(scene, ids)), label, color)


def spread(
    scene: bpy.types.Collection, ids: np.ndarray, holders: Collection[str] = (), *, shown: bool = False
) -> dict[str, np.ndarray]:
    """Which objects of the scene give these ids (M,): ids (K,) int32, ascending, by the uuid of each object.

    Copies have the same ids, and so have the parts of a divided row. Therefore the `holders` (uuids) give all of them
    that they have, and what these lack comes from one object alone, from the rest rather than from a segment.
    `shown`: without objects that are hidden and rows that were erased.
    """
    objects = {ob.segwild.uuid: ob for ob in scenes.splat_objects(scene) if not shown or ob.visible_get()}

    def own(ob: bpy.types.Object) -> np.ndarray:
        return splats.read_ids(ob)[splats.column(ob, splats.ERASED) == 0] if shown else splats.read_ids(ob)

    found = {uuid: _among(own(objects[uuid]), ids) for uuid in holders if uuid in objects}
    left = ids[ids > 0]
    for given in found.values():
        left = left[~among(left, given)]
    for uuid, ob in sorted(objects.items(), key=lambda item: item[1].segwild.kind != "REST"):
        if uuid not in found and len(left):
            found[uuid] = _among(own(ob), left)
            left = left[~among(left, found[uuid])]
    return {uuid: own for uuid, own in found.items() if len(own)}


def _among(own: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """(K,) int32, ascending, each once: those of the ids that are among an object's own (N,)."""
    there = np.zeros(int(own.max(initial=0)) + 1, bool)  # sorting would take ten times as long
    there[own[among(own, ids)]] = True
    return np.flatnonzero(there).astype(np.int32)


def picked(scene: bpy.types.Collection, chosen: Mapping[str, np.ndarray]) -> list[tuple[bpy.types.Object, np.ndarray]]:
    """The rows (N,) bool that have the chosen ids, in each object of the scene whose uuid is named."""
    return [
        (ob, among(splats.read_ids(ob), chosen[ob.segwild.uuid]))
        for ob in scenes.splat_objects(scene)
        if ob.segwild.uuid in chosen
    ]


def make_of_rows(
    scene: bpy.types.Collection,
    name: str,
    picked: Sequence[tuple[bpy.types.Object, np.ndarray]],  # objects of the scene, (N,) bool of each one's rows
    label: int = 0,
    color: tuple[float, float, float] | None = None,
) -> bpy.types.Object:
    """`make` from rows that are picked in each object: for those the workspace does not know."""
    picked = [(ob, mask) for ob, mask in picked if mask.any()]
    if not picked:
        raise InputError("empty-object", f"No splat is selected for {name!r}.", "Click on the object itself.")
    bpy.context.view_layer.update()  # matrices of objects that were moved by a script
    parts = [_in_scene(ob, mask) for ob, mask in picked]
    gave = [(ob.segwild.uuid, rows.ids, rows.parts) for (ob, _), rows in zip(picked, parts, strict=True)]
    taken = concatenate(parts)
    made = splats.create(name, _labelled(taken, label))
    first = max(picked, key=lambda item: int(item[1].sum()))[0]
    scenes.adopt(made, scene, "SEGMENT", label)
    light.copy(first, made)
    if color is not None:
        made.color = (*color, 1.0)
    for ob, mask in picked:
        if mask.all() and ob.segwild.kind == "SEGMENT":
            _remove(ob)
        else:
            splats.keep(ob, ~mask)
            changes.announce(ob.segwild.uuid)
    for ob in scenes.members(scene, "SEGMENT"):
        if ob != made and cuts.is_cut(ob):
            shown = splats.read_ids(ob)
            for uuid, ids, divided in gave:
                # Of others' rows only those that its cut had given away: the rest are copies, or parts beside its own.
                own = uuid == ob.segwild.uuid
                cuts.forget(ob, ids[ids > 0] if own else ids[(ids > 0) & (divided <= 0) & ~np.isin(ids, shown)])
    return made


def merge(target: bpy.types.Object, others: Sequence[bpy.types.Object]) -> None:
    """All rows into `target`, which keeps its name, place, label and light; the others are gone afterwards, and their
    parts are those of the target.

    Cuts are taken back: where two objects meet there is no edge any more.
    Rows of another scene, or of no scene, become unknown to the workspace (id 0); in a scene without one they get ids
    that are free. Raises InputError for an object without splats, and, before anything is changed, for a flat one.
    """
    others = [ob for ob in others if ob != target]
    if not others:
        raise InputError("nothing-to-merge", f"There is nothing to join to {target.name!r}.", "Select another object.")
    bpy.context.view_layer.update()
    target_from_world = np.linalg.inv(invertible(np.array(target.matrix_world)))
    places = [invertible(_exact(target_from_world @ np.array(ob.matrix_world, float))) for ob in others]
    for ob in (target, *others):
        cuts.revert(ob, scenes.rest_of(ob))
    free = _free_id(scenes.scene_of(target))
    parts = []
    for ob, target_from_object in zip(others, places, strict=True):
        rows = _labelled(moved(splats.read(ob), target_from_object), target.segwild.label)
        if ob.segwild.scene_uuid != target.segwild.scene_uuid or not target.segwild.scene_uuid:
            ids = np.arange(free, free + len(rows), dtype=np.int32) if free else np.zeros(len(rows), np.int32)
            rows = Rows(**vars(rows) | {"ids": ids})
            free += len(rows) if free else 0
        parts.append(rows)
    splats.extend(target, concatenate(parts))
    cuts.tidy(target)
    for ob in others:
        _remove(ob, heir=target)
    changes.announce(target.segwild.uuid)


def dissolve(ob: bpy.types.Object) -> bpy.types.Object:
    """The object's rows back to the rest of its scene, which is returned; the object is gone afterwards.

    Raises InputError if the object belongs to no scene.
    """
    scene = scenes.scene_of(ob)
    if scene is None:
        raise not_in_a_scene(ob)
    rest = scenes.rest(scene)
    if rest is None:  # somebody has deleted it
        rest = splats.create(f"{scene.name.removeprefix('SegWild ')} rest", splats.read(ob).take(np.arange(0)))
        scenes.adopt(rest, scene, "REST")
    if rest == ob:
        raise not_a_segment(ob)
    merge(rest, [ob])
    return rest


def split(
    ob: bpy.types.Object,
    numbers: np.ndarray,  # (N,) uint8, from 1 on, of the part that each of the scene's rows is in; 0: in none
    color: Callable[[bpy.types.Collection], tuple[float, float, float]],  # of the next new object
) -> list[bpy.types.Object]:
    """A new object of every part but the first; that one and what is in no part stay.

    The new ones are called after the object, and are parts of what it is a part of. A cut is taken back, as by `merge`.
    Raises InputError, before anything is changed, for an object that is scaled flat or belongs to no scene.
    """
    scene = scenes.scene_of(ob)
    if scene is None:
        raise not_in_a_scene(ob)
    bpy.context.view_layer.update()
    invertible(np.array(ob.matrix_world, float))
    if numbers.max(initial=0) > 1:
        cuts.revert(ob, scenes.rest_of(ob))
    made, place = [], 1
    for number in range(2, int(numbers.max(initial=0)) + 1):
        while f"{ob.name}.{place}" in bpy.data.objects:
            place += 1
        ids = splats.read_ids(ob)
        rows = (ids > 0) & (numbers[np.maximum(ids, 1) - 1] == number)
        made.append(make_of_rows(scene, f"{ob.name}.{place}", [(ob, rows)], color=color(scene)))
        centre(made[-1])
        if nesting.parent_of(ob) is not None:
            nesting.put(made[-1], ob.parent)
    return made


def recover(scene: bpy.types.Collection) -> int:
    """Rows of the workspace that no object holds any more, into the rest; returns how many.

    Raises InputError if the workspace cannot be read or was trained anew.
    """
    gaussians = scenes.trained(scene).splats()
    rest = scenes.rest(scene)
    present = np.zeros(len(gaussians) + 1, bool)
    for ob in scenes.splat_objects(scene):
        ids = cuts.ids(ob)
        if ob == rest:  # parts that it has are no rows: the object they were cut off has those, unless it is gone
            ids = ids[splats.column(ob, splats.PARTS) <= 0]
        present[ids[(ids > 0) & (ids <= len(gaussians))]] = True
    missing = np.flatnonzero(~present[1:] & gaussians.usable())
    if not len(missing):
        return 0
    rows = gaussians.rows(missing, (missing + 1).astype(np.int32))
    if rest is not None:
        left = (splats.column(rest, splats.PARTS) > 0) & np.isin(splats.read_ids(rest), rows.ids)
        if left.any():
            splats.keep(rest, ~left)
    if rest is None:
        rest = splats.create(f"{scene.name.removeprefix('SegWild ')} rest", rows)
        scenes.adopt(rest, scene, "REST")
    else:
        bpy.context.view_layer.update()
        splats.extend(rest, moved(rows, np.linalg.inv(placed(rest))))
    changes.announce(rest.segwild.uuid)
    return len(missing)


def centre(ob: bpy.types.Object) -> None:
    """Put the object's origin into the middle of its splats; they stay where they are, and so does what hangs below."""
    if not len(ob.data.points):
        return
    bpy.context.view_layer.update()
    children = [(child, child.matrix_world.copy()) for child in ob.children]
    positions = splats.column(ob, "position", 3)
    middle = np.median(positions, axis=0)
    splats.write_column(ob, "position", positions - middle)
    ob.matrix_basis = ob.matrix_basis @ Matrix.Translation(middle.tolist())
    bpy.context.view_layer.update()
    for child, matrix in children:
        child.matrix_world = matrix
    changes.announce(ob.segwild.uuid)


def apply_transform(ob: bpy.types.Object) -> None:
    """Move the object's place into its rows: positions, sizes, orientations and direction-dependent colours.

    Afterwards the object stands at its scene's root (at the world's origin without one), and is a part of what it was;
    what hangs below it stays where it is. Raises InputError for an object that is scaled flat.
    """
    bpy.context.view_layer.update()
    scene = scenes.scene_of(ob)
    root = scenes.root(scene) if scene is not None else None
    matrix = placed(ob)
    rows = moved(splats.read(ob), matrix)
    children = [(child, child.matrix_world.copy()) for child in ob.children]
    if cuts.is_cut(ob):
        cuts.on_whole(ob, lambda: splats.write(ob, moved(splats.read(ob), matrix)))
    splats.write(ob, rows) if len(rows) else None
    if root is not None and nesting.parent_of(ob) is not None:
        ob.matrix_parent_inverse = ob.parent.matrix_world.inverted() @ root.matrix_world
        ob.matrix_basis.identity()
    elif root is not None:
        ob.parent = root
        ob.matrix_parent_inverse.identity()
        ob.matrix_basis.identity()
    else:
        ob.parent = None
        ob.matrix_basis.identity()
    bpy.context.view_layer.update()
    for child, matrix in children:
        child.matrix_world = matrix
    changes.announce(ob.segwild.uuid)


def mark_asset(ob: bpy.types.Object) -> None:
    """Offer the object in the asset browser."""
    ob.asset_mark()
    ob.asset_data.description = f"{len(ob.data.points)} Gaussian splats"
    ob.asset_data.tags.new("splats", skip_if_exists=True)


def not_in_a_scene(ob: bpy.types.Object) -> InputError:
    return InputError("no-scene", f"The object {ob.name!r} belongs to no SegWild scene.", "Join it to one.")


def not_a_segment(ob: bpy.types.Object) -> InputError:
    return InputError("is-rest", f"{ob.name!r} is the rest of its scene.", "Choose another object.")


def placed(ob: bpy.types.Object) -> np.ndarray:
    """(4, 4) float64, from the object's space to the scene frame (to the world for an object of no scene)."""
    world = np.array(ob.matrix_world, float)
    scene = scenes.scene_of(ob)
    root = scenes.root(scene) if scene is not None else None
    if root is None:
        return world
    return _exact(np.linalg.inv(np.array(root.matrix_world, float)) @ world)


def selected_rows(ob: bpy.types.Object) -> np.ndarray:
    """(N,) bool, rows that are selected by hand; none where nothing was ever selected."""
    found = np.zeros(len(ob.data.points), bool)
    for name in _SELECTIONS:
        attribute = ob.data.attributes.get(name)
        if attribute is not None and attribute.data_type == "BOOLEAN" and attribute.domain == "POINT" and len(found):
            part = np.zeros(len(found), bool)
            attribute.data.foreach_get("value", part)
            found |= part
    return found


def _exact(matrix: np.ndarray) -> np.ndarray:
    """Float32 matrices do not cancel exactly: an object that was never moved stays untouched bit for bit."""
    return np.eye(4) if np.allclose(matrix, np.eye(4), rtol=0, atol=2e-6) else matrix


def _in_scene(ob: bpy.types.Object, mask: np.ndarray) -> Rows:
    return moved(splats.read(ob, mask), placed(ob))


def _free_id(scene: bpy.types.Collection | None) -> int:
    """The first of the ids that no row of the scene has; 0 where the ids are not ours to give: a workspace has them."""
    if scene is None or scene.segwild.workspace:
        return 0
    return 1 + max((int(splats.read_ids(ob).max(initial=0)) for ob in scenes.splat_objects(scene)), default=0)


def _labelled(rows: Rows, label: int) -> Rows:
    return Rows(**vars(rows) | {"labels": np.full(len(rows), label, np.int32)})


def _remove(ob: bpy.types.Object, heir: bpy.types.Object | None = None) -> None:
    """What hangs below it hangs below its parent then; its parts below the `heir`, if that can have any."""
    uuid = ob.segwild.uuid
    world = [(child, child.matrix_world.copy()) for child in ob.children]
    for child, matrix in world:
        part = child.segwild.kind == "SEGMENT" and heir is not None and heir.segwild.kind == "SEGMENT"
        if part and child != heir and child not in nesting.above(heir):
            nesting.put(child, heir)
        else:
            child.parent = ob.parent
            child.matrix_world = matrix
    scenes.discard(ob)
    changes.announce(uuid)
