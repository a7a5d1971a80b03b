"""Everything that can go wrong, as one tree that both programs use.

    SegWildError           code, sentence, hint
    ├── InputError         the user's files or choices
    ├── SetupError         a missing library, driver or weight file
    ├── ResourceError      memory, disk, time
    └── ProtocolError      the two processes disagree

Raised low, handled once: at the command line, or at the edge of a job. Cancelling is a result and not
in this tree.
"""

from __future__ import annotations

from typing import Any


class SegWildError(Exception):
    """A failure told to a person.

    `code` is stable and searchable (`no-photos`), `sentence` says what is wrong with paths last, `hint`
    is the next thing to do.
    """

    def __init__(self, code: str, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.sentence} {self.hint}".strip()

    def __reduce__(self) -> tuple[type[SegWildError], tuple[str, str, str]]:
        return type(self), (self.code, self.sentence, self.hint)


class InputError(SegWildError):
    """The user's files or choices."""


class SetupError(SegWildError):
    """A missing library, driver or weight file."""


class ResourceError(SegWildError):
    """Memory, disk or time ran out."""


class ProtocolError(SegWildError):
    """The two processes disagree."""


_KINDS: tuple[type[SegWildError], ...] = (InputError, SetupError, ResourceError, ProtocolError)


def kind_name(error: SegWildError) -> str:
    """The class of the tree that an error belongs to, by name: what a refusal carries as its `kind`."""
    return next((kind for kind in _KINDS if isinstance(error, kind)), SegWildError).__name__


def kind_named(name: object) -> type[SegWildError]:
    """The class of that name; SegWildError for a name that is none of the tree."""
    return next((kind for kind in _KINDS if kind.__name__ == name), SegWildError)


def refusal(error: SegWildError) -> dict[str, Any]:
    """An error as the body of a refused request."""
    return {"kind": kind_name(error), "error": error.code, "sentence": error.sentence, "hint": error.hint}
