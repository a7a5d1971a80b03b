"""A selection and its outlines into a cut: Gaussians that stick out of an object, divided at its edge.

A selection holds whole Gaussians, and some of them are needles that reach far beyond the object. What crosses the
outline is split there: the inner part becomes the object's, the outer part the rest's, or
nobody's if it looks like the object. Nothing is lost: parts are rows with a parent, to be appended, and the parents
stay where they are, hidden. After Seg-Wild's Spiky Gaussian Cutter
(ACM MM 2025), corrected: every direction is walked alike, directions are mapped as directions, and by default
planes divide a Gaussian into slices that recombine to it exactly, thin ones at its edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial import cKDTree

from backend.features.colour import lab
from backend.progress import Progress, Quiet
from backend.render import Seen
from backend.render.harmonics import C0
from backend.scene import Gaussians
from backend.scene.gaussians import FIELDS, concatenate
from backend.scene.transforms import matrices_from_quats
from backend.segment.outline import Footprints, Outline
from backend.segment.split import Moments, edged, halves, shortened, shrunk

Mode = Literal["exact", "axis", "literal"]
MODES: tuple[Mode, ...] = ("exact", "axis", "literal")
REST, OBJECT, NOBODY = 0, 1, 2
_SEEN_PX = 0.5  # of blending weight: less is not seen
_NEAR = 0.01  # world units
_WITNESSES = 3  # outlines that must have a tail in their frame before it is cut unseen
_MOSTLY = 0.5  # of a row's mass
_SOLID = 0.3  # opacity of rows that say what a place looks like ...
_AROUND = 8  # ... of which so many are asked


@dataclass(frozen=True)
class Cutting:
    """What is cut, and on whose word."""

    mode: Mode = "exact"
    views: int = 8  # photos whose outlines are guessed; more: surer planes, more time
    agree: int = 2  # guessed outlines that must say so; a drawn one is believed alone
    outvoted: float = 1.0  # a row goes if so many views have it outside per view that does not; less: more go
    leak: float = 0.02  # of a Gaussian's mass may lie on the wrong side; less: more is cut
    sticks_px: float = 4.0  # two deviations must reach so far beyond the outline; less: rims are cut too, and erode
    least: float = 0.05  # a smaller part goes to the other side whole
    passes: int = 4  # an inner part that still sticks out is cut again, so often; more: shorter tails, thinner rims
    margin: float = 0.005  # of the diagonal: what a guessed outline leaves to an object beyond itself; less: rims erode
    held: float = 0.2  # of the outlines may hold a hidden tail that is cut; more: backs of objects are cut too
    together: float = 0.7  # cosine: planes of different views closer than that are one


@dataclass(frozen=True, eq=False)
class Cut:
    """Parts of divided rows. The rows themselves stay in the scene, hidden while the cut is shown."""

    mode: Mode
    parts: Gaussians  # (P,) rows to append, colours as their parents'
    parents: np.ndarray  # (P,) int64, the row each part is of
    sides: np.ndarray  # (P,) uint8: whose each part is, REST, OBJECT or NOBODY
    given: np.ndarray  # (G,) int64, rows of the object that lie outside of it whole: the rest's
    dropped: np.ndarray  # (D,) int64, such rows that look like the object: nobody's

    @property
    def inside(self) -> np.ndarray:
        """(P,) bool: the object's parts."""
        return self.sides == OBJECT

    @property
    def hidden(self) -> np.ndarray:
        """(H,) int64 ascending, rows that were divided."""
        return np.unique(self.parents)


def cut(
    scene: Gaussians,
    chosen: np.ndarray,  # (N,) bool
    outlines: Sequence[Outline],
    settings: Cutting | None = None,
    progress: Progress | None = None,
) -> Cut:
    """Divide what crosses the outlines. Deterministic; without outlines nothing is cut.

    `progress` hears of every look at an outline.
    """
    settings, progress = settings or Cutting(), progress or Quiet()
    rows = np.flatnonzero(chosen & scene.finite_rows())
    whole = Moments.of(scene, rows)
    witnesses = [_Witness(scene, rows, whole, outline, progress) for outline in outlines]
    if not witnesses or not len(rows):
        return _assembled(scene, chosen, settings.mode, [], rows[:0])
    outside = _outside(witnesses, whole, settings)
    given = rows[outside]
    if settings.mode == "exact":
        pieces = _divided(whole, ~outside, witnesses, settings)
    else:
        pieces = _walked(scene, rows, whole, ~outside, witnesses, settings)
    wholly_out = [places for part, places, inside in pieces if part is None and not inside]
    given = np.union1d(given, rows[np.concatenate(wholly_out)]) if wholly_out else given
    kept = [(part, rows[places], inside) for part, places, inside in pieces if part is not None]
    return _assembled(scene, chosen, settings.mode, kept, given)


# A piece: its shape (None: the row as it is), whose part it is (places in the selection), and its side.
_Piece = tuple[Moments | None, np.ndarray, bool]


def _assembled(
    scene: Gaussians,
    chosen: np.ndarray,
    mode: Mode,
    pieces: Sequence[tuple[Moments, np.ndarray, bool]],
    given: np.ndarray,
) -> Cut:
    parts = [part.colored_like(scene, rows) for part, rows, _ in pieces]
    none = scene.take(np.zeros(0, np.int64))
    together = concatenate(parts) if parts else Gaussians(*(getattr(none, name) for name in FIELDS))
    parents = np.concatenate([rows for _, rows, _ in pieces] or [np.zeros(0, np.int64)])
    inside = np.concatenate([np.full(len(rows), inside) for _, rows, inside in pieces] or [np.zeros(0, bool)])
    fits = _fits_rest(scene, chosen, np.concatenate([together.means, scene.means[given]]), np.append(parents, given))
    sides = np.where(inside, OBJECT, np.where(fits[: len(parents)], REST, NOBODY)).astype(np.uint8)
    left = fits[len(parents) :]
    return Cut(mode, together, parents, sides, given[left], given[~left])


def _fits_rest(scene: Gaussians, chosen: np.ndarray, points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(M,) bool: the rest looks more like the rows than the object does, around points (M, 3).

    What sticks out of a frog is green. In its place it is hardly seen, but a scene without the frog would keep it as
    a ghost: such parts are nobody's.
    """
    solid = scene.opacities > _SOLID
    sources = [np.flatnonzero(~chosen & solid), np.flatnonzero(chosen & solid)]
    if not len(rows) or not all(len(source) for source in sources):
        return np.ones(len(rows), bool)
    colors = lab(np.clip(scene.sh0[:, 0] * C0 + 0.5, 0, 1))
    unlike = []
    for source in sources:
        k = min(_AROUND, len(source))
        _, found = cKDTree(scene.means[source].astype(np.float64)).query(points.astype(np.float64), k=k)
        around = colors[source[found.reshape(-1, k)]]
        unlike.append(np.median(np.linalg.norm(around - colors[rows][:, None], axis=2), 1))
    return unlike[0] <= unlike[1]


class _Witness:
    """One outline, and which rows of the selection its view sees."""

    def __init__(
        self, scene: Gaussians, rows: np.ndarray, whole: Moments, outline: Outline, progress: Progress
    ) -> None:
        self.outline, self._progress = outline, progress
        seen = Seen(scene, outline.camera)
        inside, mass = seen.accumulate(outline.mask.astype(np.float32)[..., None])
        self.mass = mass[rows]
        self._shown_inside = inside[rows, 0] / np.maximum(self.mass, 1e-9)
        self._depth = seen.depth()
        self._margin = 2 * np.sqrt(np.trace(whole.covariances, axis1=1, axis2=2))
        prints = Footprints.of(whole, outline.camera)
        self._would_show = self._in_front(prints, np.zeros(len(rows)))
        self.sees = outline.known(prints.pixels) & (self.mass >= _SEEN_PX)
        progress.advance()

    def _in_front(self, prints: Footprints, margin: np.ndarray) -> np.ndarray:
        """(M,) bool: the centres are in the frame and not behind another surface, or only by a margin (world units).

        A tail in the ground is cut, one behind a lamp post is not: there the mask ends and the object goes on.
        """
        known = self.outline.known(prints.pixels) & (prints.depths > _NEAR)
        pixels = np.nan_to_num(prints.pixels)
        column = np.clip(pixels[:, 0].astype(int), 0, self._depth.shape[1] - 1)
        row = np.clip(pixels[:, 1].astype(int), 0, self._depth.shape[0] - 1)
        surface = np.nan_to_num(self._depth[row, column], nan=np.inf)
        slack = 3 * prints.depth_deviations + 0.02 * prints.depths + margin
        return known & (prints.depths <= surface + slack)

    def crossing(self, parts: Moments, places: np.ndarray, settings: Cutting) -> _Crossing:
        """Which parts cross the outline, and the planes that divide them."""
        prints = Footprints.of(parts, self.outline.camera)
        # Few rows are near the edge, and a ray in every direction is much memory: only those are looked at.
        near = np.flatnonzero(self.sees[places] & self.outline.in_reach(prints))
        prints = prints.take(near)
        crossings = self.outline.crossings(prints)
        with np.errstate(invalid="ignore"):
            planes = self.outline.planes(crossings)
        found = crossings.found & np.isfinite(planes[1])
        normals, offsets = np.tile((0.0, 0.0, 1.0), (len(parts), 1)), np.zeros(len(parts))
        normals[near[found]], offsets[near[found]] = planes[0][found], planes[1][found]
        outer = halves(parts.take(near), normals[near], offsets[near])[1]
        in_front = self._in_front(Footprints.of(outer, self.outline.camera), self._margin[places[near]])
        share = self.outline.shares(prints)
        leaks = (share < 1 - settings.leak) & (share > settings.leak)
        reach = 2 * np.sqrt(np.einsum("mi,mij,mj->m", crossings.normals, prints.covariances, crossings.normals))
        with np.errstate(invalid="ignore"):
            far = reach - ((prints.pixels - crossings.pixels) * crossings.normals).sum(1) > settings.sticks_px
        shown, hidden = np.zeros((2, len(parts)), bool)
        shown[near] = found & leaks & far & in_front
        hidden[near] = found & leaks & far & ~in_front
        self._progress.advance()
        return _Crossing(shown, hidden, normals, offsets)

    def around(self, parts: Moments) -> np.ndarray:
        """(2, M) bool: parts whose middle the frame holds, and those of which the outline does too."""
        pixels, depths = self.outline.camera.project(parts.means)
        known = self.outline.known(pixels) & (depths > _NEAR)
        return np.stack([known, known & (self.outline.depths_at(np.nan_to_num(pixels)) > 0)])

    def beyond(self, whole: Moments, settings: Cutting) -> np.ndarray:
        """(M,) bool: rows of which all that is seen is outside, or which are outside where nothing would hide them."""
        shares = self.outline.shares(Footprints.of(whole, self.outline.camera))
        shown = self.sees & (shares < _MOSTLY) & (self._shown_inside < settings.least)
        self._progress.advance()
        return shown | (self._would_show & (shares < settings.least))


def _outside(witnesses: Sequence[_Witness], whole: Moments, settings: Cutting) -> np.ndarray:
    """(M,) bool: rows that several views have outside whole, and not too many otherwise.

    Whatever is before or behind the object is inside in some views, but nothing of the object is outside in any.
    """
    out, other = np.zeros(len(whole)), np.zeros(len(whole))
    enough = min(settings.agree, len(witnesses))
    for witness in witnesses:
        word = enough if witness.outline.drawn else 1
        beyond = witness.beyond(whole, settings)
        out += word * beyond
        other += witness.sees & ~beyond
    return (out >= enough) & (out >= settings.outvoted * other)


def _divided(whole: Moments, wanted: np.ndarray, witnesses: Sequence[_Witness], settings: Cutting) -> list[_Piece]:
    """Exact split, again and again: each pass divides by the planes of the views that agree with the heaviest."""
    pieces: list[_Piece] = []
    parts, places = whole.take(wanted), np.flatnonzero(wanted)
    divided = np.zeros(len(parts), bool)
    for _ in range(settings.passes):
        if not len(parts):
            break
        planes = _planes(parts, places, witnesses, settings)
        if not planes.found.any():
            break
        share = halves(parts, planes.normals, planes.offsets)[2]
        gone = planes.found & (share < settings.least)
        split = planes.found & ~gone & (share <= 1 - settings.leak)
        # An undivided row goes whole; an inner part of a divided one goes as that part.
        pieces.append((None, places[gone & ~divided], False))
        if (gone & divided).any():
            pieces.append((parts.take(gone & divided), places[gone & divided], False))
        done = ~gone & ~split
        if (done & divided).any():
            pieces.append((parts.take(done & divided), places[done & divided], True))
        crossed, at, offset = parts.take(split), planes.normals[split], planes.offsets[split]
        far, which = edged(crossed, -at, -offset)
        pieces.append((far, places[split][which], False))
        parts, which = edged(crossed, at, offset)
        places, divided = places[split][which], np.ones(len(which), bool)
    if len(parts) and divided.any():
        pieces.append((parts.take(divided), places[divided], True))
    return pieces


@dataclass(frozen=True, eq=False)
class _Crossing:
    """Parts and one outline."""

    shown: np.ndarray  # (M,) bool: crosses it, and what is outside is not hidden there
    hidden: np.ndarray  # (M,) bool: crosses it, and what is outside is behind something
    normals: np.ndarray  # (M, 3)
    offsets: np.ndarray  # (M,)


def _buried(parts: Moments, crossing: _Crossing, witnesses: Sequence[_Witness], settings: Cutting) -> np.ndarray:
    """(M,) bool: parts whose outer half is hidden and outside of nearly all outlines.

    A tail in the ground below the object: nothing of the object is there, for that would be inside of other outlines.
    """
    result = np.zeros(len(parts), bool)
    rows = np.flatnonzero(crossing.hidden)
    if len(rows):
        outer = halves(parts.take(rows), crossing.normals[rows], crossing.offsets[rows])[1]
        known, inside = np.sum([witness.around(outer) for witness in witnesses], 0)
        result[rows] = (known >= _WITNESSES) & (inside <= settings.held * known)
    return result


@dataclass(frozen=True, eq=False)
class _Planes:
    found: np.ndarray  # (M,) bool
    normals: np.ndarray  # (M, 3)
    offsets: np.ndarray  # (M,)


def _planes(parts: Moments, places: np.ndarray, witnesses: Sequence[_Witness], settings: Cutting) -> _Planes:
    """One plane per part: the mean of what the views say that agree with the one that sees most of it."""
    crossings = [witness.crossing(parts, places, settings) for witness in witnesses]
    crosses = np.stack([each.shown | _buried(parts, each, witnesses, settings) for each in crossings])
    normals, offsets = np.stack([each.normals for each in crossings]), np.stack([each.offsets for each in crossings])
    enough = min(settings.agree, len(witnesses))
    drawn = np.array([witness.outline.drawn for witness in witnesses])
    words = np.where(drawn, enough, 1)[:, None] * crosses
    weights = np.stack([witness.mass[places] for witness in witnesses]) * words
    heaviest = weights.argmax(0)
    leading = normals[heaviest, np.arange(len(parts))]
    agreeing = (normals * leading).sum(-1) > settings.together
    weights = np.where(agreeing, weights, 0)
    found = words.sum(0) >= enough
    total = np.maximum(weights.sum(0), 1e-12)
    mean = (weights[..., None] * normals).sum(0) / total[:, None]
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    mean = np.where(length > 1e-9, mean / np.maximum(length, 1e-9), leading)
    turned = np.einsum("mij,vmj->vmi", parts.covariances, normals)
    along = np.maximum((normals * turned).sum(-1), 1e-18)
    away = offsets - (normals * parts.means).sum(-1)
    points = parts.means + (away / along)[..., None] * turned
    return _Planes(found, mean, (weights * (points * mean).sum(-1)).sum(0) / total)


def _walked(
    scene: Gaussians,
    rows: np.ndarray,
    whole: Moments,
    wanted: np.ndarray,
    witnesses: Sequence[_Witness],
    settings: Cutting,
) -> list[_Piece]:
    """Along each one's long axis, in the view that leaves least of it."""
    crosses = [witness.crossing(whole, np.arange(len(whole)), settings).shown for witness in witnesses]
    enough = min(settings.agree, len(witnesses))
    words = [enough if witness.outline.drawn else 1 for witness in witnesses]
    places = np.flatnonzero(wanted & (np.array(words) @ np.array(crosses) >= enough))
    parts = whole.take(places)
    best = np.full(len(places), np.inf)
    start, end, axis = np.full(len(places), -1.5), np.full(len(places), 1.5), np.zeros((len(places), 3))
    column = _longest(scene, rows[places])
    for witness, crossing in zip(witnesses, crosses, strict=True):
        prints = Footprints.of(parts, witness.outline.camera)
        run = witness.outline.runs(prints)
        better = crossing[places] & run.cuts & (run.share < best)
        best = np.where(better, run.share, best)
        start, end = np.where(better, run.start, start), np.where(better, run.end, end)
        if settings.mode == "axis":
            direction = prints.axes_in_space(parts)
        else:
            towards = np.einsum("mij,mj->mi", prints.projection, column)
            direction = column * np.where((towards * prints.long_axes[1]).sum(1) < 0, -1.0, 1.0)[:, None]
        axis = np.where(better[:, None], direction, axis)
    short = shortened if settings.mode == "axis" else shrunk
    gone = best < settings.least
    pieces: list[_Piece] = [(None, places[gone], False)]
    split = np.isfinite(best) & ~gone
    if split.any():
        pieces.append((short(parts.take(split), axis[split], start[split], end[split]), places[split], True))
    for low, high in ((np.full(len(places), -1.5), start), (end, np.full(len(places), 1.5))):
        left = split & ((high - low) / 3 > settings.least)
        if left.any():
            pieces.append((short(parts.take(left), axis[left], low[left], high[left]), places[left], False))
    return pieces


def _longest(scene: Gaussians, rows: np.ndarray) -> np.ndarray:
    """(M, 3) each row's longest axis times its deviation: a column of R, not a row."""
    axes = matrices_from_quats(scene.quats[rows].astype(np.float64))
    scales = scene.scales[rows].astype(np.float64)
    longest = scales.argmax(1)
    return axes[np.arange(len(rows)), :, longest] * scales.max(1)[:, None]
