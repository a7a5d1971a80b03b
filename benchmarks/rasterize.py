"""How fast is the rasterizer, and against what: a table, JSON lines and curves from one command.

python -m benchmarks.rasterize --quick
python -m benchmarks.rasterize --out results.jsonl --plot curves.svg
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks import curves, scenes
from benchmarks.case import Case, Operation, camera_to_json, yardstick_errors
from benchmarks.scenes import Points

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "rasterize.jsonl"
OPERATIONS = (
    Operation("cpu", "forward", 3),
    Operation("cpu", "forward_backward", 3),
    Operation("cpu", "forward", 32),
    Operation("cpu", "forward_backward", 32),
    *(Operation("cpu", "accumulate", channels) for channels in (1, 16, 64, 256)),
    *(Operation("cpu", "accumulate_labels", labels) for labels in (2, 16, 64)),
    Operation("cpu", "training_step", 3),
    Operation("torch-tiles", "forward", 3),
    Operation("torch-tiles", "forward_backward", 3),
)
RESOLUTIONS = ("162x105", "324x210", "648x420", "972x630")
ENGINES = ("cpu", "torch-tiles")
CHILD_SECS = 3600.0
# Numerator, denominator and the bar that the ratio is held against, at the largest thread count.
RATIOS = (
    ("torch tiles / cpu, forward+backward", OPERATIONS[-1], OPERATIONS[1], ">= 25"),
    ("torch tiles / cpu, forward", OPERATIONS[-2], OPERATIONS[0], ""),
    ("32 channels / 3, forward", OPERATIONS[2], OPERATIONS[0], "<= 1.4"),
    ("32 channels / 3, forward+backward", OPERATIONS[3], OPERATIONS[1], "<= 1.4"),
    ("accumulate 16 / forward", OPERATIONS[5], OPERATIONS[0], "<= 1.2"),
)


@dataclass(frozen=True)
class Options:
    """Measure the rasterizer beside a plain torch engine, in one run, each case in its own process."""

    quick: bool = False  # one size, one resolution, the largest thread count, no memory: under a minute
    data: Path | None = None  # the garden scene or a folder that holds it; else SEGWILD_TEST_DATA, else the sample
    sizes: tuple[int, ...] = ()  # numbers of Gaussians; none given: 30000, all points, 500000, 1000000
    resolutions: tuple[str, ...] = RESOLUTIONS  # WIDTHxHEIGHT, pixels
    threads: tuple[int, ...] = (1, 2)
    engines: tuple[str, ...] = ENGINES
    repeats: int = 7  # of everything but torch tiles, which take seconds
    memory: bool = True  # measure peaks as well, at the largest thread count
    out: Path = RESULTS  # JSON lines are appended here
    plot: Path | None = None  # .svg of how time grows with Gaussians, pixels and channels
    seed: int = 0

    def checked(self) -> Options:
        """With --quick applied. Raises ValueError for what cannot be measured."""
        for engine in self.engines:
            if engine not in ENGINES:
                raise ValueError(f"--engines {engine}: choose from {', '.join(ENGINES)}")
        for count in (*self.sizes, *self.threads, self.repeats):
            if count < 1:
                raise ValueError(f"--sizes, --threads and --repeats need numbers above 0, not {count}")
        for resolution in self.resolutions:
            _size_of(resolution)
        if self.plot is not None and self.plot.suffix.lower() != ".svg":
            raise ValueError(f"--plot writes .svg, not {self.plot.suffix or 'a name without a suffix'}")
        if not self.quick:
            return self
        given = self.resolutions != RESOLUTIONS
        return replace(
            self,
            sizes=self.sizes[:1] or (30_000,),
            resolutions=self.resolutions[:1] if given else ("324x210",),
            threads=(max(self.threads),),
            memory=False,
        )


def measured(options: Options) -> list[dict[str, Any]]:
    """All lines, printed as tables and appended to `options.out` as they come."""
    if "torch-tiles" in options.engines:
        errors = yardstick_errors()
        print(f"torch tiles against the float64 reference: {errors}")
        if errors["pixels_off"] > 1e-3 or errors["gradient"] > 1e-3:
            raise RuntimeError(f"the yardstick is wrong, times against it mean nothing: {errors}")
    points = scenes.found_points(options.data)
    sizes = options.sizes or (30_000, len(points.positions), 500_000, 1_000_000)
    about = facts(points.name, options.seed)
    lines: list[dict[str, Any]] = []
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for count in sizes:
            arrays = Path(folder) / f"{count}.npz"
            np.savez(arrays, **scenes.gaussians(points, count, seed=options.seed))
            own = _lines_of_size(options, points, arrays, count, about)
            arrays.unlink()
            _print_tables(options, points.name, count, own)
            with options.out.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in own)
            lines += own
    return lines


def _lines_of_size(
    options: Options, points: Points, arrays: Path, count: int, facts: dict[str, Any]
) -> list[dict[str, Any]]:
    lines = []
    most = max(options.threads)
    for resolution in options.resolutions:
        camera = points.camera.resized(*_size_of(resolution))
        place = {"gaussians": count, "width": camera.width, "height": camera.height}
        digests: dict[int, list[str]] = {}
        for threads in options.threads:
            operations = tuple(
                operation
                for operation in OPERATIONS
                if operation.engine in options.engines and (operation.engine == "cpu" or threads == most)
            )
            case = Case(str(arrays), camera_to_json(camera), threads, operations, options.repeats, digests=True)
            if "cpu" not in options.engines:
                case = replace(case, digests=False)
            answer = _answer(case)
            if "results" not in answer:
                failed = {"value": None, "median": None, "repeats": 0, "reason": answer["reason"]}
                answer = {"results": [asdict(operation) | failed for operation in operations], "digests": []}
            digests[threads] = answer["digests"]
            for operation, result in zip(operations, answer["results"], strict=True):
                line = facts | place | {"threads": threads, "unit": "s"} | result
                line["name"] = f"rasterize/{operation.name}"
                line["peak_memory_bytes"] = None
                if options.memory and threads == most and result["value"] is not None:
                    memory = _answer(replace(case, operations=(operation,), memory=True))
                    line["peak_memory_bytes"] = memory.get("peak_memory_bytes")
                line["load"] = _load()
                lines.append(line)
        if "cpu" in options.engines:
            lines.append(facts | place | _equality(digests))
    return lines


def _equality(digests: dict[int, list[str]]) -> dict[str, Any]:
    """Whether everything came out bit by bit the same, in two runs of each thread count."""
    complete = all(len(pair) == 2 for pair in digests.values())
    return {
        "name": "rasterize/bit_equal",
        "value": len({digest for pair in digests.values() for digest in pair}) == 1 if complete else None,
        "unit": "bool",
        "threads": sorted(digests),
        "engine": "cpu",
        "reason": None if complete else "a process failed",
    }


def _answer(case: Case) -> dict[str, Any]:
    environment = os.environ | {"OMP_NUM_THREADS": str(case.threads), "NUMBA_NUM_THREADS": str(case.threads)}
    try:
        child = subprocess.run(
            [sys.executable, "-m", "benchmarks.case"],
            input=case.to_json(),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment,
            timeout=CHILD_SECS,
        )
    except subprocess.TimeoutExpired:
        return {"reason": f"not finished after {CHILD_SECS:.0f} s"}
    if child.returncode:
        last = child.stderr.strip().splitlines()[-1:] or [""]
        return {"reason": f"the process ended with {child.returncode}: {last[0]}"}
    return json.loads(child.stdout.splitlines()[-1])


def facts(scene: str, seed: int) -> dict[str, Any]:
    """What every line says about where it comes from."""

    def git(*words: str) -> str | None:
        try:
            return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    changes = git("status", "--porcelain", "--untracked-files=no")
    return {
        "scene": scene,
        "seed": seed,
        "commit": git("rev-parse", "--short=8", "HEAD"),
        "dirty": None if changes is None else bool(changes),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": _processor(),
        "cores": os.cpu_count(),
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "numba", "numpy")},
    }


def _processor() -> str:
    try:
        rows = Path("/proc/cpuinfo").read_text().splitlines()
        return next(row.split(":", 1)[1].strip() for row in rows if row.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _size_of(resolution: str) -> tuple[int, int]:
    width, _, height = resolution.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise ValueError(f"--resolutions {resolution}: give WIDTHxHEIGHT in pixels, such as 648x420")
    return int(width), int(height)


# Tables.


def _print_tables(options: Options, scene: str, count: int, lines: list[dict[str, Any]]) -> None:
    for threads in options.threads:
        print(f"\n{scene}, {count:,} Gaussians, {threads} threads: minimum in ms, with peak MB above the parameters")
        print(f"{'':34}" + "".join(f"{resolution:>18}" for resolution in options.resolutions))
        for operation in OPERATIONS:
            cells = [_cell(_found(lines, operation, threads, resolution)) for resolution in options.resolutions]
            if any(cells):
                label = f"{operation.engine:12}{operation.name:18}{operation.channels:4}"
                print(f"{label:34}" + "".join(f"{cell:>18}" for cell in cells))
    most, least = max(options.threads), min(options.threads)
    print(f"\nratios at {most} threads" + " " * 20 + "bar")
    rows = [(label, above, most, below, most, bar) for label, above, below, bar in RATIOS]
    if least != most:
        label = f"{least} / {most} threads, "
        rows += [
            (label + name, OPERATIONS[k], least, OPERATIONS[k], most, ">= 1.7")
            for k, name in enumerate(("forward", "forward+backward"))
        ]
    for label, above, above_threads, below, below_threads, bar in rows:
        cells = []
        for resolution in options.resolutions:
            first = _found(lines, above, above_threads, resolution)
            second = _found(lines, below, below_threads, resolution)
            known = first and second and first["value"] and second["value"]
            cells.append(f"{first['value'] / second['value']:.2f}" if known else "")
        if any(cells):
            print(f"{label:36}{bar:>6}" + "".join(f"{cell:>14}" for cell in cells))
    for line in lines:
        if line["name"] == "rasterize/bit_equal":
            print(f"bit-equal runs and threads {line['threads']} at {line['width']}x{line['height']}: {line['value']}")
        elif line["reason"]:
            print(f"{line['engine']} {line['name']} at {line['width']}x{line['height']}: {line['reason']}")


def _found(lines: list[dict[str, Any]], operation: Operation, threads: int, resolution: str) -> dict[str, Any] | None:
    wanted = asdict(operation) | {"threads": threads, "size": _size_of(resolution)}
    for line in lines:
        size = (line["width"], line["height"])
        own = {"engine": line["engine"], "name": line["name"].removeprefix("rasterize/"), "size": size}
        if own | {"channels": line.get("channels"), "threads": line["threads"]} == wanted:
            return line
    return None


def _cell(line: dict[str, Any] | None) -> str:
    if line is None:
        return ""
    if line["value"] is None:
        return "-"
    few = f" of {line['repeats']}" if line["engine"] == "torch-tiles" else ""
    memory = line["peak_memory_bytes"]
    return f"{1e3 * line['value']:.1f}{few}" + (f" {memory / 1e6:.0f}" if memory is not None else "")


def main(arguments: list[str] | None = None) -> int:
    options = tyro.cli(Options, args=arguments, description=Options.__doc__)
    try:
        options = options.checked()
        lines = measured(options)
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        print(f"benchmarks.rasterize: {error}", file=sys.stderr)
        return 1
    if options.plot is not None:
        curves.write(lines, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
