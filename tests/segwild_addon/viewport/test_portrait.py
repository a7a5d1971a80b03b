"""Pictures for the asset browser. Those that are drawn need the bpy module of Blender 5.2 or later."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.data import scenes, splats
from segwild_addon.data.rows import rows
from segwild_addon.protocol.errors import SetupError
from segwild_addon.viewport import portrait
from segwild_addon.viewport.stock import SHARED

RED, BLUE = (0.9, 0.1, 0.1), (0.1, 0.1, 0.9)


@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(0, 1))
def test_the_inner_rows_fill_the_picture_from_any_side(seed, size, flat):
    random = np.random.default_rng(seed)
    points = random.normal(size=(400, 3)) * (size, size, size * flat) + 10 * random.normal(size=3)
    points[0] = 1e6  # an outlier counts for nothing
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    view = portrait.filled(points, np.full(400, 0.01 * size), turn)
    at = (points[1:] @ view.cam_from_world[:3, :3].T) + view.cam_from_world[:3, 3]
    off = np.abs(at[:, :2] / at[:, 2:]).max(1) * view.fx / (portrait.SIZE_PX / 2)
    assert np.quantile(off, 0.98) <= 1
    assert off.max() > 0.7


@pytest.fixture
def pair(blender):
    """A red ball at (0, 0, 0) and, nearer to whoever looks from the front, a blue one; both of one scene."""
    random = np.random.default_rng(0)
    scene, made = scenes.new("pair"), []
    for name, colour, y in (("red", RED, 0.0), ("blue", BLUE, -1.5)):
        positions = random.normal(0, 0.2, (500, 3)).astype(np.float32)
        base = np.tile(np.append((np.array(colour) - 0.5) / 0.28209479, 0.9), (500, 1)).astype(np.float32)
        turns = np.tile([1, 0, 0, 0], (500, 1)).astype(np.float32)
        ob = splats.create(name, rows(positions, np.full((500, 3), 0.08, np.float32), turns, base))
        scenes.adopt(ob, scene, "REST" if name == "red" else "SEGMENT")
        ob.location.y = y
        made.append(ob)
    blender.context.view_layer.update()
    yield made
    SHARED.free()


def pixels(ob):
    """(H, W, 4) from the top, premultiplied."""
    width, height = ob.preview.image_size
    values = np.empty(width * height * 4, np.float32)
    ob.preview.image_pixels_float.foreach_get(values)
    return values.reshape(height, width, 4)[::-1]


def select(blender, *objects):
    for ob in blender.context.view_layer.objects:
        ob.select_set(ob in objects)
    blender.context.view_layer.objects.active = objects[0]


def drawn():
    gpu = pytest.importorskip("gpu")
    return hasattr(gpu, "init")


def test_an_asset_has_a_picture_of_itself_alone(blender, pair):
    if not drawn():
        pytest.skip("this Blender has graphics in its window only; 5.2 has them without")
    red, blue = pair
    select(blender, red, blue)
    assert blender.ops.segwild.mark_asset() == {"FINISHED"}
    for ob, colour in ((red, RED), (blue, BLUE)):
        assert ob.asset_data is not None
        assert tuple(ob.preview.image_size) == (portrait.SIZE_PX,) * 2
        picture = pixels(ob)
        seen = picture[..., 3] > 0.9
        assert 0.15 < seen.mean() < 0.9
        assert np.abs(picture[seen][:, :3] / picture[seen][:, 3:] - colour).max() < 0.02  # nothing of the other ball
        assert (picture[..., :3] <= picture[..., 3:] + 1 / 255).all()
        assert picture[[0, 0, -1, -1], [0, -1, 0, -1], 3].max() < 0.05  # nothing behind it


def test_what_has_no_splat_to_see_gets_no_picture(blender, pair):
    if not drawn():
        pytest.skip("this Blender has graphics in its window only; 5.2 has them without")
    red, _ = pair
    splats.keep(red, np.zeros(500, bool))
    select(blender, red)
    assert blender.ops.segwild.mark_asset() == {"FINISHED"}
    assert red.asset_data is not None
    assert red.preview is None


def test_without_graphics_it_is_marked_all_the_same(blender, pair, monkeypatch):
    def no_graphics():
        raise SetupError("no-graphics", "This Blender draws nothing without a window.")

    monkeypatch.setattr(portrait.picture, "check", no_graphics)
    red, _ = pair
    select(blender, red)
    assert blender.ops.segwild.mark_asset() == {"FINISHED"}
    assert red.asset_data is not None
    assert red.preview is None
