"""One job in a process of its own: `python -m backend.jobs.worker`.

The first line on standard input is the job, `{"verb": …, "request": {…}, "workspace": …, "snapshot_secs": …}`;
a later line `"cancel"` asks it to stop, `"hold"` to rest between two steps until `"go"`, and the end of the input
ends the process, so that a service that was killed leaves nothing running. What happens goes out as JSON lines on
the original standard output:

    {"phase": NAME, "total": N}  {"done": N, "note": …}  {"warn": CODE, "sentence": …, "items": […]}
    {"snapshot": {…}}

and one last line `{"result": {…}}`, `{"error": CLASS, "code": …, "sentence": …, "hint": …}` or
`{"cancelled": true}`. Whatever a library prints goes to standard error, which the service keeps as a log.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from backend.children import told
from backend.jobs.trouble import as_ours
from backend.lifeline import end_with_starter
from backend.progress import Cancelled
from backend.scene.arrays import handed_out
from backend.scene.lock import Locked, locked
from backend.scene.turn import WRITER
from backend.verbs import VERBS
from segwild_addon.protocol import codec
from segwild_addon.protocol.errors import ResourceError, SegWildError

REPORT_EVERY_SECS = 0.2
TURN_SECS = 20.0  # for a short command, or the worker of a service that was killed to notice it
HOLD_SECS = 2.0  # between two steps at most: whoever asks without end slows the work, and does not stop it
SNAPSHOTS_KEPT = 3  # readers may be behind by so many


class Orders:
    """What the service wants of the work under way. Set by one thread, heeded by another."""

    def __init__(self) -> None:
        self._cancelled, self._going = threading.Event(), threading.Event()
        self._going.set()

    def obey(self, order: str) -> None:
        """One of cancel, hold and go; anything else is none of ours."""
        if order == "cancel":
            self._cancelled.set()
        if order in ("cancel", "go"):
            self._going.set()
        elif order == "hold":
            self._going.clear()

    def heed(self) -> None:
        """Rest while held. Raises Cancelled if the work should stop."""
        if not self._cancelled.is_set():
            self._going.wait(HOLD_SECS)
        if self._cancelled.is_set():
            raise Cancelled


class Reporter:
    """A `Progress` that writes lines, a few a second, and heeds orders between two steps."""

    def __init__(self, out: TextIO, orders: Orders, workspace: Path | None = None, snapshot_secs: float = 0.0) -> None:
        """`snapshot_secs` of 0: no snapshots."""
        self.out, self.orders, self.workspace, self.snapshot_secs = out, orders, workspace, snapshot_secs
        self.done, self.told_at, self.shown_at = 0, 0.0, time.monotonic()

    def phase(self, name: str, total: int | None = None) -> None:
        self.done, self.told_at = 0, time.monotonic()
        self.say({"phase": name, "total": total})

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.orders.heed()
        self.done += steps
        now = time.monotonic()
        if now - self.told_at >= REPORT_EVERY_SECS:
            self.told_at = now
            self.say({"done": self.done, "note": note})

    def warn(self, code: str, sentence: str, items: Sequence[str] = ()) -> None:
        self.say({"warn": code, "sentence": sentence, "items": list(items)})

    def show(self, look: Callable[[], Mapping[str, Any]]) -> None:
        if not self.snapshot_secs or self.workspace is None or time.monotonic() - self.shown_at < self.snapshot_secs:
            return
        arrays = dict(look())
        facts: dict[str, Any] = {"gaussians": int(arrays.pop("gaussians"))}
        try:
            for name, array in arrays.items():
                ref = handed_out(self.workspace, f"snapshot-{name}", array, kept=SNAPSHOTS_KEPT)
                facts[name] = {field: value for field, value in codec.to_wire(ref).items() if field != "kind"}
        except ResourceError:
            self.snapshot_secs = 0.0  # a full disk: the training itself may still find room
            return
        self.say({"snapshot": facts})
        self.shown_at = time.monotonic()

    def say(self, message: dict[str, Any]) -> None:
        self.out.write(json.dumps(_finite(message), allow_nan=False) + "\n")
        self.out.flush()


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: what could not be computed is null."""
    if isinstance(value, dict):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main() -> None:
    """Run the job that standard input names. The exit status says nothing; the last line does."""
    end_with_starter()
    out = _claimed_output()
    orders = Orders()
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_obey, args=(sys.stdin, orders), daemon=True).start()
    workspace = Path(job["workspace"])
    reporter = Reporter(out, orders, workspace, job["snapshot_secs"])
    try:
        request_type, module = VERBS[job["verb"]]
        request = codec.fields_in(request_type, job["request"])
        with locked(workspace / WRITER, wait_secs=TURN_SECS):
            result = importlib.import_module(module).run(request, reporter)
        reporter.say({"result": result})
    except Cancelled:
        reporter.say({"cancelled": True})
    except SegWildError as error:
        reporter.say(told(error))
    except Locked:
        reporter.say(told(_BUSY))
    except Exception as error:
        ours = as_ours(error)
        if ours is None:
            raise
        reporter.say(told(ours))


_BUSY = ResourceError(
    "worker-busy",
    "Another program is writing into the scene: a command, or the worker of an earlier service.",
    "Wait for it to end, or stop it, and start the job again.",
)


def _claimed_output() -> TextIO:
    """Standard output for us alone: from now on print() and libraries reach standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def _obey(lines: TextIO, orders: Orders) -> None:
    for line in lines:
        orders.obey(line.strip().strip('"'))
    os._exit(1)  # the service is gone


if __name__ == "__main__":
    status = 0
    try:
        main()
    except Exception:
        traceback.print_exc()
        status = 70
    sys.stderr.flush()
    os._exit(status)  # the thread that waits for commands would abort an ordinary end
