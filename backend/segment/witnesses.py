"""Marks into what several photos say about them: where nothing stands apart in space, one view is easily mistaken.

The photos that show the mark somebody began with are asked, those first that look at it as the person did. Each one's
picture answers by itself, of the marks it shows, and their masks vote together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import numpy as np

from backend.scene import Photo
from backend.segment.carry import carrying, direction
from backend.segment.draft import Prompted, selected
from backend.segment.meant import LONG_SIDE, Click, Meant
from backend.segment.posterior import Votes, click_votes, mask_votes
from backend.segment.prepared import Prepared, Selection
from segwild_addon.protocol.values import Mark

ASKED = 8  # more: one mistaken photo says less, more time
LOOKED_AT = 14  # photos that may turn out to show something else there
HELD = 16  # pictures
HELD_BYTES = 512 << 20  # of all of them together
ROW_BYTES = 100  # of a picture, for every Gaussian of the scene, about
_FURTHER = 0.7  # confidence of all but the one that looks most like the person
_FARTHER = 0.1  # of a cosine: what being e times as far away counts


class Witnesses:
    """The photos of a scene, and the pictures of those that were asked last, as far as there is room."""

    def __init__(self, prepared: Prepared, photos: Sequence[Photo]) -> None:
        """Photos without a camera show nothing."""
        self.prepared = prepared
        self.cameras = {photo.name: photo.camera for photo in photos if photo.camera is not None}
        self._held: OrderedDict[str, Meant] = OrderedDict()

    def consulted(self, marks: Sequence[Mark], prompts: Sequence[Prompted]) -> Iterator[Selection | None]:
        """What the marks mean, after None for each photo that was asked; `prompts` are those of the marks.

        A part is meant where they are on what stands apart: for all of that nobody needs to be asked.

        If no photo shows the first positive one and knows an answer, it is what space says. Deterministic. Raises
        InputError if there is no surface under any positive mark.
        """
        first = next(place for place, mark in enumerate(marks) if mark.positive)
        seeds = [prompt.seeds().over(len(self.prepared.scene)) for prompt in prompts]
        sides = [
            [weights for weights, prompt in zip(seeds, prompts, strict=True) if prompt.positive is side]
            for side in (True, False)
        ]
        on, beside = self.prepared.under(*sides)
        votes: list[Votes] = []
        asked: list[str] = []
        wanted = self._facing(marks[first])[:LOOKED_AT]
        for name in wanted:
            picture = self._picture(name, wanted)
            places = [prompt.place(picture) for prompt in prompts]
            clicks = [
                Click(*place, prompt.positive, weights)
                for place, prompt, weights in zip(places, prompts, seeds, strict=True)
                if place is not None
            ]
            answer = None if places[first] is None else picture.answer(clicks, part=True)
            if answer is not None:
                confidence = _FURTHER if asked else 1.0
                votes.append(
                    mask_votes(picture.seen, answer.mask, view=name, framed=picture.framed, confidence=confidence)
                )
                asked.append(name)
            yield None
            if len(asked) == ASKED:
                break
        if not votes:
            yield selected(self.prepared, prompts)
            return
        selection = self.prepared.decided([*votes, *click_votes(on, beside)])
        yield None
        others = [(name, camera) for name, camera in self.cameras.items() if name not in asked]
        yield from carrying(self.prepared, selection, others, besides=self.cameras[asked[0]])

    def _facing(self, mark: Mark) -> list[str]:
        """Photos that have the mark in their frame, those first that look at it as its eye does."""
        position, eye = np.array(mark.position), np.array(mark.eye)
        towards, distance = direction(eye, position), np.linalg.norm(position - eye)
        likeness = {}
        for name, camera in self.cameras.items():
            pixels, depths = camera.project(position[None])
            if depths[0] > 0 and (pixels[0] >= 0).all() and (pixels[0] < (camera.width, camera.height)).all():
                away = np.linalg.norm(position - camera.centre) / distance
                likeness[name] = float(direction(camera.centre, position) @ towards - _FARTHER * abs(np.log(away)))
        return sorted(likeness, key=lambda name: (-likeness[name], name))

    def _picture(self, name: str, wanted: Sequence[str]) -> Meant:
        """A picture; those that are wanted now, too, are not given up for it."""
        if name in self._held:
            self._held.move_to_end(name)
            return self._held[name]
        made = Meant(self.prepared.scene, self.prepared.walks, self.cameras[name].fitted(LONG_SIDE))
        room = int(np.clip(HELD_BYTES // (ROW_BYTES * max(len(self.prepared.scene), 1)), 1, HELD))
        others = [held for held in self._held if held not in wanted]  # the oldest first
        while len(self._held) >= room and others:
            del self._held[others.pop(0)]
        if len(self._held) < room:
            self._held[name] = made
        return made
