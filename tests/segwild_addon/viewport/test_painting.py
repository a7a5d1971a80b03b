"""What the graphics card draws, against float64 numpy. Needs the bpy module of Blender 5.2 or later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")
gpu = pytest.importorskip("gpu")
if not hasattr(gpu, "init"):
    pytest.skip("this Blender has graphics in its window only; 5.2 has them without", allow_module_level=True)

from segwild_addon.data.rows import rows  # noqa: E402
from segwild_addon.viewport import buffers, painting, sort  # noqa: E402

from . import reference  # noqa: E402
from .views import VIEWS, view_from  # noqa: E402

# One level of 255 lies between what the thresholds keep and drop, and a pixel on a threshold may fall either way.
MEAN_OFF, MOST_OFF = 0.15 / 255, 3 / 255


@pytest.fixture(scope="module")
def painter():
    gpu.init()
    painter = painting.Painter()
    yield painter
    painter.free()


def layer_of(arrays):
    positions, scales, quats, opacities, base, sh = arrays
    ids = np.arange(1, len(positions) + 1, dtype=np.int32)
    layer = buffers.Layer()
    layer.set(
        {"all": buffers.packed(rows(positions, scales, quats, np.c_[base, opacities].astype(np.float32), sh, ids))}
    )
    return layer


def stroke(layer, view, matrix, **options):
    """The stroke that draws a layer of one object."""
    cam = view.cam_from_world @ matrix
    if view.orthographic:
        eye = np.append(np.linalg.inv(cam[:3, :3]) @ (0, 0, 1), 0)
    else:
        eye = np.append(np.linalg.inv(cam)[:3, 3], 1)
    shown = {"grading": np.eye(3), "look": np.eye(3), "opacity": 1.0, "degree": 3, **options}
    order = sort.order_of(layer.positions, [sort.Part(0, len(layer), cam[2, :3].astype(np.float32), cam[2, 3])])
    return painting.Stroke(
        layer,
        buffers.texture(order, "R32F", "order"),
        len(order),
        buffers.object_texture(buffers.object_table([buffers.Shown(cam, eye, **shown)])),
    )


def pixels(framebuffer, view, slot=0):
    """(H, W, 4) from the top."""
    values = np.array(framebuffer.read_color(0, 0, view.width, view.height, 4, slot, "FLOAT"))
    return values.reshape(view.height, view.width, 4)[::-1]


def assert_close(got, image, alpha):
    expected = np.dstack([image, alpha])
    assert np.abs(got - expected).mean() < MEAN_OFF
    assert np.abs(got - expected).max() < MOST_OFF


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("bases", [0, 3, 8, 15])
def test_pictures_are_those_of_the_reference(painter, name, bases):
    view = VIEWS[name]
    arrays = reference.random_rows(150, bases, bases=bases)
    framebuffer, _ = painter.paint([stroke(layer_of(arrays), view, np.eye(4))], view)
    image, alpha, _ = reference.picture(*arrays, np.eye(4), view)
    assert alpha.mean() > 0.03  # the picture shows something
    assert_close(pixels(framebuffer, view), image, alpha)


@pytest.mark.parametrize("name", ["perspective", "orthographic"])
def test_objects_may_be_moved_turned_and_stretched(painter, name):
    from mathutils import Euler, Matrix

    matrix = np.array(Matrix.LocRotScale((0.3, -0.2, 0.5), Euler((0.4, 1.0, -0.7)), (0.5, 1.6, 0.9)))
    arrays = reference.random_rows(150, 5)
    view = VIEWS[name]
    framebuffer, _ = painter.paint([stroke(layer_of(arrays), view, matrix)], view)
    assert_close(pixels(framebuffer, view), *reference.picture(*arrays, matrix, view)[:2])


def test_opacity_degree_and_grading_act_at_once(painter):
    positions, scales, quats, opacities, base, sh = arrays = reference.random_rows(150, 6)
    view = VIEWS["perspective"]
    grade = np.array([[0.5, 0.2, 0.0], [0.0, 1.4, 0.0], [0.1, 0.0, 0.8]])
    layer = layer_of(arrays)
    layer.textures()
    before = buffers.uploads.copy()
    framebuffer, _ = painter.paint([stroke(layer, view, np.eye(4), grading=grade, opacity=0.4, degree=1)], view)
    expected = reference.picture(
        positions, scales, quats, opacities * np.float32(0.4), base, sh[:, :3], np.eye(4), view, grade=grade
    )
    assert_close(pixels(framebuffer, view), *expected[:2])
    spent = buffers.uploads - before
    assert set(spent) <= {"order", "objects", "nothing"}


def test_a_look_turns_the_harmonics(painter):
    positions, scales, quats, opacities, base, sh = arrays = reference.random_rows(100, 7)
    gain = np.array([[1.2, 0.1, 0.0], [0.0, 0.7, 0.1], [0.05, 0.0, 1.1]])
    view = VIEWS["perspective"]
    framebuffer, _ = painter.paint([stroke(layer_of(arrays), view, np.eye(4), look=gain)], view)
    expected = reference.picture(positions, scales, quats, opacities, base, sh @ gain.T, np.eye(4), view)
    assert_close(pixels(framebuffer, view), *expected[:2])


def one_splat(depth_in_front, *, opacity=0.9, color=(0.8, 0.3, 0.1)):
    """Arrays of a round splat on the axis of a view from (0, -5, 0)."""
    base = (np.array([color]) - 0.5) / reference.SH_C0
    return (
        np.array([[0, depth_in_front - 5, 0]], np.float32),
        np.full((1, 3), 0.4, np.float32),
        np.array([[1, 0, 0, 0]], np.float32),
        np.array([opacity], np.float32),
        base.astype(np.float32),
        np.zeros((1, 0, 3), np.float32),
    )


def test_depth_hides_what_lies_behind(painter):
    view = view_from((0, -5, 0), width=40, height=30)
    a, b = view.depth_terms
    wall = np.ones((30, 40), np.float32)
    wall[:, :20] = (a + b / 3.0 + 1) / 2  # a wall at distance 3 before the left half
    behind = buffers.uploaded(wall[::-1].copy().reshape(-1), (40, 30), "R32F", "depth")
    for distance, hidden in ((2.9, False), (3.1, True)):
        framebuffer, _ = painter.paint([stroke(layer_of(one_splat(distance)), view, np.eye(4))], view, behind=behind)
        alpha = pixels(framebuffer, view)[..., 3]
        assert (alpha[15, 18] == 0) == hidden
        assert alpha[15, 21] > 0.5


def test_depth_comes_beside_the_colour(painter):
    view = view_from((0, -5, 0), width=40, height=30)
    framebuffer, *_ = painter.paint([stroke(layer_of(one_splat(2.5)), view, np.eye(4))], view, with_depth=True)
    depth = pixels(framebuffer, view, slot=1)
    assert depth[15, 20, 0] / depth[15, 20, 3] == pytest.approx(2.5, abs=1e-4)


def test_marked_rows_are_tinted(painter):
    view = view_from((0, -5, 0), width=40, height=30)
    layer = layer_of(one_splat(2.5, color=(0.2, 0.2, 0.2)))
    layer.mark(dict.fromkeys(layer.members, np.array([1])))
    highlight = painting.Highlight((1.0, 0.0, 0.0), 0.5)
    framebuffer, _ = painter.paint([stroke(layer, view, np.eye(4))], view, highlight=highlight)
    red, green, _, alpha = pixels(framebuffer, view)[15, 20]
    assert red / alpha == pytest.approx(0.6, abs=0.01)
    assert green / alpha == pytest.approx(0.1, abs=0.01)


def test_things_are_tinted_in_colours_that_differ(painter):
    view = view_from((0, -5, 0), width=40, height=30)
    layer = layer_of(one_splat(2.5, color=(0.2, 0.2, 0.2)))
    colors = []
    for number in range(1, 5):
        layer.color(dict.fromkeys(layer.members, np.array([number], np.uint8)))
        framebuffer, _ = painter.paint([stroke(layer, view, np.eye(4))], view)
        pixel = pixels(framebuffer, view)[15, 20]
        colors.append(pixel[:3] / pixel[3])
    apart = [np.abs(one - other).max() for one in colors for other in colors if one is not other]
    assert min(apart) > 0.2
    assert all(color.max() - color.min() > 0.2 for color in colors)  # no greys


def test_fewer_rows_cover_about_the_same(painter):
    arrays = reference.random_rows(4000, 9, bases=0, spread=0.5)
    view = VIEWS["perspective"]
    whole = stroke(layer_of(arrays), view, np.eye(4))
    framebuffer, _ = painter.paint([whole], view)
    full = pixels(framebuffer, view).copy()
    framebuffer, _ = painter.paint([whole], view, every=4)
    thin = pixels(framebuffer, view)
    assert not np.array_equal(full, thin)
    assert thin[..., 3].mean() == pytest.approx(full[..., 3].mean(), rel=0.15)


def test_layers_are_laid_over_each_other(painter):
    view = view_from((0, -5, 0), width=40, height=30)
    far = stroke(layer_of(one_splat(4.0, color=(0, 0, 1))), view, np.eye(4))
    near = stroke(layer_of(one_splat(2.0, color=(1, 0, 0))), view, np.eye(4))
    framebuffer, _ = painter.paint([far, near], view)
    red, _, blue, alpha = pixels(framebuffer, view)[15, 20]
    assert red > 0.85
    assert 0.05 < blue < 0.12
    assert alpha > 0.97


@pytest.mark.parametrize("background", [(0.0, 0.0, 0.0), (0.24, 0.24, 0.24), (0.9, 0.5, 0.1)])
@pytest.mark.parametrize("color", [(0.5, 0.5, 0.5), (0.05, 0.0, 0.1), (1.0, 1.0, 1.0)])
def test_the_merge_blends_what_is_shown_and_not_light(painter, color, background):
    """Blender shows the root of what is written; over the background that must be the display colours' mean."""
    view = view_from((0, -5, 0), width=40, height=30)
    framebuffer, picture = painter.paint([stroke(layer_of(one_splat(2.5, color=color)), view, np.eye(4))], view)
    painted = pixels(framebuffer, view).copy()
    light = np.array(background) ** 2.2
    target = gpu.types.GPUOffScreen(40, 30, format="RGBA32F")
    with target.bind():
        over = gpu.state.active_framebuffer_get()
        over.clear(color=(*light, 1))
        painter.merge(picture, view, background)
        got = pixels(over, view)[..., :3] ** (1 / 2.2)
    target.free()
    expected = painted[..., :3] + (1 - painted[..., 3:]) * background
    loosest = 0.01 if min(background) > 0 else 0.004
    # One alpha serves three channels: where one is darkened most, the others are made up for by light.
    assert np.abs(got - expected).max() < loosest
    assert painted[15, 20, 3] > 0.8
    assert 0 < painted[15, 35, 3] < 0.6


def test_what_could_not_be_painted_is_tried_again(painter, monkeypatch):
    """Without memory on the graphics card nothing was painted, however alike the next wish is."""
    view, layer = view_from((0, -5, 0), width=40, height=30), layer_of(one_splat(2.5, color=(0.2, 0.2, 0.2)))
    wish = replace(stroke(layer, view, np.eye(4)), made_of=(layer.version, 0, b""))
    with monkeypatch.context() as patch:
        patch.setattr(layer, "textures", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            painter.paint([wish], view, name="full")
    before = painter.paintings
    for _ in range(2):
        framebuffer, _ = painter.paint([wish], view, name="full")
    assert painter.paintings == before + 1
    assert pixels(framebuffer, view)[15, 20, 3] > 0.8


def test_a_named_view_is_painted_again_only_when_something_is_another(painter):
    view = view_from((0, -5, 0), width=40, height=30)
    layer = layer_of(one_splat(2.5, color=(0.2, 0.2, 0.2)))
    whole = stroke(layer, view, np.eye(4))

    def painted(name, **options):
        before = painter.paintings
        made_of = (layer.version, 0, b"")
        framebuffer, _ = painter.paint(
            [replace(whole, made_of=made_of)], options.pop("seen", view), name=name, **options
        )
        return painter.paintings - before, framebuffer

    assert painted("left")[0] == 1
    assert painted("left")[0] == 0
    assert painted("right")[0] == 1
    assert painted(None)[0] == painted(None)[0] == 1
    assert painted("left", every=2)[0] == 1
    assert painted("left", highlight=painting.Highlight((1.0, 0.0, 0.0), 1.0))[0] == 1
    layer.mark(dict.fromkeys(layer.members, np.array([1])))
    new, framebuffer = painted("left", highlight=painting.Highlight((1.0, 0.0, 0.0), 1.0))
    assert new == 1
    assert pixels(framebuffer, view)[15, 20, 0] > 0.8
    wall = buffers.uploaded(np.zeros(1200, np.float32), (40, 30), "R32F", "depth")
    assert painted("left", behind=wall, behind_number=1)[0] == 1
    assert painted("left", behind=wall, behind_number=1)[0] == 0
    assert painted("left", behind=wall, behind_number=2)[0] == 1
    small = view.resized(20, 15)
    assert painted("left", seen=small)[0] == painted("left")[0] == 1
    assert painted("left", seen=small)[0] == painted("left")[0] == 0  # both sizes stay
    painted("right")
    painter.keep({"right"})
    assert painted("right")[0] == 0
    assert painted("left")[0] == 1
