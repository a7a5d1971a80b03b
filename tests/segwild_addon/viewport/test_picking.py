"""Clicks on splats, against light followed through every row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.data import scenes, splats
from segwild_addon.data.rows import rows
from segwild_addon.viewport import picking
from segwild_addon.viewport.stock import Stock

from . import reference
from .views import VIEWS, view_from


@pytest.fixture
def add(blender):
    """Puts raw arrays into a scene as an object with a matrix; gives the object."""
    scene = scenes.new("test", Path("/nowhere"))

    def add(name, arrays, matrix=None, first_id=1):
        positions, scales, quats, opacities, base, sh = arrays
        ids = np.arange(first_id, first_id + len(positions), dtype=np.int32)
        ob = splats.create(name, rows(positions, scales, quats, np.c_[base, opacities].astype(np.float32), sh, ids))
        scenes.adopt(ob, scene, "SEGMENT", 1)
        if matrix is not None:
            from mathutils import Matrix

            ob.matrix_world = Matrix(matrix)
        blender.context.view_layer.update()
        return ob

    return add


def brute_force(objects, view, pixels):
    """For each pixel (P, 2): (object number, row) at which half of the light is absorbed, or None; how clearly."""
    passed = []
    for number, (arrays, matrix) in enumerate(objects):
        cam = view.cam_from_world @ matrix
        depth = arrays[0] @ cam[2, :3] + cam[2, 3]
        for row in range(len(depth)):
            one = [array[row : row + 1] for array in arrays]
            _, alpha, _ = reference.picture(*one, matrix, view, at=pixels.T)
            passed.append((depth[row], number, row, alpha[0]))
    passed.sort(key=lambda each: each[0])
    for pixel in range(len(pixels)):
        light, found, margin = 1.0, None, 0.0
        for _, number, row, alpha in passed:
            before, light = light, light * (1 - alpha[pixel])
            if light <= 0.5:
                found, margin = (number, row), min(before - 0.5, 0.5 - light)
                break
        yield found, margin if found else light - 0.5


@pytest.mark.parametrize("name", VIEWS)
def test_a_pick_is_where_half_of_the_light_is_gone(add, name):
    from mathutils import Euler, Matrix

    view = VIEWS[name]
    placed = np.array(Matrix.LocRotScale((0.2, 0.1, -0.3), Euler((1.0, 0.2, 0.5)), (0.8, 1.3, 0.6)))
    objects = [
        (reference.random_rows(120, 1, bases=0), np.eye(4)),
        (reference.random_rows(80, 2, bases=0), placed),
    ]
    obs = [add(str(number), arrays, matrix, 1 + 1000 * number) for number, (arrays, matrix) in enumerate(objects)]
    stock = Stock()
    random = np.random.default_rng(4)
    hits = clear = 0
    pixels = random.uniform((0, 0), (view.width, view.height), (40, 2))
    for (u, v), (expected, margin) in zip(pixels, brute_force(objects, view, pixels), strict=True):
        if margin < 1e-4:
            continue  # float32 in Blender's matrices may decide otherwise
        clear += 1
        hit = picking.hit(stock, view, u, v, lambda ob: True)
        if expected is None:
            assert hit is None
            continue
        hits += 1
        number, row = expected
        assert (hit.object_name, hit.index, hit.row) == (str(number), row, row + 1 + 1000 * number)
        assert hit.object_uuid == obs[number].segwild.uuid
        assert hit.scene_uuid == obs[number].segwild.scene_uuid
        # The point lies on the ray, as deep as the row's centre.
        cam = view.cam_from_world @ objects[number][1]
        x, y, z = cam[:3, :3] @ hit.position + cam[:3, 3]
        assert z == pytest.approx(float(objects[number][0][0][row] @ cam[2, :3] + cam[2, 3]), abs=1e-4)
        divisor = 1 if view.orthographic else z
        assert view.fx * x / divisor + view.cx == pytest.approx(u, abs=1e-2)
        assert view.fy * y / divisor + view.cy == pytest.approx(v, abs=1e-2)
        world = objects[number][1]
        np.testing.assert_allclose(world[:3, :3] @ hit.position + world[:3, 3], hit.location, atol=1e-5)
    assert clear > 30
    assert hits >= 2


def test_pixel_and_eye_are_in_the_rows_own_frame(add):
    """A scene that is shown ten times as large has pixels a tenth as large on its own scale."""
    one = (
        np.zeros((1, 3), np.float32),
        np.full((1, 3), 0.1, np.float32),
        np.array([[1, 0, 0, 0]], np.float32),
        np.ones(1, np.float32),
        np.zeros((1, 3), np.float32),
        np.zeros((1, 0, 3), np.float32),
    )
    add("one", one, np.diag([10.0, 10, 10, 1]))
    view = view_from((0, -20, 0), focal=100.0)
    hit = picking.hit(Stock(), view, view.cx, view.cy, lambda ob: True)
    assert hit.pixel == pytest.approx(20 / 100 / 10)
    np.testing.assert_allclose(hit.eye, (0, -2, 0), atol=1e-6)
    np.testing.assert_allclose(hit.position, (0, 0, 0), atol=1e-6)


def test_hidden_faded_and_erased_rows_are_not_hit(add):
    arrays = reference.random_rows(200, 3, bases=0, spread=0.3)
    front = add("front", arrays)
    view = VIEWS["perspective"]
    stock = Stock()
    assert picking.hit(stock, view, view.cx, view.cy, lambda ob: True).object_name == "front"
    assert picking.hit(stock, view, view.cx, view.cy, lambda ob: ob != front) is None
    front.segwild.opacity = 0.01
    assert picking.hit(stock, view, view.cx, view.cy, lambda ob: True) is None
    front.segwild.opacity = 1.0
    base = splats.column(front, splats.BASE, 4)
    base[:, 3] = 0
    splats.write_base(front, base)
    stock.changed(front.segwild.uuid)
    assert picking.hit(stock, view, view.cx, view.cy, lambda ob: True) is None
