"""A trained workspace of the bundled sample into the pictures of docs/blender.md: the program as it is, on a screen.

    python -m tests.gui.pictures WORKSPACE --out docs/pictures

Places are given in metres of the sample's square; where those are in the scene is told by its photos, of which the
sample knows from where they were taken. The workspace is copied, and stays as it is.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from backend.capture.sample import photographers, square
from backend.scene.transforms import Similarity, aligned

from .conftest import begun, serving
from .driver import Driver
from .hands import above, connect, no_traceback, open_sidebar, open_tab, screen_of, selected
from .views import look_from, settled

WINDOW = ("--window-geometry", "0", "0", "1280", "800")
SIZE = (1052, 720)  # of that window: its menus and its 3D view
QUALITY = 85
SEED, PHOTOS, LONG_SIDE = 0, 36, 480  # of `segwild demo`'s photos
ANSWER_SECS = 120.0  # the first click waits for the network and for what is compiled

Place = tuple[float, float, float]
# Higher than any photographer, whose highest stands at 4.6; and beside the lamp, for what the first does not show.
HIGH: tuple[Place, Place] = ((6.9, -9.6, 4.8), (4.6, -1.9, 1.6))
LEFT: tuple[Place, Place] = ((0.6, -10.5, 2.6), (-2.6, -1.0, 1.4))
KIOSK: Place = (4.9, -2.9, 2.9)
OTHERS: dict[str, tuple[tuple[Place, Place], Place]] = {
    "fountain": (HIGH, (0.5, -1.85, 0.4)),
    "lamp": (HIGH, (1.5, -5.0, 0.7)),
    "column": (HIGH, (4.4, 2.8, 3.2)),
    "arch": (HIGH, (0.55, 5.9, 1.2)),
    "statue": (HIGH, (-4.3, 2.6, 1.0)),
    "bench": (LEFT, (-2.7, -4.55, 0.5)),
    "tree": (LEFT, (-6.0, -2.0, 3.4)),
}
LIGHT_OF_KIOSK, LIGHT_OF_REST = "photo-031", "photo-019"  # noon and dusk
ICON_PX = 176  # four in a row
MARGIN_PX, BAR_PX = 8, 10  # around what is kept of the asset browser; its scroll bar


def taken(workspace: Path, out: Path, folder: Path) -> None:
    """All pictures into `out`; `folder` takes what is needed on the way."""
    copy = folder / workspace.name
    shutil.copytree(workspace, copy)
    for service in serving(copy):
        for blender in begun(folder / "gui", window=WINDOW):
            world_from_square = opened(blender, copy)
            connect(blender, service["port"])
            look(blender, world_from_square, HIGH)
            with found(blender):
                keep(cropped(blender.shot("find")), out / "blender-find.jpg")
            with clicked(blender, "kiosk", world_from_square.points(np.array(KIOSK))):
                keep(cropped(blender.shot("select")), out / "blender-select.jpg")
            light(blender)
            keep(cropped(blender.shot("light")), out / "blender-light.jpg")
            no_light(blender)
            for name, (view, place) in OTHERS.items():
                look(blender, world_from_square, view)
                with clicked(blender, name, world_from_square.points(np.array(place))):
                    blender.shot(name)
            no_traceback(blender)
            keep(assets(blender), out / "blender-assets.jpg")


def opened(blender: Driver, workspace: Path) -> Similarity:
    """Import into Blender's own first scene, without its cube; returns where the square is."""
    blender.run(f"""
        bpy.data.objects.remove(bpy.data.objects["Cube"])
        assert bpy.ops.segwild.import_workspace(directory={str(workspace)!r}) == {{'FINISHED'}}
        for ob in bpy.data.objects:
            ob.hide_set(ob.type in ('CAMERA', 'LIGHT'))
            ob.select_set(False)
        bpy.context.view_layer.objects.active = None
    """)
    open_sidebar(blender)
    open_tab(blender)
    photographed = dict(
        blender.run("""
        result = [[ob.segwild.photo, list(ob.matrix_world.translation)] for ob in bpy.data.objects
                  if ob.segwild.kind == 'CAMERA']
    """)
    )
    place = square.square()
    true = [photographers.visit(place, k, photos=PHOTOS, long_side=LONG_SIDE, seed=SEED) for k in range(PHOTOS)]
    pairs = [(photographed[visit.name], visit.camera.centre) for visit in true if visit.name in photographed]
    return aligned(*(np.array(points, float) for points in zip(*pairs, strict=True)))


def look(blender: Driver, world_from_square: Similarity, view: tuple[Place, Place]) -> None:
    eye, target = world_from_square.points(np.array(view))
    look_from(blender, eye, target, lens=50.0)
    settled(blender)


@contextmanager
def found(blender: Driver) -> Any:
    """With what stands apart in colours."""
    assert blender.run("result = list(bpy.ops.segwild.find_objects())") == ["FINISHED"]
    blender.until("result = not addon('suggestions').busy()", secs=ANSWER_SECS)
    settled(blender)
    yield
    blender.run("bpy.ops.segwild.hide_proposals(); addon('work').say('')")


@contextmanager
def clicked(blender: Driver, name: str, place: Any) -> Any:
    """With one click at the place; afterwards what was selected is an object."""
    blender.run("bpy.ops.segwild.prompt('INVOKE_DEFAULT')")
    blender.run(f"bpy.context.window_manager.segwild.new_name = {name!r}")
    blender.click(*screen_of(blender, tuple(place)))
    blender.until("result = len(bpy.context.scene.segwild.prompts) == 1")
    blender.until("result = not addon('viewport.selection').waiting()", secs=ANSWER_SECS)
    print(f"{name}: {len(selected(blender))} splats", flush=True)
    settled(blender)
    yield
    blender.key("Return")
    blender.until(f"result = {name!r} in bpy.data.objects and not addon('viewport.prompts').running()")
    blender.until(f"result = not addon('cleaning').busy(bpy.data.objects[{name!r}])", secs=ANSWER_SECS)
    blender.run("addon('work').say('')")


def light(blender: Driver) -> None:
    """The kiosk in the light of one photo, the rest in that of another, and the panel that says so."""
    blender.run(f"""
        for ob in bpy.data.objects:
            if ob.segwild.kind in ('REST', 'SEGMENT'):
                ob.segwild.look_a = {LIGHT_OF_REST!r} if ob.segwild.kind == 'REST' else {LIGHT_OF_KIOSK!r}
        thumbnails, folder = addon('ui.thumbnails'), addon('work').workspace_of(bpy.context)
    """)
    blender.until("result = len(thumbnails.photos(folder)) > 0")
    blender.until("result = all(thumbnails.icon(folder, name) for name in thumbnails.photos(folder))")
    x, y = side_of(blender)
    blender.move(x, y)
    for _ in range(6):
        blender.x("click", "5")
    settled(blender)
    time.sleep(3)  # the photo's picture is read by Blender meanwhile, which tells nobody


def side_of(blender: Driver) -> tuple[float, float]:
    """The middle of the sidebar."""
    x, y = blender.run("""
        side = next(region for region in bpy.context.area.regions if region.type == 'UI')
        result = [side.x + side.width // 2 - 20, bpy.context.window.height - side.y - side.height // 2]
    """)
    return x, y + above(blender)


def no_light(blender: Driver) -> None:
    blender.run("""
        for ob in bpy.data.objects:
            if ob.segwild.kind in ('REST', 'SEGMENT'):
                ob.segwild.look_a = ''
    """)


def assets(blender: Driver) -> np.ndarray:
    """All objects in the asset browser, in the place of the 3D view: their pictures alone, (H, W, 3) uint8."""
    blender.run("""
        for ob in bpy.context.view_layer.objects:
            ob.select_set(ob.segwild.kind == 'SEGMENT')
        assert bpy.ops.segwild.mark_asset() == {'FINISHED'}
    """)
    higher = above(blender)
    blender.move(5, 5)  # over a picture, the mouse would show its tip
    blender.run(
        """
        window = bpy.context.window_manager.windows[0]
        area = next(area for area in window.screen.areas if area.type == 'VIEW_3D')
        area.ui_type = 'ASSETS'
    """,
        view=False,
    )
    blender.until("result = area.spaces.active.params is not None", view=False)
    blender.run(
        f"""
        params = area.spaces.active.params
        params.asset_library_reference = 'LOCAL'
        params.display_size = {ICON_PX}
        area.spaces.active.show_region_tool_props = False
    """,
        view=False,
    )
    time.sleep(3)
    left, top, width, height = blender.run(
        """
        region = next(region for region in area.regions if region.type == 'WINDOW')
        result = [region.x, window.height - region.y - region.height, region.width, region.height]
    """,
        view=False,
    )
    top += higher
    shown = blender.shot("assets")[top : top + height, left : left + width - BAR_PX]
    rows, columns = np.nonzero((np.abs(shown.astype(int) - shown[-1, -1]) > 20).any(axis=2))
    return shown[: rows.max() + MARGIN_PX, : columns.max() + MARGIN_PX]


def cropped(screen: np.ndarray) -> np.ndarray:
    return screen[: SIZE[1], : SIZE[0]]


def keep(shown: np.ndarray, file: Path) -> None:
    picture = Image.fromarray(shown)
    picture.save(file, quality=QUALITY, optimize=True)
    print(f"{file}: {picture.width} x {picture.height}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="segwild-pictures-") as folder:
        taken(asked.workspace.resolve(), asked.out, Path(folder))


if __name__ == "__main__":
    main()
