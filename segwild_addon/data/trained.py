"""The rows of an object into where the workspace has them: what a new origin or an applied transform has moved."""

from __future__ import annotations

import bpy
import numpy as np

from ..protocol.errors import SegWildError
from . import scenes, splats
from .placement import similarity

SAMPLE = 256  # rows that are compared
AGREE = 1e-3  # of the rows' spread: a fit that is worse means that rows were moved one by one


def scene_from_object(ob: bpy.types.Object) -> np.ndarray:
    """(4, 4) float64, a turn, a scale and a shift from the object's axes to the scene frame of its workspace.

    Identity where nothing was moved, and where it cannot be known: no workspace, no known rows, rows moved apart.
    """
    scene = scenes.scene_of(ob)
    ids = splats.read_ids(ob)
    some = np.flatnonzero(ids > 0)
    some = some[:: max(1, len(some) // SAMPLE)][:SAMPLE]
    if scene is None or len(some) < 4:
        return np.eye(4)
    try:
        means = scenes.folder(scene).splats().means
    except SegWildError:
        return np.eye(4)
    rows = ids[some] - 1
    if rows.max() >= len(means):
        return np.eye(4)
    now, then = splats.column(ob, "position", 3)[some].astype(float), np.array(means[rows], float)
    if np.array_equal(now, then):
        return np.eye(4)
    found = similarity(now, then)
    left = np.abs(now @ found[:3, :3].T + found[:3, 3] - then)
    spread = float(np.abs(then - then.mean(0)).max())
    return found if np.median(left) <= AGREE * max(spread, 1e-9) else np.eye(4)
