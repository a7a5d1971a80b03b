"""Every state has a title, its sentences and buttons that exist; text is broken without losing any."""

from __future__ import annotations

import itertools
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segwild_addon.client.course import STAGES, Course
from segwild_addon.client.status import ABSENT, RUNNING, STOPPED, State, Status
from segwild_addon.protocol.events import JobFailed, JobProgress, JobStarted
from segwild_addon.protocol.values import Failure

states = pytest.importorskip("segwild_addon.ui.states", reason="bpy is not installed")

STATES = [Status(state, "A sentence.", "A hint.", "code", 2.0, 1, 3) for state in get_args(State)]
COURSES = [
    Course("j", verb, state, phase="Training", total=total, done=1, error=Failure("c", "It failed.", "Do this."))
    for verb in (*STAGES, "objects", "export")
    for state in ("queued", "running", "done", "failed", "cancelled")
    for total in (None, 4)
]


def buttons(shown: Any) -> list[str]:
    return [operator for operator, _, _ in shown.buttons]


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("online", [False, True])
def test_every_state_is_shown_with_buttons_that_exist(blender: Any, remote: bool, online: bool) -> None:
    icons = blender.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items
    found = [
        states.backend(environment, link, online=online, remote=remote)
        for environment, link in itertools.product([one for one in STATES if one.state != "running"], [None, *STATES])
    ]
    for shown in [*found, *filter(None, map(states.job, COURSES))]:
        assert shown.title
        assert shown.icon in icons
        assert shown.bar is None or 0 <= shown.bar <= 1
        for operator, text, icon in shown.buttons:
            group, name = operator.split(".")
            assert getattr(getattr(blender.ops, group), name).get_rna_type()
            assert text
            assert icon in icons


def test_the_table_of_states() -> None:
    def shown(environment: Status, link: Status | None = None, *, online: bool = True, remote: bool = False) -> Any:
        return states.backend(environment, link, online=online, remote=remote)

    assert buttons(shown(ABSENT)) == ["segwild.install_backend", "segwild.use_python", "segwild.connect_backend"]
    assert "online" in shown(ABSENT, online=False).lines[0]
    assert "segwild.allow_online" in buttons(shown(ABSENT, online=False))
    cancelled = Status("absent", "The installation was cancelled.", "Start it again.")
    assert all(shown(cancelled, online=online).lines[0] == cancelled.sentence for online in (False, True))
    download = Status("installing", "Step 3 of 4: torch.", done=500_000_000, total=2_000_000_000)
    assert (shown(download).bar, shown(download).bar_text) == (0.25, "500 MB of 2.0 GB")
    assert buttons(shown(download)) == ["segwild.cancel_install"]
    failed = Status("failed", "The disk is full.", "Free some space.", "disk-full")
    assert buttons(shown(failed)) == [
        "segwild.install_backend",
        "segwild.use_python",
        "segwild.open_log",
        "segwild.copy_report",
    ]
    assert "The disk is full." in shown(failed).lines
    no_backend = Status("failed", "This Python has no SegWild: /a.", "Choose another, or install one.", "no-backend")
    assert shown(no_backend).title == "No SegWild in This Python"
    assert shown(no_backend).buttons[0][1] == "Install…"  # nothing has been tried
    assert buttons(shown(STOPPED)) == ["segwild.start_backend", "segwild.connect_backend"]
    nothing_to_do = states.backend(STOPPED, None, online=True, remote=False, scene=False)
    assert nothing_to_do.title == "Ready"
    assert not nothing_to_do.buttons  # none that would be greyed out
    assert buttons(shown(STOPPED, RUNNING)) == ["segwild.stop_backend"]
    assert shown(ABSENT, RUNNING, remote=True).title == "Connected"  # nothing needs to be installed here
    lost = Status("lost", "The system ended the backend.", "See its log.", "backend-died", 4.0)
    assert "Trying again within 4 s." in shown(STOPPED, lost).lines
    assert "segwild.restart_backend" in buttons(shown(STOPPED, lost))
    wrong = Status("failed", "It speaks version 2.", "Update.", "wrong-version")
    assert shown(STOPPED, wrong).title == shown(wrong).title == "Versions Do Not Match"


def test_a_job_is_shown_with_what_is_left_and_what_to_do() -> None:
    course = Course("j", "run").told(JobStarted("j", 1)).told(JobProgress("j", "Training", 50, 200, 125.0, "loss 0.1"))
    shown = states.job(course)
    assert (shown.bar, shown.bar_text, shown.lines) == (0.25, "Training, about 2 min left", ("loss 0.1",))
    assert buttons(shown) == ["segwild.cancel_job"]
    failed = states.job(course.told(JobFailed("j", "no-overlap", "The photos show no common place.", "Take more.")))
    assert failed.lines[:2] == ("The photos show no common place.", "Take more.")
    assert buttons(failed)[0] == "segwild.retry_job"
    assert states.job(None) is states.job(Course("j", "objects")) is None


@given(st.text(), st.integers(8, 60))
def test_text_is_broken_and_nothing_is_lost(text: str, width: int) -> None:
    lines = states.wrapped(text, width)
    assert all(0 < len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())
