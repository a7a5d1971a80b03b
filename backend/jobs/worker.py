"""One job in a process of its own: `python -m backend.jobs.worker`.

The first line on standard input is the job, `{"verb": …, "request": {…}}`; a later line `"cancel"` asks it
to stop, and the end of the input ends the process, so that a service that was killed leaves nothing
running. What happens goes out as JSON lines on the original standard output:

    {"phase": NAME, "total": N}  {"done": N, "note": …}  {"warn": CODE, "sentence": …, "items": […]}

and one last line `{"result": {…}}`, `{"error": CLASS, "code": …, "sentence": …, "hint": …}` or
`{"cancelled": true}`. Whatever a library prints goes to standard error, which the service keeps as a log.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from typing import Any, TextIO

from backend.jobs.children import told
from backend.progress import Cancelled
from backend.verbs import VERBS
from segwild_addon.protocol import codec
from segwild_addon.protocol.errors import ResourceError, SegWildError

REPORT_EVERY_SECS = 0.2


class Reporter:
    """A `Progress` that writes lines, a few a second, and stops the work when asked to."""

    def __init__(self, out: TextIO, cancelled: threading.Event) -> None:
        self.out, self.cancelled = out, cancelled
        self.done, self.told_at = 0, 0.0

    def phase(self, name: str, total: int | None = None) -> None:
        self.done, self.told_at = 0, time.monotonic()
        self.say({"phase": name, "total": total})

    def advance(self, steps: int = 1, note: str = "") -> None:
        if self.cancelled.is_set():
            raise Cancelled
        self.done += steps
        now = time.monotonic()
        if now - self.told_at >= REPORT_EVERY_SECS:
            self.told_at = now
            self.say({"done": self.done, "note": note})

    def warn(self, code: str, sentence: str, items: Sequence[str] = ()) -> None:
        self.say({"warn": code, "sentence": sentence, "items": list(items)})

    def say(self, message: dict[str, Any]) -> None:
        self.out.write(json.dumps(message) + "\n")
        self.out.flush()


def main() -> None:
    """Run the job that standard input names. The exit status says nothing; the last line does."""
    out = _claimed_output()
    cancelled = threading.Event()
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_obey, args=(sys.stdin, cancelled), daemon=True).start()
    reporter = Reporter(out, cancelled)
    try:
        request_type, module = VERBS[job["verb"]]
        request = codec.fields_in(request_type, job["request"])
        result = importlib.import_module(module).run(request, reporter)
        reporter.say({"result": result})
    except Cancelled:
        reporter.say({"cancelled": True})
    except SegWildError as error:
        reporter.say(told(error))
    except MemoryError:
        reporter.say(
            told(
                ResourceError(
                    "out-of-memory",
                    "Memory ran out.",
                    "Use fewer Gaussians (--cap), smaller pictures (--long-side) or a smaller preset.",
                )
            )
        )
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        where = f": {error.filename}" if error.filename else ""
        reporter.say(
            told(ResourceError("disk-full", f"The disk is full{where}.", "Free some space and start the job again."))
        )


_DISK_FULL = (28, 122)  # ENOSPC, EDQUOT


def _claimed_output() -> TextIO:
    """Standard output for us alone: from now on print() and libraries reach standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def _obey(commands: TextIO, cancelled: threading.Event) -> None:
    for line in commands:
        if line.strip() == '"cancel"':
            cancelled.set()
    os._exit(1)  # the service is gone


if __name__ == "__main__":
    try:
        main()
    except Exception:
        traceback.print_exc()
        sys.exit(70)
