"""Renders and pictures of the view from a window, against the backend's renderer."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from .views import backends_picture, difference, laid_over, look_from, part, regions, settled, turned

TOLERANCE = 2.0


@pytest.fixture
def imported(blender, sample):
    blender.run(f"""
        assert bpy.ops.segwild.import_workspace(directory={str(sample)!r}) == {{'FINISHED'}}
        for ob in bpy.data.objects:
            ob.hide_set(ob.type == 'CAMERA')
        bpy.context.scene.view_settings.view_transform = 'Standard'
    """)
    return blender


def camera_of_scene(blender):
    """The scene's camera as `views.regions` gives those of regions."""
    return blender.run("""
        camera = addon('viewport.camera')
        view = camera.of_camera(bpy.context.scene.camera, bpy.context.scene)
        result = {"width": view.width, "height": view.height, "orthographic": view.orthographic,
                  "matrix": view.cam_from_world.tolist(), "fx": view.fx, "fy": view.fy, "cx": view.cx, "cy": view.cy}
    """)


def picture_file(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGBA")).astype(float) / 255


def test_a_render_is_the_backends_picture_with_transparency(imported, sample, folder):
    imported.run(f"""
        name = next(ob for ob in bpy.data.objects if ob.type == 'CAMERA').segwild.photo
        bpy.ops.segwild.look_through(photo=name)
        scene = bpy.context.scene
        scene.render.resolution_percentage = 50
        scene.render.film_transparent = True
        scene.render.filepath = {str(folder / "render_")!r}
        scene.render.image_settings.file_format = 'PNG'
        assert bpy.ops.segwild.render(write=True) == {{'FINISHED'}}
    """)
    got = picture_file(folder / "render_0001.png")
    picture, alpha = backends_picture(sample, camera_of_scene(imported))
    assert difference(got[..., :3] * got[..., 3:], np.clip(picture, 0, alpha[..., None])) <= TOLERANCE
    assert difference(got[..., 3], alpha) <= TOLERANCE


def test_a_render_has_other_objects_before_and_behind(imported, sample, folder):
    imported.run(f"""
        import math
        scene = bpy.context.scene
        name = next(ob for ob in bpy.data.objects if ob.type == 'CAMERA').segwild.photo
        bpy.ops.segwild.look_through(photo=name)
        scene.render.resolution_percentage = 50
        scene.render.engine = 'BLENDER_WORKBENCH'
        scene.display.shading.light, scene.display.shading.color_type = 'FLAT', 'SINGLE'
        scene.display.shading.single_color = (0.0, 1.0, 0.0)
        scene.render.film_transparent = True
        camera = scene.camera
        for name, distance in (('near', 0.4), ('far', 60.0)):
            # A wall of a third of the picture's width at that distance, before the camera's axis.
            bpy.ops.mesh.primitive_plane_add(size=distance / 3)
            ob = bpy.context.active_object
            ob.name = name
            ob.matrix_world = camera.matrix_world.normalized()
            ob.location = camera.matrix_world.normalized() @ __import__('mathutils').Vector((0, 0, -distance))
        bpy.data.objects['far'].scale = (100, 100, 1)
        scene.render.filepath = {str(folder / "mixed_")!r}
        assert bpy.ops.segwild.render(write=True) == {{'FINISHED'}}
    """)
    got = picture_file(folder / "mixed_0001.png")
    region = camera_of_scene(imported)
    picture, alpha = backends_picture(sample, region)
    # The far wall fills the picture behind the scene; the near one hides it all where it stands.
    assert got[..., 3].min() > 0.99
    expected = laid_over(picture, alpha, (0.0, 1.0, 0.0))
    u = np.abs(np.arange(region["width"]) + 0.5 - region["cx"]) * 6 / region["fx"]
    v = np.abs(np.arange(region["height"]) + 0.5 - region["cy"]) * 6 / region["fy"]
    apart = np.maximum(u[None], v[:, None])
    near, beside = apart < 0.95, apart > 1.05
    assert near.sum() > 100
    assert np.abs(got[..., :3] - expected)[beside].mean() * 255 <= TOLERANCE
    solid = got[near][:, :3]
    assert solid[:, 1].mean() > 0.8
    assert solid[:, 0].mean() < 0.2


def test_a_picture_of_the_view_is_what_the_window_shows(imported):
    imported.run("""
        bpy.ops.mesh.primitive_cube_add(size=0.3, location=(0.2, -0.3, 0.2))
        bpy.context.active_object.select_set(False)
        bpy.context.space_data.shading.background_color = (0.05, 0.05, 0.05)
    """)
    look_from(imported, turned(-90, 1.6, 0.5), (0, 0, 0.2))
    settled(imported)
    (region,) = regions(imported)
    screen = part(imported.shot("view"), region)
    file = imported.folder / "picture.png"
    imported.run(f"""
        assert bpy.ops.segwild.viewport_image() == {{'FINISHED'}}
        image = bpy.data.images['SegWild View']
        image.filepath_raw, image.file_format = {str(file)!r}, 'PNG'
        image.save()
    """)
    got = picture_file(file)[..., :3]
    assert got.shape == screen.shape
    assert difference(got, screen) <= 3 * TOLERANCE


@pytest.mark.parametrize(("operator", "image"), [("render", "SegWild Render"), ("viewport_image", "SegWild View")])
def test_what_a_person_renders_is_shown_in_a_window(imported, operator, image):
    """As Blender's own renders are; once, and not for scripts."""
    shown = """
        shown = [area.spaces.active.image for window in bpy.context.window_manager.windows
                 for area in window.screen.areas if area.type == 'IMAGE_EDITOR']
        result = [each.name for each in shown if each is not None]
    """
    imported.run(f"""
        bpy.ops.segwild.look_through(photo=next(ob for ob in bpy.data.objects if ob.type == 'CAMERA').segwild.photo)
        bpy.context.scene.render.resolution_percentage = 10
        assert bpy.ops.segwild.{operator}() == {{'FINISHED'}}
    """)
    assert imported.run(shown) == []
    try:
        for _ in range(2):
            imported.run(f"assert bpy.ops.segwild.{operator}('INVOKE_DEFAULT') == {{'FINISHED'}}")
            assert imported.run(shown) == [image]
    finally:
        imported.run("""
            for window in list(bpy.context.window_manager.windows)[1:]:
                with bpy.context.temp_override(window=window):
                    bpy.ops.wm.window_close()
        """)


def test_a_growing_scene_is_drawn_while_it_trains(imported):
    """Snapshots of a training stand in for the scene; the last one gives way to it."""
    look_from(imported, turned(-90, 1.6, 0.5), (0, 0, 0.2))
    settled(imported)
    (region,) = regions(imported)
    before = part(imported.shot("preview-before"), region)
    imported.run("""
        import numpy as np
        random = np.random.default_rng(0)
        scene = next(ob for ob in bpy.data.objects if ob.segwild.kind == 'REST').segwild.scene_uuid
        count = 2000
        addon('viewport.draw').preview(scene, {
            'means': random.normal(0, 0.2, (count, 3)).astype(np.float32),
            'colors': np.tile(np.float32([0.1, 0.9, 0.2]), (count, 1)),
            'scales': np.full((count, 3), 0.03, np.float32),
            'quats': np.tile(np.float32([1, 0, 0, 0]), (count, 1)),
            'opacities': np.full(count, 0.9, np.float32),
        })
    """)
    settled(imported)
    growing = part(imported.shot("preview"), region)
    middle = growing[region["height"] // 2, region["width"] // 2]
    assert middle == pytest.approx((0.1, 0.9, 0.2), abs=0.05)
    imported.run("addon('viewport.draw').preview(scene, None)")
    settled(imported)
    assert difference(part(imported.shot("preview-after"), region), before) < 0.5
