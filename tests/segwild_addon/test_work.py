"""Buttons have the right thing done, and what follows happens by itself: the growing preview, the import at the end."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segwild_addon.client import Address, Status

COUNT = 60


@pytest.fixture
def working(
    nothing_is_left: None,
    blender: Any,
    fake: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    pump_until: Callable[..., Any],
) -> SimpleNamespace:
    """A file whose settings name photos and a workspace; the fake is that workspace's backend, not yet connected."""
    from segwild_addon import environment, session, work
    from segwild_addon.viewport import draw

    shown: list[Any] = []
    monkeypatch.setattr(draw, "preview", lambda uuid, arrays, place=None: shown.append((uuid, arrays)))
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)  # whatever this machine has
    settings = blender.context.scene.segwild
    (tmp_path / "fake").mkdir()
    settings.photos_folder = str(tmp_path / "fake")

    until = partial(pump_until, facts=lambda: blender.context.window_manager.segwild.status)

    def connect() -> Any:
        work.connect(blender.context, Address("127.0.0.1", fake.port, fake.token))
        link = work.link_of(blender.context)
        until(lambda: link.running and link.backend.listening)
        return link

    return SimpleNamespace(
        work=work, session=session, environment=environment, fake=fake, shown=shown, until=until, connect=connect
    )


def snapshot(folder: Path, rows: int = 5) -> dict[str, Any]:
    """A snapshot of a training, as it travels, and its arrays in the workspace."""
    found: dict[str, Any] = {"gaussians": rows}
    shapes = {"means": (rows, 3), "colors": (rows, 3), "scales": (rows, 3), "quats": (rows, 4), "opacities": (rows,)}
    for name, shape in shapes.items():
        file = folder / "previews" / f"{name}.npy"
        file.parent.mkdir(exist_ok=True)
        np.save(file, np.full(shape, 0.5, np.float32))
        digest = hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
        found[name] = {
            "path": f"previews/{name}.npy",
            "dtype": "float32",
            "shape": list(shape),
            "blake2b": digest,
        }
    return found


def test_without_a_backend_a_job_is_refused_in_a_sentence(working: SimpleNamespace, blender: Any) -> None:
    assert "backend" in working.work.queue(blender.context, "run")
    assert not working.work.possible(blender.context)
    assert not blender.ops.segwild.make_scene.poll()


def test_a_new_scene_lies_beside_its_photos(working: SimpleNamespace, blender: Any, tmp_path: Path) -> None:
    assert working.work.workspace_of(blender.context) == str(tmp_path / "fake.segwild")
    blender.context.scene.segwild.workspace_folder = str(tmp_path / "other.segwild")
    assert working.work.workspace_of(blender.context) == str(tmp_path / "other.segwild")
    blender.context.scene.segwild.photos_folder = blender.context.scene.segwild.workspace_folder = ""
    assert working.work.workspace_of(blender.context) == ""
    assert working.work.link_of(blender.context) is None


def test_a_training_is_shown_as_it_grows_and_imported_when_it_is_done(
    working: SimpleNamespace, blender: Any, make_workspace: Any
) -> None:
    link = working.connect()
    assert blender.ops.segwild.make_scene() == {"FINISHED"}
    working.until(lambda: any(job["verb"] == "run" for job in working.fake.jobs.values()))
    working.until(lambda: link.courses.current is not None and link.courses.current.ended)  # the fake can train nothing
    assert link.courses.current.state == "failed"
    assert blender.ops.segwild.retry_job.poll()

    fake = working.fake
    fake.tell("JobQueued", job="j", verb="run")
    fake.tell("JobStarted", job="j", attempt=1)
    fake.tell("JobProgress", job="j", phase="Training", done=1, total=4, eta_secs=3.0, note="")
    working.until(lambda: working.work.busy(blender.context))
    assert not blender.ops.segwild.make_scene.poll()
    fake.tell("SceneChanged", what="snapshot", snapshot=snapshot(fake.workspace))
    working.until(lambda: working.shown)
    uuid, arrays = working.shown[-1]
    assert arrays["means"].shape == (5, 3)
    assert arrays["opacities"].flags.owndata  # the file may go

    make_workspace("fake", count=COUNT)
    fake.tell("JobDone", job="j", result={})
    working.until(lambda: [c for c in blender.data.collections if c.segwild.is_scene])
    working.until(lambda: not working.session._work)
    assert working.shown[-1] == (uuid, None)
    assert sum(len(cloud.points) for cloud in blender.data.pointclouds) == COUNT
    fake.tell("JobDone", job="k", result={})  # a job nobody asked for here brings nothing in
    working.until(lambda: link.courses.get("k") is not None)
    assert len([c for c in blender.data.collections if c.segwild.is_scene]) == 1


def test_weights_that_see_people_go_with_the_training(working: SimpleNamespace, blender: Any, tmp_path: Path) -> None:
    link = working.connect()
    for path in ("", str(tmp_path / "net.pth")):
        blender.context.scene.segwild.people_weights = path
        known = set(working.fake.jobs)
        assert blender.ops.segwild.make_scene() == {"FINISHED"}
        working.until(lambda before=known: set(working.fake.jobs) - before)
        (job,) = set(working.fake.jobs) - known
        assert working.fake.jobs[job]["request"].get("people") == (path or None)
        working.until(lambda: link.courses.current is not None and link.courses.current.ended)


@pytest.mark.parametrize("kind", ["JobFailed", "JobCancelled", "stopped"])
def test_the_preview_ends_with_the_training(working: SimpleNamespace, kind: str) -> None:
    link = working.connect()
    fake = working.fake
    fake.tell("JobQueued", job="j", verb="train")
    fake.tell("JobStarted", job="j", attempt=1)
    fake.tell("SceneChanged", what="snapshot", snapshot=snapshot(fake.workspace))
    working.until(lambda: working.shown)
    if kind == "stopped":
        link.stop()
    elif kind == "JobCancelled":
        fake.tell(kind, job="j")
    else:
        fake.tell(kind, job="j", code="out-of-memory", sentence="Memory ran out.", hint="Use a smaller preset.")
    working.until(lambda: working.shown[-1][1] is None)


def test_the_end_of_the_log_is_at_hand(working: SimpleNamespace, blender: Any) -> None:
    working.connect()
    assert working.work.tail(blender.context) == ()
    (working.fake.workspace / "worker.log").write_text("loading\nout of memory\n")
    working.fake.tell("JobQueued", job="j", verb="train")
    working.fake.tell("JobProgress", job="j", phase="Training", done=1, total=4, eta_secs=3.0, note="")
    working.until(lambda: working.work.tail(blender.context) == ("loading", "out of memory"))
    (working.fake.workspace / "worker.log").write_text("it broke\n")
    working.fake.tell("JobFailed", job="j", code="broken", sentence="It broke.", hint="")
    working.until(lambda: working.work.tail(blender.context) == ("it broke",))


def test_a_snapshot_that_cannot_be_read_is_passed_over(working: SimpleNamespace) -> None:
    link = working.connect()
    broken = snapshot(working.fake.workspace)
    (working.fake.workspace / "previews" / "means.npy").unlink()
    working.fake.tell("JobStarted", job="j", attempt=1)
    working.fake.tell("SceneChanged", what="snapshot", snapshot=broken)
    working.until(lambda: link.courses.get("j") is not None and not link.asked)
    assert not working.shown
    assert not working.session.trouble()


def test_a_report_says_what_went_wrong(working: SimpleNamespace, blender: Any) -> None:
    failed = Status("failed", "The disk is full.", "Free some space.", "disk-full")
    working.environment._state["status"] = failed
    assert "disk-full" in working.work.report(blender.context)
    assert blender.app.version_string in working.work.report(blender.context)
