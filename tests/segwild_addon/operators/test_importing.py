"""An import goes on while Blender draws, and only where it can."""

from __future__ import annotations

from pathlib import Path
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


def test_the_browser_opens_beside_what_is_known(
    nothing_is_left: None, blender: Any, make_workspace: Any, tmp_path: Path
) -> None:
    import os

    from segwild_addon.data import scenes
    from segwild_addon.data.steps import finished
    from segwild_addon.operators import importing

    settings = blender.context.scene.segwild
    assert importing._beside(blender.context) == ""
    settings.photos_folder = str(tmp_path / "gone" / "photos")
    assert importing._beside(blender.context) == ""
    settings.photos_folder = f"{tmp_path}{os.sep}"
    assert importing._beside(blender.context) == f"{tmp_path.parent}{os.sep}"
    path, _ = make_workspace()
    finished(scenes.importing(path, [].append))
    assert importing._beside(blender.context) == f"{path.parent}{os.sep}"
    settings.photos_folder = ""
