"""Questions to a service: one frozen dataclass each, answered at once by a worker that holds the scene.

Each has its answer in `values`. Positions are pixels of the photo as taken, as in `requests`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .values import Cause, Chosen, Divided, Kept, Mark, Named, Proposed, Ready


@dataclass(frozen=True)
class Preview:
    """Which Gaussians would these clicks select? Nothing is kept."""

    view: str  # photo
    click: tuple[str, ...]  # as in Segment


@dataclass(frozen=True)
class Prepare:
    """Get ready to answer, so that the first click does not wait."""

    view: str = ""  # photo of the previews to come; empty: for Choose alone
    marks: tuple[Mark, ...] = ()  # that a Choose has answered: the next one adds to them


@dataclass(frozen=True)
class Choose:
    """Which Gaussians would these marks select? Nothing is kept."""

    marks: tuple[Mark, ...]
    size: int = 0  # of Chosen.sizes: less for a part, more for the whole; 0: what stands out


@dataclass(frozen=True)
class Consult:
    """Which Gaussians do the photos say that these marks mean? Nothing is kept. Worth some seconds where Chosen.apart
    is false; other questions go between, and a newer one takes its place."""

    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Junk:
    """Which Gaussians are likely junk: floaters, needles, what hangs before a camera, what no photo shows?"""

    strength: float = 0.5  # 0 finds the worst, 1 the most
    causes: tuple[Cause, ...] = ()  # needle, floater, near-camera, unseen; none: all
    within: str = ""  # the object to look in; empty: everywhere


@dataclass(frozen=True)
class Propose:
    """Which objects are there, as far as they stand apart by themselves? Nothing is kept."""


@dataclass(frozen=True)
class Grow:
    """Which Gaussians would these rows be with what touches them and looks alike? Nothing is kept."""

    rows: str  # base64 of bits as in Chosen
    steps: int = 1  # neighbours far, 1 to 100


@dataclass(frozen=True)
class Shrink:
    """Which of these rows are not at their rim? Nothing is kept."""

    rows: str  # base64 of bits as in Chosen
    steps: int = 1  # neighbours wide is the rim, 1 to 100


@dataclass(frozen=True)
class Part:
    """Which parts of these rows hang together by themselves? Nothing is kept."""

    rows: str  # base64 of bits as in Chosen
    least: int = 30  # Gaussians of a part; smaller ones belong to none


@dataclass(frozen=True)
class Keep:
    """Make an object from exactly these rows, or from what marks choose; one of that name gets the new rows."""

    name: str
    rows: str = ""  # base64 of bits as in Chosen; empty: what the marks choose
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Drop:
    """Delete an object. Its Gaussians stay."""

    name: str


@dataclass(frozen=True)
class Rename:
    """Give an object another name."""

    name: str
    to: str


@dataclass(frozen=True)
class Nest:
    """Make an object a part of another one."""

    name: str
    parent: str = ""  # the other; empty: the object is a part of none


@dataclass(frozen=True)
class Cut:
    """Divide at its edge what sticks out of an object; a cut it had is replaced, and it keeps its rows."""

    name: str
    mode: Literal["exact", "axis", "literal"] = "exact"


@dataclass(frozen=True)
class Revert:
    """Take the cut of an object back: it is whole again."""

    name: str


ANSWERS: dict[type, type] = {
    Preview: Chosen,
    Prepare: Ready,
    Choose: Chosen,
    Consult: Chosen,
    Junk: Chosen,
    Propose: Proposed,
    Grow: Chosen,
    Shrink: Chosen,
    Part: Proposed,
    Keep: Kept,
    Drop: Named,
    Rename: Named,
    Nest: Named,
    Cut: Divided,
    Revert: Named,
}
QUESTIONS = tuple(ANSWERS)
CHANGES_OBJECTS = (Keep, Drop, Rename, Nest, Cut, Revert)
