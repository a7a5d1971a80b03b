"""Lifting 2D features, beside the gradient way of lifting with the same renderer: one JSON line per figure.

    python -m benchmarks.lifting [--rows 200000] [--views 3] [--long-side 640] [--channels 16 512] [--all-views 100]
                                 [--million] [--out FILE]

The gradient way (Gradient-Weighted Feature Back-Projection, arXiv 2411.15193) renders per-Gaussian features, all zero,
of which autograd then says how much of each pixel they would receive: the gradient of Σ(image·features) is A, that of
Σ(image·1) of one more channel is Z. It needs the rendered picture, the features and their gradient for all channels.
Ours sums without them. Both run in this process, in turn; the minimum counts. Memory is that of a child process each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backend.features.lift import UNSEEN_BELOW_PX, lift
from backend.features.pixels import Grid, Pixels
from backend.progress import Quiet
from backend.render import Seen, rasterize
from backend.scene import Camera, Gaussians
from backend.scene.cameras import looking_at

REPEATS = 3
CELLS = 64  # of an encoder's grid, per side
GRADIENT_CHANNELS_MAX = 64  # per call: more are done in turns, as the rasteriser's backward pass is fastest


class Invented:
    """Views with features on an encoder's grid, as a network leaves them."""

    def __init__(self, cameras: list[Camera], channels: int) -> None:
        self.cameras, self.channels = cameras, channels
        cells = np.random.default_rng(0).normal(size=(channels, CELLS, CELLS)).astype(np.float16)
        self._cells = cells  # one for all views: what they hold does not matter here

    def pixels(self, number: int) -> Pixels:
        camera = self.cameras[number]
        return Grid(self._cells, (CELLS * camera.height / camera.width, CELLS), camera.height, camera.width)

    def weight(self, number: int, seen: Seen) -> np.ndarray | None:
        return None


def town(rows: int) -> Gaussians:
    """Gaussians on the walls of a box around a crowd of balls, of the size their number asks for."""
    random = np.random.default_rng(1)
    balls = random.normal(size=(rows // 2, 3))
    balls /= np.linalg.norm(balls, axis=1, keepdims=True)
    balls = balls * random.uniform(0.1, 0.4, (20,))[random.integers(0, 20, len(balls)), None]
    balls += random.uniform(-2, 2, (20, 3))[random.integers(0, 20, len(balls))]
    walls = random.uniform(-4, 4, (rows - len(balls), 3))
    axis = random.integers(0, 3, len(walls))
    walls[np.arange(len(walls)), axis] = np.sign(walls[np.arange(len(walls)), axis]) * 4
    means = np.concatenate([balls, walls]).astype(np.float32)
    size = np.log(6 / np.sqrt(rows))
    return Gaussians(
        means,
        random.normal(size=(rows, 4)).astype(np.float32),
        random.normal(size, 0.3, (rows, 3)).astype(np.float32),
        random.normal(1.5, 1, rows).astype(np.float32),
        np.zeros((rows, 1, 3), np.float32),
        np.zeros((rows, 0, 3), np.float32),
    )


def around(count: int, long_side: int) -> list[Camera]:
    angles = np.arange(count) * 2 * np.pi / max(count, 1)
    return [
        looking_at(
            np.array([3.5 * np.cos(angle), 3.5 * np.sin(angle), 0.7]),
            np.zeros(3),
            np.array([0.0, 0, 1]),
            focal=0.8 * long_side,
            width=long_side,
            height=long_side * 3 // 4,
        )
        for angle in angles
    ]


def by_gradient(scene: Gaussians, views: Invented, together: int) -> np.ndarray:
    """(N, D) float32 features, `together` channels per call of the rasteriser."""
    arrays = {
        name: torch.from_numpy(getattr(scene, name)) for name in ("means", "quats", "log_scales", "opacity_logits")
    }
    sums, mass = torch.zeros(len(scene), views.channels), torch.zeros(len(scene))
    for number, camera in enumerate(views.cameras):
        pixels = views.pixels(number)
        for first in range(0, views.channels, together):
            last = min(first + together, views.channels)
            target = torch.from_numpy(pixels.of(first, last))
            dummy = torch.zeros(len(scene), last - first + 1, requires_grad=True)
            image = rasterize(**arrays, view=camera, colors=dummy).image
            ((image[..., :-1] * target).sum() + image[..., -1].sum()).backward()
            sums[:, first:last] += dummy.grad[:, :-1]
            if first == 0:
                mass += dummy.grad[:, -1]
    # As in ours, rows that hardly any pixel shows have no features.
    return torch.where(mass[:, None] < UNSEEN_BELOW_PX, 0, sums / mass.clamp_min(1e-6)[:, None]).numpy()


def by_sums(scene: Gaussians, views: Invented) -> np.ndarray:
    """(N, D) float16."""
    return lift(scene, views, Quiet(), scaling="mean").features


def timed(run: Callable[[], Any]) -> float:
    began = time.monotonic()
    run()
    return time.monotonic() - began


def peak_bytes(work: Callable[..., Any], *arguments: Any) -> int:
    """Of a child process that does nothing else; what importing takes is in it."""
    context = multiprocessing.get_context("spawn")
    inbox, outbox = context.Pipe(duplex=False)
    child = context.Process(target=_measured, args=(outbox, work, arguments))
    child.start()
    outbox.close()
    try:
        return inbox.recv()
    except EOFError:
        return 0  # it was killed
    finally:
        child.join()


def _measured(outbox: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    work(*arguments)
    # Not ru_maxrss, which a process inherits from the one that started it.
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    outbox.send(next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0))


def gradient_once(rows: int, long_side: int, channels: int, together: int) -> None:
    by_gradient(town(rows), Invented(around(1, long_side), channels), together)


def sums_once(rows: int, long_side: int, channels: int, folder: str | None = None) -> None:
    scene, views = town(rows), Invented(around(1, long_side), channels)
    if folder is None:
        by_sums(scene, views)
        return
    from backend.scene.files import arrays_written

    with arrays_written(
        Path(folder) / "features.safetensors", {"features": (np.float16, (rows, channels))}, {}
    ) as arrays:
        lift(scene, views, Quiet(), into=arrays["features"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--views", type=int, default=3)
    parser.add_argument("--long-side", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--channels", type=int, nargs="*", default=[16, 512])
    parser.add_argument("--all-views", type=int, default=0, help="views of one whole lift of 16 channels; 0: none")
    parser.add_argument("--million", action="store_true", help="memory of a million rows and 512 channels")
    parser.add_argument("--folder", default=".", help="for the gigabyte that a million rows take")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    scene = town(given.rows)
    facts = {"rows": given.rows, "views": given.views, "long_side": given.long_side, "threads": torch.get_num_threads()}

    def tell(name: str, value: float, unit: str, **more: Any) -> None:
        line = json.dumps(
            {"name": f"lifting/{name}", "value": value, "unit": unit, "load": os.getloadavg()[0], **facts, **more}
        )
        print(line, flush=True)
        if given.out:
            with given.out.open("a") as file:
                file.write(line + "\n")

    for channels in given.channels:
        views = Invented(around(given.views, given.long_side), channels)
        ways: dict[str, Callable[[], Any]] = {
            "sums": lambda views=views: by_sums(scene, views),
            "gradient": lambda views=views, channels=channels: by_gradient(scene, views, channels),
        }
        if channels > GRADIENT_CHANNELS_MAX:
            ways["gradient-in-turns"] = lambda views=views: by_gradient(scene, views, GRADIENT_CHANNELS_MAX)
        off = float(np.abs(ways["sums"]() - ways["gradient"]()).max())  # warms up, too
        seconds: dict[str, float] = {}
        for _ in range(given.repeats):
            for name, run in ways.items():
                seconds[name] = min(seconds.get(name, np.inf), timed(run))
        for name, value in seconds.items():
            tell(name, round(value / given.views, 4), "s/view", channels=channels, off=off)
        tell(
            "faster",
            round(min(v for k, v in seconds.items() if k != "sums") / seconds["sums"], 2),
            "x",
            channels=channels,
        )
        tell("sums/peak", peak_bytes(sums_once, given.rows, given.long_side, channels), "bytes", channels=channels)
        peak = peak_bytes(gradient_once, given.rows, given.long_side, channels, channels)
        tell("gradient/peak", peak, "bytes", channels=channels)
    if given.all_views:
        views = Invented(around(given.all_views, given.long_side), 16)
        tell("whole", round(timed(lambda: by_sums(scene, views)), 1), "s", channels=16, all_views=given.all_views)
    if given.million:
        peak = peak_bytes(sums_once, 1_000_000, given.long_side, 512, given.folder)
        tell("million/peak", peak, "bytes", channels=512, rows=1_000_000)


if __name__ == "__main__":
    main()
