"""A running job lets the person go first: it rests while someone waits for an answer, and goes on afterwards."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from backend.jobs import worker


def test_a_training_rests_while_a_question_waits(
    serve: Callable[..., Any], photographed: Any, long_request: dict[str, Any], waiting: Callable[..., Any]
) -> None:
    served = serve(photographed.root)
    question = {"kind": "Prepare", "view": "p0"}
    served.ask_quietly(question)  # there is nothing to prepare yet; the process runs from now on
    job = served.submit("train", **long_request)
    served.started(job)

    def steps() -> int:
        return max(event["done"] for event in served.told(job, "JobProgress"))

    waiting(lambda: steps() > 1, 240)  # it may compile before the first
    began, before = time.monotonic(), steps()
    waiting(lambda: steps() >= before + 20, 240)
    pace = (steps() - before) / (time.monotonic() - began)
    (desk,) = served.workers("backend.jobs.interactive")
    os.kill(desk, signal.SIGSTOP)  # the answer takes as long as we like
    asking = threading.Thread(target=served.ask_quietly, args=(question,), daemon=True)
    asking.start()
    began, before = time.monotonic(), steps()
    time.sleep(max(2 * worker.HOLD_SECS, 40 / pace))
    rested = steps() - before
    # What was under way or not told yet, a second's at most, and the one step that follows each rest.
    assert rested < 5 + pace + (time.monotonic() - began) / worker.HOLD_SECS
    os.kill(desk, signal.SIGCONT)
    asking.join(60)
    assert not asking.is_alive()
    before = steps()
    waiting(lambda: steps() > before + rested + 20, 240)
