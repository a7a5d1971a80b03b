"""Pictures of splats with other objects. Needs the bpy module of Blender 5.2 or later."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")
gpu = pytest.importorskip("gpu")
if not hasattr(gpu, "init"):
    pytest.skip("this Blender has graphics in its window only; 5.2 has them without", allow_module_level=True)

from segwild_addon.data import scenes, splats  # noqa: E402
from segwild_addon.data.rows import rows  # noqa: E402
from segwild_addon.protocol.errors import InputError  # noqa: E402
from segwild_addon.viewport import occluders, picture  # noqa: E402
from segwild_addon.viewport.camera import of_camera  # noqa: E402
from segwild_addon.viewport.stock import SHARED, Stock  # noqa: E402

from . import reference  # noqa: E402

SIZE = 64, 48


@pytest.fixture
def set_up(blender, tmp_path):
    """A camera at (0, -5, 0) looking along y, a cloud of splats around the origin; gives their raw arrays."""
    import math

    scene = blender.context.scene
    data = blender.data.cameras.new("camera")
    camera = blender.data.objects.new("camera", data)
    camera.location, camera.rotation_euler = (0, -5, 0), (math.pi / 2, 0, 0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    render = scene.render
    render.resolution_x, render.resolution_y = SIZE
    render.resolution_percentage = 100
    arrays = reference.random_rows(200, 2, bases=3, spread=0.6)
    positions, scales, quats, opacities, base, sh = arrays
    ob = splats.create("cloud", rows(positions, scales, quats, np.c_[base, opacities].astype(np.float32), sh))
    scenes.adopt(ob, scenes.new("test"), "REST")
    blender.context.view_layer.update()
    yield arrays
    SHARED.free()


def wall(blender, location, size=2.0):
    """An upright square that faces the camera."""
    import math

    blender.ops.mesh.primitive_plane_add(size=size, location=location, rotation=(math.pi / 2, 0, 0))
    return blender.context.active_object


def pixels(blender, name):
    """(H, W, 4) from the top."""
    image = blender.data.images[name]
    values = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(image.size[1], image.size[0], 4)[::-1]


def view_of(blender):
    return of_camera(blender.context.scene.camera, blender.context.scene)


def test_a_picture_is_that_of_the_reference(blender, set_up):
    view = view_of(blender)
    got = picture.draw(Stock(), view, lambda ob: True)
    image, alpha, _ = reference.picture(*set_up, np.eye(4), view)
    assert alpha.mean() > 0.03
    assert np.abs(got.colour - np.dstack([image, alpha])).mean() < 0.2 / 255
    seen = got.depth < picture.NOTHING
    np.testing.assert_array_equal(seen, got.colour[..., 3] >= 0.5)
    assert 3 < got.depth[seen].min() < got.depth[seen].max() < 7


def test_meshes_leave_their_depth(blender, set_up):
    view = view_of(blender)
    assert occluders.depth(blender.context.evaluated_depsgraph_get(), view) is None
    wall(blender, (0, 1, 0))
    hidden = wall(blender, (0, -2, 0))
    hidden.hide_render = True
    depth = occluders.depth(blender.context.evaluated_depsgraph_get(), view)
    z = picture.distances(depth, view)
    middle = z[SIZE[1] // 2, SIZE[0] // 2]
    assert middle == pytest.approx(6.0, rel=1e-4)
    assert (z[0, 0] == picture.NOTHING) == (depth[0, 0] == 1)
    half = view.fx * 1.0 / 6.0  # pixels
    assert (z < picture.NOTHING).sum() == pytest.approx(4 * half * half, rel=0.05)


def test_instances_of_a_mesh_hide_too(blender, set_up):
    ob = wall(blender, (30, 30, 30))
    collection = blender.data.collections.new("walls")
    collection.objects.link(ob)
    empty = blender.data.objects.new("instance", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", collection
    empty.location = (-30, -29, -30)
    blender.context.scene.collection.objects.link(empty)
    blender.context.view_layer.update()
    view = view_of(blender)
    z = picture.distances(occluders.depth(blender.context.evaluated_depsgraph_get(), view), view)
    assert z[SIZE[1] // 2, SIZE[0] // 2] == pytest.approx(6.0, rel=1e-4)


def test_composing_is_the_order_of_depth():
    """One pixel each: splat before a mesh, splat behind it, and a mesh's rim that covers a half."""
    splat = np.array([0.3, 0.0, 0.0, 0.5], np.float32)
    none = np.zeros(4, np.float32)
    mesh = np.array([0.0, 0.8, 0.0, 1.0], np.float32)
    front = np.array([[splat, none, none]])
    everything = np.array([[splat, splat, splat]])
    got = picture.composed(front, everything, np.array([[mesh, mesh, mesh / 2]]))[0]
    np.testing.assert_allclose(got[0], splat + 0.5 * mesh)
    np.testing.assert_allclose(got[1], mesh)
    np.testing.assert_allclose(got[2], mesh / 2 + 0.5 * splat)


def test_a_render_of_splats_alone_has_transparency(blender, set_up):
    blender.context.scene.world = None
    assert blender.ops.segwild.render() == {"FINISHED"}
    got = pixels(blender, "SegWild Render")
    image, alpha, _ = reference.picture(*set_up, np.eye(4), view_of(blender))
    np.testing.assert_allclose(got[..., 3], alpha, atol=2 / 255)
    solid = alpha > 0.5
    np.testing.assert_allclose(got[solid, :3], np.clip(image[solid] / alpha[solid, None], 0, 1), atol=4 / 255)
    depth = pixels(blender, "SegWild Depth")[..., 0]
    assert (depth[alpha < 0.49] == np.float32(picture.NOTHING)).all()


@pytest.fixture
def quick_render(blender):
    """Cycles with one sample: an emissive green wall is the same with a thousand."""
    scene = blender.context.scene
    blender.ops.preferences.addon_enable(module="cycles")
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 1, False
    scene.view_settings.view_transform = "Standard"
    scene.render.film_transparent = True
    material = blender.data.materials.new("green")
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    emission, output = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
    emission.inputs["Color"].default_value = (0.0, 0.2140, 0.0, 1.0)  # display 0.5
    tree.links.new(emission.outputs[0], output.inputs["Surface"])
    return material


@pytest.mark.parametrize("switched_on", [False, True])
def test_a_render_lays_splats_before_and_behind_other_objects(blender, set_up, quick_render, switched_on):
    """Whether or not Blender's own render would show them too."""
    view = view_of(blender)
    blender.data.objects["cloud"].hide_render = not switched_on
    ob = wall(blender, (1.0, 0, 0))  # cuts the cloud in its right half
    ob.data.materials.append(quick_render)
    assert blender.ops.segwild.render() == {"FINISHED"}
    got = pixels(blender, "SegWild Render")
    everything = picture.draw(Stock(), view, lambda ob: True).colour
    positions = set_up[0]
    front_rows = [array[positions[:, 1] < 0] for array in set_up]
    image, alpha, _ = reference.picture(*front_rows, np.eye(4), view)
    u = np.broadcast_to(np.arange(view.width) + 0.5, (view.height, view.width))
    v = np.broadcast_to(np.arange(view.height)[:, None] + 0.5, u.shape)
    on_wall = (u > view.cx + 2) & (np.abs(v - view.cy) < view.fy / 5 - 2) & (u < view.cx + 2 * view.fx / 5 - 2)
    assert on_wall.sum() > 100
    expected = image + (1 - alpha[..., None]) * (0.0, 0.5, 0.0)
    # Splats that reach through the wall are before or behind it as a whole, by their centres: so is the reference.
    assert np.abs(got[..., :3] - np.clip(expected, 0, 1))[on_wall].mean() < 3 / 255
    assert (got[on_wall, 3] > 0.99).all()
    left = u < view.cx - 2
    np.testing.assert_allclose(got[left, 3], np.clip(everything[left, 3], 0, 1), atol=2 / 255)
    assert not np.allclose(alpha[on_wall], everything[on_wall, 3], atol=0.1)  # something is hidden
    assert blender.data.objects["cloud"].hide_render != switched_on


def test_files_are_written_as_asked(blender, set_up, tmp_path):
    scene = blender.context.scene
    scene.world = None
    scene.render.filepath = str(tmp_path / "out" / "frame_")
    scene.render.image_settings.file_format = "PNG"
    scene.frame_start, scene.frame_end = 3, 4
    assert blender.ops.segwild.render(animation=True) == {"FINISHED"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["frame_0003.png", "frame_0004.png"]
    assert scene.frame_current == 1
    before = pixels(blender, "SegWild Render").copy()
    read = blender.data.images.load(str(tmp_path / "out" / "frame_0003.png"))
    read.alpha_mode = "CHANNEL_PACKED"
    np.testing.assert_allclose(pixels(blender, read.name), before, atol=1 / 255)

    scene.render.image_settings.file_format = "OPEN_EXR"
    assert blender.ops.segwild.render(write=True) == {"FINISHED"}
    assert (tmp_path / "out" / "frame_0001_depth.exr").exists()
    read = blender.data.images.load(str(tmp_path / "out" / "frame_0001.exr"))
    read.alpha_mode = "CHANNEL_PACKED"  # the file's values as they are
    light = pixels(blender, read.name)
    solid = before[..., 3] > 0.9
    assert solid.any()
    expected = np.where(before <= 0.04045, before / 12.92, ((before + 0.055) / 1.055) ** 2.4)[..., :3]
    np.testing.assert_allclose(light[solid, :3], expected[solid] * before[solid, 3:], atol=1e-4)


def test_what_cannot_be_written_is_refused_before_the_work(blender, set_up):
    scene = blender.context.scene
    if hasattr(scene.render.image_settings, "media_type"):
        scene.render.image_settings.media_type = "VIDEO"
    scene.render.image_settings.file_format = "FFMPEG"
    with pytest.raises(RuntimeError, match="Choose PNG"):
        blender.ops.segwild.render(write=True)


def test_a_picture_beyond_the_graphics_cards_size_is_refused(blender, set_up):
    blender.context.scene.render.resolution_x = 65536
    with pytest.raises(InputError, match="too large"):
        picture.draw(Stock(), view_of(blender), lambda ob: True)
