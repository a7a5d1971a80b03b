"""Prompts given and taken back one after another into a selection, with exact undo and redo.

The prompts of a draft mean one region together, so that a changed prompt changes the votes of many rows. An
edit keeps the states before and after it, with their votes and the rows chosen: nothing is solved again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from backend.scene import Workspace
from backend.segment import objects
from backend.segment.meant import Answer, Click, Meant
from backend.segment.objects import Object
from backend.segment.posterior import Votes
from backend.segment.prepared import Prepared, Selection
from backend.segment.seeds import Seeds
from segwild_addon.protocol.errors import InputError

HELD_BYTES = 256 << 20  # of edits; the oldest go first
_SEEDS_HELD = 1000  # prompts whose rows are remembered


Place = Callable[[Meant], tuple[float, float] | None]


@dataclass(frozen=True, eq=False)
class Prompted:
    """A click with the rows under it and the picture it was made on, which are looked up when they are needed."""

    key: Hashable  # equal keys are the same click
    positive: bool
    view: str  # photo, or empty
    seeds: Callable[[], Seeds]
    picture: Callable[[], Meant] | None = None  # None: there is none
    place: Place = lambda picture: None  # pixels x, y of any `Meant.camera`; None: that picture does not show it


def selected(
    prepared: Prepared,
    prompts: Sequence[Prompted],
    seeds_of: Callable[[Prompted], Seeds] = lambda prompt: prompt.seeds(),
    size: int = 0,  # about how many solid rows are meant; 0: what stands out
) -> Selection:
    """What prompts mean together. Raises InputError if there is no surface under any positive one."""
    sides: dict[bool, list[np.ndarray]] = {True: [], False: []}
    weights = []
    for prompt in prompts:
        weights.append(seeds_of(prompt).over(len(prepared.scene)))
        sides[prompt.positive].append(weights[-1])
    views = {prompt.view for prompt in prompts}
    view = views.pop() if len(views) == 1 else ""
    return prepared.clicked(
        sides[True], sides[False], size=size, view=view, drawn=lambda: _drawn(prepared, prompts, weights)
    )


def _drawn(
    prepared: Prepared, prompts: Sequence[Prompted], weights: Sequence[np.ndarray]
) -> list[tuple[Meant, Answer]]:
    """What the pictures say that were clicked on, the first one first, each of all prompts that it shows.

    A picture is asked for the sake of a prompt that none before it shows: the one in which somebody began has seen
    everything come and go. What was seen from elsewhere than a photo only corrects what stands apart in space. If a
    prompt remains that no answer respects, there are none.
    """
    first = next(number for number, prompt in enumerate(prompts) if prompt.positive)
    if not correctable(prepared, prompts[first], weights[first]):
        return []
    answered: set[int] = set()
    answers: list[tuple[Meant, Answer]] = []
    for number, prompt in enumerate(prompts):
        if number in answered or (found := _clicks_on(prompt, prompts, weights)) is None:
            continue
        meant, shown = found
        answer = meant.answer(list(shown.values()))
        if answer is not None and (prompt.view or answer.apart):
            answered |= shown.keys()
            answers.append((meant, answer))
    return answers if len(answered) == len(prompts) else []


def _clicks_on(
    prompt: Prompted, prompts: Sequence[Prompted], weights: Sequence[np.ndarray]
) -> tuple[Meant, dict[int, Click]] | None:
    """The picture that a prompt was made on, and the prompts it shows, by their number; None if not even this one."""
    if prompt.picture is None:
        return None
    meant = prompt.picture()
    if prompt.place(meant) is None:
        return None
    places = [each.place(meant) for each in prompts]
    return meant, {
        number: Click(*place, prompts[number].positive, weights[number])
        for number, place in enumerate(places)
        if place is not None
    }


def _of_part(prompts: Sequence[Prompted], weights: Sequence[np.ndarray]) -> bool:
    """Whether they, with weights each (N,), say on their pictures that a part of what stands apart is meant."""
    if all(prompt.positive for prompt in prompts):
        return False  # no picture needs to be drawn for that
    heard: set[int] = set()
    for number, prompt in enumerate(prompts):
        if number in heard or (found := _clicks_on(prompt, prompts, weights)) is None:
            continue
        meant, shown = found
        heard |= shown.keys()
        if meant.of_part(list(shown.values())):
            return True
    return False


def correctable(prepared: Prepared, first: Prompted, weights: np.ndarray) -> bool:
    """Whether pictures can say more than space: of clicks on photos always, of others if what the first one is on
    stands apart. `weights` (N,) are those of the rows under it."""
    return bool(first.view) or clearly_apart(prepared, weights)


def clearly_apart(prepared: Prepared, weights: np.ndarray) -> bool:
    """Whether what a click is on, by the weights (N,) of the rows under it, stands apart in space."""
    suggested = prepared.walks.suggested([weights])
    return suggested is not None and suggested.clear


@dataclass(frozen=True, eq=False)
class _State:
    prompts: tuple[Prompted, ...]
    evidence: tuple[Votes, ...]
    chosen: np.ndarray  # packed bits
    size: int = 0

    @property
    def keys(self) -> tuple[Hashable, ...]:
        return tuple(prompt.key for prompt in self.prompts)

    @property
    def wanted(self) -> tuple[tuple[Hashable, ...], int]:
        """What somebody asks for: equal ones are the same state."""
        return self.keys, self.size

    @property
    def size_bytes(self) -> int:
        return self.chosen.nbytes + sum(votes.rows.nbytes * 3 for votes in self.evidence)  # 12 bytes a row


class _Edit(NamedTuple):
    """From one state to the next."""

    before: _State
    after: _State


class Draft:
    """An object in the making. Deterministic: equal prompts in equal order give equal votes and rows."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self._count = len(prepared.scene)
        self._state = _State((), (), np.zeros(-(-self._count // 8), np.uint8))
        self._done: list[_Edit] = []
        self._undone: list[_Edit] = []
        self._seeds: dict[Hashable, Seeds] = {}
        self._told_apart: tuple[Hashable, bool] | None = None  # of the first prompt on an object

    @property
    def keys(self) -> tuple[Hashable, ...]:
        """Of the prompts, in their order."""
        return self._state.keys

    @property
    def prompts(self) -> tuple[Prompted, ...]:
        return self._state.prompts

    @property
    def size(self) -> int:
        """What was asked for: about so many solid rows; 0: what stands out."""
        return self._state.size

    @property
    def chosen(self) -> np.ndarray:
        """(N,) bool; none without prompts."""
        return np.unpackbits(self._state.chosen, count=self._count).astype(bool)

    @property
    def evidence(self) -> tuple[Votes, ...]:
        """What all prompts together say."""
        return self._state.evidence

    def add(self, prompt: Prompted) -> None:
        """Raises InputError, and changes nothing, if there is no surface under any positive prompt."""
        self._edit((*self._state.prompts, prompt), self.size)

    def remove(self, key: Hashable) -> None:
        """Take back one prompt out of any. The last positive one cannot go before the negative ones: InputError."""
        self._edit(tuple(prompt for prompt in self._state.prompts if prompt.key != key), self.size)

    def become(self, prompts: Sequence[Prompted], size: int = 0) -> None:
        """Have exactly these prompts, and mean about so many solid rows; 0: what stands out.

        Going back to those before, or on to those undone, is undo and redo.
        """
        wanted = tuple(prompt.key for prompt in prompts), size
        if wanted == self._state.wanted:
            return
        if self._done and wanted == self._done[-1].before.wanted:
            self.undo()
        elif self._undone and wanted == self._undone[-1].after.wanted:
            self.redo()
        else:
            self._edit(tuple(prompts), size)

    def levels(self) -> np.ndarray:
        """(L,) int64: the sizes one may ask for, ascending, from part to whole. None without prompts."""
        seeds = [self._seeds_of(prompt).over(self._count) for prompt in self._state.prompts if prompt.positive]
        suggested = self.prepared.walks.suggested(seeds)
        return np.zeros(0, np.int64) if suggested is None else suggested.levels

    @property
    def apart(self) -> bool:
        """Whether the first prompt on the object is on what stands apart in space, and all of that is meant, as far as
        the others tell; without prompts, too."""
        first = next((prompt for prompt in self._state.prompts if prompt.positive), None)
        if first is None:
            return True
        if self._told_apart is None or self._told_apart[0] != first.key:  # a walk, as long as that of a click
            weights = self._seeds_of(first).over(self._count)
            self._told_apart = first.key, clearly_apart(self.prepared, weights)
        if not self._told_apart[1]:
            return False
        prompts = self._state.prompts
        return not _of_part(prompts, [self._seeds_of(prompt).over(self._count) for prompt in prompts])

    def undo(self) -> bool:
        """Whether there was anything to undo."""
        if not self._done:
            return False
        edit = self._done.pop()
        self._state = edit.before
        self._undone.append(edit)
        return True

    def redo(self) -> bool:
        if not self._undone:
            return False
        edit = self._undone.pop()
        self._state = edit.after
        self._done.append(edit)
        return True

    def commit(self, workspace: Workspace, name: str) -> Object:
        """Keep what is chosen as an object, as `objects.save` does; the draft goes on."""
        selection = self.selection()
        return objects.save(
            workspace,
            name,
            selection.chosen,
            selection.probability,
            selection.evidence,
            splats=self.prepared.splats,
        )

    def selection(self) -> Selection:
        """What is chosen with its probabilities, which are worked out anew. Raises InputError without prompts."""
        if not self.evidence:
            raise InputError("empty-object", "Nothing was selected.", "Click on the object itself.")
        return self.prepared.decided(self.evidence)

    def _edit(self, prompts: tuple[Prompted, ...], size: int) -> None:
        after = self._solved(prompts, size)
        self._undone.clear()
        self._done.append(_Edit(self._state, after))
        self._state = after
        held = np.cumsum([done.after.size_bytes for done in reversed(self._done)])
        del self._done[: len(self._done) - max(1, int((held <= HELD_BYTES).sum()))]

    def _solved(self, prompts: tuple[Prompted, ...], size: int) -> _State:
        if not prompts:
            return _State((), (), np.zeros_like(self._state.chosen))
        selection = selected(self.prepared, prompts, self._seeds_of, size)
        return _State(prompts, selection.evidence, np.packbits(selection.chosen), size)

    def _seeds_of(self, prompt: Prompted) -> Seeds:
        if prompt.key not in self._seeds:
            while len(self._seeds) >= _SEEDS_HELD:
                del self._seeds[next(iter(self._seeds))]
            self._seeds[prompt.key] = prompt.seeds()
        return self._seeds[prompt.key]
