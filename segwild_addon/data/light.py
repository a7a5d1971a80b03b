"""An object's look and grading into one linear change of its colours, for whoever draws or exports it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import bpy
import numpy as np

from ..protocol.errors import InputError, SegWildError
from . import changes, cuts, looks, scenes, splats
from .looks import Light, Look
from .rows import Rows
from .steps import finished
from .workspace import Folder

GAMMA = 2.2  # colours of splats are display values; exposure and tint act on light
SETTINGS = ("look_a", "look_b", "look_mix", "look_strength")  # of an object
SETTINGS += ("exposure", "tint", "saturation", "opacity", "sh_degree")
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # Rec. 709


def grading(ob: bpy.types.Object) -> np.ndarray:
    """(3, 3) float64 change of colours: saturation, then tint and exposure. Identity for an untouched object."""
    facts = ob.segwild
    matrix = facts.saturation * np.eye(3) + (1 - facts.saturation) * np.tile(_LUMINANCE, (3, 1))
    if facts.saturation == 1:
        matrix = np.eye(3)
    # Twice the light is 2^(1/2.2) times the display value.
    gains = (2.0**facts.exposure * np.maximum(np.array(facts.tint, float), 0)) ** (1 / GAMMA)
    return gains[:, None] * matrix


def look(ob: bpy.types.Object) -> Look:
    facts = ob.segwild
    return Look(facts.look_a, facts.look_b, facts.look_mix, facts.look_strength)


def light(ob: bpy.types.Object, ids: np.ndarray) -> Light:
    """What look and grading do to the object's rows (ids (N,) int32).

    Raises InputError if a look is set and its workspace cannot be read or has no such look.
    """
    chosen = look(ob)
    return _lit(chosen, _folder(ob, chosen), ids).then(grading(ob))


def look_or_neutral(ob: bpy.types.Object, ids: np.ndarray) -> tuple[Light, str]:
    """What the look alone does, for a drawing that must go on: neutral, and the sentence that says why, if need be."""
    try:
        return _lit(look(ob), _folder(ob, look(ob)), ids), ""
    except SegWildError as error:
        return Light.none(), str(error)


@dataclass(frozen=True, eq=False)
class Settings:
    """The light of an object apart from Blender, for work in a thread."""

    look: Look
    folder: Folder | None  # where the look is; None: it is neutral
    grading: np.ndarray  # (3, 3) float64
    opacity: float
    degree: int

    def baked(self, rows: Rows) -> Rows:
        """The object's rows as they are shown. Raises InputError as `light`."""
        light = _lit(self.look, self.folder, rows.ids).then(self.grading)
        base_rgb, sh = light.baked(rows.base[:, :3], rows.sh)
        opacity = rows.base[:, 3:] * np.float32(self.opacity)
        # What restoring brings back; what was erased stays so, even of an object that is not seen at all.
        least = np.where(rows.erased > 0, np.float32(1e-6), np.float32(0))
        erased = np.maximum(rows.erased * np.float32(self.opacity), least)
        baked = replace(rows, base=np.concatenate([base_rgb, opacity], axis=1), sh=sh, erased=erased)
        return baked.with_degree(min(baked.degree, self.degree))


def settings(ob: bpy.types.Object) -> Settings:
    """What the object is shown with now. Raises InputError if a look is set and its workspace cannot be read."""
    return Settings(look(ob), _folder(ob, look(ob)), grading(ob), ob.segwild.opacity, ob.segwild.sh_degree)


def shown(ob: bpy.types.Object, rows: Rows) -> Rows:
    """The object's rows with look, grading, opacity and harmonics degree baked in. Raises InputError as `light`."""
    return settings(ob).baked(rows)


def _folder(ob: bpy.types.Object, chosen: Look) -> Folder | None:
    if chosen.neutral:
        return None
    scene = scenes.scene_of(ob)
    if scene is None:
        raise InputError(
            "no-scene",
            f"The light of {ob.name!r} is that of a photo, and its scene is not in this file.",
            "Press Bake in the file it comes from, or Reset here for neutral light.",
        )
    return scenes.trained(scene)


def _lit(chosen: Look, folder: Folder | None, ids: np.ndarray) -> Light:
    found = looks.of_folder(folder) if folder is not None else None
    return Light.none() if found is None else found.light(chosen, ids)


def bake(ob: bpy.types.Object) -> None:
    """Write what is shown into the object's rows and set look and grading back to neutral.

    `repair.refill` brings the trained colours back from the workspace. Raises InputError as `light`.
    """
    lit = settings(ob)
    rows = lit.baked(splats.read(ob))
    if cuts.is_cut(ob):  # its rows as they were come back when the cut is taken back
        cuts.on_whole(ob, lambda: _refill(ob, lit.baked(splats.read(ob))))
    reset(ob)
    _refill(ob, rows)
    changes.announce(ob.segwild.uuid)


def _refill(ob: bpy.types.Object, rows: Rows) -> None:
    splats.resize(ob, len(rows))  # linked duplicates part here
    finished(splats.filling(ob.data, splats.columns(rows)))


def reset(ob: bpy.types.Object) -> None:
    """Look and grading back to neutral, without their keyframes and drivers: those would bring them back."""
    for name in SETTINGS:
        _still(ob, name)
        ob.segwild.property_unset(name)
    changes.announce_look(ob.segwild.uuid)


def _still(ob: bpy.types.Object, name: str) -> None:
    """Take keyframes and drivers off a setting."""
    if ob.animation_data is None:
        return
    path = f"segwild.{name}"
    ob.driver_remove(path)
    for curves in _curves(ob):
        for curve in [curve for curve in curves if curve.data_path == path]:
            curves.remove(curve)


def _curves(ob: bpy.types.Object) -> Iterator[bpy.types.bpy_prop_collection]:
    """The collections of F-curves in the object's action that are this object's, not other users' of the action."""
    action, slot = ob.animation_data.action, ob.animation_data.action_slot
    if action is None or slot is None or not action.is_editable:
        return
    for layer in action.layers:
        for strip in layer.strips:
            bag = strip.channelbag(slot)
            if bag is not None:
                yield bag.fcurves


def copy(source: bpy.types.Object, target: bpy.types.Object) -> None:
    """Give `target` the look and grading of `source`."""
    for name in SETTINGS:
        setattr(target.segwild, name, getattr(source.segwild, name))
