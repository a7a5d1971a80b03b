"""A workspace folder into Blender: every row once, in the object it belongs to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.data import ply, scenes, splats
from segwild_addon.data.rows import concatenate
from segwild_addon.data.steps import finished
from segwild_addon.protocol.errors import InputError

Make = Callable[..., tuple[Any, dict[str, np.ndarray]]]
SEGMENTS = {"fountain": (np.arange(10, 30), 0.9), "statue": (np.arange(25, 40), 0.6)}


def imported(path: Any, warnings: list[str] | None = None) -> Any:
    return finished(scenes.importing(path, [].append if warnings is None else warnings.append))


def test_every_row_arrives_once_in_its_object(blender: Any, make_workspace: Make) -> None:
    path, arrays = make_workspace(segments=SEGMENTS)
    scene = imported(path)
    found = {ob.name: splats.read(ob) for ob in scenes.splat_objects(scene)}
    assert {name: len(rows) for name, rows in found.items()} == {"square rest": 30, "fountain": 20, "statue": 10}
    rows = concatenate(list(found.values()))
    assert sorted(rows.ids) == list(range(1, 61))
    own = rows.ids - 1
    np.testing.assert_array_equal(rows.positions, arrays["means"][own])
    np.testing.assert_array_equal(rows.sh, arrays["shN"][own])
    np.testing.assert_array_equal(rows.base[:, :3], arrays["sh0"][own, 0])
    np.testing.assert_allclose(rows.scales, np.exp(arrays["log_scales"][own]), rtol=1e-6)
    np.testing.assert_allclose(rows.base[:, 3], 1 / (1 + np.exp(-arrays["opacity_logits"][own])), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(rows.rotations, axis=1), 1, atol=1e-6)
    assert set(found["statue"].labels) == {2}
    assert set(found["statue"].ids) == set(range(31, 41))  # the fountain was surer of the rows that both claim


def test_objects_hang_below_a_root_and_find_their_scene(blender: Any, make_workspace: Make) -> None:
    scene = imported(make_workspace(segments=SEGMENTS)[0])
    for ob in scenes.splat_objects(scene):
        assert ob.parent == scenes.root(scene)
        assert scenes.scene_of(ob) == scene
        assert scenes.by_uuid(ob.segwild.uuid) == ob
    assert len({ob.segwild.uuid for ob in scenes.members(scene)}) == len(scenes.members(scene))
    assert scenes.folder(scene).name == "square"


def test_a_damaged_photo_list_costs_the_cameras_only(blender: Any, make_workspace: Make) -> None:
    path, _ = make_workspace()
    (path / "photos.json").write_text("[{}]")
    warnings: list[str] = []
    scene = imported(path, warnings)
    assert len(splats.read(scenes.rest(scene))) == 60
    assert not scenes.members(scene, "CAMERA")
    assert "without cameras" in warnings[0]


def test_rows_that_are_not_finite_are_told_and_left_out(blender: Any, make_workspace: Make) -> None:
    path, arrays = make_workspace(degree=0)
    file = path / "splats" / "base.safetensors"
    data = bytearray(file.read_bytes())
    start = data.index(arrays["means"].tobytes())
    data[start : start + 4] = np.float32(np.nan).tobytes()
    file.write_bytes(data)
    warnings: list[str] = []
    scene = imported(path, warnings)
    assert warnings == ["1 of 60 Gaussians are NaN, infinite or absurd and are not shown."]
    assert sorted(splats.read_ids(scenes.rest(scene))) == list(range(2, 61))


def test_objects_of_other_gaussians_are_left_out_with_a_sentence(blender: Any, make_workspace: Make) -> None:
    path, _ = make_workspace(segments=SEGMENTS)
    table = json.loads((path / "segments.json").read_text())
    (path / "segments.json").write_text(json.dumps(table | {"splats": "0" * 32}))
    warnings: list[str] = []
    scene = imported(path, warnings)
    assert len(splats.read(scenes.rest(scene))) == 60
    assert "other Gaussians" in warnings[0]


@pytest.mark.parametrize("broken", ["splats/base.safetensors", "scene.json"])
def test_a_damaged_file_leaves_nothing_behind(blender: Any, make_workspace: Make, broken: str) -> None:
    path, _ = make_workspace()
    (path / broken).write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(InputError) as caught:
        imported(path)
    assert caught.value.code == "file-damaged"
    assert not scenes.all_scenes()
    assert not blender.data.objects
    assert not blender.data.pointclouds


def test_an_import_that_is_given_up_leaves_nothing_behind(blender: Any, make_workspace: Make) -> None:
    work = scenes.importing(make_workspace(segments=SEGMENTS)[0], [].append)
    while next(work) < 0.6:
        pass
    work.close()
    assert not blender.data.objects
    assert not blender.data.pointclouds
    assert not blender.data.collections
    assert not blender.data.cameras


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.8, 0.97])
def test_a_scene_that_vanishes_ends_its_import(blender: Any, make_workspace: Make, share: float) -> None:
    """As an undo does while the import runs."""
    work = scenes.importing(make_workspace(segments=SEGMENTS)[0], [].append)
    while next(work) < share:
        pass
    scenes.remove(scenes.all_scenes()[0])
    with pytest.raises(InputError, match="interrupted"):
        finished(work)
    assert not blender.data.objects
    assert not blender.data.pointclouds
    assert not blender.data.cameras


def test_a_scene_can_be_removed(blender: Any, make_workspace: Make) -> None:
    path, _ = make_workspace(segments=SEGMENTS)
    first, second = imported(path), imported(path)
    scenes.remove(first)
    assert scenes.all_scenes() == [second]
    assert len(blender.data.pointclouds) == 3


def test_rows_of_a_splat_file_are_numbered_for_it_alone(blender: Any, make_workspace: Make, tmp_path: Any) -> None:
    """Or box and brush could not tell them apart; a workspace that is chosen for them later has others."""
    path, _ = make_workspace()
    rows = splats.read(scenes.rest(imported(path)))
    finished(ply.writing(tmp_path / "pot.ply", rows.take(np.arange(20))))
    scene = finished(scenes.importing_ply(tmp_path / "pot.ply", [].append))
    np.testing.assert_array_equal(splats.read_ids(scenes.rest(scene)), np.arange(1, 21))
    scene.segwild.workspace = str(path)
    with pytest.raises(InputError, match="is another one"):
        scenes.trained(scene)
