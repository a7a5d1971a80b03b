"""A request -> the memory and disk that it needs at least, checked before it starts.

Lower bounds: they refuse what cannot end well, not what may be tight.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from backend.children import LESS_MEMORY
from segwild_addon.protocol.errors import ResourceError

DISK_MIN_BYTES = 200 * 2**20
BASE_BYTES = 500 * 2**20  # the libraries, loaded
ROW_BYTES = 2_000  # of a Gaussian in training: values, gradients, two moments, and a copy while rows are added
PRESET_CAPS = {"quick": 20_000, "standard": 90_000, "full": 160_000}
LIGHT_BYTES = 150 * 2**20  # verbs that open no scene for training
TRAINING = ("train", "run")
CGROUP = Path("/sys/fs/cgroup")  # of a container with limits


def check(verb: str, request: dict[str, Any], workspace: Path) -> None:
    """Raises ResourceError with what is missing and what to do."""
    free = shutil.disk_usage(workspace).free
    if free < DISK_MIN_BYTES:
        raise ResourceError(
            "disk-full",
            f"Only {_megabytes(free)} are free on the disk of {workspace}.",
            f"Free at least {_megabytes(DISK_MIN_BYTES)} and start the job again.",
        )
    needed, available = memory_needed(verb, request), memory_available()
    if available is not None and available < needed:
        raise ResourceError(
            "too-little-memory",
            f"The job needs at least {_megabytes(needed)} of memory, and {_megabytes(available)} are available.",
            f"{LESS_MEMORY} Or close other programs." if verb in TRAINING else "Close other programs and try again.",
        )


def memory_needed(verb: str, request: dict[str, Any]) -> int:
    """Bytes."""
    if verb not in TRAINING:
        return LIGHT_BYTES
    cap = request.get("cap") or PRESET_CAPS.get(request.get("preset") or "standard", PRESET_CAPS["standard"])
    return BASE_BYTES + int(cap) * ROW_BYTES


def memory_available() -> int | None:
    """Bytes that can be had without swapping, within the limits of a container; None where nobody tells."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        facts = dict(line.split(":", 1) for line in lines)
        available = int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError, IndexError):
        return None
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        if limit != "max":
            used = int((CGROUP / "memory.current").read_text()) - _files_cached()
            available = min(available, max(0, int(limit) - max(0, used)))
    except (OSError, ValueError):
        return available
    return available


def _files_cached() -> int:
    """Bytes of files that a container keeps in memory and gives up for whoever needs it."""
    try:
        lines = (CGROUP / "memory.stat").read_text().splitlines()
        facts = {name: int(value) for name, value in (line.split() for line in lines)}
        return facts["inactive_file"] + facts["active_file"]
    except (OSError, ValueError, KeyError):
        return 0


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"
