"""Rows into a point cloud object and back.

| attribute | type | meaning |
|---|---|---|
| `position` | FLOAT_VECTOR | centre |
| `scale` | FLOAT_VECTOR | standard deviations |
| `rotation` | QUATERNION | w x y z |
| `radiance:base` | FLOAT4, FLOAT_COLOR before 5.2 | raw SH constant term r g b, opacity |
| `radiance:sh_0` ... `sh_14` | FLOAT_VECTOR | coefficient k = (r, g, b) |
| `segwild_id` | INT | row of the workspace, or of the imported file, + 1 |
| `segwild_label` | INT | segment, 0 = rest |
| `segwild_orig_opacity` | FLOAT | from the first erase on: opacity before it, 0 = not erased |
| `segwild_part_opacity` | FLOAT | from the first cut on: opacity a part was made with, 0 = whole, -1 = given whole |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import bpy
import numpy as np

from ..protocol.errors import InputError
from . import compat
from .encoded import Encoded
from .rows import SH_COUNTS, Rows, ordered
from .steps import Steps, finished

BASE = "radiance:base"
IDS = "segwild_id"
LABELS = "segwild_label"
ERASED = "segwild_orig_opacity"
PARTS = "segwild_part_opacity"
_SH_MAX = max(SH_COUNTS)
# How an attribute's numbers are read at once; by default one float32 called value.
_KEYS = {
    "FLOAT_VECTOR": "vector",
    "FLOAT4": "vector",
    "FLOAT2": "vector",
    "FLOAT_COLOR": "color",
    "BYTE_COLOR": "color",
}
_WIDTHS = {"FLOAT2": 2, "FLOAT_VECTOR": 3, "FLOAT4": 4, "FLOAT_COLOR": 4, "BYTE_COLOR": 4, "QUATERNION": 4}
_WIDTHS |= {"FLOAT4X4": 16, "INT32_2D": 2, "INT16_2D": 2}
_DTYPES = {"INT": np.int32, "INT8": np.int32, "INT32_2D": np.int32, "INT16_2D": np.int32, "BOOLEAN": np.bool_}


def is_splat(ob: bpy.types.Object | None) -> bool:
    """Whether the object is a point cloud of ours or one with the same attributes."""
    return ob is not None and ob.type == "POINTCLOUD" and BASE in ob.data.attributes


Column = tuple[str, Callable[[], np.ndarray]]  # attribute, and what gives its array when it is needed


def create(name: str, rows: Rows) -> bpy.types.Object:
    """A new object holding the rows, in no collection yet."""
    return finished(creating(name, len(rows), columns(rows)))


def creating(name: str, count: int, columns: Sequence[Column]) -> Steps[bpy.types.Object]:
    """`create` in steps, one attribute each, whose arrays are asked for only when they are written."""
    cloud = compat.sized(name, count)
    try:
        yield from filling(cloud, columns)
    except BaseException:
        bpy.data.pointclouds.remove(cloud)
        raise
    ob = bpy.data.objects.new(name, cloud)
    # Blender shows the object's box, and neither spheres for its rows nor (5.3 and later) splats of its own: those know
    # nothing of looks, grading and what is highlighted.
    ob.display_type = "BOUNDS"
    ob.hide_render = True
    return ob


def columns(rows: Rows) -> list[Column]:
    """The attributes of rows, `position` first."""
    arrays = {"position": rows.positions, "scale": rows.scales, "rotation": rows.rotations, BASE: rows.base}
    arrays |= {IDS: rows.ids, LABELS: rows.labels}
    if rows.erased.any():
        arrays[ERASED] = rows.erased
    if rows.parts.any():
        arrays[PARTS] = rows.parts
    arrays |= {harmonic(k): rows.sh[:, k] for k in range(rows.sh.shape[1])}
    return [(name, lambda array=array: array) for name, array in arrays.items()]


def decoding(gaussians: Encoded, chosen: np.ndarray, label: int) -> list[Column]:
    """The attributes of the chosen rows (M,) of a file, each decoded when it is asked for. Their numbers become ids."""
    # Where all rows are wanted, a slice spares the gathering.
    some = slice(None) if len(chosen) == len(gaussians) else chosen
    found: list[Column] = [
        ("position", lambda: gaussians.positions(some)),
        ("scale", lambda: gaussians.scales(some)),
        ("rotation", lambda: gaussians.rotations(some)),
        (BASE, lambda: gaussians.base(some)),
        (IDS, lambda: chosen.astype(np.int32) + 1),
        (LABELS, lambda: np.full(len(chosen), label, np.int32)),
    ]
    return found + [(harmonic(k), lambda k=k: gaussians.harmonic(k, some)) for k in range(gaussians.shN.shape[1])]


def harmonic(k: int) -> str:
    """The attribute of coefficient k + 1."""
    return f"radiance:sh_{k}"


def filling(cloud: bpy.types.PointCloud, columns: Sequence[Column]) -> Steps[None]:
    """Write all attributes of a cloud that has the right number of rows; yields the part that is done, 0..1.

    Harmonics that are not among the columns are removed.
    """
    names = [name for name, _ in columns]
    for name in [attribute.name for attribute in cloud.attributes]:
        if name not in names and (_is_harmonic(name) or name in (ERASED, PARTS)):
            cloud.attributes.remove(cloud.attributes[name])
    # Adding an attribute may move the others in memory: first all are made, then each is looked up again.
    for name in names:
        _attribute(cloud, name, _type_of(name))
        yield 0.0
    for number, (name, array) in enumerate(columns):
        values = array()
        yield (number + 0.5) / len(columns)
        _write(cloud, name, values)
        del values
        yield (number + 1) / len(columns)
    cloud.update_tag()


def write(ob: bpy.types.Object, rows: Rows) -> None:
    """Replace all rows of the object, whatever their number. Attributes that are not ours are lost if it changes."""
    resize(ob, len(rows))
    finished(filling(ob.data, columns(rows)))


def keep(ob: bpy.types.Object, chosen: np.ndarray) -> None:
    """Only the chosen rows (N,) bool stay; attributes of other programs stay with them."""
    if ob.data.users > 1:
        ob.data = ob.data.copy()
    count = int(chosen.sum())
    old = ob.data
    new = old if compat.can_resize() else compat.sized(old.name, count)
    names = [attribute.name for attribute in old.attributes if attribute.domain == "POINT"]
    kinds = {name: old.attributes[name].data_type for name in names}
    if new is not old:
        for name in names:
            _attribute(new, name, kinds[name])
    buffers: dict[tuple[int, type], np.ndarray] = {}  # fresh memory for every column would cost more than the copying
    for name in names if len(chosen) else ():
        kind, width = kinds[name], _WIDTHS.get(kinds[name], 1)
        if kind == "STRING":
            continue
        dtype = _DTYPES.get(kind, np.float32)
        buffer = buffers.setdefault((width, dtype), np.empty((len(chosen), width), dtype))
        key = _KEYS.get(kind, "value")
        old.attributes[name].data.foreach_get(key, buffer.reshape(-1))
        np.compress(chosen, buffer, axis=0, out=buffer[:count])
        if new is old:
            old.attributes[name].data.foreach_set(key, buffer.reshape(-1))
        elif count:
            new.attributes[name].data.foreach_set(key, buffer[:count].reshape(-1))
    if new is old:
        old.resize(count)
    else:
        _replace(ob, new)
    ob.data.update_tag()


def extend(ob: bpy.types.Object, rows: Rows) -> None:
    """More rows; the result is ordered by id, unknown rows last. Attributes of other programs are zero in them."""
    table, before = _table(ob), len(ob.data.points)
    added = {name: array() for name, array in columns(rows)}
    for name, new in added.items():
        own = np.zeros((before, *new.shape[1:]), new.dtype)
        if name in table and table[name][1].shape == own.shape:
            own = table[name][1]
        elif name == "rotation":
            own[:, 0] = 1
        table[name] = (_type_of(name), np.concatenate([own, new]))
    for name in table.keys() - added.keys():
        kind, own = table[name]
        table[name] = (kind, np.concatenate([own, np.zeros((len(rows), *own.shape[1:]), own.dtype)]))
    order = ordered(table[IDS][1])
    if order is not None:
        table = {name: (kind, array[order]) for name, (kind, array) in table.items()}
    _rewrite(ob, table, before + len(rows))


def resize(ob: bpy.types.Object, count: int) -> None:
    """Give the object's own cloud `count` rows. What they hold afterwards is for the caller to write."""
    if ob.data.users > 1:
        ob.data = ob.data.copy()
    if len(ob.data.points) == count:
        return
    if compat.can_resize():
        ob.data.resize(count)
        return
    _replace(ob, compat.sized(ob.data.name, count))


def _replace(ob: bpy.types.Object, new: bpy.types.PointCloud) -> None:
    """Give the object another cloud in place of its own, under the same name."""
    old = ob.data
    for material in old.materials:
        new.materials.append(material)
    name = old.name
    ob.data = new
    if not old.users:
        bpy.data.pointclouds.remove(old)
    new.name = name


def read(ob: bpy.types.Object, chosen: np.ndarray | None = None) -> Rows:
    """The rows of the object, all or those chosen (N,) bool. Raises InputError if it holds no splats."""
    return finished(reading(ob, chosen))


def reading(ob: bpy.types.Object, chosen: np.ndarray | None = None) -> Steps[Rows]:
    """`read` in steps, one attribute each; between them the object must stay as it is."""
    count = len(ob.data.points) if ob.type == "POINTCLOUD" else 0
    if ob.type != "POINTCLOUD" or (count and BASE not in ob.data.attributes):
        raise InputError(
            "no-splats-in-object",
            f"The object {ob.name!r} holds no splats (it has no {BASE}).",
            "Choose an object that SegWild made, or import it again.",
        )
    attributes = ob.data.attributes
    bases = 0
    while bases < _SH_MAX and harmonic(bases) in attributes:
        bases += 1
    bases = max(known for known in SH_COUNTS if known <= bases)

    indices = None if chosen is None else np.flatnonzero(chosen)

    def part(name: str, width: int = 1) -> np.ndarray:
        array = column(ob, name, width)
        return array if indices is None else np.take(array, indices, axis=0)

    rotations = part("rotation", 4)
    if "rotation" not in attributes:
        rotations[:, 0] = 1
    sh = np.empty((bases, len(rotations), 3), np.float32)
    for k in range(bases):
        if indices is None:
            _fill(ob.data, harmonic(k), sh[k])
        else:
            sh[k] = part(harmonic(k), 3)
        yield (k + 1) / (bases + 3)
    positions, scales = part("position", 3), part("scale", 3)
    yield (bases + 1) / (bases + 3)
    base, ids = part(BASE, 4), part(IDS)
    yield (bases + 2) / (bases + 3)
    return Rows(positions, scales, rotations, base, sh.swapaxes(0, 1), ids, part(LABELS), part(ERASED), part(PARTS))


def read_ids(ob: bpy.types.Object) -> np.ndarray:
    """(N,) int32 ids of the object's rows."""
    return ids_of(ob.data)


def ids_of(cloud: bpy.types.PointCloud) -> np.ndarray:
    """(N,) int32 ids of a cloud's rows, 0 where it has none."""
    return _column(cloud, IDS, 1)


def position_of(cloud: bpy.types.PointCloud) -> np.ndarray:
    """(N, 3) float32."""
    return _column(cloud, "position", 3)


def column(ob: bpy.types.Object, name: str, width: int = 1) -> np.ndarray:
    """One attribute, (N, width) or (N,), int32 for INT and float32 else; zeros if it is missing or another type."""
    return _column(ob.data, name, width)


def _column(cloud: bpy.types.PointCloud, name: str, width: int) -> np.ndarray:
    count = len(cloud.points)
    dtype = np.int32 if name in (IDS, LABELS) else np.float32
    return _fill(cloud, name, np.empty((count, width) if width > 1 else count, dtype))


def _fill(cloud: bpy.types.PointCloud, name: str, array: np.ndarray) -> np.ndarray:
    """One attribute into an array (N, width) or (N,), contiguous, which is returned."""
    attribute, width = cloud.attributes.get(name), array.shape[1] if array.ndim > 1 else 1
    if attribute is not None and len(array) and attribute.domain == "POINT" and _fits(attribute, array.dtype, width):
        attribute.data.foreach_get(_KEYS.get(attribute.data_type, "value"), array.reshape(-1))
    else:
        array[...] = 0
    return array


def write_positions(ob: bpy.types.Object, array: np.ndarray) -> None:
    """(N, 3) float32."""
    write_column(ob, "position", array)


def write_base(ob: bpy.types.Object, array: np.ndarray) -> None:
    """(N, 4) float32, raw SH constant term r g b and opacity."""
    write_column(ob, BASE, array)


def write_sh(ob: bpy.types.Object, array: np.ndarray) -> None:
    """(N, K-1, 3) float32, as many bases as the object has."""
    for k in range(array.shape[1]):
        write_column(ob, harmonic(k), array[:, k])


def write_column(ob: bpy.types.Object, name: str, array: np.ndarray) -> None:
    """One attribute of as many rows as the object has, made if it is missing; not of linked duplicates."""
    resize(ob, len(array))
    _attribute(ob.data, name, _type_of(name))
    _write(ob.data, name, array)
    ob.data.update_tag()


def _table(ob: bpy.types.Object) -> dict[str, tuple[str, np.ndarray]]:
    """Every attribute of the rows: type and numbers."""
    count = len(ob.data.points)
    table = {}
    for attribute in ob.data.attributes:
        kind = attribute.data_type
        if attribute.domain != "POINT" or kind == "STRING":
            continue
        width = _WIDTHS.get(kind, 1)
        array = np.zeros((count, width) if width > 1 else count, _DTYPES.get(kind, np.float32))
        if count:
            attribute.data.foreach_get(_KEYS.get(kind, "value"), array.reshape(-1))
        table[attribute.name] = (kind, array)
    return table


def _rewrite(ob: bpy.types.Object, table: dict[str, tuple[str, np.ndarray]], count: int) -> None:
    resize(ob, count)
    for name, (kind, _) in table.items():
        _attribute(ob.data, name, kind)
    for name, (_, array) in table.items():
        _write(ob.data, name, array)
    ob.data.update_tag()


def _type_of(name: str) -> str:
    if name == BASE:
        return compat.base_type()
    if name in (IDS, LABELS):
        return "INT"
    return {ERASED: "FLOAT", PARTS: "FLOAT", "rotation": "QUATERNION"}.get(name, "FLOAT_VECTOR")


def _attribute(cloud: bpy.types.PointCloud, name: str, kind: str) -> None:
    """Make sure that the attribute is there with the right type; a foreign one of that name is replaced."""
    known = cloud.attributes.get(name)
    if known is not None and (known.data_type != kind or known.domain != "POINT"):
        cloud.attributes.remove(known)
        known = None
    if known is None and not (name == "position" and not len(cloud.points)):
        cloud.attributes.new(name, kind, "POINT")


def _write(cloud: bpy.types.PointCloud, name: str, array: np.ndarray) -> None:
    if not len(cloud.points):
        return
    attribute = cloud.attributes[name]
    dtype = _DTYPES.get(attribute.data_type, np.float32)
    # float64 would cost twenty times as much; a view that is not contiguous is copied here.
    flat = np.ascontiguousarray(array, dtype).reshape(-1)
    attribute.data.foreach_set(_KEYS.get(attribute.data_type, "value"), flat)


def _fits(attribute: bpy.types.Attribute, dtype: Any, width: int) -> bool:
    integer = attribute.data_type == "INT"
    return _WIDTHS.get(attribute.data_type, 1) == width and integer == (dtype == np.int32)


def _is_harmonic(name: str) -> bool:
    return name.startswith("radiance:sh_") and name.removeprefix("radiance:sh_").isdigit()
