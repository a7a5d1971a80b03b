"""The life of a job, as one table.

queued ──> running ──> done
  │           ├──────> failed
  │           ├──────> queued      its worker or the service died; it goes on from its checkpoint
  └───────────┴──────> cancelled
"""

from __future__ import annotations

from segwild_addon.protocol.events import State

AFTER: dict[State, frozenset[State]] = {
    "queued": frozenset({"running", "cancelled"}),
    "running": frozenset({"done", "failed", "cancelled", "queued"}),
    "done": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
FINAL: frozenset[State] = frozenset(state for state, after in AFTER.items() if not after)


class WrongState(Exception):
    """A job cannot go from one state to the other: a mistake of ours, or two services on one table."""


def checked(before: State, after: State) -> State:
    """`after`. Raises WrongState if the table does not allow the step."""
    if after not in AFTER[before]:
        raise WrongState(f"a job that is {before} cannot become {after}")
    return after
