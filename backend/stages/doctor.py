"""What this machine has, what is missing, and how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from typing import Any

from backend import __version__
from backend.progress import Progress
from segwild_addon.protocol.requests import Doctor

LIBRARIES = ("torch", "torchvision", "numpy", "numba", "scipy", "scikit-learn", "pillow", "plyfile", "pycolmap")
DEVICE = "cuda"


def run(request: Doctor, progress: Progress) -> dict[str, Any]:
    """Facts by name. Looks only; changes nothing."""
    facts: dict[str, Any] = {
        "segwild": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "cores": os.cpu_count(),
        "memory_free_gb": _memory_free_gb(),
        "disk_free_gb": round(shutil.disk_usage(".").free / 2**30, 1),
    }
    missing = []
    for name in LIBRARIES:
        try:
            facts[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            facts[name] = "missing"
            missing.append(f"{name}: pip install -e .")
    if "torch: pip install -e ." not in missing:
        facts |= _engines(missing)
        facts |= _networks()
    facts["blender"] = shutil.which("blender") or "not on the PATH (only needed for the add-on)"
    facts["missing"] = missing or ["nothing"]
    return facts


def _engines(missing: list[str]) -> dict[str, Any]:
    """The devices torch sees, and a picture drawn by each engine that works; adds what a card lacks."""
    import numba
    import torch

    from backend.render import Threads, rasterize
    from backend.scene.cameras import Camera

    identity = torch.eye(4).numpy().astype(float)
    drawn = rasterize(
        means=torch.tensor([[0.0, 0.0, 2.0]]),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        log_scales=torch.full((1, 3), -1.0),
        opacity_logits=torch.tensor([3.0]),
        colors=torch.ones(1, 3),
        view=Camera(identity, 20.0, 20.0, 16.0, 16.0, 32, 32),
    )
    works = bool(drawn.alpha.max() > 0.5)
    with Threads():
        layer = numba.threading_layer()
    return {
        "cpu_engine": f"works ({torch.get_num_threads()} threads, numba on {layer})" if works else "draws nothing",
        "cuda_device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
        "cuda_engine": _cuda_engine(missing),
    }


def _networks() -> dict[str, Any]:
    """What selects and describes with the help of weights; all of it may be missing."""
    from backend.features import people, sam, weights

    installed = _installed("segment-anything")
    return {
        "segment_anything": importlib.metadata.version("segment-anything")
        if installed
        else "not installed (only needed for --segmenter sam: pip install 'segwild[sam]')",
        "checkpoints_folder": str(weights.folder()),
        "sam_checkpoints": sam.on_this_machine(),
        "people_checkpoints": people.on_this_machine(),
    }


def _cuda_engine(missing: list[str]) -> str:
    from backend.render import cuda, cuda_sums
    from backend.render.engine import diagnosis

    found = diagnosis()
    if not found.works:
        if found.expected:
            missing.append(f"CUDA rendering: {found.hint}")
        return f"not used. {found.sentence}"
    fault = cuda_sums.kernels_fault(DEVICE)
    sums = f"sums by gsplat, because Triton does not run ({fault})" if fault else "sums by Triton"
    version = importlib.metadata.version("gsplat") if _installed("gsplat") else "of unknown version"
    return f"{found.sentence} (gsplat {version}, alpha at most {cuda.alpha_max(DEVICE):g}, {sums})"


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _memory_free_gb() -> float | None:
    try:
        return round(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None
