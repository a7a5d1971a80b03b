"""The splat objects of the open file into layers, and a view of them into strokes.

Objects are never held on to: between two drawings they may have been deleted, undone or replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from ..data import light as lights
from ..data import splats
from ..data.looks import Look
from ..data.rows import Rows, rows
from .buffers import Layer, Packed, Shown, object_table, object_texture, packed
from .camera import View
from .orders import Orders
from .painting import Stroke
from .sort import Part

SH_C0 = 0.28209479177387814
TABLES_KEPT = 24
NEUTRAL = Look(), np.eye(3)


def splat_objects() -> list[bpy.types.Object]:
    """All of the file, shown or not."""
    return [ob for ob in bpy.data.objects if ob.type == "POINTCLOUD" and splats.is_splat(ob)]


def key_of(ob: bpy.types.Object) -> tuple[int, int]:
    """Tells an object and its data apart from all others of this session, whatever they are renamed to."""
    return ob.session_uid, ob.data.session_uid


class Uuids:
    """A set of object uuids, or (None added) of all."""

    def __init__(self) -> None:
        self._all = False
        self._some: set[str] = set()

    def add(self, uuid: str | None) -> None:
        if uuid is None:
            self._all = True
        else:
            self._some.add(uuid)

    def __contains__(self, uuid: str) -> bool:
        return self._all or uuid in self._some


class Stock:
    """Layers by scene, kept up to date with the file."""

    def __init__(self) -> None:
        self.layers: dict[str, Layer] = {}
        self.orders = Orders()
        self._previews: dict[str, Layer] = {}
        self._places: dict[str, np.ndarray | None] = {}
        self._marked: dict[str, Mapping[str, np.ndarray]] = {}  # by scene uuid: by object uuid
        self._colored: dict[str, np.ndarray] = {}  # by scene uuid
        self.notes: dict[str, str] = {}  # object uuid -> why its look is not shown, "" if it is
        self._looks: dict[tuple[int, int], tuple[Look, np.ndarray]] = {}  # what was last drawn, and its gain
        self._whole: set[tuple[int, int]] = set()  # whose packs hold all of their look, the gain too
        self._tables: dict[Any, tuple[bytes, Any]] = {}
        self._stale = Uuids()
        self._relit = Uuids()

    # what has changed

    def changed(self, object_uuid: str | None) -> None:
        """Rows of an object, or of any, are no longer those that were read."""
        self._stale.add(object_uuid)

    def relit(self, object_uuid: str | None) -> None:
        """The look of an object, or of any, is another."""
        self._relit.add(object_uuid)

    def mark(self, scene_uuid: str, marked: Mapping[str, np.ndarray] | None) -> None:
        """Highlight, of each object of the scene by its uuid, the rows with these ids (row of the workspace + 1).

        None: no rows.
        """
        if marked is None:
            self._marked.pop(scene_uuid, None)
        else:
            self._marked[scene_uuid] = marked

    def color(self, scene_uuid: str, numbers: np.ndarray | None) -> None:
        """Tint what belongs to no object of the scene by numbers of colours, (M,) uint8 by row of the workspace.

        None: as it is.
        """
        if numbers is None:
            self._colored.pop(scene_uuid, None)
        else:
            self._colored[scene_uuid] = numbers

    def preview(self, scene_uuid: str, arrays: Mapping[str, np.ndarray] | None, place: Any = None) -> None:
        """Show these rows in the place of the scene's objects: means, colors (RGB 0..1), scales, quats, opacities.

        `place` (4, 4) puts them into the world; without it the scene's root does. None: the objects again.
        """
        if arrays is None:
            self._previews.pop(scene_uuid, None)
            self._places.pop(scene_uuid, None)
            return
        layer = self._previews.setdefault(scene_uuid, Layer())
        layer.set({"preview": packed(_preview_rows(arrays))})
        self._places[scene_uuid] = None if place is None else np.array(place, np.float64)

    # what is there

    def sync(self) -> list[bpy.types.Object]:
        """Read again what has changed. Returns the splat objects of the file.

        Raises ResourceError for more rows than can be drawn.
        """
        objects = splat_objects()
        by_scene: dict[str, list[bpy.types.Object]] = {}
        for ob in objects:
            by_scene.setdefault(ob.segwild.scene_uuid, []).append(ob)
        for gone in self.layers.keys() - by_scene.keys():
            del self.layers[gone]
        for scene_uuid, members in by_scene.items():
            if scene_uuid not in self.layers:
                self.layers[scene_uuid] = Layer()
            self._fill(self.layers[scene_uuid], members)
            marked = self._marked.get(scene_uuid, {})
            self.layers[scene_uuid].mark(
                {key_of(ob): marked[ob.segwild.uuid] for ob in members if ob.segwild.uuid in marked}
            )
            colored = self._colored.get(scene_uuid)
            rests = [] if colored is None else [key_of(ob) for ob in members if ob.segwild.kind == "REST"]
            self.layers[scene_uuid].color(dict.fromkeys(rests, colored))
        self._stale, self._relit = Uuids(), Uuids()  # until here, whatever fails is done again
        keys, uuids = {key_of(ob) for ob in objects}, {ob.segwild.uuid for ob in objects}
        self._looks = {key: look for key, look in self._looks.items() if key in keys}
        self._whole &= keys
        self.notes = {uuid: note for uuid, note in self.notes.items() if uuid in uuids}
        return objects

    def _fill(self, layer: Layer, members: list[bpy.types.Object]) -> None:
        packs: dict[Any, Packed] = {}
        looks: dict[Any, tuple[Look, np.ndarray]] = {}
        wholes = set()
        touched = list(layer.members) != [key_of(ob) for ob in members]
        for ob in members:
            key, uuid = key_of(ob), ob.segwild.uuid
            pack = layer.pack(key)
            fresh = pack is None or uuid in self._stale
            if fresh:
                pack = packed(splats.read(ob), pack)
            packs[key] = pack
            if fresh or uuid in self._relit:
                look = lights.look(ob)
                if not fresh and look == self._looks.get(key, NEUTRAL)[0]:
                    continue  # the grading has changed, which the table of objects holds
                light, self.notes[uuid] = lights.look_or_neutral(ob, pack.ids)
                whole = light.higher is not None
                if whole or (key in self._whole and not fresh):
                    # Harmonics that change row by row fit into no table of objects: they are encoded anew.
                    neutral = splats.read(ob)
                    pack = packed(light.on(neutral) if whole else neutral, pack)
                if not whole and (not fresh or not light.changes_nothing):
                    base = splats.column(ob, splats.BASE, 4)[:, :3]
                    pack = pack.with_base(light.baked(base, np.empty((len(base), 0, 3), np.float32))[0])
                if whole:
                    wholes.add(key)
                looks[key] = look, np.eye(3) if whole else light.gain.astype(np.float64)
                touched = True
            packs[key] = pack
        if touched:
            layer.set(packs)
        self._looks |= looks
        self._whole = (self._whole - looks.keys()) | wholes

    def strokes(
        self,
        view: View,
        objects: Sequence[bpy.types.Object],
        visible: Callable[[bpy.types.Object], bool],
        *,
        name: Any,  # of the view, for which orders are kept
        moving: bool = False,
        patient: bool = True,
    ) -> list[Stroke]:
        """What to paint, farthest layer first."""
        found, drawn = [], set()
        for scene_uuid, layer, placed in self.placed(objects, visible):
            parts, table = [], [HIDDEN] * len(layer.members)
            for slot, (key, rows_of) in enumerate(layer.members.items()):
                if key in placed:
                    cam_from_object = view.cam_from_world @ placed[key].matrix
                    table[slot] = placed[key].shown(view, cam_from_object)
                    towards, offset = cam_from_object[2, :3].astype(np.float32), float(cam_from_object[2, 3])
                    parts.append(Part(rows_of.start, rows_of.stop, towards, offset))
            if parts:
                drawn.add((name, scene_uuid))
                order = self.orders.find((name, scene_uuid), layer, parts, moving=moving, patient=patient)
                depth = float(
                    np.mean([part.towards @ layer.middle(part.start, part.stop) + part.offset for part in parts])
                )
                values = object_table(table)
                objects_texture = self._table((name, scene_uuid), values)
                made_of = layer.version, order.number, values.tobytes()
                found.append((depth, Stroke(layer, order.texture, order.count, objects_texture, made_of)))
        self.orders.keep(lambda key: key in drawn or key[0] != name)
        return [stroke for _, stroke in sorted(found, key=lambda pair: -pair[0])]

    def placed(
        self, objects: Sequence[bpy.types.Object], visible: Callable[[bpy.types.Object], bool]
    ) -> Iterator[tuple[str, Layer, dict[Any, Placed]]]:
        """Every layer and where its visible members lie, by key."""
        for scene_uuid, layer in self._previews.items():
            matrix = self._places[scene_uuid]
            if matrix is None:
                matrix = _root_matrix(scene_uuid)
            yield scene_uuid, layer, {"preview": Placed(matrix, "preview", None, np.eye(3))}
        for scene_uuid, layer in self.layers.items():
            if scene_uuid not in self._previews:
                yield (
                    scene_uuid,
                    layer,
                    {
                        key_of(ob): Placed(
                            np.array(ob.matrix_world, np.float64), key_of(ob), ob, self._looks[key_of(ob)][1]
                        )
                        for ob in objects
                        if ob.segwild.scene_uuid == scene_uuid and len(ob.data.points) and visible(ob)
                    },
                )

    def _table(self, key: Any, table: np.ndarray) -> Any:
        """The texture of a table; the last one if that held the same."""
        content = table.tobytes()
        known = self._tables.pop(key, None)
        self._tables[key] = known if known is not None and known[0] == content else (content, object_texture(table))
        while len(self._tables) > TABLES_KEPT:
            del self._tables[next(iter(self._tables))]
        return self._tables[key][1]

    def free(self) -> None:
        """Let go of everything on the graphics card and of what was read; previews and tints too."""
        self.orders.forget(stop=True)
        self.__init__()


@dataclass(frozen=True, eq=False)
class Placed:
    """One visible member of a layer."""

    matrix: np.ndarray  # (4, 4) world from object
    key: Any
    ob: bpy.types.Object | None  # None: a preview
    gain: np.ndarray  # (3, 3) of its look

    def shown(self, view: View, cam_from_object: np.ndarray) -> Shown:
        """Raises nothing: an object that is flat along an axis is seen from where its pseudo-inverse says."""
        inverse = np.linalg.pinv(cam_from_object[:3, :3])
        if view.orthographic:
            eye = np.append(inverse @ (0, 0, 1), 0)
        else:
            eye = np.append(inverse @ -cam_from_object[:3, 3], 1)
        if self.ob is None:
            return Shown(cam_from_object, eye, np.eye(3), np.eye(3), 1.0, 0)
        facts = self.ob.segwild
        return Shown(cam_from_object, eye, lights.grading(self.ob), self.gain, facts.opacity, facts.sh_degree)


SHARED = Stock()  # what the open file holds; there is one open file
HIDDEN = Shown(np.eye(4), np.ones(4), np.eye(3), np.eye(3), 0.0, 0)


def _root_matrix(scene_uuid: str) -> np.ndarray:
    for ob in bpy.data.objects:
        if ob.segwild.kind == "ROOT" and ob.segwild.scene_uuid == scene_uuid:
            return np.array(ob.matrix_world, np.float64)
    return np.eye(4)


def _preview_rows(arrays: Mapping[str, np.ndarray]) -> Rows:
    means = np.asarray(arrays["means"], np.float32)
    base = np.empty((len(means), 4), np.float32)
    base[:, :3] = (np.asarray(arrays["colors"], np.float32) - 0.5) / SH_C0
    base[:, 3] = arrays["opacities"]
    return rows(means, np.asarray(arrays["scales"], np.float32), np.asarray(arrays["quats"], np.float32), base)
