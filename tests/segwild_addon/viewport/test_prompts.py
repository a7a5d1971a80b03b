"""Clicks are the backend's: pressing Select Object starts it where that can be."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segwild_addon.client import Address


@pytest.fixture
def started(
    nothing_is_left: None, blender: Any, make_workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[Callable[[], None], list[str], Path]:
    """What a press does about the backend; the workspaces whose backends it started; the scene's own."""
    from segwild_addon import environment, work
    from segwild_addon.data import scenes
    from segwild_addon.data.steps import finished
    from segwild_addon.viewport import prompts

    path, _ = make_workspace()
    finished(scenes.importing(path, [].append))
    monkeypatch.setattr(environment, "python", lambda: Path(sys.executable))
    asked: list[str] = []
    monkeypatch.setattr(work, "start", lambda context, workspace: asked.append(workspace))
    return lambda: prompts._start_backend(blender.context), asked, path


def test_the_scene_s_backend_is_started(started: Any) -> None:
    press, asked, path = started
    press()
    assert [Path(each) for each in asked] == [path]


def test_the_scene_s_backend_is_started_while_another_scene_is_trained(
    started: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from segwild_addon import work

    press, asked, path = started
    monkeypatch.setattr(work, "workspace_of", lambda context: str(tmp_path / "other.segwild"))
    press()
    assert [Path(each) for each in asked] == [path]


@pytest.mark.parametrize("mode", ["BOX", "BRUSH"])
def test_boxes_and_brushes_need_none(started: Any, blender: Any, mode: str) -> None:
    press, asked, _ = started
    blender.context.window_manager.segwild.prompt_mode = mode
    try:
        press()
    finally:
        blender.context.window_manager.segwild.prompt_mode = "CLICK"
    assert asked == []


def test_nothing_is_started_that_is_not_there(started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from segwild_addon import environment

    press, asked, _ = started
    monkeypatch.setattr(environment, "python", lambda: None)
    press()
    assert asked == []


def test_why_it_is_not_started_is_told(started: Any, blender: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from segwild_addon import work

    press, _, _ = started
    monkeypatch.setattr(work, "start", lambda *_: "There is no room.")
    press()
    assert blender.context.window_manager.segwild.status == "There is no room."


def test_a_backend_elsewhere_is_not_replaced(started: Any, blender: Any) -> None:
    from segwild_addon import work

    press, asked, _ = started
    work.connect(blender.context, Address("127.0.0.1", 9, "token"))
    press()
    work.link_of(blender.context).stop()
    press()  # it was theirs, and may come back
    assert asked == []


def test_clicks_of_another_window_are_not_handed_on(blender: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from segwild_addon.viewport import prompts

    monkeypatch.setattr(prompts, "_running", [SimpleNamespace(_window="first")])
    for window, region_data, expected in (
        ("first", "a view", True),
        ("second", "a view", False),
        ("first", None, False),
    ):
        context = SimpleNamespace(window=window, region_data=region_data)
        assert prompts.SEGWILD_OT_prompt_click.poll(context) == expected
