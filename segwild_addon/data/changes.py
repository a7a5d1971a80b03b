"""What changed in a datablock, told to whoever draws it; the data layer knows no viewport."""

from __future__ import annotations

from collections.abc import Callable

# Called with an object's uuid when its rows changed, or None when anything may have.
row_listeners: list[Callable[[str | None], None]] = []
# Called with an object's uuid when its look or grading changed, or None when those of any may have.
look_listeners: list[Callable[[str | None], None]] = []


def announce(uuid: str | None) -> None:
    """Rows of the object were changed."""
    for listener in tuple(row_listeners):
        listener(uuid)


def announce_look(uuid: str | None) -> None:
    """The look or grading of the object was changed; its rows were not."""
    for listener in tuple(look_listeners):
        listener(uuid)
