"""A prompt on one photo into rows of the scene.

A mask votes for the rows it shows. Clicks and boxes first find the region they mean; its rows then vote. Where
nothing stands apart in space, clicks are answered by the photo's neutral picture, as a mask of it.
Either way votes become a posterior, rows without votes follow their neighbours, and a threshold decides.
"""

from __future__ import annotations

import weakref
from functools import cached_property, partial

import numpy as np

from backend.render import Seen
from backend.scene import Camera, Photo, Workspace
from backend.segment.carry import Carrying, carried
from backend.segment.draft import Prompted, selected
from backend.segment.framed import Framed
from backend.segment.meant import LONG_SIDE as PICTURE_SIDE
from backend.segment.meant import Meant
from backend.segment.posterior import Votes, mask_votes
from backend.segment.prepared import Prepared, Selection
from backend.segment.prompts import Box, Clicks, Mask, Prompt, in_picture_pixels, shown_box, shown_clicks
from backend.segment.seeds import Seeds, contributors, seeds_at
from backend.train.views import in_picture
from segwild_addon.protocol.errors import InputError

LONG_SIDE = 640  # pixels of the views that vote
_BOX_POINTS = 5  # per side: where walks start in a box
_BOX_TAIL = 0.02  # of a region's visible weight may lie beyond each side of its extent


class _Reached:
    """A selector for those who may outlive it: the one that was there, or one like it, made when it has gone.

    Views are tens of megabytes, and a draft remembers prompts on any number of photos.
    """

    def __init__(self, selector: Selector) -> None:
        self._known = weakref.ref(selector)
        self._pose = selector.camera.cam_from_world
        self._made = partial(
            Selector, selector.prepared, selector.workspace, selector.photo, carrying=selector.carrying
        )

    def seeds(self, clicks: np.ndarray) -> Seeds:
        return self._selector()._seeds_of(clicks)

    def meant(self) -> Meant:
        return self._selector().meant

    def place(self, here: tuple[float, float], picture: Meant) -> tuple[float, float] | None:
        """A click on this photo is on its own picture alone."""
        return here if np.array_equal(picture.camera.cam_from_world, self._pose) else None

    def _selector(self) -> Selector:
        selector = self._known()
        if selector is None:
            selector = self._made()
            self._known = weakref.ref(selector)
        return selector


class Selector:
    """One photo's view of a scene, prepared for prompts on it."""

    def __init__(
        self, prepared: Prepared, workspace: Workspace, photo: Photo, *, carrying: Carrying | None = None
    ) -> None:
        assert photo.camera is not None  # callers pass used photos
        self.prepared, self.workspace, self.photo = prepared, workspace, photo
        self.scene = prepared.scene
        self.carrying = carrying or Carrying()
        self.camera: Camera = photo.camera.fitted(LONG_SIDE)
        self.seen = Seen(self.scene, self.camera)
        self._depths = self.camera.project(self.scene.means.astype(np.float64))[1]

    @cached_property
    def _contributors(self) -> tuple[np.ndarray, np.ndarray]:
        return contributors(self.seen)

    @cached_property
    def _framed(self) -> Framed:
        return Framed(self.scene.means, self.camera)

    @cached_property
    def meant(self) -> Meant:
        """The view's picture, ready for clicks: made when the first one needs it."""
        return Meant(self.scene, self.prepared.walks, self.camera)

    def select(self, prompt: Prompt) -> Selection:
        """What the prompt means from where it was given.

        Raises InputError if nothing of the scene is where the prompt points.
        """
        if isinstance(prompt, Mask):
            return self.prepared.masked(self.votes(prompt))
        if isinstance(prompt, Clicks):
            return self._clicked(prompt)
        return self._boxed(prompt)

    def votes(self, mask: Mask) -> Votes:
        """What the view says of its rows by the mask alone. Raises InputError if the view shows nothing of the mask."""
        pixels = in_picture(mask.pixels, self.workspace, self.photo, self.camera)
        if not pixels.any():
            raise InputError(
                "empty-mask", "The mask lies outside the part of the photo that the scene uses.", "Mask the object."
            )
        return mask_votes(self.seen, pixels, view=self.photo.name, framed=self._framed)

    def prompts(self, clicks: Clicks) -> list[Prompted]:
        """The clicks as parts of a draft, which photos and marks may share. They do not keep this view.

        Raises InputError for a click where the photo's picture shows nothing.
        """
        name = self.photo.name
        points, positive = clicks.points.tolist(), clicks.positive.tolist()
        looked_at = self.camera.fitted(PICTURE_SIDE)
        scale = (looked_at.width / self.camera.width, looked_at.height / self.camera.height)
        places = shown_clicks(self.on_picture(clicks.points), self.camera) * scale
        reached = _Reached(self)
        return [
            Prompted(
                (name, *point, sign),
                sign,
                name,
                partial(reached.seeds, np.array([point])),
                reached.meant,
                partial(reached.place, place),
            )
            for point, sign, place in zip(points, positive, map(tuple, places.tolist()), strict=True)
        ]

    def _clicked(self, clicks: Clicks) -> Selection:
        return selected(self.prepared, self.prompts(clicks))

    def _boxed(self, box: Box) -> Selection:
        """Of the regions that start inside the box, the one whose visible rows fill it most exactly."""
        shares = (np.arange(_BOX_POINTS) + 1) / (_BOX_POINTS + 1)
        x, y = np.meshgrid(box.left + shares * (box.right - box.left), box.top + shares * (box.bottom - box.top))
        corners = np.array([[box.left, box.top], [box.right, box.bottom]])
        wanted = shown_box(self.on_picture(corners), self.camera).ravel()
        mass = self.seen.mass()
        pixels, _ = self.camera.project(self.scene.means.astype(np.float64))
        best, best_fit = None, 0.0
        starts = np.stack([x.ravel(), y.ravel()], -1)
        places = self.on_picture(starts)
        shown = ((places >= 0) & (places <= (self.camera.width, self.camera.height))).all(1)
        for start in starts[shown]:
            found = self._seeds_of(start[None])
            seeds = found.over(len(self.scene))
            if best is not None and seeds[best.rows].sum() > 0.5 * seeds.sum():
                continue  # this part is known
            region = self.prepared.walks.region([seeds])
            if region is None:
                continue
            fit = _overlap(_extent(pixels[region.rows], mass[region.rows]), wanted)
            if fit > best_fit:
                best, best_fit = region, fit
        if best is None:
            raise InputError(
                "nothing-there", "No part of the scene fits into the box.", "Draw the box around a whole object."
            )
        return self.prepared.decided([self.prepared.region_votes(best.rows, view=self.photo.name)])

    def on_picture(self, points: np.ndarray) -> np.ndarray:
        """Photo pixels (K, 2) to pixels of the view."""
        assert self.photo.camera is not None
        ratio = (self.camera.width / self.photo.camera.width, self.camera.height / self.photo.camera.height)
        return in_picture_pixels(points, self.workspace, self.photo) * ratio

    def _seeds_of(self, clicks: np.ndarray) -> Seeds:
        """Rows under clicks (K, 2) on the photo as taken."""
        return seeds_at(self._contributors, self._depths, self.on_picture(clicks), self.prepared.graph.spacing)

    def carried(self, selection: Selection) -> Selection:
        """As `carry.carried`, in the poses of photos without a mask."""
        drawn = {self.photo.name, *(votes.view for votes in selection.evidence if votes.kind == "mask")}
        others = [
            (photo.name, photo.camera)
            for photo in self.workspace.used_photos()
            if photo.camera is not None and photo.name not in drawn
        ]
        return carried(self.prepared, selection, others, self.carrying, besides=self.camera)


def _extent(pixels: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """(4,) left, top, right, bottom of rows at pixels (M, 2) with visible weights (M,), without outliers."""
    fine = (mass > 0) & np.isfinite(pixels).all(1)
    if not fine.any():
        return np.zeros(4)
    sides = []
    for axis in (0, 1):
        order = np.argsort(pixels[fine, axis])
        running = np.cumsum(mass[fine][order])
        places = np.searchsorted(running, np.array([_BOX_TAIL, 1 - _BOX_TAIL]) * running[-1])
        sides.append(pixels[fine, axis][order][np.minimum(places, len(order) - 1)])
    return np.array([sides[0][0], sides[1][0], sides[0][1], sides[1][1]])


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two boxes (4,) left, top, right, bottom."""
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = max(width, 0) * max(height, 0)
    both = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared
    return float(shared / both) if both > 0 else 0.0
