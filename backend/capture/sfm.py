"""Prepared pictures into cameras and points, by driving structure from motion in a child process."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess  # our own modules alone, never a shell  # nosec B404
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backend.progress import Progress
from backend.scene.files import write_json
from segwild_addon.protocol.errors import InputError, ResourceError, SegWildError, SetupError

_ROOT = Path(__file__).resolve().parents[2]  # where `backend` can be imported from
_TICK_SECS = 0.2


@dataclass(frozen=True)
class Search:
    """How cameras are looked for."""

    long_side: int = 1600  # pixels; more: finer features, slower
    threads: int = min(8, os.cpu_count() or 2)  # more: faster
    seed: int = 0  # same seed, same cameras as far as COLMAP is repeatable


@dataclass(frozen=True)
class Found:
    """What structure from motion left."""

    model: Path | None  # COLMAP model, or None if no two photos fit together
    registered: int  # photos that got a camera
    matched: int  # photos that share details with another
    others: tuple[tuple[str, ...], ...] = ()  # photos of smaller models, which fit together but not with this one


def find_cameras(
    pictures: Path, names: list[str], work: Path, search: Search, progress: Progress, *, time_limit_secs: float
) -> Found:
    """Cameras for the picture files `names` of a folder; the model lies below `work`, unfinished work too.

    Work that was cut short continues where it was. Raises ResourceError after `time_limit_secs`, when the
    disk is full or memory runs out; Cancelled if `progress` says so. No process is left behind.
    """
    job = {"pictures": str(pictures), "names": names, "work": str(work), **asdict(search)}
    result = run_child("find", job, work, progress, time_limit_secs=time_limit_secs)
    model = Path(result["model"]) if result["model"] else None
    return Found(model, int(result["registered"]), int(result["matched"]), tuple(map(tuple, result["others"])))


def export_model(
    model: Path,
    photos: list[dict[str, Any]],
    work: Path,
    progress: Progress,
    *,
    time_limit_secs: float,
    found: bool = False,  # the model is from `find_cameras`, nobody gave it
) -> dict[str, Any]:
    """Write `work`/solution.npz and `work`/cameras/ from a COLMAP model: see `backend.capture.model.export`.

    Raises InputError if a model that was given is damaged or of panoramas, SetupError if one that was found fails.
    """
    job = {
        "model": str(model),
        "photos": photos,
        "arrays": str(work / "solution.npz"),
        "cameras": str(work / "cameras"),
    }
    try:
        return run_child("export", job, work, progress, time_limit_secs=time_limit_secs)
    except SetupError as error:
        if error.code != "sfm-failed":
            raise
        if found:
            raise SetupError(
                "sfm-failed",
                f"Cameras were found but could not be kept ({error.hint or 'the program that writes them stopped'}).",
                "Run it again; if it fails alike, report it with this sentence.",
            ) from error
        if error.hint == "panorama":
            raise InputError(
                "panorama",
                f"The COLMAP model has panoramic cameras, which have no undistorted picture: {model}.",
                "Cut the panoramas into perspective views and reconstruct those.",
            ) from error
        raise InputError(
            "model-damaged",
            f"The COLMAP model cannot be read ({error.hint or 'it stopped the reader'}): {model}.",
            "Export it again from COLMAP, or remove it so that cameras are computed from the photos.",
        ) from error


def run_child(verb: str, job: dict[str, Any], work: Path, progress: Progress, *, time_limit_secs: float) -> Any:
    """Run one verb of `sfm_child` and return its result; phases and steps go to `progress`.

    Raises SetupError (hint: what the child said) if it failed, ResourceError for time, memory or disk.
    """
    work.mkdir(parents=True, exist_ok=True)
    job_file, log = work / f"{verb}.json", work / f"{verb}.log"
    write_json(job_file, job)
    deadline = time.monotonic() + time_limit_secs
    with _child(verb, job_file, log) as (process, messages):
        for message in _messages(process, messages, deadline, progress, time_limit_secs):
            if "result" in message:
                return message["result"]
            if "error" in message:
                raise _failure(str(message["error"]), log)
            if "phase" in message:
                progress.phase(message["phase"], message["total"])
            elif "done" in message:
                progress.advance(message["done"])
        code = process.wait()
    if code == -getattr(signal, "SIGKILL", 9):
        raise ResourceError(
            "out-of-memory",
            "Finding cameras was stopped by the system, most likely because memory ran out.",
            "Use --preset quick, fewer photos, or a machine with more memory.",
        )
    raise _failure("", log)


@contextmanager
def _child(verb: str, job_file: Path, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], queue.Queue[dict | None]]]:
    # -P: a numpy.py in the current folder must not be taken for the library.
    command = [sys.executable, "-P", "-m", "backend.capture.sfm_child", verb, str(job_file)]
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with log.open("wb") as errors:
        process = subprocess.Popen(  # no shell, no word from outside  # nosec B603
            command,
            stdin=subprocess.PIPE,  # its end tells the child that we are gone
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"},
            start_new_session=True,
        )
    messages: queue.Queue[dict | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process, messages.put), daemon=True)
    reader.start()
    try:
        yield process, messages
    finally:
        _kill(process)
        reader.join()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _read(process: subprocess.Popen[bytes], put: Callable[[dict | None], None]) -> None:
    for line in process.stdout or ():
        try:
            message = json.loads(line)
        except ValueError:
            continue  # a line cut off by the end of the child
        if isinstance(message, dict):
            put(message)
    put(None)


def _messages(
    process: subprocess.Popen[bytes],
    messages: queue.Queue[dict | None],
    deadline: float,
    progress: Progress,
    time_limit_secs: float,
) -> Iterator[dict[str, Any]]:
    while True:
        if time.monotonic() > deadline:
            raise ResourceError(
                "time-limit",
                f"Finding cameras took longer than {time_limit_secs:.0f} seconds and was stopped.",
                "Run it again (it continues), allow more with --time-limit-secs, or use --preset quick.",
            )
        try:
            message = messages.get(timeout=_TICK_SECS)
        except queue.Empty:
            progress.advance(0)  # a chance to be cancelled
            continue
        if message is None:
            return
        yield message


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the child with everything it may have started; it can hang where no softer signal reaches."""
    if hasattr(os, "killpg"):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()  # the group is gone: at most the child itself waits to be collected
    else:
        process.kill()
    process.wait()


def _failure(said: str, log: Path) -> SegWildError:
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if any(sign in said + text for sign in ("database or disk is full", "No space left on device")):
        return ResourceError(
            "disk-full", f"The disk is full: {log.parent} was not written.", "Free some space and run again."
        )
    if "No module named 'pycolmap'" in text:
        return SetupError("pycolmap-missing", "pycolmap is not installed.", "Run: pip install pycolmap.")
    lines = [line for line in text.splitlines() if line.strip()]
    return SetupError("sfm-failed", "Finding cameras failed.", said or (lines[-1][:200] if lines else ""))
