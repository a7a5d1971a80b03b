"""Finding cameras is a process below the worker, deep in native code: it is stopped, and never left behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PHASES = ("Finding features", "Matching photos", "Placing cameras")
STOP_SECS, ORPHAN_SECS = 2.0, 5.0
FIRST = {("Finding features", "cancel"), ("Placing cameras", "service killed")}


def moments() -> list[Any]:
    return [
        pytest.param(
            phase, how, id=f"{phase.split()[0]}-{how}", marks=[] if (phase, how) in FIRST else pytest.mark.slow
        )
        for phase in PHASES
        for how in ("cancel", "cancel of a hung worker", "worker killed", "service killed")
    ]


@pytest.mark.parametrize(("phase", "how"), moments())
def test_it_is_stopped_at_any_moment(
    serve: Callable[..., Any],
    overlapping: Path,
    tmp_path: Path,
    waiting: Callable[..., Any],
    seen: Callable[..., Any],
    phase: str,
    how: str,
) -> None:
    """The child is held still first: as if it hung in native code, which no thread of it interrupts."""
    scene = tmp_path / "scene.segwild"
    served = serve(scene, "--allow", str(overlapping))
    job = served.submit("capture", photos=str(overlapping))

    def children() -> list[int]:
        return [pid for pid, _, words in seen() if "backend.capture.sfm_child" in words and str(scene) in words]

    waiting(lambda: [event for event in served.told(job, "JobProgress") if event["phase"].startswith(phase)], 300)
    found = children()
    for child in found:
        os.kill(child, signal.SIGSTOP)
    (worker,) = served.workers("backend.jobs.worker") or [0]
    began = time.monotonic()
    if how.startswith("cancel"):
        if how != "cancel":
            os.kill(worker, signal.SIGSTOP)
        served.call("POST", f"/v1/jobs/{job}/cancel", {})
        served.wait(job, "cancelled", "failed", "done", timeout=STOP_SECS)
        assert time.monotonic() - began < STOP_SECS
    elif how == "worker killed":
        os.kill(worker, signal.SIGKILL)
        assert served.wait(job, "failed")["error"]["code"] == "worker-killed"
    else:
        served.kill()
    waiting(lambda: not [pid for pid, _, _ in seen() if pid in (*found, worker)], ORPHAN_SECS)
    if how == "service killed":
        served = serve(scene, "--allow", str(overlapping))
        found = served.wait(job, "done", "failed", timeout=400)
        assert found["attempts"] == 2
    else:
        again = served.submit("capture", photos=str(overlapping))
        found = served.wait(again, "done", "failed", timeout=400)
    # Windows of a flat picture may give no cameras: then a sentence says so.
    assert found["state"] == "done" or found["error"]["code"] == "no-overlap", found


def test_workers_that_hang_end_with_the_service(
    serve: Callable[..., Any],
    photographed: Any,
    long_request: dict[str, Any],
    waiting: Callable[..., Any],
    seen: Callable[..., Any],
) -> None:
    """Held still, they cannot notice that their input has ended."""
    if sys.platform != "linux":
        pytest.skip("only Linux ends processes with those that started them")
    served = serve(photographed.root)
    job = served.submit("train", **long_request)
    served.started(job)
    asking = threading.Thread(target=served.ask_quietly, args=({"kind": "Prepare", "view": "p0"},), daemon=True)
    asking.start()
    (desk,) = waiting(lambda: served.workers("backend.jobs.interactive"))
    waiting(lambda: "libtorch" in Path(f"/proc/{desk}/maps").read_text(), 200)  # it is beyond its first lines
    workers = served.workers()
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    served.kill()
    waiting(lambda: not [pid for pid, _, _ in seen() if pid in workers], ORPHAN_SECS)
