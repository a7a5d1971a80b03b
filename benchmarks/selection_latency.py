"""Clicks on scenes of growing size -> how long each step takes.

`python -m benchmarks.selection_latency WORKSPACE PHOTO [--click X Y] [--sizes N ...] [--busy] [--append FILE]`

A larger scene is the workspace's with every Gaussian replaced by several smaller ones drawn from it, so that
surfaces and objects stay what they are. Each size runs in a process of its own, all steps in the same one;
figures are the minimum of the repeats, by the clock and, as rows that end in "cpu", in processor time of all threads,
which a busy machine distorts less. `--busy` keeps one core at work meanwhile.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from backend.features import Lifted, colour
from backend.scene import Gaussians, Workspace
from backend.scene.transforms import matrices_from_quats
from backend.segment.draft import Draft
from backend.segment.eyes import Eyes
from backend.segment.marks import prompts_of
from backend.segment.prepared import Prepared
from backend.segment.prompts import parsed_clicks
from backend.segment.selection import Selector
from backend.segment.witnesses import Witnesses
from segwild_addon.protocol.values import Mark

ROOT = Path(__file__).parents[1]
SIZES = (20_000, 200_000, 1_000_000)
REPEATS = 5
TARGETS_SECS = {200_000: {"click": 0.4, "undo": 0.02}, 1_000_000: {"click": 0.8, "undo": 0.06}}
_SPREAD = 0.8  # of a Gaussian's deviation: how far its parts lie from its middle


def grown(scene: Gaussians, count: int) -> tuple[Gaussians, np.ndarray]:
    """A scene of `count` rows, at least as many as there are, and the row each came from."""
    random = np.random.default_rng(0)
    count = max(count, len(scene))
    parents = np.sort(np.concatenate([np.arange(len(scene)), random.integers(0, len(scene), count - len(scene))]))
    parts = np.bincount(parents)[parents]
    rows = scene.take(parents)
    axes = matrices_from_quats(rows.quats.astype(np.float64)) * rows.scales[:, None]
    shifts = (axes @ random.normal(0, _SPREAD, (count, 3, 1)))[..., 0] * (parts > 1)[:, None]
    return (
        replace(
            rows,
            means=(rows.means + shifts).astype(np.float32),
            log_scales=(rows.log_scales - np.log(parts)[:, None] / 2).astype(np.float32),
            sidecars={},
        ),
        parents,
    )


def measured(root: Path, photo: str, click: tuple[float, float] | None, count: int) -> dict[str, float]:
    """Step -> seconds, and `gaussians`, `rows` chosen, `peak_memory_bytes`."""
    workspace = Workspace.open(root)
    scene, parents = grown(workspace.gaussians(), count)
    lifted = Lifted.load(workspace, colour.NAME)
    if lifted is not None:
        lifted = Lifted(*(getattr(lifted, name)[parents] for name in ("features", "confidence", "mass", "unseen")))
    prepared = Prepared(scene, [p.camera for p in workspace.used_photos() if p.camera is not None], lifted=lifted)
    taken = workspace.photo(photo)
    x, y = click or (taken.width / 2, taken.height / 2)
    times: dict[str, float] = {}
    _timed(times, "graph", lambda: prepared.graph)
    _timed(times, "walks", lambda: prepared.walks)
    _timed(times, "solve", lambda: prepared.walks.solve(contested=False))
    _timed(times, "solve, contested", lambda: prepared.walks.solve(contested=True))
    _timed(times, "followers", lambda: prepared.followers)
    selector = _timed(times, "project a photo", lambda: Selector(prepared, workspace, taken))
    depth = selector.seen.depth()
    scale = selector.camera.width / taken.width
    at = np.array([x, y]) * scale
    ray = selector.camera.rays(at[None])[0]
    far = float(depth[int(at[1]), int(at[0])])
    position = selector.camera.centre + ray * far / (ray @ selector.camera.forward)
    mark = Mark(tuple(position.tolist()), tuple(selector.camera.centre.tolist()), far / selector.camera.fx)
    _timed(times, "first click", lambda: Draft(prepared).become(_clicks(selector, (x, y, "+"))))
    drafts = iter([Draft(prepared) for _ in range(3 * REPEATS)])
    _timed(times, "look at its picture", lambda: selector.meant)
    # Each a little beside the last: answers of a picture are remembered.
    places = iter([x + step / 4 for step in range(1, REPEATS + 1)])
    _timed(times, "click", lambda: next(drafts).become(_clicks(selector, (next(places), y, "+"))), REPEATS)
    _timed(times, "mark", lambda: next(drafts).become(prompts_of(Eyes(prepared), [mark])), REPEATS)
    witnesses = Witnesses(prepared, workspace.used_photos())
    beside = mark.pixel / 4 * np.cross(selector.camera.forward, (0.0, 0.0, 1.0))
    moved = iter([[replace(mark, position=tuple((position + step * beside).tolist()))] for step in range(3)])
    for name, repeats in (("ask the photos", 1), ("ask them again", 2)):
        _timed(times, name, lambda: _consulted(witnesses, next(moved)), repeats)
    two = _clicks(selector, (x, y, "+"), (x / 2, y, "-"))
    draft = next(drafts)
    draft.become(two[:1])
    _timed(times, "one beside", lambda: draft.become(two), 1)
    for _ in range(REPEATS):
        _timed(times, "undo", draft.undo)
        _timed(times, "redo", draft.redo)
    draft.undo()
    _timed(times, "undo the first", draft.undo)
    draft.redo()
    chosen = draft.chosen
    _timed(times, "pack", lambda: np.packbits(draft.chosen, bitorder="little"), REPEATS)
    _timed(times, "decide again to keep", lambda: draft.selection(), REPEATS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {**times, "gaussians": len(scene), "rows": int(chosen.sum()), "peak_memory_bytes": peak}


def _clicks(selector: Selector, *clicks: tuple[float, float, str]) -> list[Any]:
    return selector.prompts(parsed_clicks([f"{x},{y},{sign}" for x, y, sign in clicks], selector.photo))


def _consulted(witnesses: Witnesses, marks: list[Mark]) -> None:
    for _ in witnesses.consulted(marks, prompts_of(Eyes(witnesses.prepared), marks)):
        pass


def _timed(times: dict[str, float], name: str, act: Callable[[], Any], repeats: int = 1) -> Any:
    result = None
    for _ in range(repeats):
        began, spent = time.perf_counter(), time.process_time()
        result = act()
        took = {name: time.perf_counter() - began, f"{name}, cpu": time.process_time() - spent}
        for key, secs in took.items():
            times[key] = min(times.get(key, np.inf), secs)
    return result


def _spin() -> None:
    while True:
        np.linalg.svd(np.ones((100, 100)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("photo")
    parser.add_argument(
        "--click", type=float, nargs=2, metavar=("X", "Y"), help="pixels of the photo; none: its middle"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--busy", action="store_true", help="one core busy, as with a training")
    parser.add_argument("--append", type=Path, help="file for one JSON line per figure")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    busy = context.Process(target=_spin, daemon=True)
    if options.busy:
        busy.start()
    columns = []
    for size in options.sizes:
        with context.Pool(1) as pool:
            columns.append(pool.apply(measured, (options.workspace, options.photo, options.click, size)))
    if options.busy:
        busy.kill()
    print("| step | " + " | ".join(f"{int(column['gaussians']):,}" for column in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for name in columns[0]:
        cells = []
        for size, column in zip(options.sizes, columns, strict=True):
            value, target = column[name], TARGETS_SECS.get(size, {}).get(name)
            text = f"{value:,.0f}" if name in ("gaussians", "rows", "peak_memory_bytes") else f"{1000 * value:,.0f} ms"
            cells.append(text + (f" (target {1000 * target:.0f})" if target else ""))
        print(f"| {name} | " + " | ".join(cells) + " |")
    if options.append:
        facts = {"scene": options.workspace.name, "commit": _commit(), "device": platform.processor(), "seed": 0}
        facts |= {"busy": options.busy, "versions": {"numpy": np.__version__, "python": platform.python_version()}}
        with options.append.open("a", encoding="utf-8") as file:
            for column in columns:
                for name, value in column.items():
                    unit = {"gaussians": "rows", "rows": "rows", "peak_memory_bytes": "bytes"}.get(name, "s")
                    line = {"name": f"selection {name}", "value": value, "unit": unit, "gaussians": column["gaussians"]}
                    file.write(json.dumps(line | facts) + "\n")


def _commit() -> str | None:
    told = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip() or None


if __name__ == "__main__":
    main()
