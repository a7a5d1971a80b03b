"""A scene into its likely junk: floaters, needles, what hangs before a camera, what no photo shows. Never deletes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from backend.progress import Progress, Quiet
from backend.render import Seen
from backend.scene import Camera, Gaussians
from backend.segment.graph import SceneGraph
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.values import CAUSES, Cause

_MILD, _STRONG = 0.999, 0.95  # quantiles of the scene between which the strength moves each limit
_THIN = 10.0  # a needle is so many times as long as wide
_LONG = 6.0  # spacings: three deviations of a needle are longer
_LINK = 3.0  # spacings: what is farther away does not hang together
_CROWD = 30  # rows: fewer hang in the air
_NEAR = 0.15  # of a camera's usual distance: nobody photographs anything from so near
_SEEN_PX = 0.5  # of blending weight in the view that shows most
_LONG_SIDE = 320  # pixels of the views
_VIEWS = 24  # that are looked at together


@dataclass(frozen=True, eq=False)
class Junk:
    """Suspected rows, each with why."""

    rows: np.ndarray  # (M,) int64 ascending
    causes: np.ndarray  # (M, 4) bool, columns as CAUSES; at least one per row

    def counts(self) -> dict[str, int]:
        return {cause: int(self.causes[:, column].sum()) for column, cause in enumerate(CAUSES)}


def find_junk(
    scene: Gaussians,
    graph: SceneGraph,
    cameras: Sequence[Camera],  # of the photos; none: near-camera and unseen are not looked for
    *,
    within: np.ndarray | None = None,  # (N,) bool, where to look; None: everywhere
    strength: float = 0.5,  # 0: only the worst 0.1 % of each measure; 1: the worst 5 %
    causes: Sequence[Cause] = (),  # to look for; none: all
) -> Junk:
    """Rows that are suspicious in absolute terms and among the scene's worst. Raises InputError for a bad strength."""
    checked_strength(strength)  # before the work, not after
    return suspected(scene, measured(scene, graph, cameras), within=within, strength=strength, causes=causes)


def checked_strength(strength: float) -> None:
    """Raises InputError unless it is a number from 0 to 1."""
    if not 0 <= strength <= 1:
        raise InputError("bad-option", f"The strength is {strength:g}.", "Give a number from 0 to 1.")


def measured(
    scene: Gaussians, graph: SceneGraph, cameras: Sequence[Camera], progress: Progress | None = None
) -> np.ndarray:
    """(N, 4) float64, columns as CAUSES: how suspicious each row is, from 1 on at all; whatever the strength.

    `progress` hears of the cameras, which are what takes long, and of what is measured without them.
    """
    progress = progress or Quiet()
    near, unseen = _near(scene, cameras, progress), _unseen(scene, cameras, progress)
    floating = _floaters(scene, graph)
    progress.advance()
    return np.stack([needles(scene, graph.spacing), floating, near, unseen], 1)


def suspected(
    scene: Gaussians,
    measures: np.ndarray,
    *,
    within: np.ndarray | None = None,
    strength: float = 0.5,
    causes: Sequence[Cause] = (),
) -> Junk:
    """As `find_junk`, from what was `measured` before: at once."""
    checked_strength(strength)
    quantile = _MILD + strength * (_STRONG - _MILD)
    flags = np.stack([_worst(measure, quantile) for measure in measures.T], 1)
    flags &= scene.finite_rows()[:, None]
    if causes:
        flags &= np.isin(CAUSES, causes)
    if within is not None:
        flags &= within[:, None]
    rows = np.flatnonzero(flags.any(1))
    return Junk(rows, flags[rows])


def _worst(measure: np.ndarray, quantile: float) -> np.ndarray:
    """(N,) bool: at least 1, which is what counts as suspicious at all, and of the scene's worst."""
    finite = np.nan_to_num(measure, nan=0.0, posinf=1e30)
    return (finite >= 1) & (finite >= np.quantile(finite, quantile)) if len(finite) else finite > 0


def needles(scene: Gaussians, spacing: np.ndarray) -> np.ndarray:
    """(N,) float64: how long each row is that is as thin as a needle, from 1 on it is one; by the graph's spacing."""
    ordered = np.sort(scene.scales.astype(np.float64), 1)
    thin = ordered[:, 2] > _THIN * ordered[:, 1]
    return np.where(thin, 3 * ordered[:, 2] / (_LONG * np.maximum(spacing, 1e-9)), 0)


def _floaters(scene: Gaussians, graph: SceneGraph) -> np.ndarray:
    """Rows in small groups that nothing touches; more the farther the group is from its neighbours."""
    count = len(scene)
    usual = float(np.median(graph.spacing)) if count else 1.0
    first, second = graph.edges.T
    apart = np.linalg.norm(scene.means[first].astype(np.float64) - scene.means[second], axis=1)
    # The scene's spacing and not their own: far from everything, rows are spaced widely.
    near = apart <= _LINK * np.minimum(np.maximum(graph.spacing[first], graph.spacing[second]), 2 * usual)
    ties = coo_matrix((np.ones(near.sum(), bool), graph.edges[near].T), (count, count))
    groups, labels = connected_components(ties, directed=False)
    sizes = np.bincount(labels, minlength=groups)[labels]
    return np.where(sizes < _CROWD, graph.spacing / max(usual, 1e-9), 0)


def _near(scene: Gaussians, cameras: Sequence[Camera], progress: Progress) -> np.ndarray:
    """Nearness to a camera that has the row in its frame, in that camera's usual distances."""
    worst = np.zeros(len(scene))
    for camera in cameras:
        framed, depths = _framed(camera, scene.means)
        if framed.any():
            usual = float(np.median(depths[framed]))
            nearness = _NEAR * usual / np.maximum(depths, 1e-9)
            worst = np.where(framed, np.maximum(worst, nearness), worst)
        progress.advance()
    return worst


def _unseen(scene: Gaussians, cameras: Sequence[Camera], progress: Progress) -> np.ndarray:
    """How little of each row any photo shows: below 1, enough of it was found to be shown by one.

    Photos are looked at in rounds, each spread over all of them, until one shows nothing that was not seen before.
    """
    most = np.zeros(len(scene))
    rounds = max(1, -(-len(cameras) // _VIEWS))
    for first in range(rounds):
        seen = most >= _SEEN_PX
        for camera in cameras[first::rounds]:
            if _framed(camera, scene.means[most < _SEEN_PX])[0].any():
                most = np.maximum(most, Seen(scene, camera.fitted(_LONG_SIDE)).mass())
            progress.advance()
        if np.array_equal(seen, most >= _SEEN_PX):
            break
    return _SEEN_PX / np.maximum(most, 1e-9) if len(cameras) else most


def _framed(camera: Camera, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M,) bool, whether points (M, 3) are before the camera and in its frame, and (M,) float64 their depths."""
    pixels, depths = camera.project(means.astype(np.float64))
    with np.errstate(invalid="ignore"):
        return (depths > 0) & ((pixels >= 0) & (pixels < (camera.width, camera.height))).all(1), depths
