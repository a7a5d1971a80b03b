"""The named objects of a workspace: found, listed, renamed, nested, merged, deleted, cut, reshaped; likely junk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from backend.features import splat_hash
from backend.progress import Progress
from backend.scene import Workspace
from backend.segment import cuts, objects
from backend.segment.graph import scene_graph
from backend.segment.junk import find_junk
from backend.segment.nesting import ordered
from backend.segment.shaping import LEAST_PART, MOST_STEPS, components, grown, shrunk
from backend.stages.cutting import cut_object
from backend.stages.opened import Opened
from backend.stages.proposing import proposed
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Objects

_FOUND = "thing"  # what is found is called, with a number
_UNSURE = 0.01  # of junk: where objects overlap, every other one wins

# What each action takes: fewest and most names (None: any number), and how it is called.
_NAMES: dict[str, tuple[int, int | None, str]] = {
    "list": (0, 0, "list"),
    "rename": (2, 2, "rename OLD NEW"),
    "parent": (1, 2, "parent NAME [PARENT]"),
    "delete": (1, None, "delete NAME"),
    "merge": (2, None, "merge INTO NAME"),
    "cut": (1, 1, "cut NAME"),
    "revert": (1, 1, "revert NAME"),
    "grow": (1, 1, "grow NAME"),
    "shrink": (1, 1, "shrink NAME"),
    "split": (1, 1, "split NAME"),
    "find": (0, 1, "find [NAME]"),
    "junk": (0, 1, "junk [NAME]"),
}


def run(request: Objects, progress: Progress) -> dict[str, Any]:
    """Returns all `objects` as they are afterwards, and what the action adds. Nothing changes if a name is unknown:
    InputError. Each object has its `depth` in the tree of parents, and comes after its parent.

    `cut` adds what `cut_object` returns; `revert` whether it was `reverted`; `grow` and `shrink` the number of
    Gaussians `before`; `split` the new `parts` and the number of Gaussians in `crumbs`, which stay; `find` the
    names `made`, of what stands apart and is no object yet; `junk` the number
    of `suspected` Gaussians, and per cause that was looked for, as an object too if it is given a name.
    """
    workspace = Workspace.open(request.workspace)
    least, most, usage = _NAMES[request.action]
    given = request.names
    if len(given) < least or (most is not None and len(given) > most):
        few = len(given) < least
        wanted = f"{least}" if most == least else f"at least {least}" if few else f"at most {most}"
        raise InputError(
            "bad-option",
            f"{request.action} takes {wanted} names, got {len(given)}.",
            f"Run: segwild objects WORKSPACE {usage}.",
        )
    if not 1 <= request.steps <= MOST_STEPS:
        raise InputError("bad-option", f"--steps is {request.steps}.", f"Give a number from 1 to {MOST_STEPS}.")
    extra = _ACTIONS[request.action](workspace, request, progress)
    known = {item.id: item for item in objects.load(workspace)}
    tree = [(known[id_], depth) for id_, depth in ordered({item.id: item.parent for item in known.values()})]
    return {
        **extra,
        "objects": [
            {
                "depth": depth,
                "id": item.id,
                "name": item.name,
                "gaussians": len(item.rows),
                "parent": item.parent,
                "color": list(item.color),
                "look": item.look,
                "cut": None if (made := cuts.load(workspace, item)) is None else made.mode,
            }
            for item, depth in tree
        ],
    }


def _list(workspace: Workspace, request: Objects, progress: Progress) -> dict[str, Any]:
    return {}


def _rename(workspace: Workspace, request: Objects, progress: Progress) -> dict[str, Any]:
    objects.rename(workspace, *request.names)
    return {}


def _parent(workspace: Workspace, request: Objects, progress: Progress) -> dict[str, Any]:
    objects.nest(workspace, request.names[0], request.names[1] if len(request.names) > 1 else "")
    return {}


def _delete(workspace: Workspace, request: Objects, progress: Progress) -> dict[str, Any]:
    objects.delete(workspace, *request.names)
    return {}


def _merge(workspace: Workspace, request: Objects, progress: Progress) -> dict[str, Any]:
    objects.merge(workspace, *request.names)
    return {}


def _cut(workspace: Workspace, request: Objects, progress: Progress) -> dict[str, Any]:
    return cut_object(workspace, request.names[0], request.mode, progress)


def _revert(workspace: Workspace, request: Objects, progress: Progress) -> dict[str, Any]:
    return {"reverted": cuts.revert(workspace, objects.find(workspace, request.names[0]))}


def _reshape(workspace: Workspace, request: Objects, progress: Progress) -> dict[str, Any]:
    item = objects.find(workspace, request.names[0])
    splats, scene = splat_hash(workspace), workspace.gaussians()
    progress.phase("Finding neighbours")
    chosen, probability = _held(item, len(scene))
    change = grown if request.action == "grow" else shrunk
    changed = change(chosen, scene_graph(scene), request.steps)
    if not changed.any():
        raise InputError("empty-object", f"Nothing would be left of {item.name!r}.", "Shrink it by fewer --steps.")
    # Masks and votes were about another set of rows: what is shaped by hand has none.
    sure = np.where(changed & ~chosen, 0.5, probability)
    objects.save(workspace, item.name, changed, sure, splats=splats, made_from=item)
    return {"before": len(item.rows)}


def _split(workspace: Workspace, request: Objects, progress: Progress) -> dict[str, Any]:
    item = objects.find(workspace, request.names[0])
    splats, scene = splat_hash(workspace), workspace.gaussians()
    progress.phase("Finding parts")
    chosen, probability = _held(item, len(scene))
    parts = components(chosen, scene.means, scene_graph(scene))
    large = [part for part in parts[1:] if len(part) >= LEAST_PART]
    taken = set(objects.names(workspace).values())
    made = []
    for part in large:
        name = _free(item.name, taken)
        taken.add(name)
        made.append(name)
        objects.save(workspace, name, part, probability, splats=splats, made_from=item)
        if item.parent:
            objects.nest(workspace, name, objects.names(workspace).get(item.parent, ""))
    if large:
        # Last: a kill before leaves rows in two objects, and none is lost.
        rest = chosen.copy()
        rest[np.concatenate(large)] = False
        objects.save(workspace, item.name, rest, probability, splats=splats, made_from=item)
    return {"parts": made, "crumbs": sum(len(part) for part in parts[1:] if len(part) < LEAST_PART)}


def _find(workspace: Workspace, request: Objects, progress: Progress) -> dict[str, Any]:
    prepared = Opened(workspace.root, progress).prepared
    numbers = proposed(workspace, prepared, progress)
    for item in objects.load(workspace):
        numbers[item.rows] = 0
    taken, made = set(objects.names(workspace).values()), []
    name = request.names[0] if request.names else _FOUND
    for number in np.unique(numbers[numbers > 0]):
        rows = np.flatnonzero(numbers == number)
        if len(rows) >= LEAST_PART:
            made.append(_free(name, taken, first=1))
            taken.add(made[-1])
            objects.save(workspace, made[-1], rows, np.ones(len(numbers)), splats=prepared.splats)
    return {"made": made}


def _junk(workspace: Workspace, request: Objects, progress: Progress) -> dict[str, Any]:
    splats, scene = splat_hash(workspace), workspace.gaussians()
    has_photos = (workspace.root / "photos.json").exists()
    cameras = [photo.camera for photo in workspace.used_photos() if photo.camera is not None] if has_photos else []
    within = None if request.within is None else _held(objects.find(workspace, request.within), len(scene))[0]
    progress.phase("Finding junk")
    found = find_junk(
        scene, scene_graph(scene), cameras, within=within, strength=request.strength, causes=request.causes
    )
    if request.names and len(found.rows):
        objects.save(workspace, request.names[0], found.rows, np.full(len(scene), _UNSURE), splats=splats)
    counts = {cause: count for cause, count in found.counts().items() if not request.causes or cause in request.causes}
    return {"suspected": len(found.rows), **counts}


_ACTIONS: dict[str, Callable[[Workspace, Objects, Progress], dict[str, Any]]] = {
    "list": _list,
    "rename": _rename,
    "parent": _parent,
    "delete": _delete,
    "merge": _merge,
    "cut": _cut,
    "revert": _revert,
    "grow": _reshape,
    "shrink": _reshape,
    "split": _split,
    "find": _find,
    "junk": _junk,
}


def _held(item: objects.Object, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count,) bool, the object's rows, and (count,) float64, their probability."""
    chosen, probability = np.zeros(count, bool), np.zeros(count)
    chosen[item.rows] = True
    probability[item.rows] = item.probability
    return chosen, probability


def _free(name: str, taken: set[str], first: int = 2) -> str:
    number = first
    while f"{name} {number}" in taken:
        number += 1
    return f"{name} {number}"
