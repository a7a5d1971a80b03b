"""Buttons have the right thing done, and what follows happens by itself: the growing preview, the import at the end."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from backend.service.inside import Inside
from segwild_addon.client import Address, Installation, Launch, Status
from segwild_addon.client.status import STOPPED
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Run

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


def test_beside_a_whole_disk_a_folder_is_to_be_chosen(
    working: SimpleNamespace, blender: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = blender.context.scene.segwild
    settings.photos_folder = Path.cwd().anchor
    monkeypatch.setattr(working.work, "possible", lambda context: True)
    assert working.work.workspace_of(blender.context) == ""
    assert not blender.ops.segwild.make_scene.poll()
    settings.workspace_folder = "/scan.segwild"
    assert blender.ops.segwild.make_scene.poll()


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


@pytest.fixture
def own(working: SimpleNamespace, blender: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """The fake is what is installed here; starts nothing. Gives the link of the new scene."""
    fake = Path(__file__).parent / "client" / "fake_backend.py"
    monkeypatch.setattr(working.work, "command_of", lambda python: (str(python), "-I", str(fake)))
    monkeypatch.setattr(working.environment, "default_folder", lambda: tmp_path / "environment")
    working.environment._looks[0] += 1  # the answer of the look at the beginning is late
    working.environment._found[:] = [Installation(Path(sys.executable), "1")]
    working.environment._state["status"] = STOPPED
    return lambda: working.session.link(tmp_path / "fake.segwild")


def allowed(link: Any, **places: Path) -> Run:
    """The request as the real service takes it. Raises InputError if that may not."""
    assert isinstance(link.where, Launch)
    return Inside(link.workspace, link.where.allow).request(Run(out=link.workspace, **places))


def test_the_backend_may_read_what_the_panel_names(
    working: SimpleNamespace, blender: Any, own: Callable[[], Any], tmp_path: Path
) -> None:
    kept = tmp_path / "cache" / "blobs" / "1f3a"  # where a hub's client keeps what it hands out as links
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"weights")
    net = tmp_path / "cache" / "net.pth"
    net.symlink_to(kept)
    photos = Path(blender.context.scene.segwild.photos_folder)
    assert blender.ops.segwild.start_backend() == {"FINISHED"}
    link = own()
    working.until(lambda: link.running and link.backend.listening)
    first = link.backend
    with pytest.raises(InputError):
        allowed(link, photos=photos, people=net)

    blender.context.scene.segwild.people_weights = str(net)  # chosen while the backend runs, idle
    assert blender.ops.segwild.make_scene() == {"FINISHED"}
    working.until(lambda: link.running and link.courses.current is not None and link.courses.current.ended)
    assert link.backend is not first
    assert allowed(link, photos=photos, people=net).people == kept
    with pytest.raises(InputError):
        allowed(link, photos=photos, people=tmp_path / "cache" / "other.pth")

    second = link.backend
    blender.context.scene.segwild.people_weights = ""
    assert blender.ops.segwild.make_scene() == {"FINISHED"}
    working.until(lambda: len([c for c in link.courses if c.ended]) == 2)
    assert link.backend is second  # it may do more than it needs to: no reason to start it anew
    link.stop()


def test_the_backend_may_read_masks_that_a_request_names(
    working: SimpleNamespace, blender: Any, own: Callable[[], Any], tmp_path: Path
) -> None:
    photos, masks = Path(blender.context.scene.segwild.photos_folder), tmp_path / "masks"
    masks.mkdir()
    workspace = str(tmp_path / "fake.segwild")
    assert working.work.queue(blender.context, "run", workspace, photos=str(photos), masks=str(masks)) == ""
    link = own()
    working.until(lambda: link.running and link.courses.current is not None and link.courses.current.ended)
    assert allowed(link, photos=photos, masks=masks).masks == masks
    with pytest.raises(InputError):
        allowed(link, photos=photos, masks=tmp_path / "other")
    link.stop()


def test_a_job_is_not_interrupted_for_the_place_of_another(
    working: SimpleNamespace, blender: Any, own: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_JOB_SECS", "60")
    assert blender.ops.segwild.make_scene() == {"FINISHED"}
    link = own()
    working.until(lambda: working.work.busy(blender.context))
    backend = link.backend
    blender.context.scene.segwild.people_weights = str(tmp_path / "net.pth")
    assert "net.pth" in working.work.queue(blender.context, "train", people=str(tmp_path / "net.pth"))
    assert blender.ops.segwild.start_backend() == {"FINISHED"}
    assert link.backend is backend
    link.stop()


def test_no_backend_is_started_where_the_workspace_of_a_scene_was(
    working: SimpleNamespace,
    blender: Any,
    own: Callable[[], Any],
    make_workspace: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would make an empty one there."""
    root, _ = make_workspace("scan", count=COUNT)
    working.work.import_scene(str(root))
    working.until(lambda: scenes_of(blender) and not working.session._work)
    root.rename(tmp_path / "moved")
    assert working.work.startable(str(root))  # panels ask, who look at no disk
    assert "not there" in working.work.start(blender.context, str(root))
    with monkeypatch.context() as patch:
        patch.setattr(working.session.link(str(root)), "start", lambda where: None)
        assert working.work.start(blender.context, str(root), new=True) == ""  # which makes it
    assert working.session.known(root).backend is None
    with pytest.raises(RuntimeError, match="not there"):
        blender.ops.segwild.find_junk()


def test_a_workspace_beside_the_file_is_startable(
    working: SimpleNamespace, blender: Any, own: Callable[[], Any], tmp_path: Path
) -> None:
    blender.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"))
    assert working.work.startable("//scan.segwild")


def test_going_on_repeats_the_job_as_it_was(working: SimpleNamespace, blender: Any) -> None:
    """Also one of another session: another preset would begin anew."""
    fake = working.fake
    request = {"preset": "full", "people": "/weights/net.pth", "masks": "/masks", "seed": 7, "device": "cuda"}
    job = {"kind": "Job", "id": "a" * 32, "verb": "train", "state": "cancelled", "created": 1.0, "changed": 2.0}
    job |= {"attempts": 1, "result": None, "error": None, "request": request | {"workspace": "/before/it/was/moved"}}
    fake.jobs[job["id"]] = job
    link = working.connect()
    working.until(lambda: link.courses.current is not None)
    assert blender.context.scene.segwild.preset == "standard"
    assert blender.ops.segwild.retry_job() == {"FINISHED"}
    working.until(lambda: len(fake.jobs) == 2)
    again = next(each for name, each in fake.jobs.items() if name != job["id"])
    assert (again["verb"], again["request"]) == ("train", request)
    assert working.work._to_import  # its end is awaited as that of the first
    working.until(lambda: link.courses.current.ended)


def test_training_again_is_another_training(working: SimpleNamespace, blender: Any, make_workspace: Any) -> None:
    """One that is done would be answered with its result."""
    make_workspace("fake", count=COUNT)
    link = working.connect()
    seeds = []
    for number in (1, 2):
        assert blender.ops.segwild.train() == {"FINISHED"}
        working.until(lambda number=number: len(working.fake.jobs) == number)
        working.until(lambda: link.courses.current is not None and link.courses.current.ended)
        seeds.append(list(working.fake.jobs.values())[-1]["request"]["seed"])
    assert len({0, *seeds}) == 3


def trained(working: SimpleNamespace, job: str) -> None:
    """Have a training of the present workspace end well."""
    working.work._to_import.add(str(working.work.path(str(working.fake.workspace))))
    for kind, facts in (("JobQueued", {"verb": "train"}), ("JobStarted", {"attempt": 1}), ("JobDone", {"result": {}})):
        working.fake.tell(kind, job=job, **facts)


def scenes_of(blender: Any) -> list[Any]:
    return [collection for collection in blender.data.collections if collection.segwild.is_scene]


def test_a_scene_trained_again_hides_the_one_before(
    working: SimpleNamespace, blender: Any, make_workspace: Any
) -> None:
    from segwild_addon.data import scenes

    make_workspace("fake", count=COUNT)
    working.connect()
    trained(working, "j")
    working.until(lambda: scenes_of(blender) and not working.session._work)
    (older,) = scenes_of(blender)
    name = older.name
    assert "hidden" not in blender.context.window_manager.segwild.status
    make_workspace("fake", count=COUNT, seed=1)
    working.fake.tell("SceneChanged", what="gaussians", snapshot=None)
    trained(working, "k")
    working.until(lambda: len(scenes_of(blender)) == 2 and not working.session._work)
    newer = next(each for each in scenes_of(blender) if each != older)
    assert scenes.is_aside(older)
    assert not scenes.is_aside(newer)
    assert scenes.active(blender.context) == newer == scenes.of_folder(newer.segwild.workspace)
    working.until(lambda: not working.session.waits_for("mirror"))
    said = blender.context.window_manager.segwild
    assert f"hidden: {name}" in said.status  # and not that it was trained again
    assert said.status_icon == "INFO"


def test_a_training_stays_out_of_another_file(
    working: SimpleNamespace, blender: Any, make_workspace: Any, tmp_path: Path
) -> None:
    make_workspace("fake", count=COUNT)
    link = working.connect()
    own_file = str(tmp_path / "own.blend")
    blender.ops.wm.save_as_mainfile(filepath=own_file)
    blender.ops.wm.read_homefile(use_empty=True)
    working.fake.tell("JobStarted", job="j", attempt=1)
    working.fake.tell("SceneChanged", what="snapshot", snapshot=snapshot(working.fake.workspace))
    working.until(lambda: link.courses.get("j") is not None and not link.asked)
    assert not working.shown
    trained(working, "k")
    working.until(lambda: "ready" in blender.context.window_manager.segwild.status)
    working.until(lambda: not working.session._work)
    assert not scenes_of(blender)

    working.fake.tell("JobQueued", job="m", verb="train")
    working.fake.tell("JobFailed", job="m", code="broken", sentence="It broke.", hint="Mend it.")
    working.until(lambda: "fake: It broke. Mend it." in blender.context.window_manager.segwild.status)

    blender.ops.wm.open_mainfile(filepath=own_file)  # the file that it belongs to gets it
    trained(working, "l")
    working.until(lambda: scenes_of(blender) and not working.session._work)


def test_an_import_waits_for_object_mode(
    working: SimpleNamespace, blender: Any, make_workspace: Any, tmp_path: Path
) -> None:
    make_workspace("fake", count=COUNT)
    blender.ops.mesh.primitive_cube_add()
    blender.ops.object.mode_set(mode="EDIT")
    working.work.import_scene(str(tmp_path / "fake.segwild"))
    working.until(lambda: "Object Mode" in blender.context.window_manager.segwild.status)
    for _ in range(50):
        working.session.pump(0.0)
    assert not scenes_of(blender)
    blender.ops.object.mode_set(mode="OBJECT")
    while not scenes_of(blender):
        working.session.pump(0.0)
    blender.ops.object.mode_set(mode="EDIT")  # in the midst of it
    for _ in range(200):
        working.session.pump(0.0)
    assert working.session._work
    blender.ops.object.mode_set(mode="OBJECT")
    working.until(lambda: not working.session._work)
    assert sum(len(cloud.points) for cloud in blender.data.pointclouds) == COUNT
    assert not working.session.trouble()


def test_an_import_waits_for_the_end_of_a_drag(
    working: SimpleNamespace, blender: Any, make_workspace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_workspace("fake", count=COUNT)
    resting = False
    monkeypatch.setattr(working.session, "at_rest", lambda: resting)
    working.work.import_scene(str(tmp_path / "fake.segwild"))
    for _ in range(50):
        working.session.pump(0.0)
    assert not scenes_of(blender)
    assert "at rest" in blender.context.window_manager.segwild.status
    resting = True
    working.until(lambda: scenes_of(blender) and not working.session._work)


def test_an_import_that_waits_ends_with_its_file(
    working: SimpleNamespace, blender: Any, make_workspace: Any, tmp_path: Path
) -> None:
    make_workspace("fake", count=COUNT)
    blender.ops.mesh.primitive_cube_add()
    blender.ops.object.mode_set(mode="EDIT")
    working.work.import_scene(str(tmp_path / "fake.segwild"))
    working.session.pump()
    blender.ops.wm.read_homefile(use_empty=True)
    working.until(lambda: not working.session._work)
    assert not scenes_of(blender)
    assert "Import Scene" in blender.context.window_manager.segwild.status


def test_places_of_another_machine_are_sent_as_typed(working: SimpleNamespace, blender: Any, tmp_path: Path) -> None:
    settings = blender.context.scene.segwild
    settings.workspace_folder = str(tmp_path / "fake.segwild")
    link = working.connect()
    settings.photos_folder, settings.people_weights = "D:\\photos", "D:\\weights\\net.pth"
    assert blender.ops.segwild.make_scene() == {"FINISHED"}
    working.until(lambda: working.fake.jobs)
    (job,) = working.fake.jobs.values()
    assert (job["request"]["photos"], job["request"]["people"]) == ("D:\\photos", "D:\\weights\\net.pth")
    working.until(lambda: link.courses.current is not None and link.courses.current.ended)


def test_a_new_scene_is_not_made_in_the_folder_of_the_active_one(
    working: SimpleNamespace, blender: Any, make_workspace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = make_workspace("other", count=COUNT)
    working.work.import_scene(str(root))
    working.until(lambda: scenes_of(blender) and not working.session._work)
    assert working.work.workspace_of(blender.context) == str(root)
    asked: list[str] = []
    monkeypatch.setattr(working.work, "possible", lambda context: True)
    monkeypatch.setattr(working.work, "start", lambda context, workspace, places, new: asked.append(workspace) or "no")
    with pytest.raises(RuntimeError, match="no"):
        blender.ops.segwild.make_scene()
    assert asked == [str(tmp_path / "fake.segwild")]
    assert not blender.context.scene.segwild.workspace_folder  # or the next photos would go there too


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
