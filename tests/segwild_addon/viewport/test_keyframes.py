"""Keyframes on the light of an object reach the drawing, and only those."""

from __future__ import annotations

from typing import Any

import pytest

from segwild_addon.data.steps import finished


@pytest.mark.parametrize(("name", "first", "last"), [("look_mix", 0.0, 1.0), ("exposure", 0.0, 2.0)])
def test_a_keyframed_value_is_told_with_every_frame_that_changes_it(
    blender: Any, make_workspace: Any, name: str, first: float, last: float
) -> None:
    from segwild_addon.data import changes, scenes

    root, _ = make_workspace()
    scene = finished(scenes.importing(root, lambda sentence: None))
    ob = scenes.rest(scene)
    for frame, value in ((1, first), (11, last)):
        setattr(ob.segwild, name, value)
        ob.segwild.keyframe_insert(name, frame=frame)
    told: list[Any] = []
    changes.look_listeners.append(told.append)
    try:
        blender.context.scene.frame_set(1)
        told.clear()
        blender.context.scene.frame_set(6)
        assert first < getattr(ob.segwild, name) < last
        assert told == [ob.segwild.uuid]
        blender.context.scene.frame_set(30)
        blender.context.scene.frame_set(31)  # beyond the last key nothing changes
        assert told == [ob.segwild.uuid] * 2
    finally:
        changes.look_listeners.remove(told.append)


@pytest.mark.parametrize("name", ["look_mix", "exposure"])
def test_edits_of_a_curve_or_driver_are_told_within_the_frame(blender: Any, make_workspace: Any, name: str) -> None:
    from segwild_addon.data import changes, scenes

    root, _ = make_workspace()
    scene = finished(scenes.importing(root, lambda sentence: None))
    ob = scenes.rest(scene)
    ob.segwild.keyframe_insert(name, frame=1)
    blender.context.scene.frame_set(1)
    told: list[Any] = []
    changes.look_listeners.append(told.append)
    try:
        action = ob.animation_data.action
        (curve,) = action.layers[0].strips[0].channelbag(ob.animation_data.action_slot).fcurves
        curve.keyframe_points[0].co.y = 0.75
        curve.update()
        ob.update_tag()
        blender.context.view_layer.update()
        assert getattr(ob.segwild, name) == 0.75
        assert told == [ob.segwild.uuid]
        ob.location.x = 1  # no light
        blender.context.view_layer.update()
        assert told == [ob.segwild.uuid]
    finally:
        changes.look_listeners.remove(told.append)
