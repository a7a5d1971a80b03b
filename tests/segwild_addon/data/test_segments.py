"""Rows that move between objects: none is lost, none appears, each stays where it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.data import erasing, nesting, ply, scenes, segments, splats
from segwild_addon.data.placement import moved
from segwild_addon.data.rows import Rows, by_id, concatenate, rows
from segwild_addon.data.steps import finished
from segwild_addon.protocol.errors import InputError

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]
SEGMENTS = {"fountain": (np.arange(10, 30), 0.9), "statue": (np.arange(30, 40), 0.6)}


@pytest.fixture
def scene(blender: Any, make_workspace: Make) -> Any:
    return finished(scenes.importing(make_workspace(segments=SEGMENTS)[0], [].append))


def everything(blender: Any, scene: Any) -> Rows:
    """All rows of a scene in its frame, by id."""
    blender.context.view_layer.update()
    objects = scenes.splat_objects(scene)
    return by_id(concatenate([moved(splats.read(ob), segments.placed(ob)) for ob in objects]))


def same_but_labels(found: Rows, expected: Rows, **tolerance: float) -> None:
    for name in ("positions", "scales", "base", "sh", "ids", "erased"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), **tolerance, err_msg=name)
    turned = np.abs((found.rotations * expected.rotations).sum(axis=1))
    np.testing.assert_allclose(turned, 1, atol=1e-5)


def test_an_object_is_made_of_exactly_the_chosen_rows(blender: Any, scene: Any) -> None:
    before = everything(blender, scene)
    ids = np.array([1, 2, 3, 15, 16, 60], np.int32)  # of the rest and of the fountain
    made = segments.make(scene, "thing", ids, 7, (1, 0, 0))
    assert sorted(splats.read_ids(made)) == sorted(ids)
    assert set(splats.read(made).labels) == {7}
    assert made.segwild.label == 7
    assert len(splats.read_ids(blender.data.objects["fountain"])) == 18
    same_but_labels(everything(blender, scene), before)


def test_an_object_that_gives_its_last_row_is_gone(blender: Any, scene: Any) -> None:
    made = segments.make(scene, "all of it", np.arange(31, 41, dtype=np.int32), 9)
    assert "statue" not in blender.data.objects
    assert len(splats.read_ids(made)) == 10
    segments.make(scene, "everything", np.arange(1, 61, dtype=np.int32), 10)
    assert len(scenes.splat_objects(scene)) == 2
    assert not len(scenes.rest(scene).data.points)
    segments.dissolve(blender.data.objects["everything"])
    assert len(scenes.rest(scene).data.points) == 60


def test_nothing_selected_is_refused(blender: Any, scene: Any) -> None:
    for ids in ([], [0], [1000]):
        with pytest.raises(InputError):
            segments.make(scene, "thing", np.array(ids, np.int32), 1)
    assert len(scenes.splat_objects(scene)) == 3


def test_rows_stay_where_they_are_when_they_move_between_moved_objects(blender: Any, scene: Any) -> None:
    ob = blender.data.objects["statue"]
    ob.location, ob.rotation_euler, ob.scale = (1, 2, 3), (0.1, 0.5, 2), (2, 2, 2)
    scenes.root(scene).scale = (0.5, 0.5, 0.5)
    scenes.root(scene).location = (4, 0, 0)
    before = everything(blender, scene)
    segments.make(scene, "half", np.arange(31, 36, dtype=np.int32), 3)
    segments.merge(ob, [blender.data.objects["fountain"]])
    same_but_labels(everything(blender, scene), before, atol=1e-4, rtol=1e-3)
    segments.dissolve(ob)
    same_but_labels(everything(blender, scene), before, atol=1e-4, rtol=1e-3)
    assert {ob.name for ob in scenes.splat_objects(scene)} == {"square rest", "half"}


def test_what_changes_hands_looks_as_before(blender: Any, scene: Any) -> None:
    blender.data.objects["statue"].segwild.look_a = "photo-1"
    blender.data.objects["statue"].segwild.exposure = 0.5
    made = segments.make(scene, "head", np.array([31, 32], np.int32), 3)
    assert (made.segwild.look_a, made.segwild.exposure) == ("photo-1", 0.5)


def test_attributes_of_other_programs_travel(blender: Any, scene: Any) -> None:
    ob = blender.data.objects["fountain"]
    for name, kind in (("mark", "INT"), ("flag", "BOOLEAN"), ("uv", "FLOAT2"), ("frame", "FLOAT4X4")):
        ob.data.attributes.new(name, kind, "POINT")
    ob.data.attributes["mark"].data.foreach_set("value", splats.read_ids(ob))
    segments.make(scene, "part", np.array([11, 12], np.int32), 3)
    marks = np.zeros(18, np.int32)
    ob.data.attributes["mark"].data.foreach_get("value", marks)
    np.testing.assert_array_equal(marks, splats.read_ids(ob))
    segments.merge(ob, [blender.data.objects["part"]])
    marks = np.zeros(20, np.int32)
    ob.data.attributes["mark"].data.foreach_get("value", marks)
    np.testing.assert_array_equal(marks, np.where(splats.read_ids(ob) > 12, splats.read_ids(ob), 0))
    assert {"flag", "uv", "frame"} <= set(ob.data.attributes.keys())


def test_foreign_splats_join_as_unknown_rows(blender: Any, scene: Any, make_workspace: Make) -> None:
    other = finished(scenes.importing(make_workspace("other", degree=1, count=5)[0], [].append))
    ob = blender.data.objects["statue"]
    segments.merge(ob, [scenes.rest(other)])
    found = splats.read(ob)
    assert len(found) == 15
    assert list(found.ids[10:]) == [0] * 5
    assert found.degree == 3
    assert not found.sh[10:, 3:].any()
    assert found.sh[10:, :3].any()


def test_foreign_splats_get_free_numbers_where_no_workspace_has_them(blender: Any, scene: Any, tmp_path: Path) -> None:
    finished(ply.writing(tmp_path / "pot.ply", splats.read(blender.data.objects["statue"])))
    own = scenes.rest(finished(scenes.importing_ply(tmp_path / "pot.ply", [].append)))
    assert splats.read_ids(own).tolist() == list(range(1, 11))
    segments.merge(own, [scenes.rest(scene), blender.data.objects["fountain"]])
    assert splats.read_ids(own).tolist() == list(range(1, 61))
    made = segments.make(scenes.scene_of(own), "both", np.array([10, 11, 60], np.int32), 0)
    assert len(made.data.points) == 3


def test_erased_rows_come_back_through_every_move(blender: Any, scene: Any) -> None:
    ob = blender.data.objects["statue"]
    opacities = splats.read(ob).base[:, 3]
    chosen = np.arange(10) % 2 == 0
    assert erasing.erase(ob, chosen) == 5
    assert erasing.erase(ob, chosen) == 0
    np.testing.assert_array_equal(splats.read(ob).base[:, 3], np.where(chosen, 0, opacities))
    rest = segments.dissolve(ob)
    again = segments.make(scene, "statue", np.arange(31, 41, dtype=np.int32), 2)
    assert erasing.restore(rest) == 0
    assert erasing.restore(again, np.arange(10) < 5) == 3
    assert erasing.restore(again) == 2
    np.testing.assert_array_equal(splats.read(again).base[:, 3], opacities)


def test_deleted_rows_are_recovered_from_the_workspace(blender: Any, scene: Any) -> None:
    before = everything(blender, scene)
    assert segments.recover(scene) == 0
    blender.data.objects.remove(blender.data.objects["statue"])
    splats.keep(scenes.rest(scene), np.arange(30) < 20)
    scenes.rest(scene).location = (1, 0, 0)
    blender.context.view_layer.update()
    assert segments.recover(scene) == 20
    found = everything(blender, scene)
    np.testing.assert_array_equal(found.ids, before.ids)
    blender.data.objects.remove(scenes.rest(scene))
    assert segments.recover(scene) == 40
    blender.data.objects["square rest"].location = (0, 0, 0)
    same_but_labels(everything(blender, scene), before, atol=1e-5)


def test_applying_a_transform_changes_nothing_one_sees(blender: Any, scene: Any) -> None:
    ob = blender.data.objects["statue"]
    child = blender.data.objects.new("child", None)
    child.parent = ob
    child.location = (1, 1, 1)
    scene.objects.link(child)
    ob.location, ob.rotation_euler, ob.scale = (1, 2, 3), (0.1, 0.5, 2), (1, 2, 3)
    before = everything(blender, scene)
    where = np.array(child.matrix_world)
    segments.apply_transform(ob)
    assert tuple(ob.location) == (0, 0, 0)
    same_but_labels(everything(blender, scene), before, atol=1e-4, rtol=1e-3)
    np.testing.assert_allclose(np.array(child.matrix_world), where, atol=1e-5)


def test_an_object_is_split_where_it_stands(blender: Any, scene: Any) -> None:
    fountain, statue = (blender.data.objects[name] for name in ("fountain", "statue"))
    nesting.put(fountain, statue)
    fountain.location = (1, 2, 3)
    before = everything(blender, scene)
    erasing.erase(fountain, np.arange(20) < 8)
    blender.context.scene.collection.objects.link(blender.data.objects.new("fountain.1", None))
    numbers = np.zeros(60, np.uint8)
    numbers[10:20], numbers[20:25], numbers[25:28], numbers[0] = 1, 2, 3, 2  # row 0 is not the fountain's
    made = segments.split(fountain, numbers, lambda _: (0.0, 1.0, 0.0))
    assert [ob.name for ob in made] == ["fountain.2", "fountain.3"]
    assert [sorted(splats.read_ids(ob)) for ob in made] == [list(range(21, 26)), list(range(26, 29))]
    assert sorted(splats.read_ids(fountain)) == [*range(11, 21), 29, 30]
    assert [nesting.parent_of(ob) for ob in (*made, fountain)] == [statue] * 3
    assert tuple(made[0].color) == (0, 1, 0, 1)
    assert (splats.column(made[0], splats.ERASED) > 0).sum() + (splats.column(fountain, splats.ERASED) > 0).sum() == 8
    for ob in (*made, fountain):
        erasing.restore(ob)
    same_but_labels(everything(blender, scene), before, atol=1e-5)
    assert segments.split(fountain, np.ones(60, np.uint8), lambda _: (0.0, 1.0, 0.0)) == []


def test_an_object_without_a_scene_can_be_applied_and_joined(blender: Any, scene: Any) -> None:
    arrays = [np.zeros((2, 3)), np.ones((2, 3)), np.tile([1, 0, 0, 0], (2, 1)), np.ones((2, 4))]
    loose = [splats.create(name, rows(*(array.astype(np.float32) for array in arrays))) for name in "ab"]
    for number, ob in enumerate(loose):
        blender.context.scene.collection.objects.link(ob)
        ob.location = (number + 1, 0, 0)
    segments.apply_transform(loose[0])
    assert splats.read(loose[0]).positions[0, 0] == 1
    segments.merge(loose[0], [loose[1]])
    np.testing.assert_allclose(splats.read(loose[0]).positions[:, 0], [1, 1, 2, 2])
    with pytest.raises(InputError):
        segments.dissolve(loose[0])


ids_of = st.lists(st.integers(1, 60), min_size=1, max_size=25, unique=True)
actions = st.one_of(
    st.tuples(st.just("make"), ids_of),
    st.tuples(st.just("merge"), st.tuples(st.integers(0, 9), st.integers(0, 9))),
    st.tuples(st.just("dissolve"), st.integers(0, 9)),
    st.tuples(st.just("erase"), st.tuples(st.integers(0, 9), st.integers(0, 2**32 - 1))),
    st.tuples(st.just("restore"), st.tuples(st.integers(0, 9), st.integers(0, 2**32 - 1))),
    st.tuples(st.just("nest"), st.tuples(st.integers(0, 9), st.integers(0, 9))),
    st.tuples(st.just("move"), st.tuples(st.integers(0, 9), st.integers(0, 3))),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(actions, max_size=8))
def test_no_sequence_of_edits_loses_or_doubles_a_row(
    blender: Any, make_workspace: Make, sequence: list[tuple[str, Any]]
) -> None:
    scene = finished(scenes.importing(make_workspace(degree=1, segments=SEGMENTS, photos=0)[0], [].append))
    opacities = everything(blender, scene).base[:, 3]
    for action, value in sequence:
        objects = scenes.splat_objects(scene)

        def pick(number: int, objects: list[Any] = objects) -> Any:
            return objects[number % len(objects)]

        if action == "make":
            segments.make(scene, "thing", np.array(value, np.int32), 5)
        elif action == "merge" and pick(value[0]) != pick(value[1]):
            if pick(value[1]).segwild.kind == "SEGMENT":
                segments.merge(pick(value[0]), [pick(value[1])])
        elif action == "dissolve" and pick(value).segwild.kind == "SEGMENT":
            segments.dissolve(pick(value))
        elif action in ("erase", "restore"):
            ob = pick(value[0])
            mask = np.random.default_rng(value[1]).random(len(ob.data.points)) < 0.5
            getattr(erasing, action)(ob, mask)
        elif action == "nest":
            segment, parent = pick(value[0]), pick(value[1])
            if segment.segwild.kind == parent.segwild.kind == "SEGMENT":
                blender.context.view_layer.update()
                with contextlib.suppress(InputError):
                    nesting.nest(segment, parent)
        elif action == "move":
            pick(value[0]).location.x += value[1]
    found = everything(blender, scene)
    np.testing.assert_array_equal(found.ids, np.arange(1, 61))
    np.testing.assert_array_equal(np.where(found.erased > 0, found.erased, found.base[:, 3]), opacities)
    for ob in scenes.splat_objects(scene):
        assert len(ob.data.points) or ob.segwild.kind == "REST"
    scenes.remove(scene)
