"""In which state the backend is, as one value that a panel can show at any moment.

absent      no environment is known            Install…, Use existing Python…
installing  its environment is being made      Cancel
stopped     there is one, nobody started it    Start
starting    its process runs, or a tunnel is tried, and has not answered yet
running     it answers
lost        it died or went silent; it is started or tried again by itself
failed      only the person can help           Restart, Open log
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..protocol.errors import SegWildError

State = Literal["absent", "installing", "stopped", "starting", "running", "lost", "failed"]


@dataclass(frozen=True)
class Status:
    """A state with what there is to say about it."""

    state: State
    sentence: str = ""
    hint: str = ""
    code: str = ""  # of lost and failed: stable, like an error's
    retry_secs: float | None = None  # of lost: until the next attempt
    done: int = 0  # of installing: bytes, or steps
    total: int | None = None

    @classmethod
    def of(cls, state: State, error: SegWildError, retry_secs: float | None = None) -> Status:
        return cls(state, error.sentence, error.hint, error.code, retry_secs)


ABSENT = Status("absent", "No backend is installed.", "Install one, or choose the Python of an existing one.")
STOPPED = Status("stopped")
RUNNING = Status("running")
