"""What is told of a job when it ends, with a worker that is made up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.jobs.runner import Runner
from backend.jobs.store import Store
from backend.scene import Workspace
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.events import JobCancelled, JobDone, JobFailed, SceneChanged

ENDS: dict[type, Any] = {
    JobDone: {"result": {}},
    JobCancelled: {"cancelled": True},
    JobFailed: InputError("code", "Sentence.", "Hint."),
}


@pytest.mark.parametrize("ended", ENDS)
def test_what_a_job_may_have_changed_is_told_however_it_ended(tmp_path: Path, ended: type) -> None:
    told = told_of(tmp_path, "segment", lambda: ENDS[ended])
    assert told[-2] == SceneChanged("objects")
    assert isinstance(told[-1], ended)


@pytest.mark.parametrize("taken_over", [False, True])
def test_other_gaussians_are_told_of_only_if_there_are_any(tmp_path: Path, taken_over: bool) -> None:
    splats = Workspace(tmp_path).splats
    splats.parent.mkdir()

    def trained() -> dict[str, Any]:
        if taken_over:
            splats.write_bytes(b"others")
        return {"cancelled": True}

    told = told_of(tmp_path, "train", trained)
    assert [event for event in told if isinstance(event, SceneChanged)] == [SceneChanged("gaussians")] * taken_over


def told_of(folder: Path, verb: str, work: Callable[[], Any]) -> list[Any]:
    """All events of a job whose worker does that and says so."""
    store = Store(folder / "jobs.sqlite")
    runner = Runner(store, folder, folder / "log")

    def worked(job: Any) -> dict[str, Any]:
        runner._stopping.set()  # one job is enough
        end = work()
        if isinstance(end, Exception):
            raise end
        return end

    runner._worked = worked  # type: ignore[method-assign]
    job = runner.submit(verb, {})
    runner._run()
    events = [numbered.event for numbered in store.events_after(0)]
    assert store.job(job.id).state in ("done", "cancelled", "failed")
    store.close()
    return events
