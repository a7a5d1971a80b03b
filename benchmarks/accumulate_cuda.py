"""Both ways of adding pixels up onto Gaussians on a CUDA device, beside drawing: one JSON line per figure.

    python -m benchmarks.accumulate_cuda [--data FOLDER] [--out FILE]

The scene is the garden of gsplat's repository where the folder (or SEGWILD_TEST_DATA) holds it, else random
points. Minimum of 9 repeats after 3 to warm up; the device is waited for around each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree

from backend.render import cuda, cuda_sums, rasterize
from backend.render.engine import diagnosis
from backend.scene.cameras import Camera, looking_at

WARM_UPS, REPEATS = 3, 9
SIZES = ((648, 420), (1297, 840))
CHANNELS, LABELS, TOP = (1, 16, 64, 256), (2, 16, 64), (4, 16)


def garden(file: Path) -> tuple[np.ndarray, Camera]:
    with np.load(file, allow_pickle=False) as arrays:
        K = arrays["Ks"][0].astype(float)
        camera = Camera(
            arrays["viewmats"][0].astype(float),
            *(K[0, 0], K[1, 1], K[0, 2], K[1, 2]),
            int(arrays["width"]),
            int(arrays["height"]),
        )
        return arrays["means3d"].astype(np.float32), camera


def invented() -> tuple[np.ndarray, Camera]:
    positions = np.random.default_rng(0).normal(0, 1, (140_000, 3)).astype(np.float32)
    view = looking_at(
        np.array([0.0, -4.0, 0.5]), np.zeros(3), np.array([0.0, 0.0, 1.0]), focal=500, width=648, height=420
    )
    return positions, view


def tensors(positions: np.ndarray, device: str) -> dict[str, torch.Tensor]:
    """Isotropic Gaussians as wide as their neighbours are far."""
    distances, _ = cKDTree(positions).query(positions, k=4)
    random = np.random.default_rng(0)
    arrays = {
        "means": positions,
        "quats": np.tile(np.float32([1, 0, 0, 0]), (len(positions), 1)),
        "log_scales": np.repeat(np.log(np.clip(distances[:, 1:].mean(1), 1e-4, 0.05))[:, None], 3, 1),
        "opacity_logits": np.full(len(positions), 1.0),
        "colors": random.uniform(0, 1, (len(positions), 3)),
    }
    return {name: torch.tensor(array, dtype=torch.float32, device=device) for name, array in arrays.items()}


def fastest(call: Callable[[], object], device: str) -> float:
    """Milliseconds."""
    times = []
    for turn in range(WARM_UPS + REPEATS):
        _wait(device)
        began = time.perf_counter()
        call()
        _wait(device)
        if turn >= WARM_UPS:
            times.append(time.perf_counter() - began)
    return 1000 * min(times)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def measured(scene: dict[str, torch.Tensor], view: Camera, device: str) -> Iterator[tuple[str, float | None, str]]:
    """Name, milliseconds, and why there are none."""
    geometry = {name: value for name, value in scene.items() if name != "colors"}

    def both() -> None:
        leaves = {name: value.detach().requires_grad_() for name, value in scene.items()}
        rasterize(**leaves, view=view, absgrad=True).image.sum().backward()

    with torch.no_grad():
        yield "forward", fastest(lambda: rasterize(**scene, view=view), device), ""
    yield "forward_backward", fastest(both, device), ""
    with torch.no_grad():
        tiles = cuda.tiled(cuda.project(**geometry, view=view), view.width, view.height)
    generator = torch.Generator().manual_seed(0)
    weight = torch.ones(view.height, view.width, device=device)
    fault = cuda_sums.kernels_fault(device)
    for way in ("gsplat", "triton"):
        if way == "triton" and fault:
            yield f"accumulate_{way}", None, fault
            continue
        for channels in CHANNELS:
            signal = torch.rand(view.height, view.width, channels, generator=generator).to(device)
            call = lambda g=signal, w=way: cuda_sums.accumulate(tiles, g, weight, way=w)  # noqa: E731
            yield f"accumulate_{way}_{channels}_channels", fastest(call, device), ""
        for labels in LABELS:
            signal = torch.randint(0, labels, (view.height, view.width), generator=generator).to(device)
            call = lambda g=signal, n=labels, w=way: cuda_sums.accumulate(tiles, g, weight, labels=n, way=w)  # noqa: E731
            yield f"accumulate_{way}_{labels}_labels", fastest(call, device), ""
    if not fault:
        yield "median_depth", fastest(lambda: cuda_sums.median_depth(tiles), device), ""
        for k in TOP:
            yield f"top_{k}_contributors", fastest(lambda k=k: cuda_sums.top_contributors(tiles, k), device), ""


def facts(device: str) -> dict[str, Any]:
    """What every line says about where it was measured."""
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    versions = {"torch": torch.__version__, "gsplat": getattr(cuda.library(), "__version__", None)}
    try:
        import triton

        versions["triton"] = triton.__version__
    except ImportError:
        versions["triton"] = None
    name = torch.cuda.get_device_name(0) if device == "cuda" else device
    return {"commit": told.stdout.strip() or None, "device": name, "versions": versions, "seed": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("SEGWILD_TEST_DATA"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/accumulate_cuda.jsonl"))
    given = parser.parse_args()
    found = diagnosis()
    if not found.works:
        parser.exit(1, f"{found.sentence} {found.hint}\n")
    file = Path(given.data) / "garden" / "test_garden.npz" if given.data else None
    name, (positions, camera) = (
        ("garden", garden(file)) if file is not None and file.is_file() else ("random", invented())
    )
    scene, about = tensors(positions, "cuda"), facts("cuda")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with given.out.open("a") as lines:
        for width, height in SIZES:
            for measure, value, reason in measured(scene, camera.resized(width, height), "cuda"):
                row = {"name": measure, "value": value, "unit": "ms", "scene": name, "size": [width, height]}
                row |= {"gaussians": len(positions)} | about | ({"reason": reason} if reason else {})
                lines.write(json.dumps(row) + "\n")
                shown = f"{value:9.2f} ms" if value is not None else reason
                print(f"{width:5d}x{height:<5d} {measure:32s} {shown}")


if __name__ == "__main__":
    main()
