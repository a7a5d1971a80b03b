"""Export and import through the buttons: places, light, scopes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.data import export, light, ply, scenes, splats
from segwild_addon.data.placement import moved
from segwild_addon.data.rows import by_id, concatenate
from segwild_addon.data.steps import Aside, finished
from segwild_addon.viewport import framing

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]
SEGMENTS = {"fountain": (np.arange(10, 30), 0.9), "statue": (np.arange(30, 40), 0.6)}


@pytest.fixture
def scene(blender: Any, make_workspace: Make) -> Any:
    path, _ = make_workspace(segments=SEGMENTS)
    assert blender.ops.segwild.import_workspace(directory=str(path)) == {"FINISHED"}
    return scenes.all_scenes()[0]


def exported(blender: Any, tmp_path: Path, **options: Any) -> Any:
    path = tmp_path / "out.ply"
    assert blender.ops.segwild.export_ply(filepath=str(path), **options) == {"FINISHED"}
    return ply.read(path).rows(slice(None))


def test_an_untouched_scene_comes_out_as_it_was_trained(
    blender: Any, scene: Any, make_workspace: Make, tmp_path: Path
) -> None:
    _, arrays = make_workspace(segments=SEGMENTS)
    scenes.root(scene).location = (5, 6, 7)  # where the scene stands in Blender is no change of its splats
    scenes.root(scene).rotation_euler = (0.3, 0.2, 0.1)
    blender.context.view_layer.update()
    found = exported(blender, tmp_path)
    np.testing.assert_array_equal(found.positions, arrays["means"])
    np.testing.assert_array_equal(found.sh, arrays["shN"])
    np.testing.assert_array_equal(found.base[:, :3], arrays["sh0"][:, 0])
    np.testing.assert_allclose(found.scales, np.exp(arrays["log_scales"]), rtol=1e-5)


def test_objects_are_written_where_they_were_moved(blender: Any, scene: Any, tmp_path: Path) -> None:
    ob = blender.data.objects["statue"]
    ob.location, ob.rotation_euler, ob.scale = (1, 2, 3), (0.5, 0, 1), (2, 2, 2)
    scenes.root(scene).scale = (3, 3, 3)
    blender.context.view_layer.update()
    for other in blender.context.view_layer.objects:
        other.select_set(other == ob)
    rows = splats.read(ob)
    local = moved(rows, np.array(ob.matrix_local))
    found = exported(blender, tmp_path, scope="SELECTED")
    np.testing.assert_allclose(found.positions, local.positions, atol=1e-4)
    np.testing.assert_allclose(found.scales, local.scales, rtol=1e-4)
    np.testing.assert_allclose(found.sh, local.sh, atol=1e-4)
    world = exported(blender, tmp_path, scope="SELECTED", frame="WORLD")
    np.testing.assert_allclose(world.scales, 6 * rows.scales, rtol=1e-4)


def test_scopes(blender: Any, scene: Any, tmp_path: Path) -> None:
    blender.data.objects["statue"].hide_set(True)
    blender.context.view_layer.update()
    assert len(exported(blender, tmp_path, scope="ALL")) == 60
    assert len(exported(blender, tmp_path, scope="VISIBLE")) == 50
    for other in blender.context.view_layer.objects:
        other.select_set(False)
    with pytest.raises(RuntimeError, match="No splat object is selected"):
        blender.ops.segwild.export_ply(filepath=str(tmp_path / "none.ply"), scope="SELECTED")
    assert not (tmp_path / "none.ply").exists()


def test_modifiers_are_left_out_as_they_are_in_the_views(blender: Any, scene: Any, tmp_path: Path) -> None:
    ob = blender.data.objects["statue"]
    nodes = blender.data.node_groups.new("nothing", "GeometryNodeTree")
    nodes.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    nodes.nodes.new("NodeGroupOutput")
    ob.modifiers.new("nothing", "NODES").node_group = nodes
    blender.context.view_layer.update()
    assert not len(ob.evaluated_get(blender.context.evaluated_depsgraph_get()).data.points)
    assert len(exported(blender, tmp_path)) == 60


def test_looks_are_baked_or_left_out(blender: Any, scene: Any, tmp_path: Path) -> None:
    ob = blender.data.objects["fountain"]
    neutral = by_id(concatenate([splats.read(each) for each in scenes.splat_objects(scene)]))
    ob.segwild.look_a, ob.segwild.exposure = "photo-1", -0.5
    lit = light.shown(ob, splats.read(ob))
    found = exported(blender, tmp_path)
    np.testing.assert_allclose(found.base[10:30, :3], lit.base[:, :3], atol=1e-6)
    np.testing.assert_array_equal(found.base[40:, :3], neutral.base[40:, :3])
    np.testing.assert_array_equal(exported(blender, tmp_path, lit=False).base[:, :3], neutral.base[:, :3])


def test_what_was_taken_is_written_whatever_happens_in_blender_then(blender: Any, scene: Any) -> None:
    """The second half of an export runs in a thread, while the person goes on working."""
    ob = blender.data.objects["fountain"]
    ob.segwild.look_a, ob.segwild.exposure = "photo-1", -0.5
    wanted = export.gathered(scenes.splat_objects(scene))
    taken = finished(export.taking(scenes.splat_objects(scene)))
    assert sum(map(len, taken)) == 60
    splats.keep(ob, np.arange(20) < 3)
    ob.segwild.look_a, ob.location = "photo-0", (1, 2, 3)
    blender.data.objects.remove(blender.data.objects["statue"])
    found = Aside(export.joining(taken), "test").result()
    for name in ("positions", "scales", "rotations", "base", "sh", "ids", "labels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_a_file_of_another_program_stands_upright(blender: Any, scene: Any, tmp_path: Path) -> None:
    ob = blender.data.objects["statue"]
    path = tmp_path / "pot.ply"
    scenes.rest(scene).select_set(False)
    ob.select_set(True)
    assert blender.ops.segwild.export_ply(filepath=str(path), scope="SELECTED") == {"FINISHED"}
    assert blender.ops.segwild.import_ply(filepath=str(path)) == {"FINISHED"}
    blender.context.view_layer.update()
    found = blender.data.objects["pot"]
    np.testing.assert_allclose(np.array(found.matrix_world) @ [0, 1, 0, 0], [0, 0, -1, 0], atol=1e-6)
    again = exported(blender, tmp_path, scope="ALL")
    assert len(again) == 70


def test_what_cannot_be_read_is_said_and_leaves_nothing(blender: Any, tmp_path: Path) -> None:
    (tmp_path / "a.ply").write_bytes(b"ply\n")
    with pytest.raises(RuntimeError, match="header does not end"):
        blender.ops.segwild.import_ply(filepath=str(tmp_path / "a.ply"))
    with pytest.raises(RuntimeError, match="not a SegWild workspace"):
        blender.ops.segwild.import_workspace(directory=str(tmp_path))
    assert not blender.data.objects
    assert not blender.ops.segwild.export_ply.poll()


def test_an_object_around_the_scene_is_told(blender: Any, scene: Any, make_workspace: Make) -> None:
    """Blender's first cube, most often."""
    assert framing.hidden(scene) == ""
    blender.ops.mesh.primitive_cube_add(size=4)
    blender.context.view_layer.update()
    cube = blender.context.view_layer.objects.active
    assert framing.hidden(scene).startswith(f"{cube.name} stands around")
    cube.location = (50, 0, 0)
    blender.context.view_layer.update()
    assert framing.hidden(scene) == ""
    cube.location, cube.display_type = (0, 0, 0), "WIRE"
    blender.context.view_layer.update()
    assert framing.hidden(scene) == ""


def test_what_was_imported_is_active_and_selected_alone(blender: Any, scene: Any, tmp_path: Path) -> None:
    layer = blender.context.view_layer
    assert layer.objects.active == scenes.rest(scene)
    cube = blender.data.objects.new("cube", None)
    blender.context.scene.collection.objects.link(cube)
    cube.select_set(True)
    exported(blender, tmp_path, scope="ALL")
    blender.ops.segwild.import_ply(filepath=str(tmp_path / "out.ply"))
    other = next(each for each in scenes.all_scenes() if each != scene)
    assert layer.objects.active == scenes.rest(other)
    assert blender.context.selected_objects == [scenes.rest(other)]
    assert scenes.active(blender.context) == other  # the panels show it
