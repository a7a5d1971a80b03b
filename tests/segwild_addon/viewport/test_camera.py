"""Blender's views as OpenCV cameras, against the matrices that Blender itself projects with."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.protocol.errors import InputError
from segwild_addon.viewport import camera


def random_camera(bpy, random):
    """A camera object in the current scene with everything set that a lens can have."""
    scene, render = bpy.context.scene, bpy.context.scene.render
    data = bpy.data.cameras.new("lens")
    data.type = random.choice(["PERSP", "ORTHO"])
    data.sensor_fit = random.choice(["AUTO", "HORIZONTAL", "VERTICAL"])
    data.lens, data.ortho_scale = random.uniform(10, 120), random.uniform(0.5, 20)
    data.sensor_width, data.sensor_height = random.uniform(10, 50), random.uniform(10, 50)
    data.shift_x, data.shift_y = random.uniform(-0.4, 0.4, 2)
    data.clip_start, data.clip_end = random.uniform(0.01, 0.5), random.uniform(50, 500)
    render.resolution_x, render.resolution_y = (int(v) for v in random.integers(50, 3000, 2))
    render.resolution_percentage = int(random.integers(10, 200))
    render.pixel_aspect_x, render.pixel_aspect_y = random.uniform(1, 2), random.uniform(1, 2)
    ob = bpy.data.objects.new("camera", data)
    scene.collection.objects.link(ob)
    ob.location = random.uniform(-5, 5, 3)
    ob.rotation_euler = random.uniform(-math.pi, math.pi, 3)
    ob.scale = random.uniform(0.3, 3, 3)
    bpy.context.view_layer.update()
    return ob


def blenders_matrices(bpy, ob):
    """Projection, view, width and height of a render."""
    render = bpy.context.scene.render
    width = max(1, render.resolution_x * render.resolution_percentage // 100)
    height = max(1, render.resolution_y * render.resolution_percentage // 100)
    projection = ob.calc_matrix_camera(
        bpy.context.evaluated_depsgraph_get(),
        x=width,
        y=height,
        scale_x=render.pixel_aspect_x,
        scale_y=render.pixel_aspect_y,
    )
    return projection, ob.matrix_world.normalized().inverted(), width, height


def pixels(view, points):
    """(M, 2) pixel positions by the formula of `View`, and depths."""
    x, y, z = (points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]).T
    divisor = 1 if view.orthographic else z
    return np.stack([view.fx * x / divisor + view.cx, view.fy * y / divisor + view.cy], 1), z


def blenders_pixels(projection, view, width, height, points):
    clip = np.c_[points, np.ones(len(points))] @ (np.array(projection) @ np.array(view)).T
    ndc = clip[:, :3] / clip[:, 3:]
    return np.stack([(ndc[:, 0] + 1) / 2 * width, (1 - ndc[:, 1]) / 2 * height], 1), ndc[:, 2], clip[:, 3]


@pytest.mark.parametrize("seed", range(40))
def test_a_camera_object_projects_as_in_a_render(blender, seed):
    random = np.random.default_rng(seed)
    ob = random_camera(blender, random)
    view = camera.of_camera(ob, blender.context.scene)
    matrices = blenders_matrices(blender, ob)
    points = random.normal(0, 4, (200, 3))
    expected, depth, w = blenders_pixels(*matrices, points)
    got, z = pixels(view, points)
    front = w > 0.05
    assert front.sum() > 5
    size = np.abs(expected[front]).max() + max(matrices[2:])
    assert np.abs(got - expected)[front].max() < 1e-5 * size
    a, b = view.depth_terms
    ours = a + b * z if view.orthographic else a + b / z
    np.testing.assert_allclose(ours[front], depth[front], rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("seed", range(40))
def test_any_pair_of_matrices_comes_back(blender, seed):
    """What a 3D view gives are matrices of the same kinds; the camera's are shifted and stretched."""
    random = np.random.default_rng(seed)
    ob = random_camera(blender, random)
    projection, view_matrix, width, height = blenders_matrices(blender, ob)
    view = camera.from_matrices(projection, view_matrix, width, height)
    np.testing.assert_allclose(view.window_matrix, np.array(projection), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(view.view_matrix, np.array(view_matrix), rtol=0, atol=1e-5)
    direct = camera.of_camera(ob, blender.context.scene)
    for name in ("fx", "fy", "cx", "cy", "near", "far"):
        assert getattr(view, name) == pytest.approx(getattr(direct, name), rel=2e-3, abs=1e-3 * width), name
    assert view.orthographic == direct.orthographic


@pytest.mark.parametrize("seed", range(10))
def test_a_frame_of_any_size_sees_the_same_pixels(blender, seed):
    random = np.random.default_rng(seed)
    view = camera.of_camera(random_camera(blender, random), blender.context.scene)
    from mathutils import Euler, Matrix

    frame = np.array(
        Matrix.LocRotScale(random.normal(size=3), Euler(random.uniform(-3, 3, 3)), [random.uniform(0.1, 9)] * 3)
    )
    points = random.normal(size=(50, 3))
    within = view.within(frame)
    np.testing.assert_allclose(
        within.cam_from_world[:3, :3] @ within.cam_from_world[:3, :3].T, np.eye(3), rtol=0, atol=1e-5
    )
    expected, z = pixels(view, points @ frame[:3, :3].T + frame[:3, 3])
    got, z_within = pixels(within, points)
    np.testing.assert_allclose(got[z > 0.1], expected[z > 0.1], rtol=1e-4, atol=1e-2)
    scale = np.linalg.norm(frame[0, :3])
    np.testing.assert_allclose(z_within * scale, z, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(10))
def test_the_ray_of_a_pixel_meets_it(blender, seed):
    random = np.random.default_rng(seed)
    view = camera.of_camera(random_camera(blender, random), blender.context.scene)
    u, v = random.uniform(0, view.width), random.uniform(0, view.height)
    origin, direction = view.ray(u, v)
    got, _ = pixels(view, origin + direction * np.array([[0.7], [5.0]]))
    np.testing.assert_allclose(got, [[u, v], [u, v]], rtol=1e-6, atol=1e-6 * view.width)
    assert np.linalg.norm(direction) == pytest.approx(1)


def test_another_size_of_picture_scales_the_lens(blender):
    view = camera.of_camera(random_camera(blender, np.random.default_rng(3)), blender.context.scene)
    half = view.resized(view.width * 2, view.height * 3)
    points = np.random.default_rng(0).normal(size=(20, 3))
    np.testing.assert_allclose(pixels(half, points)[0], pixels(view, points)[0] * (2, 3))


def test_panoramic_cameras_are_refused(blender):
    ob = random_camera(blender, np.random.default_rng(0))
    ob.data.type = "PANO"
    with pytest.raises(InputError, match="Panoramic"):
        camera.of_camera(ob, blender.context.scene)
