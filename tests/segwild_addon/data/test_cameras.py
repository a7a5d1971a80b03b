"""Cameras of photos: Blender projects points to the pixels the workspace says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.data import cameras, scenes
from segwild_addon.data.steps import finished
from segwild_addon.data.workspace import Camera, Folder, Photo

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]


def projected(blender: Any, ob: Any, points: np.ndarray) -> np.ndarray:
    """Pixels (M, 2) of world points by Blender's own projection matrix, (0, 0) the top-left corner."""
    blender.context.view_layer.update()
    render = blender.context.scene.render
    matrix = ob.calc_matrix_camera(
        blender.context.evaluated_depsgraph_get(),
        x=render.resolution_x,
        y=render.resolution_y,
        scale_x=render.pixel_aspect_x,
        scale_y=render.pixel_aspect_y,
    )
    whole = np.array(matrix) @ np.linalg.inv(np.array(ob.matrix_world))
    clip = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ whole.T
    ndc = clip[:, :2] / clip[:, 3:]
    return (ndc * (1, -1) + 1) / 2 * (render.resolution_x, render.resolution_y)


def expected(camera: Camera, points: np.ndarray) -> np.ndarray:
    seen = points @ camera.cam_from_world[:3, :3].T + camera.cam_from_world[:3, 3]
    return seen[:, :2] / seen[:, 2:] * (camera.fx, camera.fy) + (camera.cx, camera.cy)


@pytest.mark.parametrize("seed", range(12))
def test_blender_sees_points_where_the_photo_does(blender: Any, seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    rotation = np.linalg.qr(random.standard_normal((3, 3)))[0]
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.sign(np.linalg.det(rotation))
    matrix[:3, 3] = random.standard_normal(3)
    width, height = (int(size) for size in random.integers(200, 2000, 2))
    fx, fy = random.uniform(150, 3000) * np.array([1, random.uniform(0.8, 1.25)])
    camera = Camera(matrix, fx, fy, width * random.uniform(0.3, 0.7), height * random.uniform(0.3, 0.7), width, height)
    ob = cameras.create(Photo("p", camera, False), Folder(tmp_path))
    blender.context.scene.collection.objects.link(ob)
    cameras.look_through(ob, blender.context.scene)
    in_camera = random.uniform((-1, -1, 1), (1, 1, 9), (30, 3))
    points = (in_camera - matrix[:3, 3]) @ matrix[:3, :3]
    error = np.abs(projected(blender, ob, points) - expected(camera, points)).max()
    assert error < 2e-5 * max(width, height) * max(1, fx / width)


def test_every_used_photo_becomes_a_camera(blender: Any, make_workspace: Make) -> None:
    path, _ = make_workspace(photos=3)
    (path / "photos").mkdir()
    image = blender.data.images.new("picture", 320, 240)
    image.filepath_raw, image.file_format = str(path / "photos" / "photo-1.jpg"), "JPEG"
    image.save()
    scene = finished(scenes.importing(path, [].append))
    found = {ob.segwild.photo: ob for ob in scenes.members(scene, "CAMERA")}
    assert sorted(found) == ["photo-0", "photo-1", "photo-2"]
    assert not found["photo-0"].data.background_images
    background = found["photo-1"].data.background_images[0].image
    assert tuple(background.size) == (320, 240)
    assert Path(background.filepath) == path / "photos" / "photo-1.jpg"
    assert all(ob.parent == scenes.root(scene) for ob in found.values())


def test_cameras_follow_the_root(blender: Any, make_workspace: Make) -> None:
    path, _ = make_workspace(photos=1)
    scene = finished(scenes.importing(path, [].append))
    ob = scenes.members(scene, "CAMERA")[0]
    root = scenes.root(scene)
    root.scale, root.location, root.rotation_euler = (3, 3, 3), (1, 2, 3), (0.1, 0.2, 0.3)
    assert blender.ops.segwild.look_through(photo="photo-0") == {"FINISHED"}
    blender.context.view_layer.update()
    camera = Folder(path).photos()[0].camera
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (10, 3))
    world = points @ np.array(root.matrix_world)[:3, :3].T + np.array(root.matrix_world)[:3, 3]
    np.testing.assert_allclose(projected(blender, ob, world), expected(camera, points), atol=0.02)


def test_cameras_are_out_of_sight_but_for_the_one_looked_through(blender: Any, make_workspace: Make) -> None:
    scene = finished(scenes.importing(make_workspace(photos=3)[0], [].append))

    def shown() -> list[str]:
        return [ob.segwild.photo for ob in scenes.members(scene, "CAMERA") if ob.visible_get()]

    assert shown() == []
    for photo in ("photo-1", "photo-2"):
        blender.ops.segwild.look_through(photo=photo)
        assert shown() == [photo]
    scene.segwild.show_cameras = True
    assert shown() == ["photo-0", "photo-1", "photo-2"]
    blender.ops.segwild.look_through(photo="photo-0")
    assert shown() == ["photo-0", "photo-1", "photo-2"]
    scene.segwild.show_cameras = False
    assert shown() == ["photo-0"]


def test_a_photo_that_is_not_there_is_said(blender: Any, make_workspace: Make) -> None:
    finished(scenes.importing(make_workspace()[0], [].append))
    with pytest.raises(RuntimeError, match="no camera of the photo 'nobody'"):
        blender.ops.segwild.look_through(photo="nobody")
