"""A clock that jumps by days, back and forth: order, progress and ends of jobs do not hang on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

JUMPING = """
import itertools, time
_real, _jumps = time.time, itertools.cycle([0.0, 86_400.0 * 400, -86_400.0 * 3, 3_600.0, -86_400.0 * 9000])
time.time = lambda: _real() + next(_jumps)
"""


def test_jobs_and_events_keep_their_order(
    serve: Callable[..., Any], photographed: Any, tmp_path: Path, long_request: dict[str, Any]
) -> None:
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(JUMPING)
    searched = os.pathsep.join([str(tmp_path / "clock"), *filter(None, [os.environ.get("PYTHONPATH")])])
    served = serve(photographed.root, environment={"PYTHONPATH": searched})
    status, first = served.call("POST", "/v1/jobs", {"verb": "train", "request": long_request, "snapshot_secs": 1})
    assert status == 202
    waiting = [served.submit("objects", action="delete", names=[f"none{number}"]) for number in range(2)]
    shown = []
    for event in served.events():
        if event["event"].get("what") == "snapshot":
            shown.append(event)
        if len(shown) == 2:
            break
    for one in shown[-1]["event"]["snapshot"].values():
        assert isinstance(one, int) or (photographed.root / one["path"]).exists()
    served.call("POST", f"/v1/jobs/{first['id']}/cancel", {})
    served.wait(first["id"], "cancelled", timeout=2.0)
    for job in waiting:
        assert served.wait(job, "failed")["error"]["code"] == "unknown-object"
    told = served.events_until_quiet()
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
    stamps = [event["time"] for event in told]
    assert max(stamps) - min(stamps) > 86_400  # it did jump
    begun = [event["event"]["job"] for event in told if event["event"]["kind"] == "JobStarted"]
    assert begun == [first["id"], *waiting]
    assert [job["id"] for job in served.call("GET", "/v1/jobs")[1]] == [first["id"], *waiting]
    left = [event["event"]["eta_secs"] for event in told if event["event"]["kind"] == "JobProgress"]
    assert all(value is None or 0 <= value < 1e6 for value in left)
    served.kill()
    again = serve(photographed.root)  # by a clock that is right again
    assert [job["id"] for job in again.call("GET", "/v1/jobs")[1]] == [first["id"], *waiting]
