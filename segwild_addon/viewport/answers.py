"""What clicks select: asked of the backend, and kept by the clicks that it belongs to.

Space answers at once. Where nothing stands apart there, the photos are asked, too, and what they say some seconds later
takes the place of what space said, as long as somebody wants that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
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
    def answerable(self) -> bool:
        """Whether there is anything to ask: something is clicked on."""
        return any(mark.positive for mark in self.marks)


@dataclass(frozen=True, eq=False)
class Answer:
    """What they select."""

    ids: np.ndarray  # (M,) int32, ascending
    size: int  # about how many solid splats that is
    sizes: tuple[int, ...] = ()  # from part to whole, which may be asked for; of photos: none of their own
    doubtful: bool = False  # photos may know better


_known: OrderedDict[Clicks, Answer] = OrderedDict()
_heard: dict[Clicks, Answer] = {}  # of photos
_refusals: dict[Clicks, SegWildError] = {}
# Questions under way, by a token of each: an answer to one that was forgotten meanwhile says nothing.
_asked: dict[Clicks, object] = {}  # at most one
_consulted: dict[Clicks, object | None] = {}  # None: the photos did not answer


def known(clicks: Clicks, *, photos: bool) -> Answer | None:
    """`photos`: what they say, where they were heard."""
    return (_heard.get(clicks) if photos else None) or _known.get(clicks)


def refusal(clicks: Clicks) -> SegWildError | None:
    """Why the clicks select nothing."""
    return _refusals.get(clicks)


def levels(clicks: Clicks, *, photos: bool) -> tuple[int, tuple[int, ...]]:
    """The place of the present size, about, among the sizes of what the clicks may mean, from part to whole, and these.

    None: they are unknown.
    """
    for each, answer in reversed(_known.items()):  # of the same clicks: another size has the same sizes
        if (each.scene, each.marks) == (clicks.scene, clicks.marks) and answer.sizes:
            present = known(clicks, photos=photos) or answer
            size = clicks.size or present.size
            return min(range(len(answer.sizes)), key=lambda place: abs(answer.sizes[place] - size)), answer.sizes
    return 0, ()


def consulting(clicks: Clicks) -> bool:
    """Whether the photos are being asked."""
    return _consulted.get(clicks) is not None and clicks not in _heard


def settle(link: Any, clicks: Clicks, then: Callable[[], None], *, photos: bool) -> None:
    """Ask what is not known of the clicks yet, one question at a time; `then` is called after each answer.

    `photos`: theirs, too.
    """
    answer = _known.get(clicks)
    if answer is None:
        if clicks not in _refusals and not _asked:
            _choose(link, clicks, then)
    elif answer.doubtful and photos and clicks not in _consulted and clicks not in _heard:
        _consult(link, clicks, then)


def prepare(link: Any, marks: Marks = ()) -> None:
    """Have the backend get ready, so that the first click, or the next one after these, does not wait."""
    link.ask(Prepare(marks=marks), lambda _answered: None)


def _choose(link: Any, clicks: Clicks, then: Callable[[], None]) -> None:
    token = _asked[clicks] = object()

    def answered(answer: Answered) -> None:
        if _asked.get(clicks) is not token:
            return
        del _asked[clicks]
        if answer.error is not None:
            _refusals.clear()
            _refusals[clicks] = answer.error
        else:
            _known[clicks] = answer.value
            while len(_known) > KEPT:
                old, _ = _known.popitem(last=False)
                _consulted.pop(old, None)
                _heard.pop(old, None)
            if not answer.value.doubtful:
                prepare(link, clicks.marks)
        then()  # which asks again if the clicks are others by now

    link.later(answered, _chosen, clicks)
    session.wake()


def _consult(link: Any, clicks: Clicks, then: Callable[[], None]) -> None:
    token = _consulted[clicks] = object()

    def answered(answer: Answered) -> None:
        if _consulted.get(clicks) is not token:
            return
        if answer.error is None:
            _heard[clicks] = answer.value
        elif answer.error.code == SUPERSEDED:
            # By newer clicks; undo may come back to these. Asked again at once, two programs would go on forever.
            del _consulted[clicks]
            session.redraw_views()
            return
        else:  # what space said stays, until a backend runs (again)
            _consulted[clicks] = None
        then()

    link.later(answered, _said_by_photos, clicks)
    session.wake()


def _chosen(backend: Backend, clicks: Clicks) -> Answer:
    """Runs in a thread."""
    answer = backend.ask(Choose(clicks.marks, clicks.size))
    return Answer(_ids(backend, answer), answer.size, answer.sizes, not clicks.size and not answer.apart)


def _said_by_photos(backend: Backend, clicks: Clicks) -> Answer:
    """Runs in a thread."""
    answer = backend.ask(Consult(clicks.marks))
    return Answer(_ids(backend, answer), answer.size)


def _ids(backend: Backend, answer: Chosen) -> np.ndarray:
    bits = np.unpackbits(backend.array(answer.rows), bitorder="little")
    return np.flatnonzero(bits).astype(np.int32) + 1


def forget_refusals() -> None:
    """A backend that runs (again) may know more."""
    _refusals.clear()
    for clicks in [clicks for clicks, token in _consulted.items() if token is None]:
        del _consulted[clicks]


def forget() -> None:
    """Answers of Gaussians that are others now, or of another file, and those that are still to come."""
    for each in (_known, _heard, _refusals, _asked, _consulted):
        each.clear()
