"""Rows made invisible, and visible again: nothing is lost by erasing."""

from __future__ import annotations

import bpy
import numpy as np

from . import changes, splats


def erase(ob: bpy.types.Object, chosen: np.ndarray) -> int:
    """Make the chosen rows (N,) bool invisible, so that `restore` can bring them back; returns how many are new."""
    base, erased = splats.column(ob, splats.BASE, 4), splats.column(ob, splats.ERASED)
    new = chosen & (erased == 0) & (base[:, 3] > 0)
    if new.any():
        erased[new] = base[new, 3]
        base[new, 3] = 0
        splats.write_column(ob, splats.ERASED, erased)
        splats.write_base(ob, base)
        changes.announce(ob.segwild.uuid)
    return int(new.sum())


def restore(ob: bpy.types.Object, chosen: np.ndarray | None = None) -> int:
    """Bring erased rows back, those chosen or all; returns how many."""
    base, erased = splats.column(ob, splats.BASE, 4), splats.column(ob, splats.ERASED)
    again = erased > 0 if chosen is None else (erased > 0) & chosen
    if again.any():
        base[again, 3] = erased[again]
        erased[again] = 0
        splats.write_base(ob, base)
        splats.write_column(ob, splats.ERASED, erased)
        changes.announce(ob.segwild.uuid)
    return int(again.sum())
