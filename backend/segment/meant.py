"""Clicks on one view into the pixels they mean there, told by the view's own picture.

Where nothing stands apart in space, colours and edges of the picture still say what belongs together. Regions that
hold the positive clicks and no negative one are gathered from the trees of patches and from walks through the
scene, and redrawn by a cut along their colours. Each is weighed by the edges along its outline, and by the clicks:
people click into the middle of what they mean, and then of what is missing or too much. The region that is most
like all others, by their weights, is the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from backend.features.neutral import Neutral
from backend.scene import Camera, Gaussians
from backend.segment.framed import Framed
from backend.segment.middles import inner_depth, middles
from backend.segment.mincut import minimum_cut
from backend.segment.patches import Patches
from backend.segment.region import STANDS_APART, Suggestions, Walks

LONG_SIDE = 320  # pixels of the picture
_MIDDLE = 5.0  # power of how far in the middle of an error a click lies; more: positions of clicks say more
_MIDDLE_FIRST = 1.0  # ... and of how far in the middle of the region the first one does
_MIDDLE_LEAST = 0.05
_FRAME = 2.0  # against a region that runs all along the picture's frame: it is what is behind
_SMALL = 3.0  # power of the IoU with what stands apart in space; more: smaller corrections of it
_SETTLED = 1.0  # power of the IoU with the answer before, from the third click on and once more with each further one
_CONTRAST = 1.0  # power of the mean contrast along an outline
_IN_SPACE = 2.0  # power of how clearly the region that a walk suggests first stands apart in space ...
_UNCLEAR = 5e-3  # ... against this cut per volume
_WEIGHED = 300  # regions whose clicks are looked at
_KEPT = 40  # regions that further clicks start from
_ALIKE = 0.9  # IoU from which two regions are one
_NODES_ALIKE, _NODES = 0.95, 60  # of regions that a further click adds or takes away
_REDRAWN = 12  # regions that are redrawn along colours
_COLORS, _COLORS_MOST = 1.0, 3.0  # weight and limit of the log odds of colours
_STAYS = 0.5  # log odds that a patch is rightly in the region that is redrawn
_AREA_PX = 20.0  # a patch of this area has those odds once
_EDGE = 6.0  # Lab units: contrast that lowers the cost of an outline to 0.4
_EVERYWHERE = 1e-3  # share of any colour in any region
_COARSE = 2  # pixels of the picture per pixel on which positions of clicks are weighed
_HELD = 200  # sequences of clicks whose answers are remembered
_DEEP = 0.45  # of the greatest depth inside what stands apart: a click beside the object so deep in it means a part ...
_FILLED = 0.3  # of a patch, by solid rows: less is a halo before the sky
_THICK = 6.0  # ... if that is so many coarse pixels: what spills over from a thin thing is as thick as the thing
_WHOLE = 0.7  # IoU from which a region is all of what stands apart, where a part is meant
_LOOKS_LIKE = 0.8  # IoU on the picture from which what is meant is a region in space, the back of it too
_CONTRIBUTORS = 4  # per pixel: rows that show what a patch is made of
_NEAR = 0.02  # of a distance: what is seen so far before a point does not hide it
_SEEN = 0.4  # of what is seen around a point lies there or beyond, unless it is hidden


@dataclass(frozen=True, eq=False)
class Click:
    """A click on the view."""

    x: float  # pixels of `Meant.camera`
    y: float
    positive: bool
    seeds: np.ndarray  # (N,) float64 weights of the rows under it


@dataclass(frozen=True, eq=False)
class Answer:
    """What clicks mean."""

    mask: np.ndarray  # (H, W) bool on `Meant.camera`'s grid
    region: np.ndarray | None  # (S,) bool solid rows: what it is in space, seen or not; None: not known
    apart: bool  # whether the first click is on something that stands apart in space


@dataclass(frozen=True, eq=False)
class _Known:
    """What a sequence of clicks led to."""

    region: np.ndarray  # (n,) bool
    regions: np.ndarray  # (K, n) bool: what else it may be
    clear: list[np.ndarray]  # each (S,) bool: regions in space that positive clicks lie in and that stand apart


class Meant:
    """One view, prepared for clicks."""

    def __init__(self, scene: Gaussians, walks: Walks, camera: Camera) -> None:
        self.camera, self.walks, self._means = camera.fitted(LONG_SIDE), walks, scene.means
        view = Neutral(scene, self.camera)
        self.seen = view.seen
        self.framed = Framed(scene.means, self.camera)
        self.patches = Patches.of(view.picture, view.seen.depth())
        ids, weights = view.seen.top_contributors(_CONTRIBUTORS)
        self._ids = ids  # (H, W, K) int32, -1 for none
        place = np.full(len(scene), -1)
        place[walks.rows] = np.arange(len(walks.rows))
        solid = np.where(ids >= 0, place[ids], -1)
        patch = np.broadcast_to(self.patches.labels[..., None], ids.shape)
        shown = solid >= 0
        # (n, S): how much of a patch each solid row fills, of all that solid rows do.
        size = len(self.patches), len(walks.rows)
        shares = coo_matrix((weights[shown], (patch[shown], solid[shown])), size).tocsr()
        self._solid, self._weights = solid.astype(np.int32), weights
        self._filled = np.asarray(shares.sum(1)).ravel()
        self._in_view = np.unique(shares.indices)  # of a million rows a picture shows a tenth
        self._shares = shares[:, self._in_view]
        self._coarse = self.patches.labels[::_COARSE, ::_COARSE].copy()  # on which positions of clicks are weighed
        labels = self.patches.labels
        frame = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
        self._frame = np.bincount(frame, minlength=len(self.patches)) / len(frame)  # (n,) share of the frame
        self._known: dict[tuple, _Known] = {}

    def shows(self, point: np.ndarray) -> tuple[float, float] | None:
        """Pixels x, y of a point (3,) in the world; None if it lies beyond the frame or behind what is seen there."""
        pixels, depths = self.camera.project(np.asarray(point, np.float64)[None])
        (x, y), depth = pixels[0].tolist(), float(depths[0])
        if not (depth > 0 and 0 <= x < self.camera.width and 0 <= y < self.camera.height):
            return None
        around = np.s_[max(0, int(y) - 1) : int(y) + 2, max(0, int(x) - 1) : int(x) + 2]
        ids, weights = self._ids[around].ravel(), self._weights[around].ravel()
        there = ids >= 0
        rows = self.camera.project(self._means[ids[there]].astype(np.float64))[1]
        beyond = weights[there][rows >= (1 - _NEAR) * depth].sum()
        return (x, y) if beyond >= _SEEN * weights[there].sum() else None

    def answer(self, clicks: Sequence[Click], *, part: bool = False) -> Answer | None:
        """None if no region holds all positive clicks and no negative one. Deterministic.

        What stands apart in space is meant as one, unless a `part` is, as `of_part` tells.
        """
        ordered = _ordered(clicks)
        part = part or self.of_part(clicks)
        known = self._followed(ordered, part)
        if not known or len(known) < len(ordered):
            return None
        last = known[-1]
        clear = [inside for inside in last.clear if self._mostly(inside, last.region)]
        apart = np.any(clear, 0) if clear else None
        mask = self._parted(self._pixels(last.region, apart), ordered)
        region = apart if apart is not None else self._like(last.region, ordered)
        return Answer(mask, region, bool(known[0].clear))

    def of_part(self, clicks: Sequence[Click]) -> bool:
        """Whether a click beside the object lies so deep inside what stands apart that a part of that is meant.

        Errors at the rim are clicked on at the rim.
        """
        ordered = _ordered(clicks)
        known = self._followed(ordered, part=False)
        for before, click in zip(known, ordered[1:], strict=False):
            if known[0].clear and not click.positive:
                # Where a halo is all that fills the sky, patches there are the thing's, but they are not its inside.
                filled = self._filled > _FILLED * self.patches.sizes
                deepest, here = inner_depth((before.region & filled)[self._coarse], *self._coarsely([click])[0])
                if here > max(_DEEP * deepest, _THICK):
                    return True
        return False

    def _followed(self, ordered: Sequence[Click], part: bool) -> list[_Known]:
        """What each click led to, the first one positive; fewer than there are clicks if no region holds the next."""
        known: list[_Known] = []
        for count in range(1, len(ordered) + 1):
            key = (part, *((click.x, click.y, click.positive) for click in ordered[:count]))
            if key not in self._known:
                found = self._next(ordered[:count], known, part)
                if found is None:
                    break
                while len(self._known) >= _HELD:
                    del self._known[next(iter(self._known))]
                self._known[key] = found
            known.append(self._known[key])
        return known

    def _coarsely(self, clicks: Sequence[Click]) -> np.ndarray:
        """(J, 2) int64: columns and rows of clicks on the grid on which their positions are weighed."""
        places = np.array([(click.x / _COARSE, click.y / _COARSE) for click in clicks]).reshape(-1, 2)
        return np.clip(places, 0, np.array(self._coarse.shape[::-1]) - 1).astype(np.int64)

    def _like(self, region: np.ndarray, clicks: Sequence[Click]) -> np.ndarray | None:
        """(S,) bool: what walks suggest that looks from here like the patches (n,) bool; None if nothing does."""
        suggested = self.walks.suggested([click.seeds for click in clicks if click.positive])
        if suggested is None:
            return None
        shown = self._shown(suggested.rank[:, None] < suggested.counts).T
        overlaps = _overlaps(shown, region[None], self.patches.sizes)[:, 0]
        best = int(overlaps.argmax())
        return suggested.rank < suggested.counts[best] if overlaps[best] > _LOOKS_LIKE else None

    def _pixels(self, region: np.ndarray, apart: np.ndarray | None) -> np.ndarray:
        """(H, W) bool: patches (n,) bool; where they are as in space, the rim is that of the rows (S,) bool."""
        labels = self.patches.labels
        if apart is None:
            return region[labels]
        inside = np.append(apart, False)[self._solid]  # the last for none
        weight = np.where(self._solid >= 0, self._weights, 0)
        rows = (weight * inside).sum(-1) > 0.5 * np.maximum(weight.sum(-1), 1e-9)
        changed = region != self._shown(apart)
        return np.where(changed[labels], region[labels], rows)

    def _parted(self, mask: np.ndarray, clicks: Sequence[Click]) -> np.ndarray:
        """(H, W) bool: where patches hold clicks of both signs, each pixel goes to the nearest of them."""
        labels, result = self.patches.labels, mask.copy()
        for patch in {self.patches.at(click.x, click.y) for click in clicks if not click.positive}:
            here = [click for click in clicks if self.patches.at(click.x, click.y) == patch]
            if not any(click.positive for click in here):
                result[labels == patch] = False
                continue
            y, x = np.nonzero(labels == patch)
            away = [(x + 0.5 - click.x) ** 2 + (y + 0.5 - click.y) ** 2 for click in here]
            result[y, x] &= np.array([click.positive for click in here])[np.argmin(away, 0)]
        return result

    def _mostly(self, inside: np.ndarray, region: np.ndarray) -> bool:
        shown = self._shown(inside)
        return bool(self.patches.sizes[shown & region].sum() > 0.5 * self.patches.sizes[shown].sum())

    def _shown(self, inside: np.ndarray) -> np.ndarray:
        """(n, ...) bool: patches that mostly show solid rows (S, ...) bool."""
        shares = self._shares @ inside[self._in_view].astype(np.float64)
        return shares > 0.5 * np.maximum(self._filled, 1e-9).reshape(-1, *([1] * (shares.ndim - 1)))

    def _next(self, clicks: Sequence[Click], known: Sequence[_Known], part: bool) -> _Known | None:
        """What the last click changes."""
        newest = clicks[-1]
        own = self.walks.suggested([newest.seeds]) if newest.positive else None
        clear = list(known[-1].clear) if known else []
        if own is not None and own.clear and not part:
            clear.append(own.rank < own.counts[own.scores.argmin()])
        if not known and clear:
            # What stands apart needs no picture: further clicks correct it.
            return _Known(self._shown(clear[0]), self._shown(clear[0])[None], clear)
        regions, credit = self._gathered(clicks, known, own, part)
        on = [self.patches.at(click.x, click.y) for click in clicks if click.positive]
        # What stands apart holds its own click, also where it is too thin for a patch.
        if known and known[0].clear and not known[0].region[on[0]]:
            on = [patch for patch in on if patch != on[0]]
        beside = [self.patches.at(click.x, click.y) for click in clicks if not click.positive]
        beside = [patch for patch in beside if patch not in on]
        fits = regions[:, on].all(1) & ~regions[:, beside].any(1)
        if not fits.any():
            return None
        regions, credit = regions[fits], credit[fits]
        _, once = np.unique(np.packbits(regions, axis=1), axis=0, return_index=True)
        regions, credit = regions[once], credit[once]
        apart = self._shown(np.any(clear, 0)) if known and known[0].clear else None
        credit += self._kept(regions, apart, known)
        pictures = [each.region[self._coarse] for each in known]
        scores = self._scored(regions, credit, clicks, pictures)
        kept = self._different(regions, scores, _KEPT, _ALIKE)
        if not len(kept):
            return None  # it is too thin for any patch, and space has to tell what the click takes away
        redrawn = [self._redrawn(region, on, beside) for region in regions[kept[:_REDRAWN]]]
        regions = np.concatenate([regions[kept], redrawn])
        scores = np.append(
            scores[kept], self._scored(np.array(redrawn), self._kept(np.array(redrawn), apart, known), clicks, pictures)
        )
        kept = self._different(regions, scores, _KEPT, _ALIKE)
        regions, scores = regions[kept], scores[kept]
        weights = np.exp(scores - scores.max())
        return _Known(regions[(_overlaps(regions, regions, self.patches.sizes) @ weights).argmax()], regions, clear)

    def _gathered(
        self, clicks: Sequence[Click], known: Sequence[_Known], own: Suggestions | None, part: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Regions (K, n) bool that clicks may mean, and how much speaks for each (K,) before it is looked at."""
        newest = clicks[-1]
        regions = self.patches.nested(self.patches.at(newest.x, newest.y))
        credit = np.zeros(len(regions))
        if known:
            nodes = regions[self._different(regions, np.zeros(len(regions)), _NODES, _NODES_ALIKE)]
            before = known[-1].regions
            changed = before[:, None] | nodes if newest.positive else before[:, None] & ~nodes
            changed = np.concatenate([changed.reshape(-1, len(self.patches)), before])
            if known[0].clear:
                return changed, np.zeros(len(changed))
            regions = np.concatenate([changed, nodes]) if newest.positive else changed
            credit = np.zeros(len(regions))
        positive = [click.seeds for click in clicks if click.positive]
        suggested = own if len(positive) == 1 and own is not None else self.walks.suggested(positive)
        if suggested is None:
            return regions, credit
        shown = self._shown(suggested.rank[:, None] < suggested.counts).T
        best = int(suggested.scores.argmin())
        scores, separation = suggested.scores, suggested.separation
        if part and suggested.clear:  # neither that nor what looks like it; what is left need not stand apart
            alike = _overlaps(np.concatenate([regions, shown]), shown[best][None], self.patches.sizes)[:, 0] > _WHOLE
            regions, credit = regions[~alike[: len(regions)]], credit[~alike[: len(regions)]]
            smaller = ~alike[-len(shown) :] & (np.arange(len(shown)) < best)
            if not smaller.any():
                return regions, credit
            shown, scores = shown[smaller], scores[smaller]
            separation = max(separation * np.exp(scores.min() - suggested.scores[best]), STANDS_APART)
        advantage = _IN_SPACE * np.log(_UNCLEAR / separation) + scores.min() - scores
        return np.concatenate([regions, shown]), np.append(credit, advantage)

    def _kept(self, regions: np.ndarray, apart: np.ndarray | None, known: Sequence[_Known]) -> np.ndarray:
        """(K,) logs: corrections of what stands apart (n,) bool are small, and so are later ones of anything.

        A click at the rim of what stands apart may lie on a neighbour that does so, too: that need not be joined whole.
        """
        result = np.zeros(len(regions))
        if not known:
            return result
        last = _overlaps(regions, known[-1].region[None], self.patches.sizes)[:, 0]
        result += _SETTLED * (len(known) - 1) * np.log(np.maximum(last, 1e-3))
        if apart is not None:
            joined = _overlaps(regions, apart[None], self.patches.sizes)[:, 0]
            result += _SMALL * np.log(np.maximum(np.maximum(joined, last), 1e-3))
        return result

    def _scored(
        self, regions: np.ndarray, credit: np.ndarray, clicks: Sequence[Click], before: Sequence[np.ndarray]
    ) -> np.ndarray:
        """(K,) logs of how likely each region (K, n) is; `before` holds the coarse pictures of earlier answers."""
        first, second = self.patches.edges.T
        outline = (regions[:, first] != regions[:, second]).astype(np.float64)
        lengths = outline @ self.patches.lengths
        contrast = (outline @ (self.patches.lengths * self.patches.contrasts)) / np.maximum(lengths, 1e-6)
        scores = _CONTRAST * np.log(contrast + 1) - _FRAME * (regions @ self._frame) + credit
        looked = np.argsort(-scores, kind="stable")[:_WEIGHED]
        pictures = np.take(regions[looked], self._coarse, axis=1)  # in rows: another layout is compiled anew
        shown = np.array([np.zeros(self._coarse.shape, bool), *before])
        central = middles(pictures, shown, self._coarsely(clicks), np.array([click.positive for click in clicks]))
        result = np.full(len(scores), -np.inf)
        powers = np.append(_MIDDLE_FIRST, np.full(len(clicks) - 1, _MIDDLE))
        result[looked] = scores[looked] + np.log(np.clip(central, _MIDDLE_LEAST, 1)) @ powers
        return result

    def _different(self, regions: np.ndarray, scores: np.ndarray, most: int, alike: float) -> np.ndarray:
        """Places of the best regions, at most `most`, no two of them more alike than that."""
        order = np.argsort(-scores, kind="stable")
        order = order[np.isfinite(scores[order]) & (regions[order] @ self.patches.sizes > 0)][: 8 * most]
        overlaps = _overlaps(regions[order], regions[order], self.patches.sizes)
        kept: list[int] = []
        for place in range(len(order)):
            if len(kept) < most and not (overlaps[place, kept] > alike).any():
                kept.append(place)
        return order[kept]

    def _redrawn(self, region: np.ndarray, on: list[int], beside: list[int]) -> np.ndarray:
        """(n,) bool: the region along its colours against those of the rest, pieces without a click left out."""
        patches = self.patches
        shares = []
        for side in (region, ~region):
            words = patches.blurred[side].sum(0) + 1e-9
            shares.append(words / words.sum() + _EVERYWHERE)
        odds = (patches.words @ np.log(shares[0] / shares[1])) / patches.sizes
        unary = _COLORS * np.clip(odds, -_COLORS_MOST, _COLORS_MOST) + _STAYS * np.where(region, 1.0, -1.0)
        unary *= patches.sizes / _AREA_PX
        unary[beside], unary[on] = -np.inf, np.inf
        chosen = minimum_cut(unary, patches.edges, patches.lengths * np.exp(-patches.contrasts / _EDGE))
        held = patches.edges[chosen[patches.edges].all(1)]
        count = len(patches)
        _, pieces = connected_components(coo_matrix((np.ones(len(held), bool), held.T), (count, count)), directed=False)
        return chosen & np.isin(pieces, pieces[on])


def _ordered(clicks: Sequence[Click]) -> list[Click]:
    """The first positive one first; none without one."""
    first = next((place for place, click in enumerate(clicks) if click.positive), None)
    return [] if first is None else [clicks[first], *clicks[:first], *clicks[first + 1 :]]


def _overlaps(first: np.ndarray, second: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(A, B) IoU of regions (A, n) and (B, n) bool of patches with areas (n,)."""
    weighed = first.astype(np.float32) * sizes.astype(np.float32)
    shared = weighed @ second.T.astype(np.float32)
    areas = [side.astype(np.float32) @ sizes.astype(np.float32) for side in (first, second)]
    return shared / np.maximum(areas[0][:, None] + areas[1] - shared, 1e-6)
