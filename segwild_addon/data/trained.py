"""The rows of an object into where the workspace has them: what a new origin or an applied transform has moved."""

from __future__ import annotations

import bpy
import numpy as np

from ..protocol.errors import SegWildError
from . import scenes, splats

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
    return np.eye(4) if np.array_equal(now, then) else similarity(now, then)


def similarity(now: np.ndarray, then: np.ndarray) -> np.ndarray:
    """(4, 4), the turn, scale and shift of points (M, 3) onto others with the least squares of what is left; identity
    if too much is left. (Umeyama, IEEE Transactions on Pattern Analysis and Machine Intelligence 13, 1991.)"""
    centre, goal = now.mean(0), then.mean(0)
    a, b = now - centre, then - goal
    u, sizes, vt = np.linalg.svd(b.T @ a)
    signs = np.array([1, 1, np.sign(np.linalg.det(u @ vt)) or 1])
    turn = (u * signs) @ vt
    scale = float((sizes * signs).sum() / max((a * a).sum(), 1e-30))
    result = np.eye(4)
    result[:3, :3] = scale * turn
    result[:3, 3] = goal - scale * turn @ centre
    left = np.abs(now @ result[:3, :3].T + result[:3, 3] - then)
    return result if np.median(left) <= AGREE * max(float(np.abs(b).max()), 1e-9) else np.eye(4)
