"""Renders and pictures of the view with the splats in them, which Blender's own render leaves out."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np
from bpy.props import BoolProperty, FloatProperty

from .. import session
from ..data import splats
from ..protocol.errors import InputError, SegWildError
from ..viewport import occluders, picture
from ..viewport.camera import View, of_camera, of_region
from ..viewport.painting import Painter
from ..viewport.picture import composed, distances, straight
from ..viewport.stock import SHARED

RENDER, DEPTH, VIEW = "SegWild Render", "SegWild Depth", "SegWild View"
_EIGHT_BIT = {
    "PNG",
    "JPEG",
    "BMP",
    "TARGA",
    "TIFF",
    "WEBP",
}  # of what Blender writes, without a colour space of its own


class SEGWILD_OT_render(bpy.types.Operator):
    """Render the scene's camera with the splats in it: Blender's render of everything else, behind and before them"""

    bl_idname = "segwild.render"
    bl_label = "Render with Splats"

    animation: BoolProperty(name="Animation", description="All frames, into the render's output folder")
    write: BoolProperty(name="Write File", description="Write this frame into the render's output folder")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.scene.camera is not None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if not self.animation:
            return self.execute(context)
        self._frames = iter(_frames(context.scene))
        self._painter, self._first = Painter(), context.scene.frame_current
        self._timer = context.window_manager.event_timer_add(0.01, window=context.window)
        context.window_manager.modal_handler_add(self)
        context.window_manager.progress_begin(context.scene.frame_start, context.scene.frame_end)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """At once; the animation too, as a script expects it."""
        painter, scene = Painter(), context.scene
        first = scene.frame_current
        try:
            if self.animation:
                for number in _frames(scene):
                    scene.frame_set(number)
                    _render(context, painter, write=True)
                scene.frame_set(first)
            else:
                _render(context, painter, write=self.write)
        except SegWildError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        finally:
            painter.free()
        _show(context, RENDER, open_window=self.options.is_invoke)
        return {"FINISHED"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type == "ESC":
            return self._end(context, "The animation was stopped.")
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        number = next(self._frames, None)
        if number is None:
            return self._end(context, "")
        try:
            context.scene.frame_set(number)
            _render(context, self._painter, write=True)
        except SegWildError as error:
            return self._end(context, str(error))
        except Exception as error:
            return self._end(context, session.mistake(error))
        context.window_manager.progress_update(number)
        return {"RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender ends it: another file, or the end."""
        with contextlib.suppress(ReferenceError, ValueError):  # a loaded file has removed the timer
            context.window_manager.event_timer_remove(self._timer)
        context.window_manager.progress_end()
        self._painter.free()

    def _end(self, context: bpy.types.Context, sentence: str) -> set[str]:
        context.window_manager.event_timer_remove(self._timer)
        context.window_manager.progress_end()
        context.scene.frame_set(self._first)
        self._painter.free()
        if sentence:
            self.report({"ERROR"}, sentence)
            return {"CANCELLED"}
        _show(context, RENDER, open_window=self.options.is_invoke)
        return {"FINISHED"}


class SEGWILD_OT_viewport_image(bpy.types.Operator):
    """Make a picture of this 3D view, splats and all, as an image"""

    bl_idname = "segwild.viewport_image"
    bl_label = "Picture of the View"

    size: FloatProperty(name="Size", description="Times the view's pixels", default=1.0, min=0.05, max=8.0)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.region_data is not None and not bpy.app.background

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        painter = Painter()
        try:
            _keep(VIEW, straight(_view_picture(context, painter, self.size)))
        except SegWildError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        finally:
            painter.free()
        _show(context, VIEW, open_window=self.options.is_invoke)
        self.report({"INFO"}, f"The picture is the image {VIEW!r}.")
        return {"FINISHED"}


def _frames(scene: bpy.types.Scene) -> range:
    return range(scene.frame_start, scene.frame_end + 1, scene.frame_step)


def _render(context: bpy.types.Context, painter: Painter, *, write: bool) -> None:
    """One frame into the images, and into files. Raises SegWildError."""
    scene, depsgraph = context.scene, context.evaluated_depsgraph_get()
    if write:
        _format_of(scene)  # refused before the work
    view = of_camera(scene.camera.evaluated_get(depsgraph), scene)
    colour, depth = frame(context, view, painter)
    _keep(RENDER, straight(colour))
    _keep(DEPTH, np.repeat(depth[..., None], 4, axis=2), floats=True)
    if write:
        path = Path(bpy.path.abspath(scene.render.frame_path(frame=scene.frame_current)))
        _save(scene, path)


def frame(context: bpy.types.Context, view: View, painter: Painter) -> tuple[np.ndarray, np.ndarray]:
    """What a view of the current frame shows: (H, W, 4) float32 premultiplied display colour, and depth (H, W).

    Raises SetupError, ResourceError or InputError.
    """
    picture.check()
    depsgraph = context.evaluated_depsgraph_get()

    def visible(ob: bpy.types.Object) -> bool:
        return ob.visible_get(view_layer=context.view_layer)

    behind = occluders.depth(depsgraph, view)
    everything = picture.draw(SHARED, view, visible, painter=painter)
    scene = context.scene
    if behind is None and (scene.render.film_transparent or scene.world is None):
        return everything.colour, everything.depth
    other = _rendered(scene, view)
    if behind is None:
        return composed(everything.colour, everything.colour, other), everything.depth
    front = picture.draw(SHARED, view, visible, behind=behind, painter=painter)
    return composed(front.colour, everything.colour, other), np.minimum(front.depth, distances(behind, view))


def _rendered(scene: bpy.types.Scene, view: View) -> np.ndarray:
    """Blender's own render without splats, as it would be saved: (H, W, 4) float32 premultiplied display colour."""
    try:
        with _no_splats(scene):
            bpy.ops.render.render(scene=scene.name)
    except RuntimeError as error:  # such as Cycles without memory
        raise _no_render(error) from error
    with tempfile.TemporaryDirectory() as folder, _settings(scene.render.image_settings):
        settings = scene.render.image_settings
        if hasattr(settings, "media_type"):  # 5.0 and later
            settings.media_type = "IMAGE"
        settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGBA", "16"
        path = str(Path(folder) / "render.png")
        try:
            bpy.data.images["Render Result"].save_render(path, scene=scene)
            image = bpy.data.images.load(path)
        except (RuntimeError, KeyError) as error:
            raise _no_render(error) from error
        try:
            image.colorspace_settings.name = "Non-Color"
            image.alpha_mode = "CHANNEL_PACKED"
            width, height = image.size
            values = np.empty(width * height * 4, np.float32)
            image.pixels.foreach_get(values)
        finally:
            bpy.data.images.remove(image)
    if (width, height) != (view.width, view.height):
        raise InputError(
            "render-size",
            f"The render has {width} × {height} pixels in place of {view.width} × {view.height}.",
            "Switch off the render's border and multiview.",
        )
    colour = values.reshape(height, width, 4)[::-1].copy()
    colour[..., :3] *= colour[..., 3:]
    return colour


def _no_render(error: Exception) -> InputError:
    why = str(error).removeprefix("Error: ").strip()
    return InputError("no-render", f"Blender made no render ({why}).", "Look at the render's settings.")


def _view_picture(context: bpy.types.Context, painter: Painter, size: float) -> np.ndarray:
    """What a 3D view shows, (H, W, 4) float32 display colour."""
    import gpu

    region, space = context.region, context.space_data
    view = of_region(region, context.region_data)
    view = view.resized(max(1, round(view.width * size)), max(1, round(view.height * size)))
    target = gpu.types.GPUOffScreen(view.width, view.height, format="RGBA16F")
    try:
        target.draw_view3d(
            context.scene,
            context.view_layer,
            space,
            region,
            context.region_data.view_matrix,
            context.region_data.window_matrix,
            do_color_management=True,
        )
        with target.bind():
            framebuffer = gpu.state.active_framebuffer_get()
            colour = np.array(framebuffer.read_color(0, 0, view.width, view.height, 4, 0, "FLOAT"), np.float32)
            depth = np.array(framebuffer.read_depth(0, 0, view.width, view.height), np.float32)
    finally:
        target.free()
    colour = colour.reshape(view.height, view.width, 4)[::-1].copy()
    colour[..., 3] = 1
    behind = depth.reshape(view.height, view.width)[::-1]
    shown = picture.draw(SHARED, view, lambda ob: ob.visible_in_viewport_get(space), behind=behind, painter=painter)
    return composed(shown.colour, shown.colour, colour)


@contextlib.contextmanager
def _no_splats(scene: bpy.types.Scene) -> Iterator[None]:
    """Has Blender's render leave out splats that were switched on for it: as spheres, or (5.3 and later) as splats."""
    shown = [ob for ob in scene.objects if splats.is_splat(ob) and not ob.hide_render and ob.is_editable]
    for ob in shown:
        ob.hide_render = True
    try:
        yield
    finally:
        for ob in shown:
            ob.hide_render = False


@contextlib.contextmanager
def _settings(settings: bpy.types.ImageFormatSettings) -> Iterator[None]:
    """Gives an image format back as it was."""
    names = ("media_type", "file_format", "color_mode", "color_depth")
    before = {name: getattr(settings, name) for name in names if hasattr(settings, name)}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(settings, name, value)


def _keep(name: str, pixels: np.ndarray, *, floats: bool = False) -> None:
    """An array (H, W, 4) as the image of that name, which is made if need be."""
    height, width = pixels.shape[:2]
    image = bpy.data.images.get(name)
    if image is not None and (tuple(image.size) != (width, height) or image.is_float != floats):
        bpy.data.images.remove(image)
        image = None
    if image is None:
        image = bpy.data.images.new(name, width, height, alpha=True, float_buffer=floats)
        if floats:
            image.colorspace_settings.name = "Non-Color"
    image.pixels.foreach_set(np.ascontiguousarray(pixels[::-1], np.float32).reshape(-1))
    image.update()


def _format_of(scene: bpy.types.Scene) -> str:
    """Raises InputError for formats that cannot be written here."""
    form = scene.render.image_settings.file_format
    if form not in _EIGHT_BIT | {"OPEN_EXR"}:
        raise InputError(
            "render-format",
            f"Renders with splats cannot be written as {form}.",
            "Choose PNG, JPEG or OpenEXR as the output's file format.",
        )
    return form


def _save(scene: bpy.types.Scene, path: Path) -> None:
    """The images as files: as displayed, or (OpenEXR) as light with the depth beside it."""
    form = _format_of(scene)
    image, made = bpy.data.images[RENDER], None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if form == "OPEN_EXR":
            image = made = _as_light(image)
            _write(bpy.data.images[DEPTH], path.with_name(f"{path.stem}_depth{path.suffix}"), form)
        _write(image, path, form)
    except (OSError, RuntimeError) as error:
        raise InputError(
            "write-failed", f"The render was not written ({error}): {path}.", "Choose another output folder."
        ) from error
    finally:
        if made is not None:
            bpy.data.images.remove(made)


def _write(image: bpy.types.Image, path: Path, form: str) -> None:
    image.filepath_raw, image.file_format = str(path), form
    image.save()


def _as_light(image: bpy.types.Image) -> bpy.types.Image:
    """Straight sRGB into premultiplied linear floats, which OpenEXR holds."""
    values = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(values)
    values = values.reshape(-1, 4)
    rgb = values[:, :3]
    light = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    values[:, :3] = light * values[:, 3:]
    made = bpy.data.images.new("SegWild light", *image.size, alpha=True, float_buffer=True)
    made.alpha_mode = "PREMUL"
    made.pixels.foreach_set(values.reshape(-1))
    return made


def _show(context: bpy.types.Context, name: str, *, open_window: bool = False) -> None:
    """The image in every image editor that shows one of ours or none; else in a new window, as Blender's renders are,
    unless `open_window` is false or Blender's preferences say otherwise."""
    ours, shown = {RENDER, DEPTH, VIEW, None}, False
    for manager in getattr(bpy.data, "window_managers", ()):
        for window in manager.windows:
            for area in window.screen.areas:
                if area.type == "IMAGE_EDITOR":
                    space = area.spaces.active
                    if (space.image.name if space.image else None) in ours:
                        space.image, shown = bpy.data.images[name], True
    wanted = context.preferences.view.render_display_type != "NONE"
    if open_window and wanted and not shown and context.window is not None and not bpy.app.background:
        bpy.ops.wm.window_new()
        area = context.window_manager.windows[-1].screen.areas[0]
        area.type = "IMAGE_EDITOR"
        area.spaces.active.image = bpy.data.images[name]


def _menu(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.operator(SEGWILD_OT_render.bl_idname, icon="RENDER_STILL")
    self.layout.operator(SEGWILD_OT_render.bl_idname, text="Render Animation with Splats").animation = True


def _view_menu(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.operator(SEGWILD_OT_viewport_image.bl_idname)


_CLASSES = (SEGWILD_OT_render, SEGWILD_OT_viewport_image)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)
    bpy.types.TOPBAR_MT_render.append(_menu)
    bpy.types.VIEW3D_MT_view.append(_view_menu)


def unregister() -> None:
    bpy.types.VIEW3D_MT_view.remove(_view_menu)
    bpy.types.TOPBAR_MT_render.remove(_menu)
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
