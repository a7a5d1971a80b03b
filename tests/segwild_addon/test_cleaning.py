"""Edges are cleaned by a backend a moment after an object was made, once, and only of what is still there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segwild_addon.client import Address

COUNT = 2500


@pytest.fixture
def made(
    nothing_is_left: None, blender: Any, fake: Any, make_workspace: Any, pump_until: Callable[..., Any]
) -> SimpleNamespace:
    """A scene with a running backend, and an object of its rows 1 to 40 that the backend has not heard of."""
    from segwild_addon import cleaning, session
    from segwild_addon.data import cuts, scenes, segments, splats
    from segwild_addon.data.steps import finished

    root, _ = make_workspace("fake", count=COUNT)
    scene = finished(scenes.importing(root, lambda sentence: None))
    rest = scenes.rest(scene)
    places = splats.column(rest, "position", 3)
    places[0] = 0  # where the fake says that row 0 is
    splats.write_positions(rest, places)
    link = session.link(root)

    until = partial(pump_until, facts=lambda: (fake.objects, blender.context.window_manager.segwild.status))
    link.start(Address("127.0.0.1", fake.port, fake.token))
    until(lambda: link.running)
    ob = segments.make(scene, "lamp", np.arange(1, 41, dtype=np.int32), 0)
    return SimpleNamespace(
        cleaning=cleaning,
        cuts=cuts,
        scenes=scenes,
        splats=splats,
        link=link,
        scene=scene,
        ob=ob,
        until=until,
        fake=fake,
    )


def asked(made: SimpleNamespace) -> int:
    return len([each for each in made.fake.asked if each[1] == "/v1/ask"])


def test_a_new_object_is_told_and_then_cut(made: SimpleNamespace, blender: Any) -> None:
    assert made.cleaning.clean(made.ob)
    made.until(lambda: made.cuts.is_cut(made.ob))
    assert made.fake.objects == {"lamp": 1}
    ids = made.splats.read_ids(made.ob)
    assert sorted(ids) == [1, *range(3, 41)]  # row 1 was given away
    assert {1, 2} <= set(made.splats.read_ids(made.scenes.rest(made.scene)))
    assert "Cleaned the edges of lamp: 2 splats" in blender.context.window_manager.segwild.status
    assert blender.context.window_manager.segwild.status_icon == "CHECKMARK"  # nothing went wrong
    told = asked(made)
    made.cleaning.mirror.changed()
    made.until(lambda: not made.cleaning.session.waits_for("mirror"))
    assert asked(made) == told  # its rows in the workspace are what they were
    assert made.cleaning.restore(made.ob)
    assert sorted(made.splats.read_ids(made.ob)) == list(range(1, 41))
    made.until(lambda: not made.link.asked)
    assert asked(made) == told + 1


def test_what_is_gone_meanwhile_is_not_cut(made: SimpleNamespace, blender: Any) -> None:
    made.cleaning.clean(made.ob)
    made.until(lambda: made.cleaning._asked)
    blender.data.objects.remove(made.ob)
    made.until(lambda: not made.cleaning._asked)
    assert not made.until(lambda: not made.cleaning._wanted) or not made.cleaning._wanted
    assert not {1, 2} & set(made.splats.read_ids(made.scenes.rest(made.scene)))


@pytest.mark.parametrize("how", ["deleted", "taken back"])
def test_what_is_no_longer_being_cleaned_is_no_longer_said_to_be(made: SimpleNamespace, blender: Any, how: str) -> None:
    status = blender.context.window_manager.segwild
    made.cleaning.clean(made.ob)
    made.until(lambda: made.cleaning._asked)
    assert status.status.startswith("Cleaning the edges of lamp")
    if how == "deleted":
        blender.data.objects.remove(made.ob)
    else:
        made.cleaning.restore(made.ob)
    made.until(lambda: not made.cleaning._asked and not made.cleaning._wanted)
    assert status.status == ""


def test_what_was_cleaned_is_told_for_a_while(
    made: SimpleNamespace, blender: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made.cleaning.work, "TOLD_SECS", 0.3)
    made.cleaning.clean(made.ob)
    status = blender.context.window_manager.segwild
    made.until(lambda: "Cleaned" in status.status)
    made.until(lambda: not status.status)


def test_restoring_before_the_answer_leaves_the_object_whole(made: SimpleNamespace) -> None:
    made.cleaning.clean(made.ob)
    assert made.cleaning.busy(made.ob)
    made.until(lambda: made.cleaning._asked)
    assert not made.cleaning.restore(made.ob)
    made.until(lambda: not made.cleaning._asked)
    assert not made.cuts.is_cut(made.ob)
    assert not made.cleaning.busy(made.ob)


def test_nothing_is_cut_under_the_hands_of_somebody(made: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    session, resting = made.cleaning.session, False
    monkeypatch.setattr(session, "at_rest", lambda: resting)
    made.cleaning.clean(made.ob)
    made.until(lambda: session.waits_for("cleaning apply"))
    assert not made.cuts.is_cut(made.ob)
    resting = True
    made.until(lambda: made.cuts.is_cut(made.ob))


def test_a_refusal_is_shown(made: SimpleNamespace, blender: Any) -> None:
    made.cleaning.mirror.changed()
    made.until(lambda: made.cleaning.mirror.name_of(made.ob))
    made.fake.fault, made.fake.fault_path = "error", "/v1/ask"
    made.cleaning.clean(made.ob)
    made.until(lambda: not made.cleaning._wanted and not made.cleaning._asked)
    assert not made.cuts.is_cut(made.ob)
    assert "…" not in blender.context.window_manager.segwild.status


@pytest.mark.parametrize("question", ["cut", "revert"])
def test_after_a_refusal_changes_of_others_are_heard_of(made: SimpleNamespace, question: str) -> None:
    made.cleaning.mirror.changed()
    made.until(lambda: made.cleaning.mirror.name_of(made.ob))
    made.fake.fault, made.fake.fault_path = "error", "/v1/ask"
    (made.cleaning.clean if question == "cut" else made.cleaning.restore)(made.ob)
    made.until(lambda: not made.cleaning._wanted and not made.cleaning._asked and not made.link.asked)
    made.fake.fault = None
    told = made.cleaning.mirror._told[made.scene.segwild.uuid]
    before = told.names
    made.fake.tell("SceneChanged", what="objects", snapshot=None)
    made.until(lambda: told.names is not before)  # it is read anew


def test_of_a_workspace_that_was_imported_twice_one_scene_is_cleaned(made: SimpleNamespace, blender: Any) -> None:
    """The other one's objects are not in the workspace, and nobody waits for them to be."""
    from segwild_addon.data import segments
    from segwild_addon.data.steps import finished

    twin = finished(made.scenes.importing(made.link.workspace, lambda sentence: None))
    ob = segments.make(twin, "sign", np.arange(1, 41, dtype=np.int32), 0)
    follows = made.cleaning.mirror.follows
    assert [follows(made.scene), follows(twin)].count(True) == 1
    for scene, each in ((made.scene, made.ob), (twin, ob)):
        assert made.cleaning.clean(each) == follows(scene)


def test_without_a_backend_nothing_is_promised(made: SimpleNamespace, blender: Any) -> None:
    made.link.stop()
    made.until(lambda: not made.link.running)
    assert not made.cleaning.clean(made.ob)
    blender.context.view_layer.objects.active = made.ob
    made.ob.select_set(True)
    assert not blender.ops.segwild.clean_edges.poll()
    assert not blender.ops.segwild.restore_edges.poll()


@pytest.mark.parametrize("too_late", [False, True])
def test_cleaning_is_stopped(made: SimpleNamespace, blender: Any, too_late: bool) -> None:
    made.fake.slow, made.fake.too_late = {"Cut"}, too_late
    made.cleaning.clean(made.ob)
    made.until(lambda: made.fake.waiting and made.cleaning._asked)
    assert blender.ops.segwild.stop_question() == {"FINISHED"}
    assert not made.cleaning.cutting()
    assert blender.context.window_manager.segwild.status == ""
    made.until(lambda: not made.cleaning._asked and not made.link.asked)
    assert not made.cuts.is_cut(made.ob)
    kinds = [each["kind"] for each in made.fake.questions]
    # What the workspace has cut already is made whole there, too.
    assert ("Cut" in kinds, "Revert" in kinds) == (too_late, too_late)


def test_what_was_stopped_is_cleaned_when_it_is_wanted_again(made: SimpleNamespace, blender: Any) -> None:
    made.fake.slow = {"Cut"}
    made.cleaning.clean(made.ob)
    made.until(lambda: made.fake.waiting and made.cleaning._asked)
    blender.ops.segwild.stop_question()
    made.fake.slow = set()
    made.cleaning.clean(made.ob)
    made.until(lambda: made.cuts.is_cut(made.ob))
