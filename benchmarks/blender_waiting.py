"""How long Blender's main thread is held by a backend that misbehaves: the longest of all calls into the session.

    PYTHON_WITH_BPY -m benchmarks.blender_waiting [--secs N] [--repeats N] [--append FILE]

The backend is the fake one of the tests, a process of its own with one fault at a time, asked all the while. One JSON
line per fault: the worst call in milliseconds, the best of the repeats, as on a busy machine other programs hold up
any call now and then; `baseline` is the same without a fault.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FAKE = ROOT / "tests" / "segwild_addon" / "client" / "fake_backend.py"
FAULTS = (
    *("baseline", "killed", "stopped"),
    *("hang", "drip", "garbage", "html", "nonsense", "error", "cut", "endless", "hang-up", "wrong-length"),
    *("cut-event", "bad-event", "repeat", "no-newline", "not-a-stream"),
    *("die-at-start", "no-handshake", "garbage-handshake", "odd-output", "wrong-version", "talk", "deaf"),
)
AFTER_START = ("hang", "drip", "garbage", "html", "nonsense", "error", "cut", "endless", "hang-up", "wrong-length")


class Clock:
    """The longest of the calls made through it."""

    def __init__(self) -> None:
        self.worst_secs = 0.0

    def __call__(self, call: Callable[..., Any], *arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return call(*arguments)
        finally:
            self.worst_secs = max(self.worst_secs, time.perf_counter() - began)


def worst_ms(fault: str, secs: float, folder: Path) -> float:
    """The longest call of a life with one fault: start, ask, cancel, restart, stop."""
    from segwild_addon import session
    from segwild_addon.client import Launch
    from segwild_addon.client.backend import Backend
    from segwild_addon.protocol.questions import Prepare

    workspace = folder / "fake.segwild"
    workspace.mkdir()
    environment = {"FAKE_FAULT": fault} if fault not in ("baseline", "killed", "stopped") else {}
    if fault in AFTER_START:
        environment["FAKE_FAULT_PATH"] = "/v1/ask"  # it lives, and cannot answer
    launch = Launch((sys.executable, "-I", str(FAKE)), workspace, folder / "log", environment=environment)
    clock, link, pids = Clock(), session.link(workspace), []
    clock(link.start, launch)
    end, asked = time.monotonic() + secs, 0.0
    while time.monotonic() < end:
        clock(session.pump)
        if link.running and time.monotonic() - asked > 0.1:
            asked = time.monotonic()
            clock(link.ask, Prepare(), lambda answered: None)
            clock(link.submit, "objects", lambda answered: None)
            if fault in ("killed", "stopped") and not pids:
                link.later(lambda answered: pids.extend(pid_of(answered)), Backend.health)
        if pids and pids[-1]:
            os.kill(pids[-1], signal.SIGKILL if fault == "killed" else signal.SIGSTOP)
            pids.append(0)
        time.sleep(0.01)
    clock(link.restart)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        clock(session.pump)
        time.sleep(0.01)
    clock(link.stop)
    link.wait(20)
    del session.links[str(workspace)]
    return 1e3 * clock.worst_secs


def pid_of(answered: Any) -> list[int]:
    """The backend's; nothing where it had died before it could say."""
    return [] if answered.value is None else [answered.value["pid"]]


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secs", type=float, default=2.5)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--faults", nargs="*", default=FAULTS)
    parser.add_argument("--append", type=Path, help="file that gets the lines too")
    options = parser.parse_args()
    import bpy

    import segwild_addon

    segwild_addon.register()
    versions = {"blender": bpy.app.version_string, "python": platform.python_version()}
    try:
        for fault in options.faults:
            worst = []
            for _ in range(options.repeats):
                with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                    worst.append(worst_ms(fault, options.secs, Path(folder)))
            line = json.dumps(
                {
                    "name": f"blender.main_thread_held.{fault}",
                    "value": round(min(worst), 2),
                    "unit": "ms",
                    "scene": "fake backend",
                    "gaussians": 0,
                    "commit": git("rev-parse", "--short", "HEAD"),
                    "dirty": bool(git("status", "--porcelain")),
                    "device": platform.processor() or platform.machine(),
                    "threads": os.cpu_count(),
                    "versions": versions,
                    "seed": None,
                    "reason": None,
                    "worst": round(max(worst), 2),
                    "repeats": options.repeats,
                    "load": os.getloadavg()[0],
                }
            )
            print(line, flush=True)
            if options.append is not None:
                with options.append.open("a") as file:
                    file.write(line + "\n")
    finally:
        segwild_addon.unregister()


if __name__ == "__main__":
    main()
