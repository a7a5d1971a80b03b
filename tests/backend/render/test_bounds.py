"""No loop of the renderer reads or writes outside its arrays: everything once with bounds checking on.

Run as a script, this file does the checking; the test starts it in a process where every kernel is compiled
with bounds checks and without threads, because an exception inside a parallel loop is lost.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SIZES = ((1, 1), (17, 5), (16, 16), (50, 37))


@pytest.mark.slow  # compiles every kernel anew
def test_every_kernel_stays_inside_its_arrays(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    environment = os.environ | {
        "PYTHONPATH": str(root),
        "NUMBA_BOUNDSCHECK": "1",
        "NUMBA_CACHE_DIR": str(tmp_path),  # a cached kernel has no checks
    }
    command = [sys.executable, __file__]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stderr[-3000:]
    assert f"{len(SIZES)} sizes" in result.stdout


def _exercise() -> None:
    import numba

    compiled = numba.njit

    def checked(*arguments, **options):
        options = {name: value for name, value in options.items() if name not in ("parallel", "cache")}
        return compiled(*arguments, **options, boundscheck=True)

    numba.njit = checked

    @checked(parallel=True)
    def outside(array):
        for i in numba.prange(len(array) + 1):
            array[i] = 1

    try:
        outside(np.zeros(3))
    except IndexError:
        pass
    else:
        raise SystemExit("bounds checking is off: this run proves nothing")

    import torch

    from backend.render import Seen, rasterize
    from backend.scene.cameras import Camera
    from backend.scene.gaussians import Gaussians

    for number, (width, height) in enumerate(SIZES):
        view = Camera(np.eye(4), 30.0, 30.0, 0.4 * width, 0.6 * height, width, height)
        for rows in (0, 1, 150):
            random = np.random.default_rng(number)
            arrays = {
                "means": random.normal((0, 0, 2), (2, 2, 1.5), (rows, 3)),
                "quats": random.normal(0, 1, (rows, 4)),
                "log_scales": random.uniform(-9, 2, (rows, 3)),
                "opacity_logits": random.uniform(-6, 12, rows),
                "sh0": random.normal(0, 1, (rows, 1, 3)),
                "shN": random.normal(0, 1, (rows, 15, 3)),
            }
            # Boxes that no integer holds, and rows that are no numbers.
            if rows > 1:
                arrays["means"][0] = (1e6, -1e6, 0.02)
                arrays["means"][1] = (0.001, 0, 0.0101)
                arrays["log_scales"][:2] = 30
                arrays["means"][2] = np.nan
                arrays["log_scales"][3] = np.inf
                arrays["quats"][4] = 0
                arrays["log_scales"][5] = -np.inf
            arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
            _draw(rasterize, arrays, view, torch)
            _sum(Seen(Gaussians(**arrays), view), random)
    print(f"{len(SIZES)} sizes")


def _draw(rasterize, arrays, view, torch) -> None:
    for channels in (None, 1, 5, 32, 33):
        leaves = {name: torch.from_numpy(array.copy()).requires_grad_() for name, array in arrays.items()}
        if channels is not None:
            del leaves["sh0"], leaves["shN"]
            leaves["colors"] = torch.ones(len(arrays["means"]), channels, requires_grad=True)
        result = rasterize(**leaves, view=view, depth_expected=True, depth_median=True, absgrad=True)
        (result.image.sum() + result.alpha.sum() + result.depth_expected.sum()).backward()


def _sum(seen, random) -> None:
    size = (seen.view.height, seen.view.width)
    for channels in (0, 1, 3, 16, 70):
        seen.accumulate(random.normal(0, 1, (*size, channels)))
        seen.render_channels(random.normal(0, 1, (seen.count, channels)))
    for labels in (1, 2, 70):
        seen.accumulate(random.integers(-1, labels, size), labels=labels)
    for k in (1, 3, 200):
        seen.top_contributors(k)
    seen.depth()
    seen.alpha()
    seen.mass()


if __name__ == "__main__":
    _exercise()
