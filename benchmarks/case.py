"""One scene at one size and thread count into times, peak memory and digests: JSON on stdin, JSON on stdout.

Runs in a process of its own, `python -m benchmarks.case`, so that a peak belongs to what is measured, thread
counts hold from the start, and running out of memory ends a row and not the table.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backend.scene.cameras import Camera

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
WARM_UPS = {"cpu": 2, "torch-tiles": 1}
SLOW_LEAST, SLOW_SECS = 2, 15.0  # repeats of an operation that has no time for all of them
ROWS = ("means", "quats", "log_scales", "opacity_logits", "colors")
CHECK_ROWS, CHECK_SIZE = 60, (70, 40)


@dataclass(frozen=True)
class Operation:
    """What is timed."""

    engine: str  # cpu or torch-tiles
    name: str  # forward, forward_backward, accumulate, accumulate_labels, training_step
    channels: int  # of the colours or the signal; the number of labels


@dataclass(frozen=True)
class Case:
    """What a process is asked."""

    arrays: str  # .npz of the Gaussians
    camera: dict[str, Any]
    threads: int
    operations: tuple[Operation, ...]
    repeats: int
    memory: bool = False  # measure the first operation's peak instead of times
    digests: bool = False  # of everything the cpu engine computes, twice

    @classmethod
    def from_json(cls, text: str) -> Case:
        row = json.loads(text)
        operations = tuple(Operation(**operation) for operation in row.pop("operations"))
        return cls(**row, operations=operations)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    def view(self) -> Camera:
        return Camera(**{**self.camera, "cam_from_world": np.array(self.camera["cam_from_world"])})


def camera_to_json(camera: Camera) -> dict[str, Any]:
    return {**vars(camera), "cam_from_world": camera.cam_from_world.tolist()}


def prepared(operation: Operation, arrays: dict[str, np.ndarray], view: Camera) -> Callable[[], object]:
    """A function that does the operation once. Its inputs are made here and count as parameters."""
    import torch

    from backend.render import accumulate, rasterize
    from benchmarks import torch_tiles
    from benchmarks.step import training_step

    random = np.random.default_rng(0)
    shape, channels = (view.height, view.width), operation.channels
    if operation.name == "training_step":
        return training_step(arrays, view)
    if operation.name == "accumulate":
        signal = random.uniform(0, 1, (*shape, channels)).astype(np.float32)
        scene = _scene(arrays)
        return lambda: accumulate(scene, view, signal)
    if operation.name == "accumulate_labels":
        # Patches of 20 pixels, like masks, and not noise.
        patches = random.integers(0, channels, (shape[0] // 20 + 1, shape[1] // 20 + 1)).astype(np.int32)
        labels = np.ascontiguousarray(patches.repeat(20, 0).repeat(20, 1)[: shape[0], : shape[1]])
        scene = _scene(arrays)
        return lambda: accumulate(scene, view, labels, labels=channels)
    draw = torch_tiles.rasterize if operation.engine == "torch-tiles" else rasterize
    leaves = {name: torch.from_numpy(arrays[name]) for name in ROWS}
    if channels != leaves["colors"].shape[1]:
        leaves["colors"] = torch.from_numpy(random.uniform(0, 1, (len(arrays["means"]), channels)).astype(np.float32))
    if operation.name == "forward":

        def forward() -> None:
            with torch.no_grad():
                draw(**leaves, view=view)

        return forward
    for leaf in leaves.values():
        leaf.requires_grad_()
    v_image = torch.from_numpy(random.normal(0, 1, (*shape, channels)).astype(np.float32))

    def forward_backward() -> None:
        drawn = draw(**leaves, view=view)
        image = drawn[0] if isinstance(drawn, tuple) else drawn.image
        for leaf in leaves.values():
            leaf.grad = None
        image.backward(v_image)

    return forward_backward


def timed(run: Callable[[], object], *, repeats: int, warm_ups: int, bounded: bool) -> dict[str, Any]:
    """Minimum and median seconds. `bounded`: fewer repeats if they would take longer than SLOW_SECS."""
    for _ in range(warm_ups):
        run()
    times: list[float] = []
    while len(times) < repeats:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
        if bounded and len(times) >= SLOW_LEAST and sum(times) > SLOW_SECS:
            break
    return {"value": min(times), "median": statistics.median(times), "repeats": len(times), "reason": None}


def peak(run: Callable[[], object], *, times: int) -> int | None:
    """Bytes by which the resident set exceeds its present size while `run` runs; None where nobody counts."""
    gc.collect()
    if not CLEAR.exists():
        return None
    CLEAR.write_text("5")  # resets the high-water mark of this process
    before = _status("VmRSS")
    for _ in range(times):
        run()
    return max(0, _status("VmHWM") - before)


def digests(arrays: dict[str, np.ndarray], view: Camera) -> Iterator[str]:
    """SHA-256 of picture, gradients and sums, computed twice."""
    import torch

    from backend.render import accumulate, rasterize

    random = np.random.default_rng(0)
    v_image = torch.from_numpy(random.normal(0, 1, (view.height, view.width, 3)).astype(np.float32))
    for _ in range(2):
        leaves = {name: torch.from_numpy(arrays[name]).requires_grad_() for name in ROWS}
        drawn = rasterize(**leaves, view=view)
        drawn.image.backward(v_image)
        parts = [drawn.image.detach().numpy(), drawn.alpha.detach().numpy()]
        parts += [leaf.grad.numpy() for leaf in leaves.values()]
        parts += accumulate(_scene(arrays), view, v_image.numpy())
        digest = hashlib.sha256()
        for part in parts:
            digest.update(np.ascontiguousarray(part).tobytes())
        yield digest.hexdigest()


def yardstick_errors(seed: int = 0) -> dict[str, float]:
    """How far torch tiles are from the float64 reference on a small scene.

    The share of pixels off by more than 1e-5, and the relative error of the worst gradient.
    """
    import torch

    from backend.render import reference
    from benchmarks import torch_tiles

    random = np.random.default_rng(seed)
    arrays = {
        "means": random.normal((0, 0, 3), 0.7, (CHECK_ROWS, 3)),
        "quats": random.normal(0, 1, (CHECK_ROWS, 4)),
        "log_scales": random.uniform(np.log(0.01), np.log(0.4), (CHECK_ROWS, 3)),
        "opacity_logits": random.uniform(-6, 6, CHECK_ROWS),
        "colors": random.uniform(0, 1, (CHECK_ROWS, 3)),
        "background": random.uniform(0, 1, 3),
    }
    width, height = CHECK_SIZE
    view = Camera(np.eye(4), 40.0, 42.0, 0.4 * width, 0.55 * height, width, height)
    results = []
    for draw, dtype in ((torch_tiles.rasterize, torch.float32), (reference.rasterize, torch.float64)):
        leaves = {
            name: torch.tensor(array.astype(np.float32), dtype=dtype, requires_grad=True)
            for name, array in arrays.items()
        }
        image = draw(**leaves, view=view)[0]
        image.backward(torch.linspace(-1, 1, image.numel(), dtype=dtype).reshape(image.shape))
        results.append((image.detach().double(), {name: leaf.grad.double() for name, leaf in leaves.items()}))
    (image, gradients), (expected, expected_gradients) = results
    errors = [
        float((gradients[name] - gradient).norm() / gradient.norm()) for name, gradient in expected_gradients.items()
    ]
    return {"pixels_off": float(((image - expected).abs().amax(-1) > 1e-5).double().mean()), "gradient": max(errors)}


def answered(case: Case) -> dict[str, Any]:
    """Everything asked, as JSON values."""
    import torch

    torch.set_num_threads(case.threads)
    view = case.view()
    with np.load(case.arrays, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if case.memory:
        operation = case.operations[0]
        reason = _too_large(operation, arrays, view)
        if reason:
            return {"peak_memory_bytes": None, "reason": reason}
        # A tiny picture first: compiled code and thread pools are no part of the peak.
        few = {name: array[:8].copy() for name, array in arrays.items()}
        prepared(operation, few, view.resized(16, 16))()
        run = prepared(operation, arrays, view)
        return {"peak_memory_bytes": peak(run, times=1 if operation.engine == "torch-tiles" else 2), "reason": None}
    results = []
    for operation in case.operations:
        reason = _too_large(operation, arrays, view)
        if reason:
            times = {"value": None, "median": None, "repeats": 0, "reason": reason}
        else:
            slow = operation.engine == "torch-tiles"
            warm_ups = WARM_UPS[operation.engine]
            run = prepared(operation, arrays, view)
            times = timed(run, repeats=case.repeats, warm_ups=warm_ups, bounded=slow)
        results.append(asdict(operation) | times)
    return {"results": results, "digests": list(digests(arrays, view)) if case.digests else []}


def _too_large(operation: Operation, arrays: dict[str, np.ndarray], view: Camera) -> str | None:
    """Why an operation of torch tiles is not tried: it would need more memory than there is."""
    if operation.engine != "torch-tiles":
        return None
    import torch

    from benchmarks import torch_tiles

    count = torch_tiles.pairs({name: torch.from_numpy(array) for name, array in arrays.items()}, view)
    needed = count * torch_tiles.BYTES_PER_PAIR
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None
    if free is None or operation.name == "forward" or needed < 0.8 * free:
        return None
    return f"would need about {needed / 1e9:.0f} GB"


def _scene(arrays: dict[str, np.ndarray]) -> Any:
    from backend.scene.gaussians import FIELDS, Gaussians

    return Gaussians(**{name: arrays[name] for name in FIELDS})


def _status(name: str) -> int:
    """A line of /proc/self/status in bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(answered(Case.from_json(sys.stdin.read()))))
