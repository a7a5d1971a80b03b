"""Files saved, loaded, copied and linked: names stay unique, colours stay, nothing crashes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.data import compat, erasing, light, repair, scenes, segments, splats
from segwild_addon.data.rows import Rows
from segwild_addon.data.steps import finished
from segwild_addon.protocol.errors import InputError

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]
SEGMENTS = {"fountain": (np.arange(10, 30), 0.9), "statue": (np.arange(30, 40), 0.6)}


@pytest.fixture
def scene(blender: Any, make_workspace: Make) -> Any:
    return finished(scenes.importing(make_workspace(segments=SEGMENTS)[0], [].append))


def reloaded(blender: Any, path: Path) -> Any:
    blender.ops.wm.save_as_mainfile(filepath=str(path))
    blender.ops.wm.read_factory_settings(use_empty=True)
    blender.ops.wm.open_mainfile(filepath=str(path))
    return scenes.all_scenes()[0]


def test_a_file_keeps_everything(blender: Any, scene: Any, tmp_path: Path) -> None:
    ob = blender.data.objects["statue"]
    ob.segwild.look_a, ob.segwild.tint = "photo-1", (1, 0.5, 0.25)
    erasing.erase(ob, np.arange(10) < 3)
    before = {each.name: (each.segwild.uuid, splats.read(each)) for each in scenes.splat_objects(scene)}
    found = reloaded(blender, tmp_path / "a.blend")
    after = {each.name: (each.segwild.uuid, splats.read(each)) for each in scenes.splat_objects(found)}
    assert before.keys() == after.keys()
    for name, (uuid, rows) in before.items():
        assert after[name][0] == uuid
        for field in fields(Rows):
            np.testing.assert_array_equal(getattr(after[name][1], field.name), getattr(rows, field.name))
    loaded = blender.data.objects["statue"].segwild
    assert (loaded.look_a, tuple(loaded.tint)) == ("photo-1", (1, 0.5, 0.25))
    assert scenes.folder(found).name == "square"
    assert blender.context.scene.segwild.active_scene == found.segwild.uuid


def test_a_duplicate_gets_a_name_of_its_own(blender: Any, scene: Any) -> None:
    ob = blender.data.objects["statue"]
    copy = ob.copy()
    copy.data = ob.data.copy()
    scene.objects.link(copy)
    uuid = ob.segwild.uuid
    blender.context.view_layer.update()
    assert ob.segwild.uuid == uuid
    assert copy.segwild.uuid not in ("", uuid)
    assert repair.uuids() == 0


def test_undo_brings_no_copied_names_back(blender: Any, scene: Any) -> None:
    blender.ops.ed.undo_push(message="Import")
    copy = blender.data.objects["statue"].copy()
    copy.name = "copy"
    scene.objects.link(copy)
    handlers = blender.app.handlers.depsgraph_update_post
    handlers.remove(repair._after_edit)  # operators of the window store their step before it is called
    blender.ops.ed.undo_push(message="Duplicate")
    handlers.append(repair._after_edit)
    copy.location.x = 1
    blender.ops.ed.undo_push(message="Move")
    assert blender.ops.ed.undo() == {"FINISHED"}
    named = [blender.data.objects[name].segwild.uuid for name in ("statue", "copy")]
    assert len(set(named)) == 2


def test_copies_of_rest_and_root_take_no_part_of_theirs(blender: Any, scene: Any) -> None:
    rest, root = scenes.rest(scene), scenes.root(scene)
    copies = []
    for ob in (rest, root):
        copies.append(ob.copy())
        copies[-1].name = "a copy"  # before the others in every list
        scene.objects.link(copies[-1])
    repair.uuids()
    assert scenes.rest(scene) == rest
    assert scenes.root(scene) == root
    assert copies[0].segwild.kind == "SEGMENT"
    assert copies[1].segwild.kind == "NONE"


def test_a_copied_collection_is_a_scene_of_its_own(blender: Any, scene: Any) -> None:
    copy = scene.copy()
    for ob in list(copy.objects):
        double = ob.copy()
        copy.objects.unlink(ob)
        copy.objects.link(double)
    blender.context.scene.collection.children.link(copy)
    repair.uuids()
    assert copy.segwild.uuid != scene.segwild.uuid
    assert len(scenes.splat_objects(copy)) == len(scenes.splat_objects(scene)) == 3
    assert len({ob.segwild.uuid for ob in blender.data.objects}) == len(blender.data.objects)
    assert scenes.root(copy) != scenes.root(scene)


def test_colours_of_older_files_become_this_versions(blender: Any, scene: Any, tmp_path: Path) -> None:
    ob = blender.data.objects["statue"]
    rows = splats.read(ob)
    ob.data.attributes.remove(ob.data.attributes[splats.BASE])
    ob.data.attributes.new(splats.BASE, "FLOAT_COLOR", "POINT")
    ob.data.attributes[splats.BASE].data.foreach_set("color", rows.base.reshape(-1))
    reloaded(blender, tmp_path / "a.blend")
    ob = blender.data.objects["statue"]
    assert ob.data.attributes[splats.BASE].data_type == compat.base_type()
    np.testing.assert_array_equal(splats.read(ob).base, rows.base)


def test_lost_colours_come_back_from_the_workspace(
    blender: Any, scene: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ob = blender.data.objects["statue"]
    erasing.erase(ob, np.arange(10) < 3)
    rows = splats.read(ob)
    ob.data.attributes.remove(ob.data.attributes[splats.BASE])
    found = reloaded(blender, tmp_path / "a.blend")
    np.testing.assert_array_equal(splats.read(blender.data.objects["statue"]).base, rows.base)

    ob = blender.data.objects["statue"]
    ob.data.attributes.remove(ob.data.attributes[splats.BASE])
    found.segwild.workspace = str(tmp_path / "moved away")
    reloaded(blender, tmp_path / "a.blend")
    assert "The colours of 'statue' are lost" in capsys.readouterr().out


def test_trained_colours_come_back_after_baking_and_turning(blender: Any, scene: Any) -> None:
    ob = blender.data.objects["statue"]
    before = splats.read(ob)
    ob.rotation_euler = (0.3, 0.2, 1)
    segments.apply_transform(ob)
    turned = splats.read(ob)
    ob.segwild.look_a, ob.segwild.exposure, ob.segwild.sh_degree = "photo-0", 1, 1
    light.bake(ob)
    assert splats.read(ob).degree == 1
    assert light.light(ob, before.ids).changes_nothing
    assert repair.refill(ob) == 10
    found = splats.read(ob)
    np.testing.assert_array_equal(found.base, before.base)
    np.testing.assert_allclose(found.sh, turned.sh, atol=1e-5)
    np.testing.assert_array_equal(found.positions, turned.positions)


@pytest.mark.parametrize("count", [20, 60])
def test_rows_of_another_training_are_not_taken(blender: Any, scene: Any, make_workspace: Make, count: int) -> None:
    ob = blender.data.objects["statue"]
    ob.segwild.look_a = "photo-0"
    ids, before = splats.read_ids(ob), splats.read(ob)
    assert light.look_or_neutral(ob, ids)[1] == ""
    segments.apply_transform(ob)  # where the rows are in Blender does not matter
    assert segments.recover(scene) == 0
    make_workspace(count=count, seed=5)
    blender.data.objects.remove(blender.data.objects["fountain"])
    for take in (lambda: repair.refill(ob), lambda: segments.recover(scene), lambda: light.light(ob, ids)):
        with pytest.raises(InputError, match="trained again"):
            take()
    drawn, sentence = light.look_or_neutral(ob, ids)
    assert drawn.changes_nothing
    assert "trained again" in sentence
    np.testing.assert_array_equal(splats.read(ob).base, before.base)
    make_workspace(segments=SEGMENTS)  # a copy of what it was
    assert repair.refill(ob) == 10


@pytest.mark.parametrize("link", [True, False])
def test_linked_and_appended_scenes_do_no_harm(blender: Any, scene: Any, tmp_path: Path, link: bool) -> None:
    name = scene.name
    blender.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"), copy=True)
    for _ in range(1 if link else 2):  # beside itself in the same file
        with blender.data.libraries.load(str(tmp_path / "library.blend"), link=link) as (_source, target):
            target.collections = [name]
        blender.context.scene.collection.children.link(target.collections[0])
        blender.context.view_layer.update()
        repair.uuids()
        repair.types()
        assert repair.colours() == []
    for each in scenes.all_scenes():
        assert len(scenes.splat_objects(each)) == 3
        assert scenes.rest(each) is not None
    linked = [ob for ob in blender.data.objects if ob.library is not None]
    assert bool(linked) == link
    if linked:
        statue = next(ob for ob in linked if ob.name == "statue")
        assert len(splats.read(statue)) == 10
        assert scenes.scene_of(statue) is not None
    local = [ob.segwild.uuid for ob in blender.data.objects if ob.library is None]
    assert len(set(local)) == len(local)
