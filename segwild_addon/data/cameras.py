"""Photos of a workspace into camera objects with the photo behind them, and looking through one."""

from __future__ import annotations

from contextlib import suppress

import bpy
import numpy as np
from mathutils import Matrix

from .workspace import Camera, Folder, Photo

SENSOR_MM = 36.0
_DISPLAY_SIZE = 0.08  # of the camera symbol, scene units; cameras stand within about 1 unit of each other
# From Blender's camera axes (x right, y up, looking along -z) to OpenCV's (y down, looking along z), and back.
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


def create(photo: Photo, source: Folder) -> bpy.types.Object:
    """The camera of a photo, scene frame, in no collection yet; its picture becomes the background if it is there."""
    camera = photo.camera
    data = bpy.data.cameras.new(photo.name)
    set_lens(data, camera)
    data.display_size = _DISPLAY_SIZE
    picture = source.picture(photo.name)
    if picture.is_file():
        background = data.background_images.new()
        background.image = bpy.data.images.load(str(picture), check_existing=True)
        background.frame_method = "STRETCH"  # both have the same aspect, up to the rounding of sizes
        background.alpha = 0.5
        data.show_background_images = True
    ob = bpy.data.objects.new(photo.name, data)
    ob.matrix_basis = Matrix(np.linalg.inv(camera.cam_from_world) @ _FLIP)
    facts = ob.segwild
    facts.photo = photo.name
    facts.picture_size = (camera.width, camera.height)
    facts.pixel_aspect = camera.fx / camera.fy
    return ob


def set_lens(data: bpy.types.Camera, camera: Camera) -> None:
    """Focal length and shift, for a render of the camera's size and pixel aspect.

    Horizontal sensor fit: fx = W·lens/sensor, cx = W/2 − W·shift_x, cy = H/2 + W·shift_y·fy/fx.
    """
    data.type = "PERSP"
    data.sensor_fit = "HORIZONTAL"
    data.sensor_width = SENSOR_MM
    data.lens = camera.fx * SENSOR_MM / camera.width
    data.shift_x = (camera.width / 2 - camera.cx) / camera.width
    data.shift_y = (camera.cy - camera.height / 2) * (camera.fx / camera.fy) / camera.width
    data.clip_start, data.clip_end = 0.001, 1000.0


def show(ob: bpy.types.Object, shown: bool) -> None:
    """Show or hide a camera in the present view layer, if it is there."""
    with suppress(RuntimeError):  # it is not
        ob.hide_set(not shown)


def look_through(ob: bpy.types.Object, scene: bpy.types.Scene, *, stay: bool = False) -> None:
    """Make it the scene's camera and give renders the size and pixel aspect of its photo.

    Hidden cameras show no picture: it is shown, and a photo's camera that was looked through before is as hidden as
    others are. `stay`: that one stays in sight.
    """
    before = scene.camera
    if before is not None and before != ob and before.segwild.kind == "CAMERA" and not stay:
        show(before, False)
    show(ob, True)
    scene.camera = ob
    width, height = ob.segwild.picture_size
    if width and height:
        render = scene.render
        render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
        # Blender takes pixel aspects of 1 and more: the longer side is given.
        aspect = ob.segwild.pixel_aspect
        render.pixel_aspect_x, render.pixel_aspect_y = max(1.0, 1 / aspect), max(1.0, aspect)
