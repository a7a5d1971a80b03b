"""Objects as parts of others: they stay where they are, move along, and never become parts of themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.data import nesting, scenes, segments, splats
from segwild_addon.data.placement import moved
from segwild_addon.data.steps import finished
from segwild_addon.protocol.errors import InputError

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]
NAMES = ("lamp", "globe", "bulb", "bench")


@pytest.fixture
def scene(blender: Any, make_workspace: Make) -> Any:
    """A bulb in a globe on a lamp, all of which stand somewhere, and a bench; below a root that is turned."""
    path, _ = make_workspace(segments={name: (np.arange(10 * n, 10 * n + 10), 0.9) for n, name in enumerate(NAMES)})
    found = finished(scenes.importing(path, [].append))
    scenes.root(found).rotation_euler = (1.0, 0.0, 0.5)
    for number, name in enumerate(NAMES):
        blender.data.objects[name].location = (number, 1, 2)
        blender.data.objects[name].rotation_euler = (0.0, number, 0.0)
    blender.context.view_layer.update()
    for name, parent in (("globe", "lamp"), ("bulb", "globe")):
        nesting.nest(blender.data.objects[name], blender.data.objects[parent])
    blender.context.view_layer.update()
    return found


def places(blender: Any) -> dict[str, np.ndarray]:
    blender.context.view_layer.update()
    return {ob.name: np.array(ob.matrix_world) for ob in blender.data.objects if ob.name in NAMES}


def shown(blender: Any, name: str) -> np.ndarray:
    """(M, 3) where an object's splats are in the world."""
    blender.context.view_layer.update()
    ob = blender.data.objects[name]
    return moved(splats.read(ob), np.array(ob.matrix_world, float)).positions


def tree(blender: Any) -> dict[str, str]:
    found = {name: nesting.parent_of(ob) for name in NAMES if (ob := blender.data.objects.get(name)) is not None}
    return {name: parent.name if parent is not None else "" for name, parent in found.items()}


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], *names: str) -> None:
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5, err_msg=name)


def test_parts_move_along_and_stay_when_they_are_freed(blender: Any, scene: Any) -> None:
    before, objects = places(blender), blender.data.objects
    assert tree(blender) == {"lamp": "", "globe": "lamp", "bulb": "globe", "bench": ""}
    assert [ob.name for ob in nesting.above(objects["bulb"])] == ["globe", "lamp"]
    nesting.put(objects["globe"], scenes.root(scene))
    same(places(blender), before, *NAMES)
    assert tree(blender) == {"lamp": "", "globe": "", "bulb": "globe", "bench": ""}
    assert objects["globe"].parent == scenes.root(scene)
    objects["globe"].matrix_world.translation.x += 5
    assert places(blender)["bulb"][0, 3] == pytest.approx(before["bulb"][0, 3] + 5, abs=1e-5)
    same(places(blender), before, "lamp", "bench")


def test_no_object_is_a_part_of_its_parts(blender: Any, scene: Any, make_workspace: Make) -> None:
    objects = blender.data.objects
    other = finished(scenes.importing(make_workspace("other", segments={"tree": (np.arange(9), 0.9)})[0], [].append))
    for name, parent, code in (
        ("lamp", "lamp", "bad-parent"),
        ("lamp", "bulb", "bad-parent"),
        ("lamp", "tree", "another-scene"),
    ):
        with pytest.raises(InputError) as caught:
            nesting.nest(objects[name], objects[parent])
        assert caught.value.code == code
    assert scenes.members(other, "SEGMENT") == [objects["tree"]]
    objects["bench"].scale.x = 0
    blender.context.view_layer.update()
    with pytest.raises(InputError, match="scaled to zero"):
        nesting.nest(objects["lamp"], objects["bench"])
    assert tree(blender) == {"lamp": "", "globe": "lamp", "bulb": "globe", "bench": ""}


def test_an_object_between_is_no_matter(blender: Any, scene: Any) -> None:
    empty = blender.data.objects.new("between", None)
    blender.context.scene.collection.objects.link(empty)
    empty.parent = blender.data.objects["bench"]
    blender.data.objects["lamp"].parent = empty
    assert tree(blender) == {"lamp": "bench", "globe": "lamp", "bulb": "globe", "bench": ""}


def test_parts_of_what_is_gone(blender: Any, scene: Any) -> None:
    before, objects = places(blender), blender.data.objects
    segments.dissolve(objects["globe"])
    assert tree(blender) == {"lamp": "", "bulb": "lamp", "bench": ""}
    segments.merge(objects["bench"], [objects["lamp"]])
    assert tree(blender) == {"bulb": "bench", "bench": ""}
    same(places(blender), before, "bulb", "bench")


def test_joined_to_a_part(blender: Any, scene: Any) -> None:
    before, objects = places(blender), blender.data.objects
    segments.merge(objects["bulb"], [objects["lamp"]])
    assert tree(blender) == {"globe": "", "bulb": "globe", "bench": ""}
    same(places(blender), before, "globe", "bulb", "bench")


def test_an_object_that_blender_deletes_leaves_its_parts_in_place(blender: Any, scene: Any) -> None:
    before = places(blender)
    blender.data.objects.remove(blender.data.objects["globe"])
    same(places(blender), before, "lamp", "bulb", "bench")
    assert tree(blender)["bulb"] == ""


def test_a_part_whose_place_is_applied_stays_a_part(blender: Any, scene: Any) -> None:
    before = {name: shown(blender, name) for name in NAMES}
    for name in ("globe", "lamp"):
        segments.apply_transform(blender.data.objects[name])
        assert all(value == 0 for value in blender.data.objects[name].location)
    assert tree(blender) == {"lamp": "", "globe": "lamp", "bulb": "globe", "bench": ""}
    same({name: shown(blender, name) for name in NAMES}, before, *NAMES)
    np.testing.assert_allclose(segments.placed(blender.data.objects["lamp"]), np.eye(4))


def test_the_tree_of_a_workspace_is_imported(blender: Any, make_workspace: Make) -> None:
    rows = {"hidden": (np.arange(10), 0.1), "lamp": (np.arange(10), 0.9), "globe": (np.arange(20, 30), 0.9)}
    parents = {"globe": 1, "hidden": 2}  # all of what is between belongs more probably to the lamp
    path, arrays = make_workspace(segments=rows, parents=parents)
    scene = finished(scenes.importing(path, [].append))
    lamp, globe = blender.data.objects["lamp"], blender.data.objects["globe"]
    assert globe.parent == lamp
    assert lamp.parent == scenes.root(scene)
    blender.context.view_layer.update()
    np.testing.assert_array_equal(segments.placed(globe), np.eye(4))
    np.testing.assert_array_equal(splats.read(globe).positions, arrays["means"][20:30])


def test_a_damaged_tree_is_imported_flat(blender: Any, make_workspace: Make) -> None:
    rows = {name: (np.arange(10 * n, 10 * n + 10), 0.9) for n, name in enumerate(NAMES)}
    path, _ = make_workspace(segments=rows, parents={"lamp": 1, "globe": 3, "bulb": 2, "bench": 77})
    finished(scenes.importing(path, [].append))
    assert tree(blender) == {"lamp": "", "globe": "bulb", "bulb": "", "bench": ""}
