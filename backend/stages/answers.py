"""Questions into answers, at once: rows that clicks would choose, likely junk, rows grown or shrunk; objects changed.

The questions of one process share an open scene, so that the second click costs a fraction of a second.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from backend.progress import Progress, Quiet
from backend.scene import Gaussians, Photo
from backend.scene.arrays import handed_out
from backend.segment import cuts, objects
from backend.segment.draft import Draft, Prompted, correctable
from backend.segment.junk import checked_strength, suspected
from backend.segment.marks import prompts_of
from backend.segment.meant import Click
from backend.segment.prompts import parsed_clicks
from backend.segment.region import nearest
from backend.segment.selection import Selector
from backend.segment.shaping import MOST_STEPS, components, grown, shrunk
from backend.stages.cutting import divided
from backend.stages.opened import Opened
from backend.stages.proposing import proposed
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.questions import (
    Choose,
    Consult,
    Cut,
    Drop,
    Grow,
    Junk,
    Keep,
    Nest,
    Part,
    Prepare,
    Preview,
    Propose,
    Rename,
    Revert,
    Shrink,
)
from segwild_addon.protocol.values import ArrayRef, Chosen, Divided, Kept, Mark, Named, Proposed, Ready

ROWS_KEPT = 16  # files of the newest answers
CUTS_KEPT = 4
PROPOSALS_KEPT = 2
PARTS_MOST = 255  # that a byte tells apart
# Shares of a photo's sides: where there may be something, the likeliest first.
_PLACES = ((0.5, 0.5), (0.5, 0.7), (0.3, 0.5), (0.7, 0.5), (0.3, 0.7), (0.7, 0.7), (0.5, 0.3), (0.3, 0.3), (0.7, 0.3))


class Answers:
    """Answers for one workspace."""

    def __init__(self, root: Path, progress: Progress | None = None, between: Progress | None = None) -> None:
        """`progress` hears of the steps of loading, and `between` (None: the same) of those of long answers: there,
        questions that change no object may be answered. What they were asked about is held, and refused if it is
        another by the end."""
        progress = progress or Quiet()
        self.between = between or progress
        self.opened = Opened(root, progress)
        self._methods = {
            Preview: self.preview,
            Choose: self.choose,
            Junk: self.junk,
            Propose: self.propose,
            Grow: self.reshape,
            Shrink: self.reshape,
            Part: self.part,
            Keep: self.keep,
            Drop: self.drop,
            Rename: self.rename,
            Nest: self.nest,
            Cut: self.cut,
            Revert: self.revert,
        }

    def steps(self, question: Prepare | Consult) -> Iterator[Any]:
        """The answer to a question that takes long, after None for every step but the last."""
        return self.prepare(question) if isinstance(question, Prepare) else self.consult(question)

    def answer(self, question: Any) -> Any:
        """The answer to any question but those of `steps`. Raises InputError for one that makes no sense."""
        return self._methods[type(question)](question)

    def prepare(self, question: Prepare) -> Iterator[Ready | None]:
        """Load the scene and, for a photo, project it, a step at a time: None after each but the last. Of marks, draw
        what the newest one was made on.

        What was done stays if nobody goes on.
        """
        began = time.monotonic()
        if question.view:
            self.opened.workspace.photo(question.view)
        prepared = self.opened.prepared
        yield None
        _ = prepared.graph
        yield None
        _ = prepared.walks
        yield None
        if question.marks:
            prompts = prompts_of(self.opened.eyes, question.marks)
            first, newest = next(prompt for prompt in prompts if prompt.positive), prompts[-1]
            assert newest.picture is not None  # marks are made on one
            if correctable(prepared, first, first.seeds().over(len(prepared.scene))):
                newest.picture()
            yield None
        if question.view:
            selector = self.opened.selector(question.view)
            yield None
            _ = selector.meant
            yield None
            yield from _rehearsed(selector)
        for contested in (False, True):
            prepared.walks.solve(contested=contested)
            yield None
        if not question.view and not question.marks:
            with suppress(InputError):  # as on a photo; a click in space draws with code of its own
                prompts = prompts_of(self.opened.eyes, _anywhere(prepared.scene))
                Draft(prepared).become(prompts)
                yield None
                _looked_at(prompts[0], len(prepared.scene))
            yield None
        yield Ready(len(prepared.scene), _since(began))

    def preview(self, question: Preview) -> Chosen:
        began = time.monotonic()
        selector = self.opened.selector(question.view)
        clicks = parsed_clicks(question.click, selector.photo)
        draft = self.opened.draft
        draft.become(selector.prompts(clicks))
        return self._answered(draft.chosen, began)

    def choose(self, question: Choose) -> Chosen:
        began = time.monotonic()
        if question.size < 0:
            raise InputError("bad-option", f"The size is {question.size}.", "Give one of Chosen.sizes, or 0.")
        draft = self._marked(question.marks, question.size)
        chosen, sizes = draft.chosen, draft.levels()
        solid = max(1, int(chosen[self.opened.prepared.walks.rows].sum()))
        near = nearest(sizes, question.size or solid) if len(sizes) else 0
        answered = self._answered(chosen, began)
        return replace(answered, sizes=tuple(sizes.tolist()), size=near, apart=draft.apart)

    def consult(self, question: Consult) -> Iterator[Chosen | None]:
        """The draft stays what it is: it may be of newer marks by now.

        Raises InputError, too, if the scene was trained anew meanwhile.
        """
        began = time.monotonic()
        prepared, witnesses = self.opened.prepared, self.opened.witnesses
        for selection in witnesses.consulted(question.marks, prompts_of(self.opened.eyes, question.marks)):
            if selection is None:
                yield None
                continue
            self.opened.refuse_changed(prepared)
            solid = int(selection.chosen[prepared.walks.rows].sum())
            yield replace(self._answered(selection.chosen, began), size=solid)

    def junk(self, question: Junk) -> Chosen:
        """The first one of a scene waits for its measures; every other strength is a matter of milliseconds."""
        began = time.monotonic()
        checked_strength(question.strength)
        item = objects.find(self.opened.workspace, question.within) if question.within else None
        prepared = self.opened.prepared
        self.between.phase("Finding junk")
        measures = prepared.suspicion(self.between)
        self.opened.refuse_changed(prepared)
        chosen = np.zeros(len(prepared.scene), bool)
        chosen[suspected(prepared.scene, measures, strength=question.strength, causes=question.causes).rows] = True
        if item is not None:
            chosen &= np.isin(np.arange(len(chosen)), item.rows)
        return self._answered(chosen, began)

    def propose(self, question: Propose) -> Proposed:
        began = time.monotonic()
        prepared = self.opened.prepared
        numbers = proposed(self.opened.workspace, prepared, self.between)
        self.opened.refuse_changed(prepared)
        ref = handed_out(self.opened.root, "proposals", numbers, kept=PROPOSALS_KEPT)
        return Proposed(int(numbers.max(initial=0)), len(numbers), ref, _since(began))

    def reshape(self, question: Grow | Shrink) -> Chosen:
        began = time.monotonic()
        if not 1 <= question.steps <= MOST_STEPS:
            raise InputError("bad-option", f"The steps are {question.steps}.", f"Give a number from 1 to {MOST_STEPS}.")
        prepared = self.opened.prepared
        change = grown if isinstance(question, Grow) else shrunk
        chosen = rows_of(question.rows, len(prepared.scene))
        return self._answered(change(chosen, prepared.graph, question.steps), began)

    def part(self, question: Part) -> Proposed:
        """Of more than 255 parts, the largest."""
        began = time.monotonic()
        if question.least < 1:
            raise InputError("bad-option", f"The least part is {question.least}.", "Give a number from 1 on.")
        prepared = self.opened.prepared
        chosen = rows_of(question.rows, len(prepared.scene))
        parts = components(chosen, prepared.scene.means, prepared.graph)
        large = [part for part in parts if len(part) >= question.least][:PARTS_MOST]
        numbers = np.zeros(len(chosen), np.uint8)
        for number, part in enumerate(large, start=1):
            numbers[part] = number
        ref = handed_out(self.opened.root, "parts", numbers, kept=PROPOSALS_KEPT)
        return Proposed(len(large), len(numbers), ref, round(time.monotonic() - began, 3))

    def keep(self, question: Keep) -> Kept:
        began = time.monotonic()
        objects.checked_name(question.name)
        workspace = self.opened.workspace
        objects.names(workspace)  # a damaged or stale list is found before the work, not after
        if question.rows:
            prepared = self.opened.prepared
            chosen = rows_of(question.rows, len(prepared.scene))
            item = objects.save(workspace, question.name, chosen, chosen, splats=prepared.splats)
        else:
            draft = self._marked(question.marks)
            item, chosen = draft.commit(workspace, question.name), draft.chosen
        return Kept(item.id, item.name, len(item.rows), self._rows(chosen), _since(began))

    def drop(self, question: Drop) -> Named:
        began = time.monotonic()
        objects.delete(self.opened.workspace, question.name)
        return self._named(began)

    def rename(self, question: Rename) -> Named:
        began = time.monotonic()
        objects.rename(self.opened.workspace, question.name, question.to)
        return self._named(began)

    def nest(self, question: Nest) -> Named:
        began = time.monotonic()
        objects.nest(self.opened.workspace, question.name, question.parent)
        return self._named(began)

    def cut(self, question: Cut) -> Divided:
        began = time.monotonic()
        workspace = self.opened.workspace
        objects.find(workspace, question.name)  # an unknown name is told at once
        prepared = self.opened.prepared
        same = partial(self.opened.refuse_changed, prepared)
        item, made, _ = divided(workspace, question.name, question.mode, self.between, prepared, same)
        arrays = {
            "parents": made.parents.astype(np.int32),
            "sides": made.sides,
            "anchors": prepared.scene.means[made.parents],
            "means": made.parts.means,
            "scales": made.parts.scales,
            "quats": made.parts.quats / np.linalg.norm(made.parts.quats, axis=1, keepdims=True),
            "opacities": made.parts.opacities,
            "given": made.given.astype(np.int32),
            "dropped": made.dropped.astype(np.int32),
        }
        refs = {
            name: handed_out(self.opened.root, f"cut-{name}", array, kept=CUTS_KEPT) for name, array in arrays.items()
        }
        return Divided(item.id, item.name, **refs, time_secs=_since(began))

    def revert(self, question: Revert) -> Named:
        began = time.monotonic()
        cuts.revert(self.opened.workspace, objects.find(self.opened.workspace, question.name))
        return self._named(began)

    def _marked(self, marks: tuple[Mark, ...], size: int = 0) -> Draft:
        draft = self.opened.draft
        draft.become(prompts_of(self.opened.eyes, marks), size)
        return draft

    def _answered(self, chosen: np.ndarray, began: float) -> Chosen:
        rows = self._rows(chosen)
        return Chosen(int(chosen.sum()), len(chosen), rows, _since(began))

    def _rows(self, chosen: np.ndarray) -> ArrayRef:
        return handed_out(self.opened.root, "rows", np.packbits(chosen, bitorder="little"), kept=ROWS_KEPT)

    def _named(self, began: float) -> Named:
        known = objects.names(self.opened.workspace)
        parents = objects.parents(self.opened.workspace)
        return Named(tuple(known), tuple(known.values()), _since(began), tuple(parents.get(id_, 0) for id_ in known))


def _since(began: float) -> float:
    """Seconds since a moment of the monotonic clock."""
    return round(time.monotonic() - began, 3)


def rows_of(text: str, count: int) -> np.ndarray:
    """(count,) bool from base64 of packed bits, lowest first. Raises InputError if they are not so many."""
    try:
        packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except (binascii.Error, ValueError) as error:
        raise InputError("bad-rows", "The rows are not base64.", "Send the bits of Chosen.rows.") from error
    bits = np.unpackbits(packed, bitorder="little")
    if len(packed) != -(-count // 8) or bits[count:].any():
        raise InputError(
            "bad-rows", f"The rows are not those of this scene, which has {count:,}.", "Open the scene again."
        )
    return bits[:count].astype(bool)


def _rehearsed(selector: Selector) -> Iterator[None]:
    """Click where there is something, and then beside it: somebody's first clicks would pay for what is compiled
    and kept. What stands apart needs no picture for one click, but for two; where the picture knows no answer, the next
    place is tried, so that all of the code is used."""
    for place, other in itertools.pairwise(_PLACES):
        words = [_at(selector.photo, place, "+"), _at(selector.photo, other, "-")]
        try:
            selector.select(parsed_clicks(words[:1], selector.photo))
        except InputError:  # the sky
            continue
        yield None
        with suppress(InputError):
            found = selector.select(parsed_clicks(words, selector.photo))
            if any(votes.kind == "mask" for votes in found.evidence):
                return
        yield None


def _looked_at(prompt: Prompted, count: int) -> None:
    """Ask the picture that a mark was made on, whether or not it would be asked: for a scene of so many rows."""
    assert prompt.picture is not None  # marks are made on one
    picture = prompt.picture()
    middle = Click(picture.camera.width / 2, picture.camera.height / 2, True, prompt.seeds().over(count))
    picture.answer([middle, Click(1.0, 1.0, False, np.zeros(count))])


def _at(photo: Photo, place: tuple[float, float], sign: str) -> str:
    return f"{photo.width * place[0]:.0f},{photo.height * place[1]:.0f},{sign}"


def _anywhere(scene: Gaussians) -> tuple[Mark, Mark]:
    """A mark on the row nearest to the middle, seen from about as far as the scene is large, and one beside it."""
    middle = np.median(scene.means, axis=0)
    apart = np.linalg.norm(scene.means - middle, axis=1)
    near = np.argsort(apart)
    distance = max(float(np.median(apart)), 1e-6)
    first, other = (scene.means[row].astype(float) for row in (near[0], near[len(near) // 2]))
    marks = [
        Mark(tuple(at), tuple(at - (0.0, distance, 0.0)), distance / 1000, positive)
        for at, positive in ((first, True), (other, False))
    ]
    return marks[0], marks[1]
