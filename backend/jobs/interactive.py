"""Questions that want an answer now, to a process that keeps the scene open.

`Interactive` is the service's side: it starts the process on the first question, starts it again if it
has died (at most once in five seconds), and waits no longer than a limit. `main`, in the process, reads
one JSON line per question and writes one per answer.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from backend.jobs.children import Child, told
from segwild_addon.protocol import codec, requests
from segwild_addon.protocol.errors import ResourceError, SegWildError

ANSWER_SECS = 180.0
RESTART_SECS = 5.0
_SILENT = "The interactive worker gave no answer"


class Interactive:
    """Asks the process, one question at a time. Safe to share among threads."""

    def __init__(self, workspace: Path, log: Path) -> None:
        self.workspace, self.log = workspace, log
        self._child: Child | None = None
        self._started_at = -RESTART_SECS
        self._lock = threading.Lock()

    def ask(self, question: Any) -> dict[str, Any]:
        """The answer. Raises what the question raised, or ResourceError if the process died or was silent."""
        with self._lock:
            child = self._running()
            child.send(codec.to_wire(question))
            try:
                answer = child.lines.get(timeout=ANSWER_SECS)
            except queue.Empty:
                self._end()
                raise ResourceError(
                    "no-answer", f"{_SILENT} within {ANSWER_SECS:.0f} seconds.", "Try again; it was started anew."
                ) from None
            if answer is None:
                sentence = child.why_ended()
                self._end()
                raise ResourceError("worker-died", sentence, "Click again: the worker starts anew.")
            if "error" in answer:
                raise child.error_in(answer)
            return answer["answer"]

    def stop(self) -> None:
        """End the process, also in the middle of a question."""
        if self._child is not None:
            self._child.kill()
        with self._lock:
            self._end()

    def _running(self) -> Child:
        if self._child is None:
            wait = self._started_at + RESTART_SECS - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            self._started_at = time.monotonic()
            self._child = Child("backend.jobs.interactive", self.log)
            self._child.send({"workspace": str(self.workspace)})
        return self._child

    def _end(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None


def main() -> None:
    """Answer until standard input ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    workspace = Path(json.loads(lines.get())["workspace"])
    from backend.stages.preview import Previewer  # torch: only here, where nobody waits for a handshake

    previewer = Previewer(workspace)
    answers = {requests.Preview: previewer.preview, requests.Prepare: previewer.prepare}
    kinds = codec.kinds_of(*requests.QUESTIONS)
    while True:
        try:
            question = codec.decoded(lines.get(), kinds)
            reply: dict[str, Any] = {"answer": answers[type(question)](question)}
        except SegWildError as error:
            reply = told(error)
        except Exception as error:
            traceback.print_exc()
            reply = told(
                SegWildError("unexpected", f"The question failed: {error!r}.", "Report it with the worker's log.")
            )
        out.write(json.dumps(reply) + "\n")
        out.flush()


def _read(lines: queue.Queue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)  # the service is gone


if __name__ == "__main__":
    main()
