"""A large scene in Blender -> one JSON line per figure; run it with a Python that has bpy:

    python benchmarks/blender_import.py [--rows 1000000] [--degree 3] [--repeats 3] [--append FILE]

Import of a workspace with a tenth of the rows in five objects (whole, longest step, extra memory), another object
of a tenth of the rows, a mix of two looks, writing and reading a .ply. Times are minima of the
processor time, which other programs on the machine lengthen least; all of it runs in one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RANK = 16


def write_arrays(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """float32 arrays as safetensors: an interpreter with bpy has nothing else to write them with."""
    header: dict[str, Any] = {"__metadata__": metadata}
    start = 0
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [start, start + array.nbytes]}
        start += array.nbytes
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for array in arrays.values():
            file.write(array.tobytes())


def write_workspace(root: Path, rows: int, degree: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    shapes = {"means": (rows, 3), "quats": (rows, 4), "log_scales": (rows, 3), "opacity_logits": (rows,)}
    shapes |= {"sh0": (rows, 1, 3), "shN": (rows, (degree + 1) ** 2 - 1, 3)}
    splats = root / "splats" / "base.safetensors"
    write_arrays(splats, {n: random.standard_normal(s, np.float32) for n, s in shapes.items()}, {})
    (root / "scene.json").write_text(json.dumps({"format": 1, "made": {}}))
    looks = {"embeddings": (2, RANK), "gain": (RANK, 3, 3), "offset": (RANK, 3)}
    arrays = {f"shared.{n}": 0.1 * random.standard_normal(s, np.float32) for n, s in looks.items()}
    arrays["response"] = 0.1 * random.standard_normal((rows, 3, RANK), np.float32)
    write_arrays(root / "appearance.safetensors", arrays, {"photos": json.dumps(["a", "b"])})
    (root / "segments").mkdir()
    objects = []
    own = rows // 50
    for number in range(1, 6):
        chosen = np.arange(number * own, (number + 1) * own, dtype=np.uint32)
        np.savez(root / "segments" / f"{number}.npz", rows=chosen, probability=np.ones(own, np.float32))
        objects.append({"id": number, "name": f"object {number}", "parent": 0, "color": [1, 0, 0], "look": None})
    stamp = hashlib.blake2b(splats.read_bytes(), digest_size=16).hexdigest()
    (root / "segments.json").write_text(json.dumps({"format": 1, "splats": stamp, "next_id": 6, "objects": objects}))


def memory(key: str) -> int | None:
    """Bytes of a line of /proc/self/status."""
    if not STATUS.exists():
        return None
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key))
    return 1024 * int(line.split()[1])


def timed(steps: Generator[Any, None, Any]) -> tuple[Any, float, float]:
    """Result, seconds of computing in all, and of the longest step."""
    longest, start = 0.0, time.process_time()
    last = start
    while True:
        try:
            next(steps)
            result, done = None, False
        except StopIteration as end:
            result, done = end.value, True
        now = time.process_time()
        longest, last = max(longest, now - last), now
        if done:
            return result, now - start, longest


def measured(workspace: Path, repeats: int) -> Iterator[tuple[str, float | None, str]]:
    import bpy

    import segwild_addon

    bpy.ops.wm.read_factory_settings(use_empty=True)
    segwild_addon.register()
    from segwild_addon.data import compact, export, light, ply, scenes, segments, splats, steps

    def importing(make: Callable[[], Generator[Any, None, Any]]) -> tuple[float, float, int | None]:
        best = (np.inf, np.inf)
        extra = None
        for repeat in range(repeats):
            for scene in scenes.all_scenes():
                scenes.remove(scene)
            before = memory("VmRSS")
            if CLEAR.exists():
                CLEAR.write_text("5")  # the high-water mark begins anew
            _, whole, longest = timed(make())
            best = min(best, (whole, longest))
            if repeat == 0 and before is not None:
                extra = memory("VmHWM") - before
        return *best, extra

    seconds, longest, extra = importing(lambda: scenes.importing(workspace, print))
    yield "import", seconds, "s"
    yield "import_longest_step", longest, "s"
    yield "import_extra_memory", extra, "B"

    scene = scenes.all_scenes()[0]
    rest = scenes.rest(scene)
    ids = splats.read_ids(rest)
    start = time.process_time()
    segments.make(scene, "made", ids[: len(ids) // 10], 6)
    yield "make_object_of_a_tenth", time.process_time() - start, "s"

    rest.segwild.look_a, rest.segwild.look_b = "a", "b"
    ids = splats.read_ids(rest)
    best = [np.inf, np.inf]
    for repeat in range(repeats + 1):
        rest.segwild.look_mix = repeat / (repeats + 1) + 0.1
        start = time.process_time()
        light.light(rest, ids)
        best[min(repeat, 1)] = min(best[min(repeat, 1)], time.process_time() - start)
    yield "first_look", best[0], "s"
    yield "dragged_mix", best[1], "s"

    objects = scenes.splat_objects(scene)
    for form, writer in (("ply", ply.writing), ("spz", compact.writing_spz), ("splat", compact.writing_splat)):
        taken, reading, longest = timed(export.taking(objects))
        gap, beside = waits(steps.Aside(written(taken, workspace / f"out.{form}", writer, export.joining), "export"))
        yield f"export_{form}", reading + beside, "s"
        yield f"export_{form}_longest_step", longest, "s"
        yield f"export_{form}_longest_wait", gap, "s"
        del taken
    path = workspace / "out.ply"
    seconds, longest, extra = importing(lambda: scenes.importing_ply(path, print))
    yield "import_ply", seconds, "s"
    yield "import_ply_longest_step", longest, "s"
    yield "import_ply_extra_memory", extra, "B"
    segwild_addon.unregister()


def written(taken: Any, path: Path, writer: Callable[..., Any], joining: Callable[..., Any]) -> Any:
    """What an export does in a thread, as steps."""
    rows = yield from joining(taken)
    return (yield from writer(path, rows))


def waits(aside: Any) -> tuple[float, float]:
    """The longest time in which a program that wants a moment every millisecond got none, and the whole, seconds."""
    began = last = time.perf_counter()
    longest = 0.0
    while not aside.ended:
        time.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    aside.result()
    return longest, time.perf_counter() - began


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--degree", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--append", type=Path, help="file that gets the lines too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "large.segwild"
        write_workspace(workspace, options.rows, options.degree, options.seed)
        figures = list(measured(workspace, options.repeats))
    import bpy

    versions = {"blender": bpy.app.version_string, "python": platform.python_version(), "numpy": np.__version__}
    lines = [
        json.dumps(
            {
                "name": f"blender.{name}",
                "value": value,
                "unit": unit,
                "scene": f"random, degree {options.degree}",
                "gaussians": options.rows,
                "commit": git("rev-parse", "--short", "HEAD"),
                "dirty": bool(git("status", "--porcelain")),
                "device": platform.processor() or platform.machine(),
                "threads": os.cpu_count(),
                "versions": versions,
                "seed": options.seed,
                "reason": None if value is not None else "memory is only read on Linux",
                "load": os.getloadavg()[0],
            }
        )
        for name, value, unit in figures
    ]
    print("\n".join(lines))
    if options.append is not None:
        with options.append.open("a") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
