"""Where the workspace has the rows of an object, whatever was done to its origin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.data import scenes, segments, splats, trained
from segwild_addon.data.steps import finished

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]


@pytest.fixture
def statue(blender: Any, make_workspace: Make) -> Any:
    path, arrays = make_workspace(segments={"statue": (np.arange(30, 60), 0.9)})
    finished(scenes.importing(path, lambda sentence: None))
    blender.context.view_layer.update()
    ob = blender.data.objects["statue"]
    return ob, arrays["means"][30:60].astype(float)


def test_an_object_as_imported_needs_no_change(statue: Any) -> None:
    np.testing.assert_array_equal(trained.scene_from_object(statue[0]), np.eye(4))


def test_a_new_origin_leaves_splats_ids_and_places(statue: Any, blender: Any) -> None:
    ob, means = statue
    world = np.array(ob.matrix_world)
    places = splats.column(ob, "position", 3) @ world[:3, :3].T + world[:3, 3]
    ids = splats.read_ids(ob)
    child = blender.data.objects.new("child", None)
    blender.context.scene.collection.objects.link(child)
    child.parent = ob
    blender.context.view_layer.update()
    at = np.array(child.matrix_world)
    segments.centre(ob)
    new, rows = np.array(ob.matrix_world), splats.column(ob, "position", 3)
    np.testing.assert_allclose(rows @ new[:3, :3].T + new[:3, 3], places, atol=2e-6)
    np.testing.assert_array_equal(splats.read_ids(ob), ids)
    np.testing.assert_allclose(np.median(rows, axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.array(child.matrix_world), at, atol=2e-6)
    matrix = trained.scene_from_object(ob)
    np.testing.assert_allclose(rows @ matrix[:3, :3].T + matrix[:3, 3], means, atol=1e-5)


def test_an_applied_transform_is_undone(statue: Any, blender: Any) -> None:
    from mathutils import Euler, Matrix

    ob, means = statue
    ob.matrix_basis = Matrix.LocRotScale((0.3, -2.0, 0.5), Euler((0.4, 1.0, -0.7)), (1.7,) * 3)
    segments.apply_transform(ob)
    matrix, rows = trained.scene_from_object(ob), splats.column(ob, "position", 3)
    assert abs(matrix[0, 3]) > 0.01
    np.testing.assert_allclose(rows @ matrix[:3, :3].T + matrix[:3, 3], means, atol=1e-4)


def test_what_cannot_be_known_stays(statue: Any, blender: Any) -> None:
    ob, _ = statue
    random = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    splats.write_column(ob, "position", random)
    np.testing.assert_array_equal(trained.scene_from_object(ob), np.eye(4))
    segments.centre(ob)
    scenes.scene_of(ob).segwild.workspace = "/nowhere"
    np.testing.assert_array_equal(trained.scene_from_object(ob), np.eye(4))
