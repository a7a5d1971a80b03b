"""A selection made on one photo into masks on others, each drawn anew along the colours it meets there.

One mask leaves gaps: what it did not see, and edges that lie elsewhere from the side. The selection rendered
at another pose says where the object is; colours near its rim say where it ends.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from backend.features.colour import lab
from backend.features.neutral import Neutral
from backend.scene import Camera, Gaussians
from backend.segment.framed import Framed
from backend.segment.mincut import minimum_cut
from backend.segment.posterior import Votes, mask_votes, posterior
from backend.segment.prepared import Prepared, Selection

LONG_SIDE = 320  # pixels of the views a selection is carried to
OFFERED = 3  # poses for each that is wanted: from behind, other things stand before what was selected


@dataclass(frozen=True)
class Carrying:
    """How far a carried mask may leave the rendered selection."""

    views: int = 8  # more: better covered backs, more time
    band: float = 0.025  # of the diagonal: pixels this close to the rendered rim are decided anew
    colors: float = 0.25  # weight of the colours against the rendered share
    contrast: float = 8.0  # Lab units: an edge this strong halves the cost of a rim along it
    smoothness: float = 2.0  # more: shorter rims
    confidence: float = 0.5  # of a carried mask's vote against a drawn one's
    least_px: int = 60  # a selection that shows less is not carried
    holds: float = 0.8  # of what was rendered a mask must hold, or colours mislead there; more: fewer masks
    reach: float = (
        0.1  # of the diagonal: pixels this close to the rendered selection are decided if nobody spoke of them
    )
    unknown_colors: float = 1.0  # weight of their colours ...
    unknown_share: float = 0.25  # ... and of their rendered share


def carried(
    prepared: Prepared,
    selection: Selection,
    cameras: Sequence[tuple[str, Camera]],  # of the photos that may be asked
    settings: Carrying | None = None,
    *,
    besides: Camera,  # the view the prompt was given in
) -> Selection:
    """The selection after it was drawn anew in other photos' poses: fewer gaps behind, truer rims."""
    *_, found = carrying(prepared, selection, cameras, settings, besides=besides)
    assert found is not None  # the last one
    return found


def carrying(
    prepared: Prepared,
    selection: Selection,
    cameras: Sequence[tuple[str, Camera]],
    settings: Carrying | None = None,
    *,
    besides: Camera,
) -> Iterator[Selection | None]:
    """As `carried`, after None for each photo that was looked at."""
    settings = settings or Carrying()
    votes: list[Votes] = []
    if settings.views > 0 and selection.chosen.any():
        points = prepared.scene.means[selection.chosen].astype(np.float64)
        views = spread_views(cameras, points, OFFERED * settings.views, besides=besides)
        known = posterior(len(prepared.scene), selection.evidence).voted
        for vote in carried_votes(prepared.scene, selection.chosen, views, settings, known):
            if vote is not None:
                votes.append(vote)
            yield None
    yield prepared.decided([*selection.evidence, *votes]) if votes else selection


def carried_votes(
    scene: Gaussians,
    chosen: np.ndarray,  # (N,) bool
    cameras: Sequence[tuple[str, Camera]],  # photos to carry to, their poses, the most wanted first
    settings: Carrying,
    known: np.ndarray | None = None,  # (N,) bool, rows that the prompt itself spoke about; None: all
) -> Iterator[Votes | None]:
    """A vote of each photo that shows enough of the selection, at most `settings.views`, and None of others."""
    count = 0
    known = np.ones(len(chosen), bool) if known is None else known
    channels = np.stack([chosen, known], 1).astype(np.float32)
    for name, camera in cameras:
        if count == settings.views:
            return
        view = Neutral(scene, camera.fitted(LONG_SIDE))
        share, heard = np.moveaxis(view.seen.render_channels(channels), -1, 0)
        rendered = share > 0.5
        mask = redrawn(view.picture, share, settings, heard) if rendered.sum() >= settings.least_px else None
        # A selection lacks parts of the object, and seldom holds much else: a mask that gives much of it away is wrong.
        if mask is None or mask.sum() < settings.least_px or (mask & rendered).sum() < settings.holds * rendered.sum():
            yield None
            continue
        count += 1
        yield mask_votes(
            view.seen,
            mask,
            view=name,
            kind="carried",
            confidence=settings.confidence,
            framed=Framed(scene.means, view.camera),
        )


def spread_views(
    cameras: Sequence[tuple[str, Camera]],
    points: np.ndarray,  # (M, 3) float, the selection's rows
    count: int,
    *,
    besides: Camera,  # the view the prompt was given in
) -> list[tuple[str, Camera]]:
    """Up to `count` poses that have the selection in their frame, from directions as different as can be.

    Fewer are the first of more. Whether something stands before the selection is not asked.
    """
    centre = np.median(points, axis=0)
    facing = []
    for name, camera in cameras:
        pixels, _ = camera.project(points)
        with np.errstate(invalid="ignore"):
            framed = (pixels >= 0).all(1) & (pixels < (camera.width, camera.height)).all(1)
        if framed.mean() > 0.5:
            facing.append((name, camera))
    taken: list[tuple[str, Camera]] = []
    directions = [direction(besides.centre, centre)]
    while facing and len(taken) < count:
        likeness = [
            max(float(known @ direction(camera.centre, centre)) for known in directions) for _, camera in facing
        ]
        name, camera = facing.pop(int(np.argmin(likeness)))
        taken.append((name, camera))
        directions.append(direction(camera.centre, centre))
    return taken


def direction(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(3,) of unit length, from one point to another."""
    towards = end - start
    return towards / max(float(np.linalg.norm(towards)), 1e-12)


def redrawn(picture: np.ndarray, share: np.ndarray, settings: Carrying, heard: np.ndarray | None = None) -> np.ndarray:
    """(H, W) bool: the pixels a rendered selection means, its rim moved to edges of the picture.

    `heard` (H, W) float is how much of a pixel rows fill that somebody spoke about: where that is little, near the
    selection, colours decide.
    """
    core = share > 0.5
    band_px = max(2.0, settings.band * float(np.hypot(*core.shape)))
    depth = np.where(core, distance_transform_edt(core), -distance_transform_edt(~core))
    inside, outside = depth > band_px, depth < -band_px
    unheard = np.zeros(core.shape, bool)
    if heard is not None:
        unheard = (heard < 0.5) & (depth > -settings.reach * float(np.hypot(*core.shape)))
        inside, outside = inside & ~unheard, outside & ~unheard
    undecided = ~inside & ~outside
    colors = gaussian_filter(lab(picture), (0.5, 0.5, 0))
    unary = np.log((share + 0.05) / (1.05 - share))
    unary[unheard] *= settings.unknown_share
    ring = outside & (depth > -4 * band_px)
    own = core & (share > 0.8) & ~unheard
    if own.sum() >= 30 and ring.sum() >= 30:
        ratio = _mixture(colors[own]).score_samples(colors[undecided])
        ratio = ratio - _mixture(colors[ring]).score_samples(colors[undecided])
        weight = np.where(unheard, settings.unknown_colors, settings.colors)[undecided]
        unary[undecided] += weight * np.clip(ratio, -6, 6)
    unary[inside], unary[outside] = np.inf, -np.inf
    # Only undecided pixels and their neighbours need to be nodes.
    near = distance_transform_edt(~undecided) < 1.5
    place = np.full(core.shape, -1)
    place[near] = np.arange(near.sum())
    edges, weights = [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        a, b = _neighbours(place, down, right)
        c, d = _neighbours(colors, down, right)
        both = (a >= 0) & (b >= 0)
        unlike = ((c - d) ** 2).sum(-1)[both] / (2 * settings.contrast**2)
        edges.append(np.stack([a[both], b[both]], 1))
        weights.append(settings.smoothness * np.exp(-unlike) / np.hypot(down, right))
    result = core.copy()
    result[near] = minimum_cut(unary[near], np.concatenate(edges), np.concatenate(weights))
    return result


def _mixture(colors: np.ndarray, rounds: int = 20) -> GaussianMixture:
    """Of (M, 3) Lab colours, about."""
    step = max(1, len(colors) // 2000)
    parts = 3 if len(colors) >= 100 else 1
    mixture = GaussianMixture(parts, reg_covar=4.0, max_iter=rounds, tol=1e-2, init_params="k-means++", random_state=0)
    with warnings.catch_warnings():
        # These rounds place the colours well enough, whether or not one more would still move them.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(colors[::step].astype(np.float64))


def _neighbours(grid: np.ndarray, down: int, right: int) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel and the one `down` and `right` (may be -1) of it, where both exist."""
    height, width = grid.shape[:2]
    if right < 0:
        return grid[: height - down, -right:], grid[down:, : width + right]
    return grid[: height - down, : width - right], grid[down:, right:]
