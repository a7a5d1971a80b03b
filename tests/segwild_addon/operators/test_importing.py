"""An import goes on while Blender draws, and only where it can."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("mode", "event", "answer", "advanced"),
    [
        ("OBJECT", "TIMER", {"FINISHED"}, 1),
        ("OBJECT", "TAB", {"RUNNING_MODAL"}, 0),  # it would leave Object Mode
        ("EDIT_MESH", "TIMER", {"PASS_THROUGH"}, 0),  # a menu has
        ("OBJECT", "MOUSEMOVE", {"PASS_THROUGH"}, 0),
    ],
)
def test_an_import_goes_on_in_object_mode_alone(
    blender: Any, mode: str, event: str, answer: set[str], advanced: int
) -> None:
    from segwild_addon.operators import importing

    calls: list[float] = []
    operator = SimpleNamespace(
        _advance=lambda context, secs: calls.append(secs) or {"FINISHED"}, _stop=lambda context: None
    )
    happened = SimpleNamespace(type=event, ctrl=False, oskey=False)
    assert importing._Import.modal(operator, SimpleNamespace(mode=mode), happened) == answer
    assert len(calls) == advanced
