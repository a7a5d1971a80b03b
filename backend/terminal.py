"""Progress of long work as lines and bars for a person; results and errors of commands likewise."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from backend.progress import Warned
from segwild_addon.protocol.errors import SegWildError

ITEMS_SHOWN = 8
ROWS_SHOWN = 40
LINE_EVERY_SECS = 15.0  # where there is no terminal to draw bars on


class TerminalProgress:
    """Bars with remaining time on a terminal; a plain line now and then in a log. Everything on stderr."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.warnings: list[Warned] = []
        self._bars: Progress | None = None
        self._task: Any = None
        self._name, self._total, self._done = "", None, 0
        self._line_at = 0.0
        self._first: tuple[float, int] | None = None  # when how much was done: the first step also waits for a compiler

    def __enter__(self) -> TerminalProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def phase(self, name: str, total: int | None = None) -> None:
        self._close()
        self._name, self._total, self._done = name, total, 0
        self._line_at, self._first = time.monotonic(), None
        if self.console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description:<24}", markup=False),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=self.console,
                transient=False,
            )
            self._bars.start()
            self._task = self._bars.add_task(name, total=total, note="")
        else:
            self.console.print(f"{name} ...", highlight=False, markup=False)

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._done += steps
        if self._bars is not None:
            self._bars.update(self._task, advance=steps, note=note)
            return
        now = time.monotonic()
        began, first = self._first = self._first or (now, self._done)
        if self._total and now - self._line_at > LINE_EVERY_SECS and 0 < self._done < self._total:
            self._line_at = now
            words = f"  {self._done} of {self._total}"
            if self._done > first:
                words += f", {_minutes((now - began) / (self._done - first) * (self._total - self._done))} left"
            self.console.print(f"{words}  {note}".rstrip(), highlight=False, markup=False)

    def show(self, look: Callable[[], Mapping[str, Any]]) -> None:
        pass  # a terminal has no place for it

    def warn(self, code: str, sentence: str, items: Sequence[str] = ()) -> None:
        self.warnings.append(Warned(code, sentence, tuple(items)))
        shown = ", ".join(items[:ITEMS_SHOWN])
        if len(items) > ITEMS_SHOWN:
            shown += f" and {len(items) - ITEMS_SHOWN} more"
        words = f"Warning: {sentence}{f' ({shown})' if shown else ''}"
        self.console.print(words, style="yellow", highlight=False, markup=False)

    def _close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def print_error(error: SegWildError, console: Console) -> None:
    console.print(f"Error: {error.sentence}", style="bold red", highlight=False, soft_wrap=True, markup=False)
    if error.hint:
        console.print(error.hint, highlight=False, soft_wrap=True, markup=False)


def print_result(result: dict[str, Any], console: Console) -> None:
    """The facts of a finished command, one per line, short tables below; nested ones are left to --json.

    The `depth` of a table's row in a tree is shown by how far it is indented.
    """
    for name, value in result.items():
        if isinstance(value, float):
            value = f"{value:.4g}"
        if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
            value = ", ".join(str(item) for item in value) or "none"
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            console.print(f"{name.replace('_', ' ')}: {len(value)}", highlight=False, markup=False)
            for row in value[:ROWS_SHOWN]:
                values = [cell for key, cell in row.items() if key != "depth"]
                cells = [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in values]
                indent = "  " * (1 + row.get("depth", 0))
                console.print(indent + "  ".join(cells), highlight=False, soft_wrap=True, markup=False)
            continue
        if isinstance(value, dict):
            continue
        console.print(f"{name.replace('_', ' '):<28} {value}", highlight=False, soft_wrap=True, markup=False)
