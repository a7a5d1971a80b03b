"""What long work says while it runs: phases, steps, warnings, and whether to stop.

Stages and the algorithms below them call a `Progress` and never print. The command line shows it on a
terminal, tests record it, a job worker sends it as events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class Cancelled(Exception):
    """Someone asked the work to stop. A result, not a failure: what was saved before stays."""


@dataclass(frozen=True)
class Warned:
    """A partial failure: the work went on without something."""

    code: str
    sentence: str
    items: tuple[str, ...] = ()  # names of the photos, rows or files concerned


class Progress(Protocol):
    """Receives the course of one piece of work. Every call is cheap enough for an inner loop."""

    def phase(self, name: str, total: int | None = None) -> None:
        """Start a phase of `total` steps (None: unknown), ending the one before."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """`steps` more of the phase are done; `note` is a short figure such as a loss.

        Raises Cancelled if the work should stop.
        """

    def warn(self, code: str, sentence: str, items: Sequence[str] = ()) -> None:
        """Record a partial failure for the person to read."""

    def show(self, look: Callable[[], Mapping[str, Any]]) -> None:
        """The unfinished result can be looked at; `look` makes arrays of it, if anyone wants to now."""


@dataclass
class Quiet:
    """A `Progress` that only remembers its warnings."""

    warnings: list[Warned] = field(default_factory=list)

    def phase(self, name: str, total: int | None = None) -> None:
        pass

    def advance(self, steps: int = 1, note: str = "") -> None:
        pass

    def warn(self, code: str, sentence: str, items: Sequence[str] = ()) -> None:
        self.warnings.append(Warned(code, sentence, tuple(items)))

    def show(self, look: Callable[[], Mapping[str, Any]]) -> None:
        pass
