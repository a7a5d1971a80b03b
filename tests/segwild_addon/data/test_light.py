"""Look and grading of an object: what is drawn is what is exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.data import changes, erasing, light, repair, scenes, splats
from segwild_addon.data.looks import C0, Look, Looks
from segwild_addon.data.steps import finished
from segwild_addon.data.workspace import Folder
from segwild_addon.protocol.errors import InputError

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]


def test_an_untouched_object_is_shown_as_it_is(blender: Any, make_workspace: Make) -> None:
    ob = scenes.rest(finished(scenes.importing(make_workspace()[0], [].append)))
    rows = splats.read(ob)
    shown = light.shown(ob, rows)
    np.testing.assert_array_equal(shown.base, rows.base)
    np.testing.assert_array_equal(shown.sh, rows.sh)
    assert light.light(ob, rows.ids).changes_nothing


def test_look_and_grading_are_baked_in_this_order(blender: Any, make_workspace: Make) -> None:
    path, _ = make_workspace()
    ob = scenes.rest(finished(scenes.importing(path, [].append)))
    rows = splats.read(ob)
    facts = ob.segwild
    facts.look_a, facts.look_strength = "photo-0", 1.5
    facts.exposure, facts.tint, facts.saturation = 1.0, (1.0, 0.5, 0.25), 0.5
    facts.opacity, facts.sh_degree = 0.5, 1
    shown = light.shown(ob, rows)
    looks = Looks.load(Folder(path))
    assert looks is not None
    lit, _ = looks.baked(rows, rows.ids, Look("photo-0", strength=1.5))
    colour = lit * C0 + 0.5
    grey = colour @ [0.2126, 0.7152, 0.0722]
    colour = 0.5 * colour + 0.5 * grey[:, None]
    colour *= (2 * np.array([1.0, 0.5, 0.25])) ** (1 / 2.2)
    np.testing.assert_allclose(shown.base[:, :3] * C0 + 0.5, colour, atol=1e-5)
    np.testing.assert_allclose(shown.base[:, 3], rows.base[:, 3] / 2)
    assert shown.degree == 1


@pytest.mark.parametrize("opacity", [0.5, 0.0])
def test_what_is_restored_after_a_bake_looks_as_it_would_have_before(
    blender: Any, make_workspace: Make, opacity: float
) -> None:
    ob = scenes.rest(finished(scenes.importing(make_workspace()[0], [].append)))
    ob.segwild.opacity = opacity
    shown = light.shown(ob, splats.read(ob))
    erasing.erase(ob, np.arange(60) < 20)
    light.bake(ob)
    assert not splats.read(ob).base[:20, 3].any()
    assert erasing.restore(ob) == 20
    np.testing.assert_allclose(splats.read(ob).base, shown.base, rtol=0, atol=1e-6)


def test_what_is_restored_after_bake_and_unbake_is_as_it_was_trained(blender: Any, make_workspace: Make) -> None:
    ob = scenes.rest(finished(scenes.importing(make_workspace()[0], [].append)))
    trained = splats.read(ob)
    ob.segwild.opacity = 0.5
    erasing.erase(ob, np.arange(60) < 20)
    light.bake(ob)
    repair.refill(ob)
    assert not splats.read(ob).base[:20, 3].any()
    assert erasing.restore(ob) == 20
    np.testing.assert_array_equal(splats.read(ob).base, trained.base)


def test_without_its_workspace_a_look_is_missing_and_said(blender: Any, make_workspace: Make) -> None:
    path, _ = make_workspace()
    scene = finished(scenes.importing(path, [].append))
    ob = scenes.rest(scene)
    ob.segwild.look_a = "photo-0"
    scene.segwild.workspace = str(path / "moved")
    ids = splats.read_ids(ob)
    with pytest.raises(InputError, match="is not there"):
        light.light(ob, ids)
    drawn, sentence = light.look_or_neutral(ob, ids)
    assert drawn.changes_nothing
    assert "is not there" in sentence


def test_without_its_scene_a_look_is_missing_and_said(blender: Any, make_workspace: Make) -> None:
    """As with an object that came into the file as an asset."""
    ob = scenes.rest(finished(scenes.importing(make_workspace()[0], [].append)))
    ob.segwild.look_a, ob.segwild.scene_uuid = "photo-0", "elsewhere"
    with pytest.raises(InputError, match="not in this file"):
        light.settings(ob)
    drawn, sentence = light.look_or_neutral(ob, splats.read_ids(ob))
    assert drawn.changes_nothing
    assert "Bake" in sentence
    light.reset(ob)
    assert light.light(ob, splats.read_ids(ob)).changes_nothing


def test_a_workspace_that_was_moved_is_chosen_again(blender: Any, make_workspace: Make) -> None:
    path, _ = make_workspace()
    scene = finished(scenes.importing(path, [].append))
    ob = scenes.rest(scene)
    ob.segwild.look_a = "photo-0"
    ids = splats.read_ids(ob)
    before, _ = light.look_or_neutral(ob, ids)
    path.rename(path.with_name("elsewhere"))
    told: list[str | None] = []
    changes.look_listeners.append(told.append)
    try:
        scene.segwild.workspace = str(path.with_name("elsewhere"))
    finally:
        changes.look_listeners.remove(told.append)
    assert told == [each.segwild.uuid for each in scenes.members(scene)]
    after, sentence = light.look_or_neutral(ob, ids)
    assert not sentence
    base, _ = after.baked(np.zeros((len(ids), 3), np.float32), np.zeros((len(ids), 15, 3), np.float32))
    expected, _ = before.baked(np.zeros((len(ids), 3), np.float32), np.zeros((len(ids), 15, 3), np.float32))
    np.testing.assert_array_equal(base, expected)


def test_a_baked_or_reset_look_is_not_brought_back_by_keyframes(blender: Any, make_workspace: Make) -> None:
    scene = finished(scenes.importing(make_workspace()[0], [].append))
    ob = scenes.rest(scene)
    for frame, value in ((1, 0.0), (11, 2.0)):
        ob.segwild.exposure = value
        ob.segwild.keyframe_insert("exposure", frame=frame)
        ob.segwild.keyframe_insert("tint", frame=frame)
        ob.location.x = value
        ob.keyframe_insert("location", frame=frame)
    driver = ob.segwild.driver_add("opacity").driver
    driver.expression = "0.5"
    blender.context.scene.frame_set(11)
    shown = light.shown(ob, splats.read(ob))
    light.bake(ob)
    for frame in (1, 11):
        blender.context.scene.frame_set(frame)
        again = light.shown(ob, splats.read(ob))
        np.testing.assert_array_equal(again.base, shown.base)
    assert ob.location.x == 2.0  # other keyframes are left alone
