"""The add-on comes and goes without a trace."""

from __future__ import annotations

import sys
from typing import Any

import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

import segwild_addon
from segwild_addon import properties


def registered(bpy: Any) -> set[str]:
    return {name for name in dir(bpy.types) if "segwild" in name.lower()}


def test_register_and_unregister_as_often_as_one_likes(blender: Any) -> None:
    before = registered(blender)
    assert before
    for _ in range(3):
        segwild_addon.unregister()
        assert not registered(blender)
        segwild_addon.register()
        assert registered(blender) == before


def test_a_part_that_fails_takes_back_the_others(blender: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    last = sys.modules[f"segwild_addon.{segwild_addon._MODULES[-1]}"]
    segwild_addon.unregister()
    with monkeypatch.context() as patch:
        patch.setattr(last, "register", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            segwild_addon.register()
        assert not registered(blender)
    segwild_addon.register()


def test_settings_of_an_object_are_told_to_who_draws(blender: Any) -> None:
    told: list[str | None] = []
    properties.changes.look_listeners.append(told.append)
    try:
        ob = blender.data.objects.new("a", None)
        ob.segwild.uuid = "x"
        ob.segwild.exposure = 1
        ob.segwild.tint = (1, 0, 0)
    finally:
        properties.changes.look_listeners.remove(told.append)
    assert told == ["x", "x"]
