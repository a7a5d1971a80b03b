"""A click in Blender's window on a large scene -> how long until the object is highlighted, and where that time goes.

    SEGWILD_BLENDER=… python -m benchmarks.blender_click WORKSPACE [--size N] [--clicks N] [--append FILE]

The scene is the workspace's with its Gaussians divided until there are N of them (`selection_latency.grown`). Blender
starts the backend with this Python and is clicked with the mouse; SEGWILD_BLENDER is that of `tests/gui`. Figures are
seconds from the press of the button, of the fastest click; the drawing waits for the graphics card each time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from backend.scene import Workspace
from benchmarks.blender_waiting import git
from benchmarks.selection_latency import grown
from tests.gui.driver import Driver
from tests.gui.views import look_from, regions

SIZE = 200_000
STEPS = ("pressed", "picked", "asked", "answered", "handled", "drawing", "highlighted", "final")
WATCH = """
import time
prompts, selection, draw = addon('viewport.prompts'), addon('viewport.selection'), addon('viewport.draw')
seen, costs = {}, []
def noted(name, call, before=None):
    def wrapper(*arguments, **named):
        if before:
            seen.setdefault(before, time.monotonic())
        try:
            return call(*arguments, **named)
        finally:
            seen.setdefault(name, time.monotonic())
    return wrapper
prompts.SEGWILD_OT_prompt._pressed = noted('taken', prompts.SEGWILD_OT_prompt._pressed, 'pressed')
prompts.pick = noted('picked', prompts.pick)
selection._ask = noted('asked', selection._ask)
selection._chosen = noted('answered', selection._chosen)
draw.highlight = noted('handled', draw.highlight)
draw_region = draw._draw_region
def drawn(context):
    import gpu
    began = time.monotonic()
    draw_region(context)
    gpu.state.active_framebuffer_get().read_color(0, 0, 1, 1, 4, 0, 'FLOAT')
    costs.append((began, time.monotonic() - began))
    if 'handled' in seen and not selection.waiting():
        seen.setdefault('drawing', began)
        seen.setdefault('highlighted', time.monotonic())
        seen['final'] = time.monotonic()
draw._draw_region = drawn
"""


def large(source: Path, target: Path, count: int) -> None:
    """A workspace of `count` rows without features, objects and looks."""
    scene, _ = grown(Workspace.open(source).gaussians(), count)
    shutil.copytree(
        source, target, ignore=shutil.ignore_patterns("splats", "features", "embeddings", "segments*", "appearance*")
    )
    (target / "splats").mkdir()
    scene.save(Workspace.open(target).splats)


def ready(blender: Driver, workspace: Path) -> None:
    """The workspace imported and looked at, its backend started and prepared."""
    blender.run(f"""
        for ob in list(bpy.data.objects):
            bpy.data.objects.remove(ob)
        assert bpy.ops.segwild.import_workspace(directory={str(workspace)!r}) == {{'FINISHED'}}
        for ob in bpy.data.objects:
            ob.hide_set(ob.type == 'CAMERA')
        addon('ui.preferences').preferences().python = {sys.executable!r}
    """)
    blender.until("result = addon('environment').python() is not None")
    blender.run("bpy.ops.segwild.start_backend()")
    blender.until("result = addon('work').link_of(bpy.context).running")
    blender.run("""
        told = []
        link, questions = addon('work').link_of(bpy.context), addon('protocol.questions')
        link.ask(questions.Prepare(), told.append)
    """)
    blender.until("result = bool(told)", secs=300)


def redraw_secs(blender: Driver) -> tuple[float, float]:
    """Of our part of a drawing that repeats the last one, and of one of which everything is new."""
    result = []
    for spoil in ("pass", "draw._regions.clear(); draw._painter.free()"):
        found = []
        for _ in range(4):
            blender.run(f"costs.clear(); {spoil}; bpy.context.area.tag_redraw()")
            blender.until("result = bool(costs)")
            found.append(blender.run("result = costs[0][1]"))
        result.append(min(found))
    return result[0], result[1]


def click(blender: Driver, at: tuple[float, float]) -> dict[str, float]:
    """Step -> seconds after the press; and the rows it chose."""
    blender.run("bpy.ops.segwild.prompt('INVOKE_DEFAULT')")
    blender.move(*at)
    time.sleep(2.0)  # what the start and the move had drawn
    blender.run("seen.clear(); costs.clear()")
    blender.x("click", "1")
    blender.until("result = 'highlighted' in seen")
    time.sleep(3.0)
    found = blender.run("result = dict(seen)")
    rows = blender.run("result = len(selection.ids())")
    longest = blender.run("result = max(cost for _, cost in costs)")
    before = blender.run("result = sum(cost for at, cost in costs if at < seen['handled'])")
    blender.key("Escape")
    blender.until("result = not prompts.running()")
    zero = found["pressed"]
    times = {name: found[name] - zero for name in STEPS if name in found}
    return times | {"rows": rows, "longest drawing": longest, "drawings before": before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--clicks", type=int, default=6)
    parser.add_argument("--folder", type=Path, help="for the large scene and pictures; visible to SEGWILD_BLENDER")
    parser.add_argument("--append", type=Path, help="file that gets the lines too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, ignore_cleanup_errors=True) as text:
        folder = Path(text)
        large(options.workspace, folder / "large.segwild", options.size)
        blender = Driver(folder / "gui")
        try:
            report(blender, folder, options)
        finally:
            blender.close()


def report(blender: Driver, folder: Path, options: argparse.Namespace) -> None:
    from backend.packaging import extension

    version = blender.start("--window-geometry", "0", "0", "960", "800")
    extension.stage(folder / "segwild")
    extension.archive(folder / "segwild", folder / "segwild.zip")
    blender.run(f"""
        bpy.ops.extensions.package_install_files(
            filepath={str(folder / "segwild.zip")!r}, repo='user_default', enable_on_install=True)
    """)
    ready(blender, folder / "large.segwild")
    blender.run("bpy.context.space_data.overlay.show_overlays = False")
    blender.run(WATCH)
    cameras = [photo.camera for photo in Workspace.open(folder / "large.segwild").used_photos() if photo.camera]
    middle = np.median(Workspace.open(folder / "large.segwild").gaussians().means, axis=0)
    look_from(blender, middle + 1.2 * (cameras[0].centre - middle), middle)
    (region,) = regions(blender)
    time.sleep(5)
    again, new = redraw_secs(blender)
    found: list[dict[str, Any]] = []
    places = np.random.default_rng(0).uniform(0.35, 0.65, (options.clicks, 2))
    for x, y in places:
        at = region["left"] + x * region["width"], region["top"] + y * region["height"]
        try:
            found.append(click(blender, at))
        except AssertionError:  # beside everything
            blender.key("Escape")
        else:
            print(json.dumps({k: round(v, 3) for k, v in found[-1].items()}), file=sys.stderr, flush=True)
    best = min(found, key=lambda each: each["highlighted"])
    figures = {**best, "our redraw, nothing new": again, "our redraw, all new": new}
    for name, value in figures.items():
        line = {
            "name": f"blender.click.{name}",
            "value": round(value, 4),
            "unit": "rows" if name == "rows" else "s",
            "scene": options.workspace.name,
            "gaussians": options.size,
            "commit": git("rev-parse", "--short", "HEAD"),
            "dirty": bool(git("status", "--porcelain")),
            "versions": {"blender": version},
            "pixels": [region["width"], region["height"]],
            "threads": os.cpu_count(),
            "load": os.getloadavg()[0],
        }
        print(json.dumps(line), flush=True)
        if options.append is not None:
            with options.append.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
