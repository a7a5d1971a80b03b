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
