"""A scene into what every selection of it needs, made once: neighbours, ground, walks; and votes into rows.

Nothing here depends on a viewpoint: photos and marks share one of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from backend.features import Lifted, splat_hash
from backend.progress import Progress, Quiet
from backend.scene import Camera, Gaussians, Workspace
from backend.segment.graph import SceneGraph, scene_graph
from backend.segment.ground import find_ground
from backend.segment.junk import measured
from backend.segment.meant import Answer, Meant
from backend.segment.posterior import (
    UNIT,
    Votes,
    best_threshold,
    click_votes,
    mask_votes,
    masses,
    pointed_at,
    posterior,
)
from backend.segment.refine import Followers, Refinement, banded, enclosed, walked, without_strays
from backend.segment.region import STANDS_APART, Walks
from segwild_addon.protocol.errors import InputError

_LAB = 3  # the first channels of the colour encoder: Lab of the fine blur
_COLOR_DEVIATION = 30.0  # Lab units
_BEHIND_PICTURE = 0.5  # votes of a region in space beside those of a picture that corrects it ...
_BEHIND_THRESHOLD = 0.3  # ... which on their own make a row likelier than this: no picture's rim takes the back away
_FITS = 0.88  # of how well any rows fit a mask: a region that does so is what the mask shows


@dataclass(frozen=True, eq=False)
class Selection:
    """What a prompt chose, and why."""

    chosen: np.ndarray  # (N,) bool
    probability: np.ndarray  # (N,) float64
    threshold: float
    evidence: tuple[Votes, ...]

    @property
    def of_picture(self) -> bool:
        """Whether masks of pictures alone say what it is: where none was drawn, it is guessed."""
        kinds = {votes.kind for votes in self.evidence}
        return "mask" in kinds and "region" not in kinds


class Prepared:
    """A scene, ready for prompts from anywhere. Its parts are made when they are first needed."""

    def __init__(
        self,
        scene: Gaussians,
        cameras: Sequence[Camera],  # of the photos: people stand on the ground; none: no ground
        *,
        lifted: Lifted | None = None,  # the colour features; None: the rows' own colours, which are noisier
        refinement: Refinement | None = None,
        splats: str = "",  # the scene's `splat_hash`
    ) -> None:
        self.scene, self.splats = scene, splats
        self.refinement = refinement or Refinement()
        self._cameras, self._lifted = cameras, lifted
        self._suspicion: np.ndarray | None = None

    @classmethod
    def of(cls, workspace: Workspace, lifted: Lifted | None = None) -> Prepared:
        """The scene of a workspace; without photos too."""
        cameras: list[Camera] = []
        if (workspace.root / "photos.json").exists():
            cameras = [photo.camera for photo in workspace.used_photos() if photo.camera is not None]
        splats = splat_hash(workspace)  # before it is read: what is kept for another is refused, not mistaken
        return cls(workspace.gaussians(), cameras, lifted=lifted, splats=splats)

    @cached_property
    def graph(self) -> SceneGraph:
        return scene_graph(self.scene)

    def suspicion(self, progress: Progress | None = None) -> np.ndarray:
        """(N, 4) float64: how much each row looks like junk, as `measured`. Seconds at the first call."""
        if self._suspicion is None:
            progress, graph = progress or Quiet(), self.graph
            progress.advance()
            self._suspicion = measured(self.scene, graph, self._cameras, progress)
        return self._suspicion

    @cached_property
    def walks(self) -> Walks:
        lifted = self._lifted
        looks = self.graph.colors / _COLOR_DEVIATION if lifted is None else lifted.features[:, :_LAB]
        return Walks(self.scene, np.asarray(looks, np.float32), find_ground(self.scene, self._cameras))

    @cached_property
    def followers(self) -> Followers:
        return Followers(self.scene, self.graph, self.walks.rows, self.refinement)

    def clicked(
        self,
        positive: Sequence[np.ndarray],
        negative: Sequence[np.ndarray] = (),
        *,
        size: int = 0,
        view: str = "",
        drawn: Callable[[], Sequence[tuple[Meant, Answer]]] = tuple,
    ) -> Selection:
        """The region that clicks mean, each (N,) float64 weights of the rows under it.

        One click on what stands apart in space means that; for everything else the pictures are asked that the clicks
        were made on: `drawn` gives what they mean there. Where no picture knows, space answers, and so it does where
        a `size` is given: a number of solid rows, as `Walks.region` takes it. Raises InputError if there is no solid
        row under any positive one.
        """
        on, beside = self.under(positive, negative)
        hit = [np.where(beside > on, 0, seeds) for seeds in positive]
        seeds = click_votes(on, beside, view=view)
        region = None
        if size or (len(positive) == 1 and not len(negative)):
            region = self.walks.region(hit, negative, size=size)
        if not size and (region is None or region.separation >= STANDS_APART):
            answers = drawn()
            votes = [mask_votes(meant.seen, answer.mask, view=view, framed=meant.framed) for meant, answer in answers]
            regions = [answer.region for _, answer in answers if answer.region is not None]
            if regions:
                rows = self.walks.rows[np.any(regions, 0)]
                votes.append(self.region_votes(rows, view=view, confidence=_BEHIND_PICTURE))
            if votes:
                return self.decided([*votes, *seeds])
        region = region or self.walks.region(hit, negative)
        assert region is not None  # a solid row was hit
        return self.decided([self.region_votes(region.rows, view=view), *seeds])

    def masked(self, votes: Votes) -> Selection:
        """What a mask means that votes: its rows, and those behind them where it shows a region in space."""
        behind = self._behind(votes)
        return self.decided([votes] if behind is None else [votes, behind])

    def _behind(self, votes: Votes) -> Votes | None:
        """For the region that walks from a mask's rows suggest, of those that fit it nearly as well as any rows do.

        If there is none the mask says nothing of what is behind. Of several it is not the one that fits best: of a
        thing that is half hidden that would be a half.
        """
        inside, outside, total = masses(len(self.scene), [votes])
        suggested = self.walks.suggested([np.where(inside > outside, inside, 0)])
        if suggested is None:
            return None
        order = self.walks.rows[np.argsort(suggested.rank)]
        # The soft IoU of every prefix, as in `best_threshold`.
        fits = np.cumsum(inside[order]) / (np.cumsum(outside[order]) + total)
        _, best = best_threshold(posterior(len(self.scene), [votes]), [votes])
        fitting = fits[suggested.counts - 1] >= _FITS * best
        if best <= 0 or not fitting.any():
            return None
        count = suggested.counts[np.where(fitting, suggested.scores, np.inf).argmin()]
        return self.region_votes(order[:count], view=votes.view, confidence=_BEHIND_PICTURE)

    def under(self, positive: Sequence[np.ndarray], negative: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """(N,) and (N,) float64: the weights of the rows under clicks on the object, and of those beside it.

        Raises InputError if there is no solid row under any positive one.
        """
        on, beside = (np.sum(side, 0) if len(side) else np.zeros(len(self.scene)) for side in (positive, negative))
        solid = self.walks.rows
        if not any(np.where(beside > on, 0, seeds)[solid].sum() > 0 for seeds in positive):
            raise InputError(
                "nothing-there", "There is no surface where was clicked.", "Click on a part that the render shows."
            )
        return on, beside

    def region_votes(self, region: np.ndarray, *, view: str = "", confidence: float = 1.0) -> Votes:
        """One vote per solid row, for or against a region of row ids (M,).

        Translucent rows have no place of their own: they follow their neighbours.
        """
        rows = self.walks.rows
        chosen = np.zeros(len(self.scene), bool)
        chosen[region] = True
        full = round(UNIT * confidence)
        inside = np.where(chosen[rows], full, 0).astype(np.uint16)
        outside = (full - inside).astype(np.uint16)
        return Votes("region", view, rows.astype(np.uint32), inside, outside, np.zeros(len(rows), np.float32))

    def decided(self, evidence: Sequence[Votes]) -> Selection:
        """All evidence into rows: unvoted ones follow walks and neighbours, the edge follows the scene."""
        counts = posterior(len(self.scene), evidence)
        threshold, _ = best_threshold(counts, evidence)
        if {votes.kind for votes in evidence} >= {"mask", "region"}:
            threshold = min(threshold, _BEHIND_THRESHOLD)
        probability, known = walked(counts, self.walks)
        probability = enclosed(self.followers.filled(probability, known), counts, evidence)
        chosen = banded(probability, threshold, self.graph, self.refinement)
        chosen = without_strays(chosen, self.scene, pointed_at(len(chosen), evidence))
        return Selection(chosen, probability, threshold, tuple(evidence))
