"""The buttons of the backend's life: what they choose is kept, and each starts the backend that it speaks of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon import environment, work


@pytest.mark.parametrize("button", ["use_python", "install_backend"])
def test_what_was_chosen_is_saved_with_the_preferences(
    blender: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, button: str
) -> None:
    """Blender saves them at its end where it knows that they were changed."""
    monkeypatch.setattr(work, "look_for_backend", lambda: None)
    monkeypatch.setattr(environment, "install", lambda folder, **_: None)
    given = {"use_python": {"filepath": str(tmp_path / "python")}}
    given["install_backend"] = {"folder": str(tmp_path), "offline": True, "wheels": str(tmp_path)}
    blender.context.preferences.is_dirty = False
    try:
        assert getattr(blender.ops.segwild, button)(**given[button]) == {"FINISHED"}
        assert blender.context.preferences.is_dirty
    finally:
        blender.context.preferences.is_dirty = False


def test_the_backend_of_a_scene_is_started_while_another_one_is_trained(
    blender: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(work, "workspace_of", lambda context: "training.segwild")
    monkeypatch.setattr(work, "start", lambda context, workspace="": asked.append(workspace) or "")
    assert blender.ops.segwild.start_backend(workspace="scene.segwild") == {"FINISHED"}
    assert blender.ops.segwild.start_backend() == {"FINISHED"}
    assert asked == ["scene.segwild", ""]
