"""What clicks select: asked of the backend, and kept by the clicks that it belongs to.

Space answers at once. Where nothing stands apart there, the photos are asked, too, and what they say some seconds later
takes the place of what space said.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import session
from ..client import Answered
from ..client.backend import Backend
from ..protocol.errors import SegWildError
from ..protocol.questions import Choose, Consult, Prepare
from ..protocol.values import Chosen, Mark

SUPERSEDED = "superseded"
KEPT = 64  # answers: a Ctrl+Z shows the former selection at once

Marks = tuple[Mark, ...]


@dataclass(frozen=True)
class Clicks:
    """What is asked: the marks on a scene, and how large a thing they mean; 0: what stands out."""

    scene: str  # uuid
    marks: Marks
    size: int

    @property
    def ask(self) -> bool:
        """Whether there is anything to ask: something is clicked on."""
        return any(mark.positive for mark in self.marks)


@dataclass(frozen=True, eq=False)
class Answer:
    """What they select."""

    ids: np.ndarray  # (M,) int32, ascending
    sizes: tuple[int, ...]  # from part to whole, which may be asked for
    size: int  # the present one of them
    doubtful: bool  # photos may know better, and were not heard yet


_known: OrderedDict[Clicks, Answer] = OrderedDict()
_refusals: dict[Clicks, SegWildError] = {}
_asked: list[Clicks] = []  # at most one question is under way
_consulted: set[Clicks] = set()  # of which the photos are or were asked


def known(clicks: Clicks) -> Answer | None:
    return _known.get(clicks)


def refusal(clicks: Clicks) -> SegWildError | None:
    """Why the clicks select nothing."""
    return _refusals.get(clicks)


def levels(clicks: Clicks) -> tuple[int, tuple[int, ...]]:
    """The sizes of what the clicks may mean, from part to whole, and the place of the present one; none: unknown."""
    for each, answer in reversed(_known.items()):  # of the same clicks: another size has the same sizes
        if (each.scene, each.marks) == (clicks.scene, clicks.marks) and answer.sizes:
            size = clicks.size or answer.size
            return min(range(len(answer.sizes)), key=lambda place: abs(answer.sizes[place] - size)), answer.sizes
    return 0, ()


def consulting(clicks: Clicks) -> bool:
    """Whether the photos are being asked."""
    answer = _known.get(clicks)
    return answer is not None and answer.doubtful and clicks in _consulted


def settle(link: Any, clicks: Clicks, then: Callable[[], None], *, photos: bool) -> None:
    """Ask what is not known of the clicks yet, one question at a time; `then` is called after each answer.

    `photos`: theirs, too.
    """
    answer = _known.get(clicks)
    if answer is None and clicks not in _refusals and not _asked:
        _choose(link, clicks, then)
    elif answer is not None and answer.doubtful and photos and clicks not in _consulted:
        _consult(link, clicks, then)


def prepare(link: Any, marks: Marks = ()) -> None:
    """Have the backend get ready, so that the first click, or the next one after these, does not wait."""
    link.ask(Prepare(marks=marks), lambda _answered: None)


def _choose(link: Any, clicks: Clicks, then: Callable[[], None]) -> None:
    _asked.append(clicks)

    def answered(answer: Answered) -> None:
        if clicks in _asked:
            _asked.remove(clicks)
        if answer.error is not None:
            _refusals.clear()
            _refusals[clicks] = answer.error
        else:
            _known[clicks] = answer.value
            while len(_known) > KEPT:
                _consulted.discard(_known.popitem(last=False)[0])
            if not answer.value.doubtful:
                prepare(link, clicks.marks)
        then()  # which asks again if the clicks are others by now

    link.later(answered, _chosen, clicks)
    session.wake()


def _consult(link: Any, clicks: Clicks, then: Callable[[], None]) -> None:
    _consulted.add(clicks)

    def answered(answer: Answered) -> None:
        before = _known.get(clicks)
        if answer.error is None and before is not None:
            _known[clicks] = replace(before, ids=answer.value, doubtful=False)
        elif answer.error is not None and answer.error.code == SUPERSEDED:
            # By newer clicks. Undo may come back to these; asked again at once, two programs would go on forever.
            _consulted.discard(clicks)
            session.redraw_views()
            return
        elif before is not None:  # what space said stays
            _known[clicks] = replace(before, doubtful=False)
        then()

    link.later(answered, _heard, clicks)
    session.wake()


def _chosen(backend: Backend, clicks: Clicks) -> Answer:
    """Runs in a thread."""
    answer = backend.ask(Choose(clicks.marks, clicks.size))
    return Answer(_ids(backend, answer), answer.sizes, answer.size, not clicks.size and not answer.apart)


def _heard(backend: Backend, clicks: Clicks) -> np.ndarray:
    """Runs in a thread."""
    return _ids(backend, backend.ask(Consult(clicks.marks)))


def _ids(backend: Backend, answer: Chosen) -> np.ndarray:
    bits = np.unpackbits(backend.array(answer.rows), bitorder="little")
    return np.flatnonzero(bits).astype(np.int32) + 1


def forget_refusals() -> None:
    """A backend that runs (again) may know more."""
    _refusals.clear()


def forget() -> None:
    """Answers of Gaussians that are others now, or of another file."""
    _known.clear()
    _consulted.clear()
    _refusals.clear()
    _asked.clear()
