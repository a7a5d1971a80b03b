"""A wish for an engine into the engine that will draw, proven by a small picture.

That gsplat can be imported proves nothing: its CUDA code is compiled on first use, and a wheel for another
torch fails only when it is called. So eight Gaussians are drawn and differentiated on both engines.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import shutil
import subprocess  # one fixed program, never a shell  # nosec B404
import sys
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from backend.progress import Progress
from backend.render.rasterize import rasterize
from backend.scene.cameras import looking_at
from segwild_addon.protocol.errors import SetupError

Engine = Literal["auto", "cpu", "cuda"]
Chosen = Literal["cpu", "cuda"]

TOLERANCE = 1e-3  # of colours in 0..1, and of gradients relative to their norm
ROWS, SIDE_PX = 8, 32
SEED = 365  # of the eight Gaussians: no pixel lies within 3 % of the alpha below which nothing is drawn

_warned: set[str] = set()


@dataclass(frozen=True)
class Diagnosis:
    """Whether the CUDA engine draws what the CPU engine draws, and if not, what it lacks."""

    works: bool
    piece: str  # what is missing: torch, driver, gsplat, packaging, ninja, nvcc, compiler, match, picture; or nothing
    sentence: str
    hint: str
    expected: bool  # there are signs of an NVIDIA card, so that a person would expect it to be used


def chosen_engine(wish: Engine, progress: Progress | None = None) -> Chosen:
    """The engine that will draw. Raises SetupError if CUDA is demanded and does not work.

    `auto` falls back to the CPU, with a warning, once, where there is a card that lies idle.
    """
    if wish == "cpu":
        return "cpu"
    found = diagnosis()
    if found.works:
        # Differences of means of squares, as in SSIM, are nothing but error with the ten bits that are usual there.
        torch.backends.cudnn.allow_tf32 = False
        return "cuda"
    if wish == "cuda":
        raise SetupError("no-cuda-engine", found.sentence, f"{found.hint} Or use --device cpu.")
    if found.expected and progress is not None and found.piece not in _warned:
        _warned.add(found.piece)
        progress.warn("cuda-not-used", f"Drawing on the CPU. {found.sentence} {found.hint}")
    return "cpu"


@functools.cache
def diagnosis() -> Diagnosis:
    """Try the CUDA engine, once per process. The first time ever, gsplat compiles itself for minutes."""
    if torch.version.cuda is None:
        return _failed(
            "torch", "This torch is built without CUDA.", "Install a CUDA build of it, see https://pytorch.org."
        )
    if not torch.cuda.is_available():
        return _failed(
            "driver",
            "torch finds no CUDA device.",
            f"If there is a card, install a driver for CUDA {torch.version.cuda} or newer.",
        )
    for name in ("gsplat", "packaging"):  # gsplat 1.5.3 imports packaging without declaring it
        if importlib.util.find_spec(name) is None:
            return _failed(name, f"{name} is not installed.", "Install it: pip install 'segwild[cuda]'.")
    try:
        # gsplat reports its compilation on stdout, which belongs to results.
        with contextlib.redirect_stdout(sys.stderr):
            off = smoke("cuda")
    except Exception as error:  # a compiler, a loader, a driver: anything may come out of here
        return _cause(error)
    if not off < TOLERANCE:
        return _failed(
            "picture",
            f"gsplat draws something else than the CPU engine (off by {off:.1e}).",
            "Install the tested version: pip install 'segwild[cuda]'.",
        )
    return Diagnosis(True, "", f"works on {torch.cuda.get_device_name(0)}", "", True)


def smoke(device: str) -> float:
    """How far eight Gaussians and their gradients on a device are from those of the CPU engine."""
    here, there = _drawn("cpu"), _drawn(device)
    off = 0.0
    for name, expected in here.items():
        own = there[name].cpu()
        scale = 1.0 if name in ("image", "alpha") else max(float(expected.norm()), 1e-6)
        distance = (own - expected).abs().max() if scale == 1.0 else (own - expected).norm() / scale
        off = max(off, float(distance) if bool(torch.isfinite(own).all()) else float("inf"))
    return off


def _drawn(device: str) -> dict[str, torch.Tensor]:
    random = np.random.default_rng(SEED)
    arrays = {
        "means": random.uniform(-0.5, 0.5, (ROWS, 3)),
        "quats": random.normal(0, 1, (ROWS, 4)),
        "log_scales": random.uniform(-3, -1.5, (ROWS, 3)),
        "opacity_logits": random.uniform(-2, 1, ROWS),  # far from the clamp at 0.99 or 0.999
        "sh0": random.normal(0, 0.5, (ROWS, 1, 3)),
        "shN": random.normal(0, 0.1, (ROWS, 3, 3)),
    }
    leaves = {
        name: torch.tensor(array, dtype=torch.float32, device=device).requires_grad_() for name, array in arrays.items()
    }
    view = looking_at(
        np.array([0.0, -2.0, 0.2]), np.zeros(3), np.array([0.0, 0.0, 1.0]), focal=30, width=SIDE_PX, height=SIDE_PX
    )
    drawn = rasterize(**leaves, view=view, absgrad=True)
    slope = torch.linspace(0.5, 1.5, drawn.image.numel(), device=device).reshape(drawn.image.shape)
    ((drawn.image * slope).sum() + drawn.alpha.square().sum()).backward()
    results = {"image": drawn.image.detach(), "alpha": drawn.alpha.detach(), "absgrad": drawn.means2d.absgrad}
    return results | {name: leaf.grad for name, leaf in leaves.items()}


def _failed(piece: str, sentence: str, hint: str) -> Diagnosis:
    expected = torch.cuda.is_available() or shutil.which("nvidia-smi") is not None
    return Diagnosis(False, piece, sentence, hint, expected)


def _cause(error: Exception) -> Diagnosis:
    """What gsplat lacked when it failed. Its own message is often about something else."""
    lines = str(error).strip().splitlines()
    told = f"gsplat does not run ({type(error).__name__}{': ' + lines[0][:160] if lines else ''})."
    if importlib.util.find_spec("ninja") is None and shutil.which("ninja") is None:
        return _failed("ninja", f"{told} It cannot be compiled without ninja.", "Install it: pip install ninja.")
    nvcc = _nvcc()
    wanted = torch.version.cuda
    if nvcc is None:
        return _failed(
            "nvcc",
            f"{told} It cannot be compiled without nvcc.",
            f"Install the CUDA toolkit {wanted}, or a gsplat wheel built for torch {torch.__version__}.",
        )
    compiler = "cl" if os.name == "nt" else os.environ.get("CXX", "c++")
    if shutil.which(compiler) is None:
        return _failed(
            "compiler",
            f"{told} It cannot be compiled without a C++ compiler ({compiler}).",
            "Open the developer prompt of Visual Studio 2022." if os.name == "nt" else "Install g++.",
        )
    version = _nvcc_version(nvcc)
    if version is not None and wanted is not None and version.split(".")[0] != wanted.split(".")[0]:
        return _failed(
            "match",
            f"{told} nvcc is of CUDA {version}, torch of CUDA {wanted}.",
            f"Install the CUDA toolkit {wanted}, or a torch for CUDA {version}.",
        )
    return _failed("gsplat", told, "Install it anew: pip install --force-reinstall --no-deps gsplat==1.5.3.")


def _nvcc() -> str | None:
    """Where gsplat and torch look for it."""
    name = "nvcc.exe" if os.name == "nt" else "nvcc"
    for home in (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"):
        if home and os.path.isfile(os.path.join(home, "bin", name)):
            return os.path.join(home, "bin", name)
    return shutil.which("nvcc")


def _nvcc_version(nvcc: str) -> str | None:
    try:
        command = [nvcc, "--version"]  # where the system's search path has it
        told = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout  # no shell  # nosec B603
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"release (\d+\.\d+)", told)
    return match.group(1) if match else None
