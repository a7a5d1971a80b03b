"""What is known of jobs follows from their events, in whatever order and however often they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segwild_addon.client.course import ENDED, KEPT, STAGES, WARNINGS_MAX, Course, Courses, duration
from segwild_addon.protocol import events
from segwild_addon.protocol.values import Failure, Job

_JOBS = st.sampled_from(["a", "b", "c"])
_EVENTS = st.one_of(
    st.builds(events.JobQueued, _JOBS, st.sampled_from([*STAGES, "objects"])),
    st.builds(events.JobStarted, _JOBS, st.integers(1, 3)),
    st.builds(
        events.JobProgress,
        _JOBS,
        st.sampled_from(["Reading photos", "Finding features again", "Training", "Lifting features", "Odd", ""]),
        st.integers(-5, 200),
        st.none() | st.integers(0, 100),
        st.none() | st.floats(allow_nan=False),
        st.just(""),
    ),
    st.builds(events.JobWarned, _JOBS, st.just("code"), st.just("A warning."), st.just(())),
    st.builds(events.JobDone, _JOBS, st.just({})),
    st.builds(events.JobFailed, _JOBS, st.just("code"), st.just("A sentence."), st.just("A hint.")),
    st.builds(events.JobCancelled, _JOBS),
    st.builds(events.SceneChanged, st.just("objects")),
)


@given(st.lists(_EVENTS, max_size=60))
def test_any_events_leave_something_a_panel_can_show(told: list) -> None:
    courses = Courses()
    for event in told:
        before = {course.job: course for course in courses}
        course = courses.take(event)
        assert (course is None) == isinstance(event, events.SceneChanged)
        for old in before.values():
            if old.ended:
                assert courses[old.job] == old  # the end is the end
    for course in courses:
        assert course.share is None or 0 <= course.share <= 1
        assert course.stage in (*STAGES.get(course.verb, ()), "")
        assert len(course.warnings) <= WARNINGS_MAX
        states = [state for _, state in course.stages()]
        assert states == sorted(states, key=lambda state: {"done": 0, "queued": 2}.get(state, 1))
        assert isinstance(duration(course.eta_secs), str)
    live = [course for course in courses if not course.ended]
    current = courses.current
    assert (current is None) == (not list(courses))
    assert current is None or not live or current in live


def test_a_run_goes_through_its_stages() -> None:
    course = Course("j", "run")
    assert course.stages() == [("Cameras", "queued"), ("Training", "queued"), ("Features", "queued")]
    seen = []
    for phase in ("Reading photos", "Matching photos", "Training", "Describing pictures", "Lifting features"):
        course = course.told(events.JobProgress("j", phase, 1, 2, 3.0, ""))
        seen.append([state for _, state in course.stages()])
    assert seen == [
        ["running", "queued", "queued"],
        ["running", "queued", "queued"],
        ["done", "running", "queued"],
        ["done", "done", "running"],
        ["done", "done", "running"],
    ]
    failed = course.told(events.JobFailed("j", "code", "It failed.", "Do this."))
    assert [state for _, state in failed.stages()] == ["done", "done", "failed"]
    assert [state for _, state in course.told(events.JobDone("j", {})).stages()] == ["done"] * 3


def _job(job_id: str, state: str, error: Failure | None = None) -> Job:
    return Job(job_id, "train", state, {}, 0.0, 0.0, 1, result={} if state == "done" else None, error=error)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", sorted(ENDED))
def test_the_job_table_tells_what_was_missed(state: str) -> None:
    courses = Courses()
    courses.take(events.JobQueued("seen", "train"))
    (ended,) = courses.renew([_job("old", "done"), _job("seen", state), _job("new", "running")])
    assert (ended.job, ended.state) == ("seen", state)
    assert courses.current == courses["new"]
    assert courses.renew([_job("seen", "running"), _job("new", "running")]) == []  # read before it ended
    assert courses["seen"].state == state


def test_old_jobs_are_forgotten_but_none_that_runs() -> None:
    courses = Courses()
    courses.take(events.JobStarted("first", 1))
    for number in range(3 * KEPT):
        courses.take(events.JobDone(str(number), {}))
    assert len(list(courses)) == KEPT
    assert courses.current == courses["first"]


def test_durations_are_said_shortly() -> None:
    said = [duration(secs) for secs in (None, 0.2, 65.0, 200.0, 7200.0, float("inf"), -1.0)]
    assert said == ["", "1 s", "65 s", "3 min", "2.0 h", "", ""]
