"""What a window shows of splats, pixel by pixel, against the backend's renderer."""

from __future__ import annotations

import numpy as np
import pytest

from .views import backends_picture, difference, inner, laid_over, look_from, part, regions, settled, turned

TOLERANCE = 2.0  # levels of 255, mean


@pytest.fixture
def imported(blender, sample):
    blender.run(f"""
        assert bpy.ops.segwild.import_workspace(directory={str(sample)!r}) == {{'FINISHED'}}
        for ob in bpy.data.objects:
            ob.hide_set(ob.type == 'CAMERA')
    """)
    return blender


def shown(blender, name):
    """The screen when it has settled, and its one region."""
    settled(blender)
    (region,) = regions(blender)
    return part(blender.shot(name), region), region


@pytest.mark.parametrize(
    ("name", "eye", "options"),
    [
        ("front", turned(-90, 1.6, 0.5), {}),
        ("side", turned(20, 2.2, 1.2), {"lens": 60.0}),
        ("wide", turned(150, 1.2, 0.4), {"lens": 22.0}),
        ("parallel", turned(-60, 2.0, 1.0), {"parallel": 3.0}),
    ],
)
def test_the_view_shows_the_backends_picture(imported, sample, name, eye, options):
    look_from(imported, eye, (0, 0, 0.2), **options)
    screen, region = shown(imported, f"drawing-{name}")
    assert region["orthographic"] == ("parallel" in options)
    picture, alpha = backends_picture(sample, region)
    assert alpha.mean() > 0.1
    assert difference(screen, laid_over(picture, alpha, 0.0)) <= TOLERANCE


@pytest.mark.parametrize("background", [(0.05, 0.05, 0.05), (0.6, 0.3, 0.1)])
def test_soft_rims_blend_with_the_background_as_with_each_other(imported, sample, background):
    imported.run(f"bpy.context.space_data.shading.background_color = {background}")
    look_from(imported, turned(-100, 2.5, 0.9), (0, 0, 0.2))
    screen, region = shown(imported, "background")
    picture, alpha = backends_picture(sample, region)
    empty = np.array([(12.92 * c if c < 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055) for c in background])
    assert difference(screen, laid_over(picture, alpha, empty)) <= TOLERANCE


def test_a_mesh_hides_what_lies_behind_it_and_nothing_else(imported, sample):
    look_from(imported, (0, -1.6, 0.5), (0, 0, 0.2))
    imported.run("""
        import math
        bpy.ops.mesh.primitive_plane_add(size=1.0, location=(-0.5, -0.6, 0.3), rotation=(math.pi / 2, 0, 0))
        bpy.context.active_object.name = 'wall'
        bpy.context.active_object.select_set(False)
        bpy.ops.mesh.primitive_plane_add(size=50.0, location=(0.0, 40.0, 0.3), rotation=(math.pi / 2, 0, 0))
        bpy.context.active_object.name = 'far wall'
        bpy.context.active_object.select_set(False)
        shading = bpy.context.space_data.shading
        shading.light, shading.color_type, shading.single_color = 'FLAT', 'SINGLE', (0.0, 0.0, 0.0)
    """)
    screen, region = shown(imported, "occlusion")
    # The walls are black, like the background: what is missing is what they hide.
    picture, alpha = backends_picture(sample, region)
    u, v = np.meshgrid(np.arange(region["width"]) + 0.5, np.arange(region["height"]) + 0.5)
    matrix = np.array(region["matrix"])
    corners = np.array([(-1.0, -0.6, -0.2), (0.0, -0.6, 0.8)]) @ matrix[:3, :3].T + matrix[:3, 3]
    (left, low), (right, high) = corners[:, :2] / corners[:, 2:] * (region["fx"], region["fy"]) + (
        region["cx"],
        region["cy"],
    )
    wall = (u > left + 3) & (u < right - 3) & (v > high + 3) & (v < low - 3)
    beside = (u < left - 3) | (u > right + 3) | (v < high - 3) | (v > low + 3)
    assert wall.mean() > 0.05
    expected = laid_over(picture, alpha, 0.0)
    assert 255 * np.abs(inner(screen - expected))[inner(beside)].mean() <= TOLERANCE
    # In front of the wall there are splats of the ground at most; behind it, most of the picture.
    hidden = np.abs(screen - expected)[wall].mean()
    assert screen[wall].mean() < 0.7 * expected[wall].mean()
    imported.run("bpy.data.objects['wall'].hide_set(True)")
    screen, _ = shown(imported, "occlusion-without")
    assert hidden > 5 * np.abs(screen - expected)[wall].mean()


def test_every_part_of_a_quad_view_has_its_own_order(imported, sample):
    look_from(imported, turned(-90, 2.0, 0.8), (0, 0, 0.2))
    imported.run("bpy.ops.screen.region_quadview()")
    settled(imported)
    four = regions(imported)
    assert len(four) == 4
    screen = imported.shot("quad")
    for region in four:
        picture, alpha = backends_picture(sample, region)
        assert difference(part(screen, region), laid_over(picture, alpha, 0.0)) <= TOLERANCE
    assert sum(region["orthographic"] for region in four) == 3
    imported.run("bpy.ops.screen.region_quadview()")


@pytest.mark.parametrize("shading", ["WIREFRAME", "SOLID", "MATERIAL", "RENDERED"])
def test_every_shading_mode_shows_the_same_splats(imported, sample, shading):
    imported.run("""
        world = bpy.data.worlds.new('black')
        world.color = (0, 0, 0)
        if world.node_tree is not None:
            world.node_tree.nodes.clear()
        bpy.context.scene.world = world
        bpy.context.space_data.shading.use_scene_world = True
    """)
    imported.run(f"bpy.context.space_data.shading.type = {shading!r}")
    look_from(imported, turned(-80, 1.8, 0.6), (0, 0, 0.2))
    screen, region = shown(imported, f"shading-{shading.lower()}")
    picture, alpha = backends_picture(sample, region)
    solid = inner(alpha) > 0.98  # what shines through is for Blender to show
    assert solid.mean() > 0.05
    expected = laid_over(picture, alpha, 0.0)
    assert 255 * np.abs(inner(screen - expected))[solid].mean() <= TOLERANCE


def test_looking_through_a_camera_with_zoom_and_offset(imported, sample):
    imported.run("""
        camera = next(ob for ob in bpy.data.objects if ob.type == 'CAMERA')
        bpy.ops.segwild.look_through(photo=camera.segwild.photo)
        camera.data.show_background_images = camera.data.show_passepartout = False
        data = bpy.context.space_data.region_3d
        data.view_perspective = 'CAMERA'
        data.view_camera_zoom, data.view_camera_offset = 10.0, (0.1, -0.05)
        bpy.context.space_data.overlay.show_overlays = False
    """)
    screen, region = shown(imported, "camera")
    picture, alpha = backends_picture(sample, region)
    assert difference(screen, laid_over(picture, alpha, 0.0)) <= TOLERANCE


def test_hidden_and_moved_objects(imported, sample):
    """An object that is hidden leaves the backend's picture without it; one that is moved draws elsewhere."""
    look_from(imported, turned(-90, 1.6, 0.5), (0, 0, 0.2))
    name = imported.run("""
        ob = max((ob for ob in bpy.data.objects if ob.segwild.kind == 'SEGMENT'), key=lambda ob: len(ob.data.points))
        ob.hide_set(True)
        result = ob.name
    """)
    screen, region = shown(imported, "hidden")
    without, alpha = backends_picture(sample, region, without=name)
    assert difference(screen, laid_over(without, alpha, 0.0)) <= TOLERANCE
    imported.run(f"""
        for ob in bpy.data.objects:
            ob.hide_set(ob.type == 'CAMERA' or ob.segwild.kind == 'REST')
        bpy.data.objects[{name!r}].location.x += 0.5
    """)
    screen, _ = shown(imported, "moved")
    only, alpha = backends_picture(sample, region, only=name)
    lit = np.argwhere(alpha > 0.9)
    assert len(lit)
    assert np.abs(screen - laid_over(only, alpha, 0.0))[tuple(lit.T)].mean() > 0.1


def test_a_highlight_tints_one_object_and_uploads_bits(imported):
    look_from(imported, turned(-90, 1.6, 0.5), (0, 0, 0.2))
    before, _ = shown(imported, "highlight-before")
    spent = imported.run("""
        buffers, draw, splats = addon('viewport.buffers'), addon('viewport.draw'), addon('data.splats')
        ob = max((ob for ob in bpy.data.objects if ob.segwild.kind == 'SEGMENT'), key=lambda ob: len(ob.data.points))
        kinds, bytes_ = buffers.uploads.copy(), buffers.upload_bytes.copy()
        draw.highlight(ob.segwild.scene_uuid, {ob.segwild.uuid: splats.read_ids(ob)})
    """)
    after, _ = shown(imported, "highlight")
    spent, rows = imported.run("""
        total = sum(len(ob.data.points) for ob in bpy.data.objects if ob.type == 'POINTCLOUD')
        result = dict(buffers.upload_bytes - bytes_), total
    """)
    assert set(spent) == {"mask"}
    assert spent["mask"] < rows / 4 + 4 * 4096
    change = after - before
    tinted = np.abs(change).max(-1) > 0.1
    assert 0.001 < tinted.mean() < 0.5
    assert change[tinted][:, 0].mean() > change[tinted][:, 2].mean()  # orange: redder and less blue


def test_a_view_that_rests_uploads_and_paints_nothing(imported):
    look_from(imported, turned(-90, 1.6, 0.5), (0, 0, 0.2))
    shown(imported, "rest")
    imported.run("""
        buffers, draw = addon('viewport.buffers'), addon('viewport.draw')
        kinds, drawn, painted = buffers.uploads.copy(), draw.drawings, draw._painter.paintings
    """)
    imported.until("""
        bpy.context.area.tag_redraw()
        result = draw.drawings >= drawn + 5
    """)
    assert imported.run("result = dict(buffers.uploads - kinds)") == {}
    assert imported.run("result = draw._painter.paintings - painted") == 0


def test_another_file_leaves_nothing_behind_and_the_first_comes_back(imported, folder):
    look_from(imported, turned(-90, 1.6, 0.5), (0, 0, 0.2))
    before, _ = shown(imported, "reload-before")
    file = str(folder / "saved.blend")
    imported.run(f"bpy.ops.wm.save_as_mainfile(filepath={file!r})")
    imported.run("bpy.ops.wm.read_homefile(app_template='')", view=False)
    held = """
        painter, stock = addon('viewport.draw')._painter, addon('viewport.stock').SHARED
        result = [len(each) for each in (stock.layers, stock.orders._orders, stock._tables, painter._targets,
                                         painter._blocks)]
    """
    assert not any(imported.run(held))
    for _ in range(3):
        imported.run(f"bpy.ops.wm.open_mainfile(filepath={file!r})", view=False)
        after, _ = shown(imported, "reload-after")
        assert np.abs(inner(after - before)).max() < 3 / 255
    imported.run("bpy.ops.wm.read_homefile(app_template='')", view=False)
    assert not any(imported.run(held))


def test_disabling_draws_no_more(imported):
    look_from(imported, turned(-90, 1.6, 0.5), (0, 0, 0.2))
    before, _ = shown(imported, "disable-before")
    assert before.max() > 0.5
    imported.run("addon('viewport.draw').disable()\nbpy.context.area.tag_redraw()")
    (region,) = regions(imported)
    imported.run("import time\ntime.sleep(0.3)")
    screen = part(imported.shot("disabled"), region)
    imported.run("addon('viewport.draw').enable()")
    assert inner(screen).max() < 0.05
    after, _ = shown(imported, "enabled")
    assert np.abs(inner(after - before)).max() < 3 / 255


def test_turning_the_view_with_the_mouse_ends_in_an_exact_picture(imported, sample):
    look_from(imported, turned(-90, 1.6, 0.5), (0, 0, 0.2))
    _, region = shown(imported, "orbit-before")
    x, y = region["left"] + region["width"] / 2, region["top"] + region["height"] / 2
    imported.move(x, y)
    imported.x("mousedown", "2")
    for step in range(1, 6):
        imported.move(x + 20 * step, y + 5 * step)
    imported.x("mouseup", "2")
    screen, turned_region = shown(imported, "orbit-after")
    assert np.abs(np.array(turned_region["matrix"]) - region["matrix"]).max() > 0.1
    picture, alpha = backends_picture(sample, turned_region)
    assert difference(screen, laid_over(picture, alpha, 0.0)) <= TOLERANCE
