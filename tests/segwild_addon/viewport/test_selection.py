"""Clicks become questions, answers a highlight, and a Return an object: each for the clicks it belongs to."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


def rest_of(clicking: SimpleNamespace) -> str:
    from segwild_addon.data import scenes

    return scenes.rest(clicking.scene).segwild.uuid


def test_a_click_is_answered_highlighted_and_made_an_object(clicking: SimpleNamespace, blender: Any) -> None:
    clicking.connect()
    clicking.click(1.0)
    assert clicking.selection.waiting()
    assert not blender.ops.segwild.accept_prompts.poll()
    clicking.until(lambda: not clicking.selection.waiting())
    assert blender.ops.segwild.accept_prompts.poll()
    assert clicking.selection.ids().tolist() == [1, 3]  # the fake's rows 0 and 2
    assert clicking.shown[-1] == [1, 3]
    before = len(clicking.scene.objects)
    blender.context.window_manager.segwild.new_name = "Lion"
    ob = clicking.selection.accept("Lion")
    assert blender.context.window_manager.segwild.new_name == "Object"  # the next one has its own name
    assert ob.name == "Lion"
    assert len(ob.data.points) == 2
    assert len(clicking.scene.objects) == before + 1
    assert blender.context.view_layer.objects.active == ob
    assert not len(clicking.selection.prompts())
    assert clicking.shown[-1] is None


def sizes_asked(clicking: SimpleNamespace) -> list[int]:
    """For each time that it was asked what clicks choose."""
    return [each.get("size", 0) for each in clicking.fake.questions if each["kind"] == "Choose"]


def choices(clicking: SimpleNamespace) -> int:
    return len(sizes_asked(clicking))


def test_what_timers_refresh_is_the_scene_that_was_clicked_in(
    clicking: SimpleNamespace, blender: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another window may show another scene, and a timer has the first window."""
    from segwild_addon import session

    window, first = blender.context.window_manager.windows[0], blender.context.scene
    second = blender.data.scenes.new("Second")

    @contextlib.contextmanager
    def within(name: str) -> Iterator[None]:
        window.scene = blender.data.scenes[name]
        yield
        window.scene = first

    window.scene = second
    clicking.connect()
    clicking.click(1.0)
    window.scene = first  # what a timer has
    monkeypatch.setattr(session, "within", within)
    clicking.until(lambda: clicking.shown and clicking.shown[-1] == [1, 3])
    clicking.selection._after_undo()
    clicking.until(lambda: not session.waits_for("selection"))
    assert clicking.shown[-1] == [1, 3]


def test_after_an_answer_the_next_click_is_prepared(clicking: SimpleNamespace) -> None:
    clicking.connect()
    clicking.click(1.0)
    prepared = clicking.until(lambda: [each for each in clicking.fake.questions if each.get("marks")][1:])
    assert [(each["kind"], len(each["marks"])) for each in prepared] == [("Prepare", 1)]


def test_removing_a_click_shows_the_former_answer_without_asking(clicking: SimpleNamespace) -> None:
    clicking.connect()
    clicking.click(1.0)
    clicking.until(lambda: not clicking.selection.waiting())
    clicking.click(2.0, positive=False)
    clicking.until(lambda: not clicking.selection.waiting())
    asked = choices(clicking)
    clicking.selection.remove(1)
    assert not clicking.selection.waiting()
    assert len(clicking.selection.marks()) == 1
    assert choices(clicking) == asked


def test_the_clicks_mean_a_part_or_the_whole(clicking: SimpleNamespace, blender: Any) -> None:
    selection = clicking.selection

    def turned(steps: int) -> list[int]:
        assert selection.resize(steps)
        clicking.until(lambda: not selection.waiting())
        return clicking.shown[-1]

    assert selection.levels() == (0, ())
    assert not selection.resize(1)
    clicking.connect()
    clicking.click(1.0)
    clicking.until(lambda: not selection.waiting())
    assert selection.levels() == (1, (1, 2, 4))
    assert turned(1) == [1, 2, 3, 4]
    assert not selection.resize(1)
    asked = choices(clicking)
    assert turned(-1) == [1, 3]  # by its size, where it was by none before
    assert turned(-1) == [1]
    assert turned(1) == [1, 3]
    assert choices(clicking) == asked + 2  # what is known is not asked again
    clicking.click(2.0)
    clicking.until(lambda: not selection.waiting())
    assert sizes_asked(clicking)[-1] == 2
    selection.clear()
    clicking.click(3.0)  # another thing, which stands out or does not
    clicking.until(lambda: not selection.waiting())
    assert sizes_asked(clicking)[-1] == 0


def test_the_wheel_may_be_turned_faster_than_answers_come(clicking: SimpleNamespace) -> None:
    selection = clicking.selection
    clicking.connect()
    clicking.click(1.0)
    clicking.until(lambda: not selection.waiting())
    assert selection.resize(-1)
    assert selection.resize(1)
    assert selection.resize(1)
    assert not selection.resize(1)
    clicking.until(lambda: not selection.waiting())
    assert clicking.shown[-1] == [1, 2, 3, 4]


@pytest.mark.parametrize("operator", ["part_prompts", "whole_prompts"])
def test_the_panel_s_buttons_turn_it_too(clicking: SimpleNamespace, blender: Any, operator: str) -> None:
    press = getattr(blender.ops.segwild, operator)
    assert not press.poll()
    clicking.connect()
    clicking.click(1.0)
    clicking.until(lambda: not clicking.selection.waiting())
    assert press() == {"FINISHED"}
    clicking.until(lambda: not clicking.selection.waiting())
    assert clicking.shown[-1] == {"part_prompts": [1], "whole_prompts": [1, 2, 3, 4]}[operator]
    assert not press.poll()
    clicking.selection.remove(0)
    assert blender.context.scene.segwild.prompt_size == 0


def test_a_late_answer_does_not_speak_for_other_clicks(clicking: SimpleNamespace) -> None:
    clicking.connect()
    clicking.fake.fault, clicking.fake.fault_path = "hang", "/v1/ask"
    clicking.click(1.0)
    clicking.click(2.0)
    clicking.selection.clear()
    assert not clicking.selection.waiting()
    assert clicking.selection.ids().size == 0
    clicking.fake.fault = None
    clicking.link.restart()  # answers the question that hangs
    clicking.until(lambda: clicking.link.running)
    clicking.click(3.0)
    clicking.until(lambda: not clicking.selection.waiting())
    assert clicking.selection.refusal() is None
    assert clicking.shown[-1] == [1, 3]


def test_clicks_without_a_backend_wait_for_nothing_and_are_answered_when_it_comes(clicking: SimpleNamespace) -> None:
    clicking.click(1.0)
    assert not clicking.selection.waiting()
    assert clicking.selection.ids().size == 0
    clicking.connect()
    clicking.until(lambda: clicking.selection.ids().size)
    assert clicking.shown[-1] == [1, 3]


@pytest.mark.parametrize("fault", ["error", "garbage", "nonsense"])
def test_a_refusal_is_told_once_and_not_asked_again_and_again(clicking: SimpleNamespace, fault: str) -> None:
    clicking.connect()
    clicking.fake.fault, clicking.fake.fault_path = fault, "/v1/ask"
    clicking.click(1.0)
    refusal = clicking.until(clicking.selection.refusal)
    assert refusal.sentence
    asked = len([each for each in clicking.fake.asked if each[1] == "/v1/ask"])
    end = time.monotonic() + 0.3
    clicking.until(lambda: time.monotonic() > end)
    assert len([each for each in clicking.fake.asked if each[1] == "/v1/ask"]) == asked
    clicking.fake.fault = None
    clicking.click(2.0)
    clicking.until(lambda: clicking.selection.ids().size)


def test_strokes_add_and_take_out_without_a_backend(clicking: SimpleNamespace) -> None:
    uuid, rest = clicking.scene.segwild.uuid, rest_of(clicking)
    clicking.selection.add_stroke(uuid, {rest: np.arange(1, 11, dtype=np.int32)}, True)
    clicking.selection.add_stroke(uuid, {rest: np.arange(5, 8, dtype=np.int32)}, False)
    clicking.selection.add_stroke(uuid, {rest: np.array([6], np.int32)}, True)
    assert clicking.shown[-1] == [1, 2, 3, 4, 6, 8, 9, 10]
    clicking.selection.remove(1)
    assert clicking.shown[-1] == list(range(1, 11))
    assert len(clicking.selection.accept("").data.points) == 10
    from segwild_addon.protocol.errors import InputError

    with pytest.raises(InputError):
        clicking.selection.accept("again")


def test_boxes_select_in_splats_of_other_programs(blender: Any, tmp_path: Any, monkeypatch: Any) -> None:
    """An imported .ply has no workspace whose rows they would be."""
    from segwild_addon.data import ply, scenes, splats
    from segwild_addon.data.rows import rows
    from segwild_addon.data.steps import finished
    from segwild_addon.viewport import draw, selection, strokes
    from segwild_addon.viewport.camera import View

    monkeypatch.setattr(draw, "highlight", lambda uuid, chosen: None)
    places = np.array([(0, 0, 2), (0.5, 0, 2), (-0.5, 0, 2)], np.float32)
    turns, grey = np.tile(np.float32([1, 0, 0, 0]), (3, 1)), np.full((3, 4), 0.9, np.float32)
    finished(ply.writing(tmp_path / "pot.ply", rows(places, np.full((3, 3), 0.1, np.float32), turns, grey)))
    scene = finished(scenes.importing_ply(tmp_path / "pot.ply", [].append))
    rest = scenes.rest(scene)
    cloud = strokes.Cloud(rest.segwild.uuid, places, grey[:, 3], splats.read_ids(rest), np.eye(4))
    view = View(np.eye(4), 100, 100, 100, 50, 200, 100, False, 0.1, 100)
    found = strokes.chosen(view, [cloud], strokes.rectangle(90, 0, 200, 100))
    selection.add_stroke(scene.segwild.uuid, found, True)
    assert len(selection.accept("pot").data.points) == 2
    assert len(rest.data.points) == 1


def test_an_import_leaves_the_selection_in_its_scene(
    clicking: SimpleNamespace, blender: Any, make_workspace: Any
) -> None:
    """As one that ends by itself when a training does."""
    from segwild_addon.data import scenes
    from segwild_addon.data.steps import finished

    clicking.connect()
    clicking.click(1.0)
    clicking.until(lambda: not clicking.selection.waiting())
    other = finished(scenes.importing(make_workspace("other")[0], [].append))
    clicking.selection.refresh()
    assert clicking.shown[-1] == [1, 3]
    assert scenes.scene_of(clicking.selection.accept("Lion")) == clicking.scene
    assert len(scenes.splat_objects(other)) == 1
    finished(scenes.importing(make_workspace("third")[0], [].append))
    assert clicking.selection.scene_uuid() not in (clicking.scene.segwild.uuid, other.segwild.uuid)


def copied(clicking: SimpleNamespace, ob: Any) -> Any:
    """As after Shift+D."""
    from segwild_addon.data import repair

    copy = ob.copy()
    copy.data = ob.data.copy()
    clicking.scene.objects.link(copy)
    repair.uuids()
    return copy


def test_a_copy_keeps_what_is_brushed_in_the_other(clicking: SimpleNamespace, blender: Any) -> None:
    from segwild_addon.data import segments, splats

    kiosk = segments.make(clicking.scene, "kiosk", np.arange(1, 11, dtype=np.int32), 0)
    copy = copied(clicking, kiosk)
    door = np.array([1, 3], np.int32)
    clicking.selection.add_stroke(clicking.scene.segwild.uuid, {kiosk.segwild.uuid: door}, True)
    assert clicking.shown[-1] == [1, 3]
    assert clicking.selection.count() == 2
    assert splats.read_ids(clicking.selection.accept("door")).tolist() == [1, 3]
    assert sorted(splats.read_ids(kiosk)) == [2, *range(4, 11)]
    assert len(copy.data.points) == 10


@pytest.mark.parametrize("which", ["kiosk", "copy", ""])
def test_a_click_takes_from_the_object_that_was_clicked_on(clicking: SimpleNamespace, blender: Any, which: str) -> None:
    from segwild_addon.data import segments

    kiosk = segments.make(clicking.scene, "kiosk", np.arange(1, 11, dtype=np.int32), 0)
    objects = {"kiosk": kiosk, "copy": copied(clicking, kiosk)}
    clicking.connect()
    clicking.click(1.0, holder=objects[which].segwild.uuid if which else "")
    clicking.until(lambda: not clicking.selection.waiting())
    assert clicking.shown[-1] == [1, 3]
    assert len(clicking.selection.accept("door").data.points) == 2
    left = {name: len(ob.data.points) for name, ob in objects.items()}
    assert sorted(left.values()) == [8, 10]  # of objects nobody clicked on, one gives
    assert left.get(which, 8) == 8


def test_what_was_brushed_in_an_object_that_is_dissolved_stays_selected(clicking: SimpleNamespace) -> None:
    from segwild_addon.data import segments

    kiosk = segments.make(clicking.scene, "kiosk", np.arange(1, 11, dtype=np.int32), 0)
    clicking.selection.add_stroke(clicking.scene.segwild.uuid, {kiosk.segwild.uuid: np.array([1, 3], np.int32)}, True)
    segments.dissolve(kiosk)
    assert len(clicking.selection.accept("door").data.points) == 2


def test_strokes_of_another_file_are_forgotten(clicking: SimpleNamespace, blender: Any, tmp_path: Any) -> None:
    clicking.selection.add_stroke(clicking.scene.segwild.uuid, {rest_of(clicking): np.array([1], np.int32)}, True)
    blender.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"))
    blender.ops.wm.open_mainfile(filepath=str(tmp_path / "file.blend"))
    assert not len(clicking.selection.prompts())


def test_clicks_of_a_file_are_answered_after_it_is_loaded(
    clicking: SimpleNamespace, blender: Any, tmp_path: Any
) -> None:
    clicking.connect()
    clicking.click(1.0)
    clicking.until(lambda: clicking.selection.ids().size)
    blender.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"))
    blender.ops.wm.open_mainfile(filepath=str(tmp_path / "file.blend"))
    assert len(clicking.selection.prompts()) == 1
    clicking.until(lambda: not clicking.selection.waiting())
    assert clicking.shown[-1] == [1, 3]


def test_strokes_do_not_outlive_the_add_on(clicking: SimpleNamespace) -> None:
    clicking.selection.add_stroke(clicking.scene.segwild.uuid, {rest_of(clicking): np.array([1], np.int32)}, True)
    clicking.selection.unregister()
    clicking.selection.register()
    clicking.until(lambda: not len(clicking.selection.prompts()))  # another stroke would get the number of this one
