"""What a terminal shows is what was said, letter by letter."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from backend import terminal
from backend.terminal import TerminalProgress, print_error, print_result
from segwild_addon.protocol.errors import InputError

NAME = "gate [copy] [bold].jpg"


@pytest.mark.parametrize("drawn", [True, False], ids=["bars", "lines"])
def test_names_in_brackets_are_shown(drawn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "LINE_EVERY_SECS", -1.0)
    out = io.StringIO()
    console = Console(file=out, width=200, force_terminal=drawn, color_system=None)
    with TerminalProgress(console) as progress:
        progress.phase(f"Reading {NAME}", 3)
        progress.advance(1, f"note {NAME}")
        progress.warn("photos-left-out", f"Left out {NAME}.", [f"item {NAME}"])
    print_error(InputError("bad", f"Bad {NAME}.", f"Hint {NAME}"), console)
    print_result({"file": f"result {NAME}", "objects": [{"name": f"row {NAME}"}]}, console)
    shown = out.getvalue()
    for word in ("Reading", "note", "Left out", "item", "Bad", "Hint", "result", "row"):
        assert f"{word} {NAME}" in shown, word


def test_a_tree_is_indented() -> None:
    out = io.StringIO()
    rows = [{"depth": 0, "id": 2, "name": "lamp"}, {"depth": 1, "id": 1, "name": "globe"}]
    print_result({"objects": rows}, Console(file=out, width=200))
    assert out.getvalue() == "objects: 2\n  2  lamp\n    1  globe\n"


def test_what_the_first_step_waited_for_is_not_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: seconds[0])
    out = io.StringIO()
    with TerminalProgress(Console(file=out, width=200, force_terminal=False)) as progress:
        progress.phase("Training", 1000)
        for second in (60.0, 80.0, 100.0):
            seconds[0] = second
            progress.advance(1 if second == 60 else 100)
    assert out.getvalue().splitlines() == [
        "Training ...",
        "  1 of 1000",
        "  101 of 1000, 3 min left",
        "  201 of 1000, 3 min left",
    ]
