"""Long work as a generator of short steps, so that Blender stays alive between them."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any, Generic, TypeVar

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


class Aside(Generic[Result]):
    """Steps carried out in a thread of their own. They touch nothing of Blender's, and may be longer than others."""

    def __init__(self, steps: Steps[Result], name: str) -> None:
        self.part = 0.0  # that is done, 0..1
        self._steps = steps
        self._result: list[Result] = []
        self._error: BaseException | None = None
        self._unwanted = threading.Event()
        # A program that ends does not wait for it.
        self._thread = threading.Thread(target=self._run, name=f"segwild-{name}", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Result:
        """What the steps came to, or raises what they raised; waits for the end."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result[0]

    def cancel(self) -> None:
        """End after the present step, and wait for that."""
        self._unwanted.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._unwanted.is_set():
                self.part = next(self._steps)
            self._steps.close()
        except StopIteration as end:
            self._result.append(end.value)
        except BaseException as error:  # for `result` to raise
            self._error = error


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
