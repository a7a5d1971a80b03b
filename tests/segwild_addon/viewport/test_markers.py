"""Marks of clicks stay on the splat that was hit, wherever that is by now."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from mathutils import Euler, Matrix, Vector

from segwild_addon.data import scenes, segments, splats
from segwild_addon.viewport import markers, picking, selection
from segwild_addon.viewport.stock import SHARED

from .views import view_from


@pytest.fixture
def clicked(blender, make_workspace):
    """A scene with an object `statue` that was clicked on; gives the scene and where the click hit."""
    path, _ = make_workspace(segments={"statue": (np.arange(30, 40), 0.9)})
    blender.ops.segwild.import_workspace(directory=str(path))
    scene = scenes.all_scenes()[0]
    statue = blender.data.objects["statue"]
    rows = splats.read(statue)
    rows.base[:, 3] = 0.95
    splats.write(statue, rows)
    blender.context.view_layer.update()
    view = view_from(np.array(statue.matrix_world @ Vector(rows.positions.mean(0))) - (0, 6, 0), focal=300.0)
    for u, v in [(view.cx + 10 * i, view.cy + 10 * j) for i in range(-8, 9) for j in range(-8, 9)]:
        hit = picking.hit(SHARED, view, u, v, lambda ob: ob == statue)
        if hit is not None:
            break
    selection.add_click(hit, True)
    yield scene, statue, hit
    SHARED.free()


def place(scene):
    return markers.on_its_row(selection.prompts()[0], scene)


def test_the_mark_is_where_the_click_hit(clicked):
    scene, _, hit = clicked
    np.testing.assert_allclose(place(scene), hit.location, atol=1e-4)


def test_the_mark_moves_with_the_object(blender, clicked):
    scene, statue, hit = clicked
    move = Matrix.LocRotScale(Vector((1, -2, 3)), Euler((0.3, 0.2, 1.0)), Vector((2, 2, 2)))
    statue.matrix_world = move @ statue.matrix_world
    blender.context.view_layer.update()
    np.testing.assert_allclose(place(scene), move @ Vector(hit.location), atol=1e-4)
    # Another origin changes the numbers in the object, and nothing that is seen.
    segments.centre(statue)
    blender.context.view_layer.update()
    SHARED.sync()
    np.testing.assert_allclose(place(scene), move @ Vector(hit.location), atol=1e-4)


def test_the_mark_goes_with_the_row_into_another_object(blender, clicked):
    scene, _, hit = clicked
    made = segments.make(scene, "head", np.array([hit.row]), 0, (1, 0, 0))
    made.location.x += 5
    blender.context.view_layer.update()
    SHARED.sync()
    np.testing.assert_allclose(place(scene), hit.location + np.array([5.0, 0, 0]), atol=1e-4)


def test_of_two_copies_the_one_that_was_hit_keeps_the_mark(blender, clicked):
    scene, statue, hit = clicked
    copy = statue.copy()
    copy.data = statue.data.copy()
    copy.name = "a"  # first in the order of names
    copy.segwild.uuid = "another"
    scene.objects.link(copy)
    copy.location.x += 5
    blender.context.view_layer.update()
    SHARED.sync()
    np.testing.assert_allclose(place(scene), hit.location, atol=1e-4)
    blender.data.objects.remove(statue)
    SHARED.sync()
    np.testing.assert_allclose(place(scene), hit.location + np.array([5.0, 0, 0]), atol=1e-4)


def test_of_a_row_that_nobody_has_nothing_is_known(blender, clicked):
    scene, statue, _ = clicked
    blender.data.objects.remove(statue)
    SHARED.sync()
    assert place(scene) is None
