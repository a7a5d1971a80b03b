"""What a backend suggests becomes a stroke: likely junk, replaced by the next find; a selection grown or shrunk."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segwild_addon.client import Address, Status

COUNT = 2500  # as the fake has it, which finds rows 0 to 2 at most, row 0 usually, and none below a quarter


@pytest.fixture
def searched(
    nothing_is_left: None, blender: Any, fake: Any, make_workspace: Any, pump_until: Callable[..., Any]
) -> Iterator[SimpleNamespace]:
    """An imported scene whose backend is the fake. Row 1 is an object of its own."""
    from segwild_addon import session
    from segwild_addon.data import scenes
    from segwild_addon.data.steps import finished
    from segwild_addon.viewport import draw, selection

    root, _ = make_workspace("fake", count=COUNT, segments={"kiosk": (np.arange(1, 11, 9), 0.9)})
    scene = finished(scenes.importing(root, lambda sentence: None))
    state = blender.context.window_manager.segwild
    shown: list[Any] = []
    real = draw.highlight
    draw.highlight = lambda uuid, chosen: shown.append(
        None if chosen is None else sorted(int(id_) for ids in chosen.values() for id_ in ids)
    )
    link = session.link(root)
    until = partial(pump_until, facts=lambda: (link.status, shown, state.status))

    def connect() -> None:
        link.start(Address("127.0.0.1", fake.port, fake.token))
        until(lambda: link.running)

    def find(strength: float) -> None:
        from segwild_addon import suggestions

        state.junk_strength = strength
        assert blender.ops.segwild.find_junk() == {"FINISHED"}
        assert state.status == "Looking for likely junk …"
        until(lambda: not suggestions.busy())
        assert "Looking" not in state.status

    yield SimpleNamespace(
        selection=selection,
        scene=scene,
        rest=scenes.rest(scene),
        kiosk=blender.data.objects["kiosk"],
        shown=shown,
        state=state,
        until=until,
        connect=connect,
        find=find,
        link=link,
        fake=fake,
    )
    draw.highlight = real


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Steps of undo; without a window Blender makes none."""
    import bpy

    found: list[str] = []
    monkeypatch.setattr(bpy.ops, "ed", SimpleNamespace(undo_push=lambda message: found.append(message)), raising=False)
    return found


def test_a_find_is_a_step_of_the_selection_and_the_next_one_replaces_it(
    searched: SimpleNamespace, steps: list[str]
) -> None:
    searched.connect()
    searched.find(0.5)
    assert searched.shown[-1] == [1]
    assert "1 splat may be junk" in searched.state.status
    searched.find(1.0)
    assert searched.shown[-1] == [1, 2, 3]
    assert len(searched.selection.prompts()) == 1
    assert {uuid: ids.tolist() for uuid, ids in searched.selection.chosen().items()} == {
        searched.rest.segwild.uuid: [1, 3],
        searched.kiosk.segwild.uuid: [2],
    }
    searched.find(0.5)
    assert searched.shown[-1] == [1]
    assert steps == ["Select: Likely Junk"] * 3
    searched.selection.clear()
    assert searched.shown[-1] is None


def test_junk_of_some_causes_in_one_object(searched: SimpleNamespace, blender: Any) -> None:
    """The fake's row 0 is a needle, the others are floaters."""
    searched.connect()
    searched.find(1.0)
    assert searched.fake.questions[-1]["causes"] == ["needle", "floater", "near-camera", "unseen"]
    searched.state.junk_causes = {"unseen", "floater"}
    searched.find(1.0)
    assert searched.fake.questions[-1]["causes"] == ["floater", "unseen"]
    assert searched.shown[-1] == [2, 3]
    searched.state.junk_here = True
    blender.context.view_layer.objects.active = searched.kiosk
    searched.find(1.0)
    assert searched.shown[-1] == [2]
    blender.context.view_layer.objects.active = searched.rest
    searched.find(1.0)
    assert searched.shown[-1] == [3]
    searched.state.junk_causes = {"needle"}
    blender.context.view_layer.objects.active = searched.kiosk
    searched.find(1.0)
    assert searched.state.status == "Nothing of this object that is shown looks like junk at this strength."
    blender.context.view_layer.objects.active = None
    assert not blender.ops.segwild.find_junk.poll()
    searched.state.junk_here = False
    assert blender.ops.segwild.find_junk.poll()
    searched.state.junk_causes = set()
    assert not blender.ops.segwild.find_junk.poll()
    searched.state.property_unset("junk_causes")
    assert blender.ops.segwild.find_junk.poll()


def test_what_was_taken_out_by_hand_stays_out_of_the_next_find(searched: SimpleNamespace) -> None:
    uuid, rest = searched.scene.segwild.uuid, searched.rest.segwild.uuid
    searched.connect()
    searched.selection.add_stroke(uuid, {rest: np.array([7], np.int32)}, True)
    searched.find(1.0)
    searched.selection.add_stroke(uuid, {rest: np.array([3], np.int32)}, False)
    assert searched.shown[-1] == [1, 2, 7]
    searched.find(0.5)
    searched.find(1.0)
    assert searched.shown[-1] == [1, 2, 7]
    assert len(searched.selection.prompts()) == 3


def test_an_empty_find_is_a_sentence_and_takes_the_former_one_back(searched: SimpleNamespace, steps: list[str]) -> None:
    searched.connect()
    searched.find(0.0)
    assert "Nothing" in searched.state.status
    assert searched.state.status_icon == "INFO"
    assert not len(searched.selection.prompts())
    assert steps == []
    searched.find(1.0)
    searched.find(0.0)
    assert not len(searched.selection.prompts())
    assert searched.shown[-1] is None
    assert len(steps) == 2


def test_hidden_objects_and_erased_splats_are_left_alone(searched: SimpleNamespace, blender: Any) -> None:
    searched.connect()
    searched.kiosk.hide_set(True)
    searched.find(1.0)
    assert searched.shown[-1] == [1, 3]
    assert blender.ops.segwild.erase_prompts() == {"FINISHED"}
    assert not len(searched.selection.prompts())
    assert searched.shown[-1] is None
    assert len(searched.rest.data.points) == COUNT - 2
    searched.kiosk.hide_set(False)
    searched.find(1.0)
    assert searched.shown[-1] == [2]
    for ob in blender.context.view_layer.objects:
        ob.select_set(ob == searched.rest)
    blender.ops.segwild.restore_splats()
    searched.find(1.0)
    assert searched.shown[-1] == [1, 2, 3]


def test_what_is_found_is_found_in_every_copy_and_made_an_object(searched: SimpleNamespace, blender: Any) -> None:
    from segwild_addon.data import repair, splats

    copy = searched.kiosk.copy()
    copy.data = searched.kiosk.data.copy()
    searched.scene.objects.link(copy)
    repair.uuids()
    searched.connect()
    searched.find(1.0)
    assert searched.shown[-1] == [1, 2, 2, 3]
    searched.state.new_name = "junk"
    assert blender.ops.segwild.accept_prompts() == {"FINISHED"}
    assert sorted(splats.read_ids(blender.data.objects["junk"])) == [1, 2, 2, 3]
    assert [len(ob.data.points) for ob in (searched.kiosk, copy)] == [1, 1]


def test_without_a_backend_the_button_is_off(searched: SimpleNamespace, blender: Any) -> None:
    assert not blender.ops.segwild.find_junk.poll()
    searched.connect()
    assert blender.ops.segwild.find_junk.poll()
    searched.link.stop()
    assert not blender.ops.segwild.find_junk.poll()


def test_while_something_of_another_scene_is_selected_the_button_is_off(
    searched: SimpleNamespace, blender: Any, make_workspace: Any
) -> None:
    from segwild_addon.data import scenes
    from segwild_addon.data.steps import finished

    searched.connect()
    blender.context.view_layer.objects.active = searched.rest
    assert blender.ops.segwild.find_junk.poll()
    other = finished(scenes.importing(make_workspace("other")[0], lambda sentence: None))
    rest = scenes.rest(other).segwild.uuid
    searched.selection.add_stroke(other.segwild.uuid, {rest: np.array([1], np.int32)}, True)
    blender.context.view_layer.objects.active = searched.rest
    assert not blender.ops.segwild.find_junk.poll()
    searched.selection.clear()
    assert blender.ops.segwild.find_junk.poll()


def test_one_search_at_a_time_and_a_backend_that_ends_meanwhile_is_told(
    searched: SimpleNamespace, blender: Any
) -> None:
    searched.connect()
    searched.fake.fault, searched.fake.fault_path = "hang", "/v1/ask"
    assert blender.ops.segwild.find_junk() == {"FINISHED"}
    assert not blender.ops.segwild.find_junk.poll()
    searched.link.stop()  # answers the question that hangs
    searched.until(lambda: "not running" in searched.state.status)
    assert not len(searched.selection.prompts())


def test_an_answer_waits_for_object_mode(searched: SimpleNamespace, blender: Any) -> None:
    from segwild_addon import session, suggestions

    mesh = blender.data.objects.new("cube", blender.data.meshes.new("cube"))
    blender.context.scene.collection.objects.link(mesh)
    searched.connect()
    blender.context.scene.segwild.active_scene = searched.scene.segwild.uuid
    assert blender.ops.segwild.find_junk() == {"FINISHED"}
    blender.context.view_layer.objects.active = mesh
    blender.ops.object.mode_set(mode="EDIT")
    searched.until(lambda: session.waits_for("suggestions"))
    assert not len(searched.selection.prompts())
    blender.ops.object.mode_set(mode="OBJECT")
    searched.until(lambda: not suggestions.busy())
    assert searched.shown[-1] == [1]


def test_an_answer_waits_for_the_end_of_a_drag(
    searched: SimpleNamespace, blender: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segwild_addon import session

    resting = False
    monkeypatch.setattr(session, "at_rest", lambda: resting)
    searched.connect()
    assert blender.ops.segwild.find_junk() == {"FINISHED"}
    searched.until(lambda: session.waits_for("suggestions"))
    assert not len(searched.selection.prompts())
    resting = True
    searched.until(lambda: searched.shown)
    assert searched.shown[-1] == [1]


def test_an_answer_goes_where_it_was_asked(
    searched: SimpleNamespace, blender: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The window with the button may show another Blender scene than the first window, which timers have."""
    from segwild_addon import session

    within: list[str] = []
    monkeypatch.setattr(session, "within", lambda name: contextlib.nullcontext(within.append(name)))
    blender.context.scene.name = "Asked"
    searched.connect()
    within.clear()
    searched.find(1.0)
    assert within[0] == "Asked"


def test_a_file_of_another_training_or_another_file_gets_nothing(
    searched: SimpleNamespace, blender: Any, make_workspace: Any
) -> None:
    from segwild_addon import suggestions

    searched.connect()
    assert blender.ops.segwild.find_junk() == {"FINISHED"}
    make_workspace("fake", count=COUNT, seed=5)  # while it is searched
    searched.until(lambda: "trained again" in searched.state.status)
    assert not len(searched.selection.prompts())
    with pytest.raises(RuntimeError, match="trained again"):
        blender.ops.segwild.find_junk()
    assert not suggestions.busy()
    make_workspace("fake", count=COUNT)
    assert blender.ops.segwild.find_junk() == {"FINISHED"}
    blender.ops.wm.read_factory_settings(use_empty=True)
    assert not suggestions.busy()
    searched.link.stop()


def reshape(searched: SimpleNamespace, operator: Callable[[], set[str]]) -> str:
    """What was said."""
    from segwild_addon import suggestions

    assert operator() == {"FINISHED"}
    searched.until(lambda: not suggestions.busy())
    return searched.state.status


def test_a_selection_is_grown_and_shrunk_by_strokes(searched: SimpleNamespace, steps: list[str], blender: Any) -> None:
    """For the fake a row touches the next one, and each run of rows has its first as its rim."""
    ops, rest = blender.ops.segwild, searched.rest.segwild.uuid
    searched.connect()
    assert not ops.grow_prompts.poll()
    searched.selection.add_stroke(searched.scene.segwild.uuid, {rest: np.array([1, 20], np.int32)}, True)
    assert reshape(searched, ops.grow_prompts) == "2 splats added."
    chosen = {uuid: ids.tolist() for uuid, ids in searched.selection.chosen().items()}
    assert chosen == {rest: [1, 20, 21], searched.kiosk.segwild.uuid: [2]}
    assert reshape(searched, ops.shrink_prompts) == "2 splats taken out."
    assert searched.shown[-1] == [2, 21]
    assert reshape(searched, ops.shrink_prompts) == "Nothing would be left of the selection."
    assert searched.shown[-1] == [2, 21]
    assert steps == ["Select: Add by Hand", "Select: Grow", "Select: Shrink"]


def test_a_selection_grows_neither_into_copies_nor_into_what_is_hidden(searched: SimpleNamespace, blender: Any) -> None:
    from segwild_addon.data import repair

    copy = searched.kiosk.copy()
    copy.data = searched.kiosk.data.copy()
    searched.scene.objects.link(copy)
    repair.uuids()
    searched.connect()
    kiosk, rest = searched.kiosk.segwild.uuid, searched.rest.segwild.uuid
    searched.selection.add_stroke(searched.scene.segwild.uuid, {kiosk: np.array([11], np.int32)}, True)
    searched.selection.add_stroke(searched.scene.segwild.uuid, {rest: np.array([1], np.int32)}, True)
    assert reshape(searched, blender.ops.segwild.grow_prompts) == "2 splats added."
    chosen = {uuid: ids.tolist() for uuid, ids in searched.selection.chosen().items()}
    assert chosen == {kiosk: [2, 11], rest: [1, 12]}
    searched.selection.remove(2)
    searched.rest.hide_set(True)
    assert "added" in reshape(searched, blender.ops.segwild.grow_prompts)
    assert {uuid: ids.tolist() for uuid, ids in searched.selection.chosen().items()} == {kiosk: [2, 11], rest: [1]}


def test_a_selection_that_changed_meanwhile_is_not_reshaped(searched: SimpleNamespace, blender: Any) -> None:
    searched.connect()
    uuid, rest = searched.scene.segwild.uuid, searched.rest.segwild.uuid
    searched.selection.add_stroke(uuid, {rest: np.array([20], np.int32)}, True)
    assert blender.ops.segwild.grow_prompts() == {"FINISHED"}
    searched.selection.add_stroke(uuid, {rest: np.array([30], np.int32)}, True)
    searched.until(lambda: "changed meanwhile" in searched.state.status)
    assert searched.shown[-1] == [20, 30]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend's environment, as far as buttons look."""
    from segwild_addon import environment

    monkeypatch.setattr(environment, "python", lambda: Path(sys.executable))


def test_a_backend_that_is_away_is_started_and_then_asked(
    searched: SimpleNamespace, installed: None, blender: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segwild_addon import suggestions, work

    started: list[str] = []
    within: list[str] = []
    monkeypatch.setattr(work, "start", lambda context, workspace: started.append(workspace) or "")
    usual = suggestions.session.within
    monkeypatch.setattr(suggestions.session, "within", lambda name: within.append(name) or usual(name))
    searched.state.junk_strength = 1.0
    assert blender.ops.segwild.find_junk() == {"FINISHED"}
    assert started == [searched.scene.segwild.workspace]
    assert searched.state.status == suggestions.STARTING
    assert not blender.ops.segwild.find_junk.poll()
    searched.connect()  # what was started runs
    searched.until(lambda: not suggestions.busy())
    assert searched.shown[-1] == [1, 2, 3]
    assert len(started) == 1
    assert len(within) >= 3  # asked, looked at (until it is at rest) and taken in
    assert set(within) == {blender.context.scene.name}


def test_a_backend_that_does_not_start_is_not_waited_for(
    searched: SimpleNamespace, installed: None, blender: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segwild_addon import session, suggestions, work

    monkeypatch.setattr(work, "start", lambda context, workspace: "")
    assert blender.ops.segwild.find_objects() == {"FINISHED"}
    for state, waits in (("starting", True), ("lost", True), ("failed", False)):
        for listener in list(session.listeners):
            listener(searched.link, Status(state))
        assert suggestions.busy() == waits
    assert searched.state.status != suggestions.STARTING
    monkeypatch.setattr(work, "start", lambda context, workspace: "There is no room.")
    with pytest.raises(RuntimeError, match="There is no room"):
        blender.ops.segwild.find_objects()
    assert not suggestions.busy()


def test_an_object_is_split_into_what_hangs_together(searched: SimpleNamespace, steps: list[str], blender: Any) -> None:
    """The fake finds that even rows hang together, and odd ones."""
    from segwild_addon import suggestions
    from segwild_addon.data import segments, splats

    thing = segments.make(searched.scene, "thing", np.arange(101, 126, dtype=np.int32), 0)
    searched.connect()
    searched.state.least_part = 5

    def split(ob: Any) -> None:
        blender.context.view_layer.objects.active = ob
        ob.select_set(True)
        assert blender.ops.segwild.split_object() == {"FINISHED"}

    blender.context.view_layer.objects.active = searched.rest
    assert not blender.ops.segwild.split_object.poll()  # the rest is no object
    split(thing)
    searched.until(lambda: not suggestions.busy())
    other = blender.data.objects["thing.1"]
    assert sorted(splats.read_ids(thing)) == list(range(101, 126, 2))
    assert sorted(splats.read_ids(other)) == list(range(102, 126, 2))
    assert tuple(other.color) != tuple(thing.color)
    assert steps == ["Split into Parts"]
    assert searched.state.status == "Split thing into 2 parts."
    split(thing)
    searched.until(lambda: not suggestions.busy())
    assert searched.state.status.startswith("All of thing hangs together")
    assert steps == ["Split into Parts"]
    thing = segments.make(searched.scene, "next", np.arange(201, 226, dtype=np.int32), 0)
    split(thing)
    segments.make(searched.scene, "taken", np.array([201], np.int32), 0)
    searched.until(lambda: not suggestions.busy())
    assert "changed meanwhile" in searched.state.status
    assert "next.1" not in blender.data.objects


@pytest.mark.parametrize("running", [True, False])
def test_a_question_is_taken_back(
    searched: SimpleNamespace, blender: Any, monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    from segwild_addon import suggestions, work
    from segwild_addon.viewport import proposals

    assert not blender.ops.segwild.stop_question.poll()
    searched.fake.slow = {"Propose"}
    if running:
        searched.connect()
    else:
        monkeypatch.setattr(work, "startable", lambda workspace: True)
        monkeypatch.setattr(work, "start", lambda context, workspace: "")
    assert blender.ops.segwild.find_objects() == {"FINISHED"}
    if running:
        searched.until(lambda: searched.fake.waiting)
    assert suggestions.busy()
    assert blender.ops.segwild.stop_question() == {"FINISHED"}
    assert not suggestions.busy()
    assert searched.state.status == ""
    searched.until(lambda: not searched.link.asked)
    assert searched.fake.questions == []  # none was answered
    assert len(searched.fake.withdrawn) == running
    assert not proposals.shown(searched.scene.segwild.uuid)
    searched.fake.slow = set()
    if not running:
        searched.connect()
    searched.find(0.5)  # the next one is asked as ever
    assert [each["kind"] for each in searched.fake.questions] == ["Junk"]
