"""The buttons for objects and looks: when they are offered, what they say, what they do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.data import scenes, segments, splats
from segwild_addon.operators import objects

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]
SEGMENTS = {"fountain": (np.arange(10, 30), 0.9), "statue": (np.arange(30, 40), 0.6)}


@pytest.fixture
def scene(blender: Any, make_workspace: Make) -> Any:
    path, _ = make_workspace(segments=SEGMENTS)
    blender.ops.segwild.import_workspace(directory=str(path))
    return scenes.all_scenes()[0]


def select(blender: Any, *names: str) -> None:
    blender.context.view_layer.update()
    for ob in blender.context.view_layer.objects:
        ob.select_set(ob.name in names)
    blender.context.view_layer.objects.active = blender.data.objects[names[0]] if names else None


def mark(ob: Any, chosen: np.ndarray, name: str = segments.SELECTED) -> None:
    if name not in ob.data.attributes:
        ob.data.attributes.new(name, "BOOLEAN", "POINT")
    ob.data.attributes[name].data.foreach_set("value", chosen)


def test_nothing_is_offered_without_splats(blender: Any, scene: Any) -> None:
    operators = blender.ops.segwild
    names = ("join", "dissolve_object", "erase_splats", "restore_splats", "apply_transform", "mark_asset", "bake_look")
    select(blender, "square root")
    assert not any(getattr(operators, name).poll() for name in names)
    select(blender, "statue")
    assert all(getattr(operators, name).poll() for name in names if name != "join")
    assert not operators.join.poll()
    select(blender, "statue", "fountain")
    assert operators.join.poll()


def test_every_button_has_a_sentence(blender: Any) -> None:
    found = [name for name in dir(blender.ops.segwild) if not name.startswith("_")]
    assert len(found) >= 14
    for name in found:
        kind = getattr(blender.ops.segwild, name).get_rna_type()
        assert kind.description, name
        assert not kind.description.endswith("."), name


def test_objects_are_made_of_what_is_selected_by_hand(blender: Any, scene: Any) -> None:
    mark(scenes.rest(scene), np.arange(30) < 4, ".selection")
    mark(blender.data.objects["statue"], np.arange(10) < 2)
    select(blender, "square rest", "statue", "fountain")
    assert blender.ops.segwild.make_object(name="thing") == {"FINISHED"}
    assert list(splats.read_ids(blender.data.objects["thing"])) == [1, 2, 3, 4, 31, 32]
    with pytest.raises(RuntimeError, match="No splat is selected"):
        blender.ops.segwild.make_object(name="nothing")


def test_parts_of_objects(blender: Any, scene: Any) -> None:
    fountain, statue = (blender.data.objects[name] for name in ("fountain", "statue"))
    select(blender, "statue", "square rest")
    assert not blender.ops.segwild.set_parent.poll()  # the rest is no object
    assert not blender.ops.segwild.clear_parent.poll()
    select(blender, "fountain", "statue")
    assert blender.ops.segwild.set_parent() == {"FINISHED"}
    assert statue.parent == fountain
    select(blender, "statue", "fountain")
    with pytest.raises(RuntimeError, match="cannot be a part of"):
        blender.ops.segwild.set_parent()
    assert blender.ops.segwild.clear_parent() == {"FINISHED"}
    assert statue.parent == fountain.parent == scenes.root(scene)
    assert not blender.ops.segwild.clear_parent.poll()


def test_erase_and_restore(blender: Any, scene: Any) -> None:
    mark(blender.data.objects["statue"], np.arange(10) < 2)
    select(blender, "statue")
    blender.ops.segwild.erase_splats()
    assert (splats.read(blender.data.objects["statue"]).base[:, 3] == 0).sum() == 2
    blender.ops.segwild.restore_splats()
    assert (splats.read(blender.data.objects["statue"]).base[:, 3] > 0).all()


def test_join_dissolve_recover(blender: Any, scene: Any) -> None:
    select(blender, "statue", "fountain")
    blender.ops.segwild.join()
    assert len(blender.data.objects["statue"].data.points) == 30
    select(blender, "statue", "square rest")
    blender.ops.segwild.dissolve_object()
    assert [len(ob.data.points) for ob in scenes.splat_objects(scene)] == [60]
    select(blender, "square rest")
    with pytest.raises(RuntimeError, match="is the rest"):
        blender.ops.segwild.dissolve_object()
    splats.keep(scenes.rest(scene), np.arange(60) < 50)
    blender.ops.segwild.recover_rows()
    assert len(scenes.rest(scene).data.points) == 60


@pytest.mark.parametrize(("flat", "other"), [("statue", "fountain"), ("fountain", "statue")])
def test_what_one_object_cannot_is_done_to_the_others(blender: Any, scene: Any, flat: str, other: str) -> None:
    blender.data.objects[flat].scale = (0, 1, 1)
    blender.data.objects[other].location = (1, 0, 0)
    before = splats.read(blender.data.objects[flat])
    select(blender, "statue", "fountain")
    assert blender.ops.segwild.apply_transform() == {"FINISHED"}  # a step of undo
    assert tuple(blender.data.objects[other].location) == (0, 0, 0)
    assert tuple(blender.data.objects[flat].scale) == (0, 1, 1)
    np.testing.assert_array_equal(splats.read(blender.data.objects[flat]).positions, before.positions)
    assert blender.ops.segwild.dissolve_object() == {"FINISHED"}
    assert other not in blender.data.objects
    select(blender, flat)
    for operator in (blender.ops.segwild.apply_transform, blender.ops.segwild.dissolve_object):
        with pytest.raises(RuntimeError, match="scaled to zero"):
            operator()


def test_a_light_that_one_object_lacks_is_baked_into_the_others(blender: Any, scene: Any) -> None:
    for name, photo in (("statue", "photo-0"), ("fountain", "nobody")):
        blender.data.objects[name].segwild.look_a = photo
    select(blender, "statue", "fountain")
    assert blender.ops.segwild.bake_look() == {"FINISHED"}
    looks = [blender.data.objects[name].segwild.look_a for name in ("statue", "fountain")]
    assert looks == ["", "nobody"]
    select(blender, "fountain")
    with pytest.raises(RuntimeError, match="no look of its own"):
        blender.ops.segwild.bake_look()


def test_assets_are_marked(blender: Any, scene: Any) -> None:
    select(blender, "statue")
    blender.ops.segwild.mark_asset()
    assert blender.data.objects["statue"].asset_data.description == "10 Gaussian splats"


def test_an_asset_in_the_light_of_a_photo_needs_a_bake(blender: Any, scene: Any) -> None:
    statue = blender.data.objects["statue"]
    select(blender, "statue")
    operator = SimpleNamespace()
    for photo, advised in (("", False), ("photo-0", True)):
        statue.segwild.look_a = photo
        said = objects.SEGWILD_OT_mark_asset.work(operator, blender.context)
        assert (objects.TO_BAKE in said) == advised


def test_looks_are_set_for_the_scene_or_what_is_selected(blender: Any, scene: Any) -> None:
    select(blender, "statue")
    blender.ops.segwild.set_look(photo="photo-0")
    blender.ops.segwild.set_look(photo="photo-1", second="photo-0", mix=0.5, scope="SELECTED")
    looks = {ob.name: (ob.segwild.look_a, ob.segwild.look_mix) for ob in scenes.splat_objects(scene)}
    assert looks == {"square rest": ("photo-0", 0), "fountain": ("photo-0", 0), "statue": ("photo-1", 0.5)}
    with pytest.raises(RuntimeError, match="no look of its own"):
        blender.ops.segwild.set_look(photo="nobody")
    colours = splats.read(blender.data.objects["statue"]).base
    blender.ops.segwild.bake_look()
    assert np.abs(splats.read(blender.data.objects["statue"]).base - colours).max() > 0.01
    assert blender.data.objects["statue"].segwild.look_a == ""
    blender.ops.segwild.original_colours()
    np.testing.assert_array_equal(splats.read(blender.data.objects["statue"]).base, colours)
    blender.ops.segwild.set_look(photo="")
    assert not any(ob.segwild.look_a for ob in scenes.splat_objects(scene))
    blender.data.objects["statue"].segwild.saturation = 0
    blender.ops.segwild.reset_look()
    assert blender.data.objects["statue"].segwild.saturation == 1
