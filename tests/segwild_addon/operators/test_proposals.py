"""What stands apart is shown in colours; a click takes one thing, a button all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segwild_addon.client import Address

COUNT = 2500  # as the fake has it, for which rows 0, 1, 2 and 6 are one thing, and rows 3 and 4 another


@pytest.fixture
def proposed(
    nothing_is_left: None, blender: Any, fake: Any, make_workspace: Any, pump_until: Callable[..., Any]
) -> Iterator[SimpleNamespace]:
    """A scene whose backend is the fake, and what was coloured. Row 1 is an object already."""
    from segwild_addon import session, suggestions
    from segwild_addon.data import scenes
    from segwild_addon.data.steps import finished
    from segwild_addon.viewport import draw, proposals

    root, _ = make_workspace("fake", count=COUNT, segments={"kiosk": (np.arange(1, 11, 9), 0.9)})
    scene = finished(scenes.importing(root, lambda sentence: None))
    coloured: list[Any] = []
    real = draw.color
    draw.color = lambda uuid, numbers: coloured.append(None if numbers is None else numbers[:8].tolist())
    link, state = session.link(root), blender.context.window_manager.segwild
    until = partial(pump_until, facts=lambda: (link.status, state.status))

    def connect() -> None:
        link.start(Address("127.0.0.1", fake.port, fake.token))
        until(lambda: link.running)

    def find() -> None:
        assert blender.ops.segwild.find_objects() == {"FINISHED"}
        until(lambda: not suggestions.busy())

    yield SimpleNamespace(
        scene=scene,
        rest=scenes.rest(scene),
        coloured=coloured,
        connect=connect,
        find=find,
        fake=fake,
        link=link,
        until=until,
        things=lambda: {number: ids.tolist() for number, ids in proposals.things(scene).items()},
    )
    draw.color = real


def hit(proposed: SimpleNamespace, row: int, ob: Any = None) -> SimpleNamespace:
    """A click on a splat."""
    return SimpleNamespace(
        scene_uuid=proposed.scene.segwild.uuid, object_uuid=(ob or proposed.rest).segwild.uuid, row=row
    )


def test_a_click_takes_all_of_a_thing(proposed: SimpleNamespace, blender: Any) -> None:
    from segwild_addon.viewport import prompts, selection

    assert not blender.ops.segwild.find_objects.poll()
    proposed.connect()
    proposed.find()
    assert proposed.coloured == [[1, 1, 1, 2, 2, 0, 1, 0]]
    assert proposed.things() == {1: [1, 3, 7], 2: [4, 5]}  # row 1, whose id is 2, belongs to the kiosk
    assert prompts._proposed(hit(proposed, 3), True)
    assert selection.ids().tolist() == [1, 3, 7]
    assert prompts._proposed(hit(proposed, 5), True)
    assert prompts._proposed(hit(proposed, 1), False)  # with Shift
    assert selection.ids().tolist() == [4, 5]
    for row in (0, 6, 8, COUNT + 5):  # what is no thing is clicked on as ever
        assert not prompts._proposed(hit(proposed, row), True)
    assert not prompts._proposed(hit(proposed, 2, blender.data.objects["kiosk"]), True)
    assert len(selection.accept("lamp").data.points) == 2
    assert proposed.things() == {1: [1, 3, 7]}


def test_all_are_made_objects_in_one_step(
    proposed: SimpleNamespace, blender: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segwild_addon import suggestions
    from segwild_addon.data import scenes, splats

    proposed.connect()
    proposed.find()
    steps: list[str] = []
    pushed = SimpleNamespace(undo_push=lambda message: steps.append(message))
    monkeypatch.setattr(suggestions.bpy.ops, "ed", pushed, raising=False)
    assert blender.ops.segwild.make_proposed() == {"FINISHED"}
    assert steps == ["Make All Proposals"]
    made = {ob.name: splats.read_ids(ob).tolist() for ob in scenes.members(proposed.scene, "SEGMENT")}
    assert made == {"kiosk": [2, 11], "Object": [1, 3, 7], "Object.001": [4, 5]}
    assert proposed.coloured[-1] is None
    assert not blender.ops.segwild.make_proposed.poll()
    assert not blender.ops.segwild.hide_proposals.poll()
    proposed.find()  # nothing is left
    assert "object already" in blender.context.window_manager.segwild.status
    assert proposed.coloured[-1] is None


def test_colours_are_hidden_and_forgotten(proposed: SimpleNamespace, blender: Any, tmp_path: Any) -> None:
    from segwild_addon.viewport import proposals

    uuid = proposed.scene.segwild.uuid
    proposed.connect()
    proposed.find()
    assert blender.ops.segwild.hide_proposals() == {"FINISHED"}
    assert proposed.coloured[-1] is None
    assert proposed.things() == {}
    proposed.find()
    assert proposals.shown(uuid)
    proposed.fake.tell("SceneChanged", what="gaussians", snapshot=None)  # another training
    proposed.until(lambda: not proposals.shown(uuid))
    proposals.show(uuid, np.zeros(0, np.uint8))  # nothing is left that has a number
    assert proposed.things() == {}
    assert not len(proposals.at(proposed.scene, 1))
    proposals.show(uuid, np.ones(COUNT, np.uint8))
    blender.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"))
    blender.ops.wm.open_mainfile(filepath=str(tmp_path / "file.blend"))
    assert not proposals.shown(uuid)


def test_a_refusal_is_told(proposed: SimpleNamespace, blender: Any) -> None:
    proposed.connect()
    proposed.fake.fault, proposed.fake.fault_path = "error", "/v1/ask"
    proposed.find()
    assert blender.context.window_manager.segwild.status
    assert proposed.coloured == []
