"""Long work as a generator of short steps, so that Blender stays alive between them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

Result = TypeVar("Result")
# Yields the part that is done, 0..1, at least every 50 ms of work; returns the result.
Steps = Generator[float, None, Result]


def finished(steps: Generator[Any, None, Result]) -> Result:
    """All steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def within(steps: Generator[float, None, Result], start: float, length: float) -> Steps[Result]:
    """The same steps as a part of longer work: their 0..1 becomes start .. start + length."""
    try:
        while True:
            try:
                part = next(steps)
            except StopIteration as end:
                return end.value
            yield start + length * part
    finally:
        steps.close()
