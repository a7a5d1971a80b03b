"""A workspace into a collection of objects, and any object back to the scene it belongs to.

Collection "SegWild <name>"     collection.segwild: uuid, workspace
  Empty "<name> root"           maps the scene frame to Blender's world
    PointCloud "<name> rest"    rows of no segment
    PointCloud "<segment>"      one per segment, below what it is a part of
  Collection "<name> cameras"
    Camera "<photo>"            one per photo, below the root too
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..protocol.errors import InputError, SegWildError
from . import cameras, changes, cuts, nesting, ply, splats, workspace
from .places import absolute
from .steps import Steps, within
from .workspace import Folder

SPLAT_KINDS = ("REST", "SEGMENT")
Warn = Callable[[str], None]


def all_scenes() -> list[bpy.types.Collection]:
    """Collections that hold a SegWild scene, those of this file before linked ones."""
    found = [collection for collection in bpy.data.collections if collection.segwild.is_scene]
    return sorted(found, key=lambda collection: collection.library is not None)


def find(scene_uuid: str) -> bpy.types.Collection | None:
    return next((scene for scene in all_scenes() if scene_uuid and scene.segwild.uuid == scene_uuid), None)


def scene_of(ob: bpy.types.Object | None) -> bpy.types.Collection | None:
    """The scene an object belongs to, wherever it was moved in the outliner."""
    return None if ob is None else find(ob.segwild.scene_uuid)


def active(context: bpy.types.Context) -> bpy.types.Collection | None:
    """The scene of the active object, else the one last worked with, else the only one."""
    found = scene_of(context.active_object) or find(context.scene.segwild.active_scene)
    known = all_scenes()
    return found or (known[0] if len(known) == 1 else None)


def active_splats(context: bpy.types.Context) -> bpy.types.Object | None:
    """The active object if it is the rest or a segment of a scene, which need not be in this file: assets are alone."""
    ob = context.view_layer.objects.active
    return ob if ob is not None and ob.segwild.kind in SPLAT_KINDS else None


def anything(context: bpy.types.Context) -> bool:
    """Whether there is a scene, or an object of one, for panels to speak of."""
    return active(context) is not None or active_splats(context) is not None


def members(scene: bpy.types.Collection, *kinds: str) -> list[bpy.types.Object]:
    """Objects of a scene, of the given kinds or of all, in the order of their names."""
    return [
        ob
        for ob in bpy.data.objects
        if ob.segwild.scene_uuid == scene.segwild.uuid
        and ob.segwild.kind != "NONE"
        and (not kinds or ob.segwild.kind in kinds)
        and (ob.library is not None) == (scene.library is not None)
    ]


def splat_objects(scene: bpy.types.Collection) -> list[bpy.types.Object]:
    """The rest and all segments."""
    return members(scene, *SPLAT_KINDS)


def root(scene: bpy.types.Collection) -> bpy.types.Object | None:
    return next(iter(members(scene, "ROOT")), None)


def rest(scene: bpy.types.Collection) -> bpy.types.Object | None:
    return next(iter(members(scene, "REST")), None)


def rest_of(ob: bpy.types.Object) -> bpy.types.Object | None:
    """The rest of the scene an object belongs to."""
    scene = scene_of(ob)
    return rest(scene) if scene is not None else None


def by_uuid(object_uuid: str) -> bpy.types.Object | None:
    return next((ob for ob in bpy.data.objects if object_uuid and ob.segwild.uuid == object_uuid), None)


def folder(scene: bpy.types.Collection) -> Folder:
    """The workspace of a scene. Raises InputError if it has none or it has been moved away."""
    path = scene.segwild.workspace
    if not path:
        raise InputError("no-workspace", f"The scene {scene.name!r} has no workspace folder.", "Import one.")
    return Folder.open(Path(bpy.path.abspath(path)))


def trained(scene: bpy.types.Collection) -> Folder:
    """The workspace of a scene, for what goes by rows.

    Raises InputError as `folder`, or if it has other Gaussians now than the scene was imported with.
    """
    found = folder(scene)
    found.expect(scene.segwild.gaussians)
    return found


def of_folder(path: str) -> bpy.types.Collection | None:
    """The scene of a workspace; of several one that is not put aside."""
    found = [scene for scene in all_scenes() if _place(scene) == absolute(path)]
    return next(iter(sorted(found, key=is_aside)), None)


def _place(scene: bpy.types.Collection) -> str:
    return absolute(scene.segwild.workspace) if scene.segwild.workspace else ""


def put_aside(scene: bpy.types.Collection) -> list[str]:
    """Take the older scenes of the same workspace out of the view, as their checkboxes in the outliner do: two that lie
    in the same place are a haze. Their names."""
    aside = []
    for other in all_scenes():
        layer = _layer_of(other)
        same = _place(other) == _place(scene) != "" and other.segwild.uuid != scene.segwild.uuid
        if same and layer is not None and not layer.exclude:
            layer.exclude = True
            aside.append(other.name)
    return aside


def told_aside(names: list[str]) -> str:
    """What `put_aside` did, and what to do about it."""
    return (
        f"The older scene in the same place is hidden: {', '.join(names)}. Tick it in the outliner to see it again, or"
        " delete it there."
    )


def is_aside(scene: bpy.types.Collection) -> bool:
    """Whether the scene is unticked in the present view layer."""
    layer = _layer_of(scene)
    return layer is not None and layer.exclude


def _layer_of(scene: bpy.types.Collection) -> bpy.types.LayerCollection | None:
    within = [bpy.context.view_layer.layer_collection]
    for layer in within:  # grows as it is walked through
        if layer.collection == scene:
            return layer
        within.extend(layer.children)
    return None


def new(name: str, path: Path | None = None) -> bpy.types.Collection:
    """An empty scene: a collection in the current scene, and its root empty."""
    collection = bpy.data.collections.new(f"SegWild {name}")
    facts = collection.segwild
    facts.uuid, facts.is_scene = uuid.uuid4().hex, True
    facts.workspace = str(path) if path is not None else ""
    bpy.context.scene.collection.children.link(collection)
    empty = bpy.data.objects.new(f"{name} root", None)
    empty.empty_display_size = 0.2
    adopt(empty, collection, "ROOT")
    settings = bpy.context.scene.segwild
    if not len(settings.prompts):  # what is being selected stays in its own scene
        settings.active_scene = facts.uuid
    return collection


def adopt(
    ob: bpy.types.Object,
    scene: bpy.types.Collection,
    kind: str,
    label: int = 0,
    *,
    into: bpy.types.Collection | None = None,
) -> None:
    """Make the object a member of the scene: own uuid, under its root, in its collection or in `into`.

    Raises ReferenceError, with the object removed, if the scene is gone.
    """
    facts = ob.segwild
    try:
        facts.scene_uuid = scene.segwild.uuid
        (into or scene).objects.link(ob)
    except ReferenceError:
        discard(ob)
        raise
    facts.uuid, facts.kind, facts.label = uuid.uuid4().hex, kind, label
    if kind != "ROOT":
        ob.parent = root(scene)
        if kind in SPLAT_KINDS:
            changes.announce(facts.uuid)


def make_active(scene: bpy.types.Collection) -> None:
    """Select the scene's rest alone, as Blender's importers do: panels and outliner then show this scene.

    Does nothing while another object is being edited.
    """
    layer, chosen = bpy.context.view_layer, rest(scene)
    editing = layer.objects.active is not None and layer.objects.active.mode != "OBJECT"
    if chosen is None or editing or layer.objects.get(chosen.name) != chosen:
        return
    for ob in layer.objects:
        ob.select_set(False)
    chosen.select_set(True)
    layer.objects.active = chosen


def remove(scene: bpy.types.Collection) -> None:
    """The scene with all its objects and their data."""
    for ob in members(scene):
        discard(ob)
    for child in scene.children_recursive:
        if not child.all_objects:
            bpy.data.collections.remove(child)
    bpy.data.collections.remove(scene)
    changes.announce(None)


def discard(ob: bpy.types.Object) -> None:
    """Remove the object, and of its data what nobody else uses."""
    owned = (ob.data, ob.segwild.whole)
    bpy.data.objects.remove(ob)
    for data in owned:
        if isinstance(data, bpy.types.PointCloud) and not data.users:
            bpy.data.pointclouds.remove(data)
        elif isinstance(data, bpy.types.Camera) and not data.users:
            bpy.data.cameras.remove(data)


def importing(path: Path, warn: Warn) -> Steps[bpy.types.Collection]:
    """A workspace into a new scene, in steps. Whatever fails, nothing of it is left behind.

    `warn` is told, in sentences, what could not be shown. Raises InputError if there is nothing to import.
    """
    source = Folder.open(path)
    scene = new(source.name, source.root)
    try:
        yield from _importing(source, scene, warn)
    except ReferenceError as error:  # an undo in between has replaced every datablock
        raise InputError("import-interrupted", "The import was interrupted.", "Import the workspace again.") from error
    except BaseException:
        if scene in bpy.data.collections.values():
            remove(scene)
        raise
    return scene


def importing_ply(path: Path, warn: Warn, *, y_down: bool = True) -> Steps[bpy.types.Collection]:
    """A splat file into a new scene without a workspace, in steps. The scene frame is the file's.

    `y_down`: the file has the axes of a camera (y down, z forward), as most training programs leave them; the root
    turns them up. Raises InputError as `ply.read`.
    """
    gaussians = ply.read(path)
    scene = new(path.stem)
    try:
        scene.segwild.gaussians = workspace.mark(gaussians)  # a workspace that is chosen for it later has others
        if y_down:
            root(scene).rotation_euler = (-math.pi / 2, 0, 0)
        usable = yield from within(gaussians.checking(), 0.0, 0.05)
        if not usable.any():
            raise InputError("ply-empty", f"Every splat of the .ply is NaN, infinite or absurd: {path}.")
        chosen = np.flatnonzero(usable)
        if len(chosen) < len(gaussians):
            count = len(gaussians) - len(chosen)
            warn(f"{count} of {len(gaussians)} splats are NaN, infinite or absurd and are not shown.")
        columns = splats.decoding(gaussians, chosen, 0)
        ob = yield from within(splats.creating(path.stem, len(chosen), columns), 0.05, 0.95)
        adopt(ob, scene, "REST")
    except ReferenceError as error:
        raise InputError("import-interrupted", "The import was interrupted.", "Import the file again.") from error
    except BaseException:
        if scene in bpy.data.collections.values():
            remove(scene)
        raise
    return scene


def capture_from_scene(scene: bpy.types.Collection | None) -> np.ndarray:
    """(4, 4) float64, from the scene frame back to the one the photos were reconstructed in (or the file had)."""
    if scene is None or not scene.segwild.scene_from_capture:
        return np.eye(4)
    return np.linalg.inv(np.array(json.loads(scene.segwild.scene_from_capture), float).reshape(4, 4))


def _importing(source: Folder, scene: bpy.types.Collection, warn: Warn) -> Steps[None]:
    scene.segwild.scene_from_capture = json.dumps(source.scene_from_capture().tolist())
    gaussians = source.splats()
    scene.segwild.gaussians = workspace.mark(gaussians)
    count = len(gaussians)
    shown = yield from within(gaussians.checking(), 0.0, 0.02)
    if not shown.all():
        warn(f"{int((~shown).sum())} of {count} Gaussians are NaN, infinite or absurd and are not shown.")
    yield 0.02
    segments = yield from within(_segments(source, warn), 0.02, 0.06)
    yield 0.08
    try:
        labels = workspace.labels(segments, count)
    except SegWildError as error:
        warn(f"{error} The scene is imported without objects.")
        segments, labels = [], np.zeros(count, np.int32)
    if not shown.all():
        labels[~shown] = -1
    yield 0.08
    parts = [(0, f"{source.name} rest", None, None)]
    parts += [(segment.id, segment.name, segment.color, segment.look) for segment in segments]
    scene_look = source.look()
    done = 0
    made: dict[int, bpy.types.Object] = {}
    for label, name, color, look in parts:
        rows = np.flatnonzero(labels == label)
        if label and not len(rows):
            warn(f"All Gaussians of {name!r} belong more probably to other objects; it is not shown.")
            continue
        yield 0.08 + 0.88 * done / max(count, 1)
        making = splats.creating(name, len(rows), splats.decoding(gaussians, rows, label))
        ob = yield from within(making, 0.08 + 0.88 * done / max(count, 1), 0.88 * len(rows) / max(count, 1))
        done += len(rows)
        adopt(ob, scene, "SEGMENT" if label else "REST", label)
        made[label] = ob
        if color is not None:
            ob.color = (*color, 1.0)
        set_look(ob, look or scene_look)
    nesting.nest_as({s.id: made[s.id] for s in segments if s.id in made}, {s.id: s.parent for s in segments})
    for segment in segments:
        if segment.id in made:
            try:
                parts_of = source.cut(segment)
                if parts_of is not None:
                    cuts.cut(made[segment.id], made[0], cuts.Parts(**parts_of))
            except SegWildError as error:
                warn(f"{error} {segment.name!r} is imported whole.")
            yield 0.96
    try:
        photos = source.photos()
    except SegWildError as error:
        warn(f"{error} The scene is imported without cameras.")
        return
    collection = bpy.data.collections.new(f"{source.name} cameras") if photos else None
    if collection is not None:
        scene.children.link(collection)
    for number, photo in enumerate(photos):
        camera = cameras.create(photo, source)
        adopt(camera, scene, "CAMERA", into=collection)
        cameras.show(camera, False)
        yield 0.96 + 0.04 * (number + 1) / len(photos)


def _segments(source: Folder, warn: Warn) -> Steps[list[workspace.Segment]]:
    """The objects of the workspace, none if they do not belong to its Gaussians."""
    if not (source.root / "segments.json").exists():
        return []
    fingerprint = yield from source.fingerprint()
    try:
        return source.segments(fingerprint)
    except SegWildError as error:
        warn(f"{error} The scene is imported without objects.")
        return []


def set_look(ob: bpy.types.Object, look: dict[str, Any] | None) -> None:
    """The object's look (a, b, mix, strength; None: neutral)."""
    facts = ob.segwild
    facts.look_a = look["a"] if look else ""
    facts.look_b = (look["b"] or "") if look else ""
    facts.look_mix = look["mix"] if look else 0.0
    facts.look_strength = look["strength"] if look else 1.0
