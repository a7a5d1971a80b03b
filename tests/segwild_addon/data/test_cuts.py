"""Objects cut at their edges: the parts go where they belong, and taking a cut back leaves no trace of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.data import cuts, erasing, light, repair, scenes, segments, splats
from segwild_addon.data.cuts import NOBODY, OBJECT, REST, Parts
from segwild_addon.data.rows import Rows, by_id, concatenate
from segwild_addon.data.steps import finished
from segwild_addon.protocol.errors import InputError

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]
SEGMENTS = {"fountain": (np.arange(10, 30), 0.9), "statue": (np.arange(30, 40), 0.6)}
GIVEN, DROPPED = 21, 22  # ids


@pytest.fixture
def scene(blender: Any, make_workspace: Make) -> Any:
    return finished(scenes.importing(make_workspace(segments=SEGMENTS)[0], [].append))


@pytest.fixture
def fountain(blender: Any, scene: Any) -> Any:
    return blender.data.objects["fountain"]


def parts_of(ob: Any) -> Parts:
    """Of five rows an inner and an outer part each, the last outer one nobody's; one row given, one dropped."""
    whole = splats.read(ob).take(np.arange(5))
    shift = np.float32(0.1)
    return Parts(
        parents=np.tile(whole.ids, 2),
        sides=np.array([OBJECT] * 5 + [REST] * 4 + [NOBODY], np.uint8),
        anchors=np.tile(whole.positions, (2, 1)),
        means=np.concatenate([whole.positions - shift, whole.positions + shift]),
        scales=np.tile(whole.scales, (2, 1)) / 2,
        quats=np.tile(whole.rotations, (2, 1)),
        opacities=np.linspace(0.1, 0.9, 10, dtype=np.float32),
        given=np.array([GIVEN], np.int32),
        dropped=np.array([DROPPED], np.int32),
    )


def all_rows(scene: Any) -> dict[str, Rows]:
    return {ob.name: by_id(splats.read(ob)) for ob in scenes.splat_objects(scene)}


def assert_same(found: dict[str, Rows], expected: dict[str, Rows]) -> None:
    assert set(found) == set(expected)
    for name, rows in expected.items():
        for field, array in vars(rows).items():
            np.testing.assert_array_equal(getattr(found[name], field), array, err_msg=f"{name} {field}")


@pytest.mark.parametrize("flat", ["fountain", "statue"])
def test_joining_what_cannot_be_joined_takes_no_cut_back(blender: Any, scene: Any, fountain: Any, flat: str) -> None:
    assert cuts.cut(fountain, scenes.rest(scene), parts_of(fountain))
    blender.data.objects[flat].scale = (1, 0, 1)
    before = all_rows(scene)
    for target, other in (("fountain", "statue"), ("statue", "fountain")):
        with pytest.raises(InputError, match="scaled to zero"):
            segments.merge(blender.data.objects[target], [blender.data.objects[other]])
    assert cuts.is_cut(fountain)
    assert_same(all_rows(scene), before)


def test_parts_go_to_the_object_and_to_the_rest(fountain: Any, scene: Any) -> None:
    before, parts = splats.read(fountain), parts_of(fountain)
    assert cuts.cut(fountain, scenes.rest(scene), parts) == 7
    own, rest = splats.read(fountain), splats.read(scenes.rest(scene))
    assert cuts.is_cut(fountain)
    assert sorted(own.ids) == sorted(set(before.ids) - {GIVEN, DROPPED})
    assert sorted(cuts.ids(fountain)) == sorted(before.ids)
    inner = np.isin(own.ids, parts.parents)
    np.testing.assert_array_equal(own.positions[inner], parts.means[:5])
    np.testing.assert_array_equal(own.scales[inner], parts.scales[:5])
    np.testing.assert_array_equal(own.base[inner, 3], parts.opacities[:5])
    np.testing.assert_array_equal(own.base[inner, :3], before.base[:5, :3])
    np.testing.assert_array_equal(own.sh[inner], before.sh[:5])
    assert set(own.labels) == {fountain.segwild.label}
    outer = np.isin(rest.ids, parts.parents)
    np.testing.assert_array_equal(rest.positions[outer], parts.means[5:9])
    assert set(rest.labels) == {0}
    assert GIVEN in rest.ids
    assert DROPPED not in rest.ids


def test_a_cut_is_taken_back_without_a_trace(fountain: Any, scene: Any, blender: Any) -> None:
    before, clouds = all_rows(scene), len(blender.data.pointclouds)
    assert not cuts.revert(fountain, scenes.rest(scene))
    cuts.cut(fountain, scenes.rest(scene), parts_of(fountain))
    cuts.cut(
        fountain, scenes.rest(scene), Parts(*[array[:0] for array in vars(parts_of(fountain)).values()])
    )  # nothing sticks out
    assert_same(all_rows(scene), before)
    cuts.cut(fountain, scenes.rest(scene), parts_of(fountain))
    cuts.cut(fountain, scenes.rest(scene), parts_of_whole(fountain))
    assert cuts.revert(fountain, scenes.rest(scene))
    assert_same(all_rows(scene), before)
    assert len(blender.data.pointclouds) == clouds


def parts_of_whole(ob: Any) -> Parts:
    """`parts_of`, of a cut object too."""
    found: list[Parts] = []
    cuts.on_whole(ob, lambda: found.append(parts_of(ob)))
    return found[0]


def test_the_file_keeps_the_whole_object(fountain: Any, scene: Any, blender: Any, tmp_path: Path) -> None:
    before = all_rows(scene)
    cuts.cut(fountain, scenes.rest(scene), parts_of(fountain))
    after = all_rows(scene)
    blender.ops.wm.save_as_mainfile(filepath=str(tmp_path / "cut.blend"))
    blender.ops.wm.open_mainfile(filepath=str(tmp_path / "cut.blend"))
    (scene,) = scenes.all_scenes()
    assert_same(all_rows(scene), after)
    assert cuts.revert(blender.data.objects["fountain"], scenes.rest(scene))
    assert_same(all_rows(scene), before)


@pytest.mark.parametrize("applied", [False, True])
def test_outer_parts_stay_in_their_place_when_the_object_has_moved(
    fountain: Any, scene: Any, blender: Any, applied: bool
) -> None:
    parts = parts_of(fountain)
    cuts.cut(fountain, scenes.rest(scene), parts)
    expected = all_rows(scene)
    cuts.revert(fountain, scenes.rest(scene))
    fountain.location, fountain.rotation_euler, fountain.scale = (1, 2, 3), (0.3, -0.2, 1), (1.5, 1.5, 1.5)
    if applied:
        segments.apply_transform(fountain)
    cuts.cut(fountain, scenes.rest(scene), parts)
    segments.apply_transform(fountain) if not applied else None
    found, rest = all_rows(scene), scenes.rest(scene).name
    for field in ("positions", "scales", "base", "sh"):
        np.testing.assert_allclose(getattr(found[rest], field), getattr(expected[rest], field), atol=2e-5)
    # What the cut left is in the place to which the object was moved.
    matrix = np.array(blender.data.objects["fountain"].matrix_world)
    assert np.allclose(matrix, np.eye(4))
    turned = found["fountain"].positions - found["fountain"].positions.mean(0)
    straight = expected["fountain"].positions - expected["fountain"].positions.mean(0)
    np.testing.assert_allclose(
        np.linalg.norm(turned, axis=1), 1.5 * np.linalg.norm(straight, axis=1), rtol=1e-4, atol=1e-5
    )
    cuts.revert(fountain, scenes.rest(scene))
    assert len(splats.read_ids(fountain)) == 20


def test_rows_that_were_deformed_are_refused(fountain: Any, scene: Any) -> None:
    parts, before = parts_of(fountain), all_rows(scene)
    bent = splats.column(fountain, "position", 3)
    bent[:, 0] += bent[:, 1] ** 2
    splats.write_positions(fountain, bent)
    with pytest.raises(InputError, match="not where the scene has them"):
        cuts.cut(fountain, scenes.rest(scene), parts)
    assert not cuts.is_cut(fountain)
    assert len(splats.read_ids(scenes.rest(scene))) == len(before[scenes.rest(scene).name])


def test_rows_that_went_to_another_object_do_not_come_back(fountain: Any, scene: Any) -> None:
    cuts.cut(fountain, scenes.rest(scene), parts_of(fountain))
    wanted = segments.spread(scene, np.array([11, 12, 20, GIVEN], np.int32), {fountain.segwild.uuid})
    made = segments.make_of_rows(scene, "half", segments.picked(scene, wanted))
    assert set(splats.read_ids(made)) == {11, 12, 20, GIVEN}
    cuts.revert(fountain, scenes.rest(scene))
    assert sorted(splats.read_ids(fountain)) == sorted({*range(11, 31)} - {11, 12, 20, GIVEN})
    assert sorted(splats.read_ids(scenes.rest(scene))) == sorted([*range(1, 11), 11, 12, *range(41, 61)])


def test_what_is_brushed_around_a_cut_object_leaves_its_inner_parts(fountain: Any, scene: Any, blender: Any) -> None:
    before, rest = all_rows(scene), scenes.rest(scene)
    cuts.cut(fountain, rest, parts_of(fountain))
    inside = splats.read(fountain)
    halo = {rest.segwild.uuid: np.array([11, 12], np.int32)}
    made = segments.make_of_rows(scene, "halo", segments.picked(scene, halo))
    assert sorted(splats.read_ids(made)) == [11, 12]
    assert_same({"fountain": by_id(splats.read(fountain))}, {"fountain": by_id(inside)})
    # The rows come back whole, also where the parts beside them are deleted, or joined to them again.
    segments.merge(fountain, [made])
    assert_same({"fountain": by_id(splats.read(fountain))}, {"fountain": before["fountain"]})
    assert sorted(splats.read_ids(rest)) == sorted(before[rest.name].ids)


def test_joining_and_dissolving_take_cuts_back(fountain: Any, scene: Any, blender: Any) -> None:
    before = all_rows(scene)
    cuts.cut(fountain, scenes.rest(scene), parts_of(fountain))
    rest = segments.dissolve(fountain)
    ids = splats.read_ids(rest)
    assert len(ids) == len(set(ids)) == 50
    statue = blender.data.objects["statue"]
    cuts.cut(statue, scenes.rest(scene), parts_of(statue))
    made = segments.make(scene, "bench", np.array([1, 2], np.int32), 0)
    segments.merge(statue, [made])
    assert not cuts.is_cut(statue)
    assert sorted(splats.read_ids(statue)) == [1, 2, *before["statue"].ids]


def test_an_origin_that_was_set_since_moves_the_whole_object_along(fountain: Any, scene: Any, blender: Any) -> None:
    blender.context.view_layer.update()
    before = splats.read(fountain).positions + np.array(fountain.matrix_world.translation)
    cuts.cut(fountain, scenes.rest(scene), parts_of(fountain))
    move = np.float32([0.5, -1, 2])
    splats.write_positions(fountain, splats.column(fountain, "position", 3) - move)  # as Set Origin does
    fountain.location += type(fountain.location)(move)
    cuts.revert(fountain, scenes.rest(scene))
    blender.context.view_layer.update()
    after = splats.read(fountain).positions + np.array(fountain.matrix_world.translation)
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_a_scene_that_is_removed_leaves_no_whole_cloud(fountain: Any, scene: Any, blender: Any) -> None:
    cuts.cut(fountain, scenes.rest(scene), parts_of(fountain))
    scenes.remove(scene)
    assert not len(blender.data.pointclouds)
    assert not len(blender.data.cameras)


def test_what_was_erased_stays_erased(fountain: Any, scene: Any) -> None:
    erasing.erase(fountain, np.arange(20) < 2)  # of divided rows
    cuts.cut(fountain, scenes.rest(scene), parts_of(fountain))
    own = splats.read(fountain)
    hidden = np.isin(own.ids, [11, 12])
    assert (own.base[hidden, 3] == 0).all()
    assert (own.erased[hidden] > 0).all()
    erasing.erase(fountain, own.ids == 30)
    cuts.revert(fountain, scenes.rest(scene))
    own = splats.read(fountain)
    assert set(own.ids[own.base[:, 3] == 0]) == {11, 12, 30}
    assert erasing.restore(fountain) == 3


def test_recovering_brings_nothing_of_a_cut_object(fountain: Any, scene: Any) -> None:
    cuts.cut(fountain, scenes.rest(scene), parts_of(fountain))
    assert segments.recover(scene) == 0


def test_a_cut_object_that_was_deleted_is_recovered_whole(fountain: Any, scene: Any, blender: Any) -> None:
    before, rest = all_rows(scene), scenes.rest(scene)
    cuts.cut(fountain, rest, parts_of(fountain))
    blender.data.objects.remove(fountain)
    assert segments.recover(scene) == 19  # all but the one that the rest has whole
    found = by_id(splats.read(rest))
    expected = by_id(concatenate([before["fountain"], before[rest.name]]))
    for field in ("ids", "positions", "scales", "base", "sh"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field), err_msg=field)
    assert not (found.parts > 0).any()


def test_baking_outlives_a_cut(fountain: Any, scene: Any) -> None:
    whole = splats.read(fountain)
    cuts.cut(fountain, scenes.rest(scene), parts_of(fountain))
    fountain.segwild.look_a, fountain.segwild.exposure, fountain.segwild.opacity = "photo-0", 1.0, 0.5
    expected, parts = light.shown(fountain, whole), splats.read(fountain)
    light.bake(fountain)
    baked = splats.read(fountain)
    np.testing.assert_array_equal(baked.base[:, 3], parts.base[:, 3] / 2)
    np.testing.assert_array_equal(baked.parts, parts.parts)
    cuts.revert(fountain, scenes.rest(scene))
    found = splats.read(fountain)
    np.testing.assert_array_equal(found.base, expected.base)
    np.testing.assert_array_equal(found.sh, expected.sh)


def test_trained_colours_leave_parts_as_thin_as_they_were_cut(fountain: Any, scene: Any) -> None:
    before, rest = all_rows(scene), scenes.rest(scene)
    fountain.rotation_euler = (0.3, 0.2, 1)
    cuts.cut(fountain, rest, parts_of(fountain))
    segments.apply_transform(fountain)
    cut = all_rows(scene)
    for ob in (fountain, rest):
        ob.segwild.look_a, ob.segwild.opacity = "photo-0", 0.5
        light.bake(ob)
        repair.refill(ob)
        found = by_id(splats.read(ob))
        np.testing.assert_allclose(found.base, cut[ob.name].base, atol=1e-6)
        np.testing.assert_allclose(found.sh, cut[ob.name].sh, atol=1e-5)
    cuts.revert(fountain, rest)
    np.testing.assert_array_equal(by_id(splats.read(fountain)).base, before["fountain"].base)


def test_a_copy_that_is_made_whole_leaves_the_parts_around_the_other(fountain: Any, scene: Any, blender: Any) -> None:
    before, rest = all_rows(scene), scenes.rest(scene)
    cuts.cut(fountain, rest, parts_of(fountain))
    cut = all_rows(scene)
    copy = fountain.copy()
    copy.data = fountain.data.copy()
    scene.objects.link(copy)
    repair.uuids()
    assert cuts.revert(copy, rest)
    assert copy.data != fountain.segwild.whole  # what is done to one does nothing to the other
    assert_same({rest.name: by_id(splats.read(rest))}, {rest.name: cut[rest.name]})
    copy.location = (1, 0, 0)
    segments.dissolve(copy)  # whole rows with the same ids, which stay
    assert len(splats.read_ids(rest)) == len(cut[rest.name]) + 20
    assert cuts.revert(fountain, rest)
    assert_same({"fountain": by_id(splats.read(fountain))}, {"fountain": before["fountain"]})
    assert sorted(splats.read_ids(rest)) == sorted([*before[rest.name].ids, *before["fountain"].ids])


def test_cuts_of_a_workspace_are_imported(
    blender: Any, make_workspace: Make, write_safetensors: Callable[..., None]
) -> None:
    root, arrays = make_workspace(segments=SEGMENTS)
    rows = np.arange(10, 30)
    digest = hashlib.blake2b(rows.astype("<i8").tobytes(), digest_size=16).hexdigest()
    parts = {name: array[[10, 10]] for name, array in arrays.items()}
    parts |= {"parents": np.array([10, 10]), "sides": np.array([1, 0]), "given": np.array([12]), "dropped": rows[:0]}
    facts = {"content": "cut", "mode": "exact", "rows": digest}
    write_safetensors(
        root / "segments" / "1.cut.safetensors", {k: v.astype(np.float32) for k, v in parts.items()}, facts
    )
    warned: list[str] = []
    scene = finished(scenes.importing(root, warned.append))
    fountain = blender.data.objects["fountain"]
    assert not warned
    assert cuts.is_cut(fountain)
    assert sorted(splats.read_ids(fountain)) == sorted(set(range(11, 31)) - {13})
    assert {11, 13} <= set(splats.read_ids(scenes.rest(scene)))
    assert cuts.revert(fountain, scenes.rest(scene))
    assert sorted(splats.read_ids(fountain)) == list(range(11, 31))
    for broken in ({"sides": np.array([1.0])}, {"parents": np.array([10.0, 1e6])}, {"means": np.zeros((1, 3))}):
        changed = {name: np.asarray(array, np.float32) for name, array in (parts | broken).items()}
        write_safetensors(root / "segments" / "1.cut.safetensors", changed, facts)
        scene = finished(scenes.importing(root, warned.append))
        assert "imported whole" in warned.pop()
        assert len(splats.read_ids(scenes.members(scene, "SEGMENT")[0])) == 20
