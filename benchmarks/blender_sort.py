"""What the 3D view of Blender costs at a million splats: sorting, uploading, redrawing, clicking.

    PYTHON_WITH_BPY -m benchmarks.blender_sort [--rows N] [--size WxH] [--out FILE]

Sorting and clicking need numpy only; the rest needs the bpy module of Blender 5.2 or later. One JSON line per number.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

REPEATS = 7
ROOT = Path(__file__).parents[1]


def invented(count: int) -> Any:
    """Rows of degree 3 in the manner of a photo collection: most near the origin, some very far away."""
    from segwild_addon.data.rows import rows

    random = np.random.default_rng(0)
    positions = random.normal(0, 1, (count, 3)) * 10 ** random.uniform(-0.5, 0.5, (count, 1))
    positions[: count // 500] *= 100
    quats = random.normal(size=(count, 4))
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    base = np.c_[random.normal(0, 1, (count, 3)), random.uniform(0, 1, count)]
    sh = random.normal(0, 0.1, (count, 15, 3)).astype(np.float32)
    ids = np.arange(1, count + 1, dtype=np.int32)
    scales = np.exp(random.normal(np.log(0.01), 0.5, (count, 3)))
    return rows(*(array.astype(np.float32) for array in (positions, scales, quats, base)), sh, ids)


def timed(
    call: Callable[[], Any], repeats: int = REPEATS, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float]:
    """Minimum and median of its milliseconds, after one call that does not count."""
    call()
    times = []
    for _ in range(repeats):
        began = clock()
        call()
        times.append(1e3 * (clock() - began))
    return min(times), statistics.median(times)


def longest_gap(call: Callable[[], Any]) -> float:
    """Milliseconds for which a thread that sleeps a thousandth again and again is kept from running."""
    worker = threading.Thread(target=call)
    longest = 0.0
    worker.start()
    while worker.is_alive():
        before = time.perf_counter()
        time.sleep(0.001)
        longest = max(longest, time.perf_counter() - before)
    worker.join()
    return 1e3 * longest


def view_of(width: int, height: int) -> Any:
    from segwild_addon.viewport.camera import View

    matrix = np.eye(4)
    matrix[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    matrix[2, 3] = 4.0
    return View(matrix, 0.9 * width, 0.9 * width, width / 2, height / 2, width, height, False, 0.01, 1000.0)


def on_cpu(pack: Any, view: Any) -> dict[str, tuple[float, float]]:
    """Sorting as the thread does it, and a click."""
    from segwild_addon.viewport import picking
    from segwild_addon.viewport.sort import Part, order_of

    towards = view.cam_from_world[2, :3].astype(np.float32)
    parts = [Part(0, len(pack), towards, 4.0)]
    half = len(pack) // 2
    two = [Part(0, half, towards, 4.0), Part(half, len(pack), towards, 4.1)]
    gaps = [longest_gap(lambda: order_of(pack.positions, parts)) for _ in range(REPEATS)]
    return {
        "sort": timed(lambda: order_of(pack.positions, parts)),
        "sort_processor_time": timed(lambda: order_of(pack.positions, parts), clock=time.thread_time),
        "sort_two_objects": timed(lambda: order_of(pack.positions, two)),
        "main_thread_gap_while_sorting": (min(gaps), statistics.median(gaps)),
        "click": timed(lambda: picking._seen(pack, np.eye(4), 1.0, view, view.cx, view.cy)),
    }


def on_card(pack: Any, view: Any) -> dict[str, tuple[float, float]]:
    """Uploads and redraws. A redraw ends when a pixel has been read back."""
    import gpu

    from segwild_addon.viewport import buffers, painting
    from segwild_addon.viewport.sort import Part, order_of

    gpu.init()
    layer, painter = buffers.Layer(), painting.Painter()
    results = {"upload_all": timed(lambda: (layer.free(), layer.set({"all": pack}), layer.textures()), 3)}
    order = order_of(layer.positions, [Part(0, len(pack), view.cam_from_world[2, :3].astype(np.float32), 4.0)])
    results["upload_order"] = timed(lambda: buffers.texture(order, "R32F", "order"))
    marked = np.arange(1, len(pack) // 10, dtype=np.int32)
    results["upload_highlight"] = timed(lambda: (layer.mark({"all": marked}), layer.textures()))
    table = buffers.object_table(
        [buffers.Shown(view.cam_from_world, np.array([0, -4, 0, 1]), np.eye(3), np.eye(3), 1, 3)]
    )
    stroke = painting.Stroke(layer, buffers.texture(order, "R32F", "order"), len(order), buffers.object_texture(table))

    def redraw(every: int = 1) -> None:
        framebuffer, _ = painter.paint([stroke], view, every=every)
        framebuffer.read_color(0, 0, 1, 1, 4, 0, "FLOAT")

    before = buffers.uploads.copy()
    results["redraw"] = timed(redraw, 3)
    results["redraw_every_fourth"] = timed(lambda: redraw(4), 3)
    uploaded = sum((buffers.uploads - before).values()) - 1  # a texture of one texel, once
    results["uploads_while_redrawing"] = (float(max(uploaded, 0)), float(max(uploaded, 0)))
    return results


def device() -> str:
    try:
        import gpu

        return str(gpu.platform.renderer_get())
    except (ImportError, SystemError):
        return platform.processor() or platform.machine()


def commit() -> tuple[str, bool]:
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False).stdout
    return head, bool(changed.strip())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.blender_sort")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--size", default="1280x720", help="pixels of the view")
    parser.add_argument("--out", type=Path, help="a file to append the lines to")
    options = parser.parse_args()
    try:
        import bpy
        import gpu
    except ImportError:
        # The modules measured without Blender name it in their imports.
        bpy = sys.modules["bpy"] = types.ModuleType("bpy")
        bpy.types = types.SimpleNamespace(Object=object, PointCloud=object, Depsgraph=object)
        gpu = None
    from segwild_addon.viewport import buffers

    width, height = map(int, options.size.split("x"))
    view = view_of(width, height)
    invented_rows = invented(options.rows)
    pack = buffers.packed(invented_rows)
    results: dict[str, Any] = {"pack": timed(lambda: buffers.packed(invented_rows), 3)}
    results |= on_cpu(pack, view)
    if gpu is not None and hasattr(gpu, "init"):
        results |= on_card(pack, view)
    head, dirty = commit()
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    versions["blender"] = getattr(getattr(bpy, "app", None), "version_string", None)
    for name, (least, median) in results.items():
        line = {
            "name": f"viewport_{name}",
            "value": round(least, 3),
            "median": round(median, 3),
            "unit": "textures" if name.startswith("uploads") else "ms",
            "scene": "invented",
            "gaussians": options.rows,
            "width": width,
            "height": height,
            "commit": head,
            "dirty": dirty,
            "device": device(),
            "versions": versions,
            "seed": 0,
            "reason": None,
        }
        print(json.dumps(line), flush=True)
        if options.out:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
