"""Selections into named objects that survive a restart, and back.

`segments.json` is the table: id, name, parent, colour, look. `segments/<id>.npz` holds an object's rows,
their probability, the masks they were selected by and where they were seen. Objects may overlap; where one label
per row is needed, the one more probable there wins. Every change is one renamed file, so that a kill at any instant
leaves the table as it was before or after it, and made under the scene's lock: jobs and answers change objects.
"""

from __future__ import annotations

import colorsys
import difflib
import io
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from backend.features import splat_hash
from backend.scene import Workspace
from backend.scene.files import read_json, write_json, written_whole
from backend.segment.nesting import above, merged
from backend.segment.posterior import Votes
from segwild_addon.protocol.errors import InputError

FORMAT = 1
_LONGEST_NAME = 100
_GOLDEN = 0.618034


@dataclass(frozen=True, eq=False)
class Object:
    """A named set of Gaussians."""

    id: int  # 1 and up, kept for the object's life; 0 is none
    name: str
    rows: np.ndarray  # (M,) int64, ascending row ids
    probability: np.ndarray  # (M,) float32, how sure each row is
    color: tuple[float, float, float]  # RGB in 0..1, for outlines and lists
    parent: int = 0  # id of the object it is a part of; 0: of none
    look: dict[str, Any] | None = None  # fields of a Look; None: the scene's
    masks: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)  # photo -> (H, W) bool, as it was taken
    guessed: frozenset[str] = frozenset()  # photos whose masks a network made; the others' were drawn by a person


def load(workspace: Workspace) -> list[Object]:
    """All objects, by id. Raises InputError if the files are damaged or belong to other Gaussians."""
    table = _table(workspace)
    return [_object(workspace, row) for row in table["objects"]]


def sources(workspace: Workspace, item: Object) -> tuple[tuple[str, str], ...]:
    """Kind and view of all votes that chose an object's rows, in their order.

    Raises InputError if the object is gone or its file damaged.
    """
    with _opened(workspace, item.id, item.name) as arrays:
        return tuple((str(kind), str(view)) for kind, view in zip(arrays["kinds"], arrays["views"], strict=True))


def names(workspace: Workspace) -> dict[int, str]:
    """Id -> name of all objects, by id, without reading their rows."""
    return {row["id"]: row["name"] for row in sorted(_table(workspace)["objects"], key=lambda row: row["id"])}


def parents(workspace: Workspace) -> dict[int, int]:
    """Id -> id of the parent, 0 for none, of all objects, by id, without reading their rows."""
    return dict(sorted(_parents(_table(workspace)).items()))


def find(workspace: Workspace, name: str) -> Object:
    """The object of that name. Raises InputError with names that look alike if there is none."""
    return _object(workspace, _row(_table(workspace), name))


def labels(objects: Sequence[Object], count: int) -> np.ndarray:
    """(count,) int32: one object id per row, 0 = none. Where objects overlap, the more probable one wins."""
    ids = np.zeros(count, np.int32)
    best = np.zeros(count, np.float32)
    for item in objects:
        wins = item.rows[item.probability > best[item.rows]]
        best[item.rows] = np.maximum(best[item.rows], item.probability)
        ids[wins] = item.id
    return ids


def save(
    workspace: Workspace,
    name: str,
    rows: np.ndarray,  # (M,) int or (N,) bool
    probability: np.ndarray,  # (N,) float, of every row of the scene
    evidence: Sequence[Votes] = (),
    masks: Mapping[str, np.ndarray] | None = None,  # it was selected by: photo -> (H, W) bool, on the photo as taken
    *,
    guessed: Collection[str] = (),  # photos whose masks a network made
    splats: str = "",  # `splat_hash` of the Gaussians whose rows these are; empty: those of this moment
    made_from: Object | None = None,  # what the rows were worked out from
) -> Object:
    """Keep a selection as an object. An object of that name gets the new rows and keeps id, colour and look.

    A cut of its old rows is void. Raises InputError, and keeps what is there, if the scene was trained anew since, or
    the object that they were `made_from` is not as it was.
    """
    checked_name(name)
    rows = np.flatnonzero(rows) if rows.dtype == bool else np.unique(rows).astype(np.int64)
    if not len(rows):
        raise InputError("empty-object", f"Nothing was selected for {name!r}.", "Click on the object itself.")
    kept = np.clip(np.asarray(probability)[rows], 0, 1).astype(np.float32)
    by = dict(masks or {})
    packed = _packed(rows, kept, evidence, by, guessed)  # which takes a while for many, and others wait for the lock
    with workspace.changing():
        if splats and splats != splat_hash(workspace):
            raise InputError("scene-changed", "The scene has just been trained anew.", "Select the object again.")
        if made_from is not None:
            _refuse_changed(workspace, made_from, renamed=name != made_from.name)
        table = _table(workspace)
        known = {row["name"]: row for row in table["objects"]}
        entry = known.get(name)
        if entry is None:
            entry = {"id": table["next_id"], "name": name, "parent": 0, "color": _color(table["next_id"]), "look": None}
        _write_rows(workspace, entry["id"], packed)
        if name not in known:
            _write(workspace, {**table, "next_id": table["next_id"] + 1, "objects": [*table["objects"], entry]})
        return _of(entry, rows, kept, by, guessed)


def delete(workspace: Workspace, *wanted: str) -> None:
    """All or none: raises InputError before anything is deleted if a name is unknown."""
    with workspace.changing():
        _delete(workspace, wanted)


def _delete(workspace: Workspace, wanted: Sequence[str], parents: Mapping[int, int] | None = None) -> None:
    """`parents`: of those that are left; None: what they were, but for those that are gone."""
    table = _table(workspace)
    gone = {_row(table, name)["id"] for name in wanted}
    if parents is None:
        parents = {id_: 0 if parent in gone else parent for id_, parent in _parents(table).items()}
    remaining = [{**row, "parent": parents[row["id"]]} for row in table["objects"] if row["id"] not in gone]
    _write(workspace, {**table, "objects": remaining})
    for id_ in gone:
        rows_file(workspace, id_).unlink(missing_ok=True)
        cut_file(workspace, id_).unlink(missing_ok=True)


def rename(workspace: Workspace, old: str, new: str) -> None:
    """Raises InputError if the new name is taken or empty."""
    checked_name(new)
    with workspace.changing():
        table = _table(workspace)
        entry = _row(table, old)
        if new != old and new in {row["name"] for row in table["objects"]}:
            raise InputError(
                "name-taken", f"There is already an object called {new!r}.", "Choose another name, or merge the two."
            )
        _write(workspace, _with(table, entry["id"], name=new))


def nest(workspace: Workspace, name: str, parent: str) -> None:
    """Make an object a part of another, or of none if `parent` is empty.

    Raises InputError for unknown names, and for a parent that is the object itself or a part of it.
    """
    with workspace.changing():
        table = _table(workspace)
        id_ = _row(table, name)["id"]
        parent_id = _row(table, parent)["id"] if parent else 0
        if parent_id == id_ or id_ in above(_parents(table), parent_id):
            what = "itself" if parent_id == id_ else f"{parent!r}, which is a part of it"
            raise InputError("bad-parent", f"{name!r} cannot be a part of {what}.", "Choose another parent.")
        _write(workspace, _with(table, id_, parent=parent_id))


def merge(workspace: Workspace, into: str, *others: str) -> Object:
    """`into` gets the rows and the parts of all; the others are gone afterwards. A kill in between leaves them too.

    If its parent is one of the others, it gets what was above that one.
    """
    with workspace.changing():
        target = find(workspace, into)
        parts = [target, *(find(workspace, name) for name in dict.fromkeys(others) if name != into)]
        if len(parts) < 2:
            raise InputError(
                "nothing-to-merge", f"No other object to merge into {into!r}.", "Name at least two objects."
            )
        rows = np.unique(np.concatenate([part.rows for part in parts]))
        probability = np.zeros(len(rows), np.float32)
        for part in parts:
            places = np.searchsorted(rows, part.rows)
            probability[places] = np.maximum(probability[places], part.probability)
        # What was said of different objects was about different things: a union has no sources of its own.
        _write_rows(workspace, target.id, _packed(rows, probability, (), {}, ()))
        left = merged(_parents(_table(workspace)), target.id, {part.id for part in parts[1:]})
        _delete(workspace, [part.name for part in parts[1:]], left)
        union = replace(target, rows=rows, probability=probability, masks={}, guessed=frozenset())
        return replace(union, parent=left[target.id])


def set_look(workspace: Workspace, name: str, look: dict[str, Any] | None) -> None:
    with workspace.changing():
        table = _table(workspace)
        _write(workspace, _with(table, _row(table, name)["id"], look=look))


def _refuse_changed(workspace: Workspace, before: Object, *, renamed: bool) -> None:
    """Raises InputError unless the object is as it was, but for its name if it may be `renamed`."""
    row = next((row for row in _table(workspace)["objects"] if row["id"] == before.id), None)
    same = row is not None and (renamed or row["name"] == before.name)
    if not same or not np.array_equal(_object(workspace, row).rows, before.rows):
        raise InputError(
            "object-changed", f"{before.name!r} was changed or deleted meanwhile, and stays as it is.", "Try again."
        )


def checked_name(name: str) -> None:
    """Raises InputError for a name that lists and files cannot show."""
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise InputError(
            "bad-name", f"An object cannot be called {name!r}.", f"Use 1 to {_LONGEST_NAME} printable characters."
        )


def rows_file(workspace: Workspace, id_: int) -> Path:
    return workspace.root / "segments" / f"{id_}.npz"


def cut_file(workspace: Workspace, id_: int) -> Path:
    return workspace.root / "segments" / f"{id_}.cut.safetensors"


def _table(workspace: Workspace) -> dict[str, Any]:
    if not workspace.segments.exists():
        return {"format": FORMAT, "splats": splat_hash(workspace), "next_id": 1, "objects": []}
    table = read_json(workspace.segments)
    try:
        if table["format"] != FORMAT or not isinstance(table["objects"], list):
            raise ValueError("another format")
        known = [
            (int(row["id"]), str(row["name"]), int(row["parent"]), row["color"], row["look"])
            for row in table["objects"]
        ]
        table["next_id"] = max([int(table["next_id"]), *(row[0] + 1 for row in known)])
        stamp = table["splats"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "file-damaged",
            f"The list of objects is damaged ({error!r}): {workspace.segments}.",
            "Restore or delete it.",
        ) from error
    if stamp != splat_hash(workspace):
        raise InputError(
            "objects-stale",
            f"The objects were made for other Gaussians than the workspace has now: {workspace.segments}.",
            "Put the Gaussians back, or delete this file and select the objects again.",
        )
    return table


def _parents(table: dict[str, Any]) -> dict[int, int]:
    return {row["id"]: row["parent"] for row in table["objects"]}


def _write(workspace: Workspace, table: dict[str, Any]) -> None:
    if table["objects"]:
        write_json(workspace.segments, table)
    else:
        workspace.segments.unlink(missing_ok=True)  # a workspace without objects may be trained again


def _with(table: dict[str, Any], id_: int, **facts: Any) -> dict[str, Any]:
    return {**table, "objects": [row | facts if row["id"] == id_ else row for row in table["objects"]]}


def _row(table: dict[str, Any], name: str) -> dict[str, Any]:
    known = {row["name"]: row for row in table["objects"]}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or list(known)[:5]
    raise InputError(
        "unknown-object",
        f"No object is called {name!r}.",
        f"There is: {', '.join(near)}." if near else "Make one with: segwild segment.",
    )


def _color(id_: int) -> list[float]:
    """Well apart for neighbours in the list, whatever their number."""
    return [round(part, 4) for part in colorsys.hsv_to_rgb(id_ * _GOLDEN % 1, 0.65, 0.95)]


def _packed(
    rows: np.ndarray,
    probability: np.ndarray,
    evidence: Sequence[Votes],
    masks: Mapping[str, np.ndarray],
    guessed: Collection[str],
) -> bytes:
    """The file of an object's rows."""
    arrays: dict[str, np.ndarray] = {"rows": rows.astype(np.uint32), "probability": probability}
    arrays["kinds"] = np.array([votes.kind for votes in evidence], "U")
    arrays["views"] = np.array([votes.view for votes in evidence], "U")
    arrays["masks"] = np.array(list(masks), "U")
    arrays["guessed"] = np.array(sorted(guessed), "U")
    for number, mask in enumerate(masks.values()):
        arrays[f"mask{number}"] = np.packbits(mask, axis=1)
        arrays[f"mask{number}.width"] = np.int64(mask.shape[1])
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _write_rows(workspace: Workspace, id_: int, packed: bytes) -> None:
    with written_whole(rows_file(workspace, id_)) as file:
        file.write(packed)
    cut_file(workspace, id_).unlink(missing_ok=True)  # of the rows it had before


@contextmanager
def _opened(workspace: Workspace, id_: int, name: str) -> Iterator[Mapping[str, np.ndarray]]:
    """The arrays of an object's file, each read when it is asked for. Raises InputError if it cannot be."""
    path = rows_file(workspace, id_)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            yield arrays
    except FileNotFoundError as error:
        raise _lost(name, "missing", path) from error
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise _lost(name, "damaged", path) from error


def _object(workspace: Workspace, entry: dict[str, Any]) -> Object:
    with _opened(workspace, entry["id"], entry["name"]) as arrays:
        masks = {
            str(view): np.unpackbits(arrays[f"mask{n}"], axis=1, count=int(arrays[f"mask{n}.width"])).astype(bool)
            for n, view in enumerate(arrays.get("masks", ()))  # older files have none
        }
        guessed = [str(view) for view in arrays.get("guessed", ())]
        rows, probability = arrays["rows"].astype(np.int64), arrays["probability"]
    return _of(entry, rows, probability, masks, guessed)


def _of(
    entry: dict[str, Any],
    rows: np.ndarray,
    probability: np.ndarray,
    masks: Mapping[str, np.ndarray],
    guessed: Collection[str],
) -> Object:
    r, g, b = entry["color"]
    own = entry["id"], entry["name"], rows, probability, (r, g, b), entry["parent"], entry["look"]
    return Object(*own, masks, frozenset(guessed))


def _lost(name: str, what: str, path: Path) -> InputError:
    return InputError(
        "file-damaged", f"The rows of the object {name!r} are {what}: {path}.", "Select it again under the same name."
    )
