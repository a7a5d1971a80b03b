"""Whatever is done to objects in Blender, the workspace ends up with the same ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segwild_addon.client import Address

COUNT = 2500


@pytest.fixture
def mirrored(
    nothing_is_left: None, blender: Any, fake: Any, make_workspace: Any, pump_until: Callable[..., Any]
) -> SimpleNamespace:
    from segwild_addon import mirror, session
    from segwild_addon.data import scenes, segments
    from segwild_addon.data.steps import finished

    root, _ = make_workspace("fake", count=COUNT, segments={"lamp": (np.arange(40), 0.9)})
    fake.objects, fake.next_id = {"lamp": 1}, 1
    scene = finished(scenes.importing(root, lambda sentence: None))
    link = session.link(root)

    until = partial(pump_until, facts=lambda: (fake.objects, mirror._told))

    def quiet() -> None:
        """Nothing is left to tell."""
        mirror.changed()
        until(lambda: not session.waits_for("mirror") and not any(told.asking for told in mirror._told.values()))

    link.start(Address("127.0.0.1", fake.port, fake.token))
    until(lambda: link.running)
    return SimpleNamespace(
        mirror=mirror, scenes=scenes, segments=segments, scene=scene, fake=fake, until=until, quiet=quiet, root=root
    )


def lamp(mirrored: SimpleNamespace) -> Any:
    return next(ob for ob in mirrored.scenes.members(mirrored.scene, "SEGMENT") if ob.segwild.label == 1)


def test_nothing_is_told_of_what_is_the_same(mirrored: SimpleNamespace) -> None:
    mirrored.quiet()
    assert mirrored.fake.objects == {"lamp": 1}
    assert not [each for each in mirrored.fake.asked if each[1] == "/v1/ask"]


def test_made_renamed_and_deleted(mirrored: SimpleNamespace, blender: Any) -> None:
    mirrored.quiet()
    ob = mirrored.segments.make(mirrored.scene, "bench", np.array([101, 102], np.int32), 0)
    mirrored.mirror.changed()
    mirrored.until(lambda: ob.segwild.label == 2)
    assert mirrored.fake.objects == {"lamp": 1, "bench": 2}
    ob.name = "seat"
    mirrored.mirror.changed()
    mirrored.until(lambda: mirrored.fake.objects == {"lamp": 1, "seat": 2})
    blender.data.objects.remove(lamp(mirrored))
    mirrored.mirror.changed()
    mirrored.until(lambda: mirrored.fake.objects == {"seat": 2})


def test_an_object_that_undo_brings_back_is_told_again(mirrored: SimpleNamespace, blender: Any) -> None:
    mirrored.quiet()
    ob = lamp(mirrored)
    collections = list(ob.users_collection)
    for collection in collections:
        collection.objects.unlink(ob)
    mirrored.mirror.changed()
    mirrored.until(lambda: not mirrored.fake.objects)
    for collection in collections:
        collection.objects.link(ob)
    mirrored.mirror.changed()
    mirrored.until(lambda: mirrored.fake.objects.get("lamp") == ob.segwild.label)


def test_other_rows_are_told(mirrored: SimpleNamespace) -> None:
    mirrored.quiet()
    mirrored.segments.make(mirrored.scene, "half", np.arange(1, 21, dtype=np.int32), 0)
    mirrored.mirror.changed()
    mirrored.until(lambda: set(mirrored.fake.objects) == {"lamp", "half"})
    mirrored.quiet()
    kept = [each for each in mirrored.fake.asked if each[1] == "/v1/ask"]
    assert len(kept) == 2  # the new one, and what is left of the lamp
    mirrored.quiet()
    assert len([each for each in mirrored.fake.asked if each[1] == "/v1/ask"]) == 2


def test_an_object_of_the_workspace_that_blender_never_had_is_left_alone(mirrored: SimpleNamespace) -> None:
    mirrored.fake.objects = {"lamp": 1, "hidden": 7}
    table = mirrored.root / "segments.json"
    row = table.read_text().split('"objects": [')[1].split("}")[0] + "}"
    second = row.replace('"lamp"', '"hidden"').replace(": 1,", ": 7,", 1)
    table.write_text(table.read_text().replace(row, f"{row}, {second}"))
    mirrored.quiet()
    made = mirrored.segments.make(mirrored.scene, "hidden", np.array([101], np.int32), 0)
    mirrored.mirror.changed()
    mirrored.until(lambda: made.segwild.label)
    assert mirrored.fake.objects["hidden"] == 7  # another object's name is not taken
    assert made.name == "hidden 2"


def test_parts_are_told_whatever_was_above_whom(mirrored: SimpleNamespace, blender: Any) -> None:
    from segwild_addon.data import nesting

    mirrored.quiet()
    one, two, three = (
        mirrored.segments.make(mirrored.scene, name, np.array([number], np.int32), 0)
        for number, name in ((101, "one"), (102, "two"), (103, "three"))
    )
    mirrored.mirror.changed()
    mirrored.until(lambda: len(mirrored.fake.objects) == 4)
    ids = mirrored.fake.objects

    def told(**parents: str) -> None:
        mirrored.quiet()
        assert {k: v for k, v in mirrored.fake.parents.items() if v} == {ids[k]: ids[v] for k, v in parents.items()}

    def put(ob: Any, parent: Any) -> None:
        blender.context.view_layer.update()
        nesting.put(ob, parent or mirrored.scenes.root(mirrored.scene))

    for number in range(2):
        put((two, three)[number], (one, two)[number])
    told(two="one", three="two")
    put(three, None)
    put(two, three)
    put(one, two)  # all upside down, in one go
    told(one="two", two="three")
    made = mirrored.segments.make(mirrored.scene, "new", np.array([104], np.int32), 0)
    put(three, made)
    mirrored.quiet()
    assert mirrored.fake.parents[ids["three"]] == made.segwild.label
    mirrored.segments.dissolve(two)
    mirrored.mirror.changed()
    mirrored.until(lambda: "two" not in mirrored.fake.objects)
    mirrored.quiet()
    assert mirrored.fake.parents[ids["one"]] == ids["three"]


def test_a_parent_that_was_left_out_of_the_import_stays_one(mirrored: SimpleNamespace) -> None:
    mirrored.fake.objects, mirrored.fake.parents = {"lamp": 1, "hidden": 7}, {1: 7}
    table = mirrored.root / "segments.json"
    facts = json.loads(table.read_text())
    facts["objects"][0]["parent"] = 7
    facts["objects"].append(facts["objects"][0] | {"id": 7, "name": "hidden", "parent": 0})
    table.write_text(json.dumps(facts))
    mirrored.quiet()
    assert mirrored.mirror._told[mirrored.scene.segwild.uuid].parents == {1: 7, 7: 0}
    assert mirrored.fake.parents == {1: 7}


def test_a_refusal_is_told_once(mirrored: SimpleNamespace, blender: Any) -> None:
    mirrored.quiet()
    mirrored.fake.fault, mirrored.fake.fault_path = "error", "/v1/ask"
    lamp(mirrored).name = "light"
    mirrored.quiet()
    assert len([each for each in mirrored.fake.asked if each[1] == "/v1/ask"]) == 1
    assert "could not follow" in blender.context.window_manager.segwild.status


def test_a_workspace_that_was_trained_again_is_left_alone(
    mirrored: SimpleNamespace, blender: Any, make_workspace: Any
) -> None:
    mirrored.quiet()
    make_workspace("fake", count=COUNT, seed=5)
    mirrored.fake.tell("SceneChanged", what="gaussians", snapshot=None)
    mirrored.until(lambda: "trained again" in blender.context.window_manager.segwild.status)
    ob = mirrored.segments.make(mirrored.scene, "bench", np.array([101, 102], np.int32), 0)
    mirrored.quiet()
    assert ob.segwild.label == 0
    assert not [each for each in mirrored.fake.asked if each[1] == "/v1/ask"]


@pytest.mark.parametrize("how", ["imported again", "copied"])
def test_of_two_scenes_of_a_workspace_it_follows_one(mirrored: SimpleNamespace, blender: Any, how: str) -> None:
    from segwild_addon.data import repair
    from segwild_addon.data.steps import finished

    mirrored.quiet()
    if how == "copied":  # as Duplicate Collection does
        copy = mirrored.scene.copy()
        blender.context.scene.collection.children.link(copy)
        twin = lamp(mirrored).copy()
        copy.objects.unlink(lamp(mirrored))
        copy.objects.link(twin)
        repair.uuids()
    else:
        copy = finished(mirrored.scenes.importing(mirrored.root, lambda sentence: None))
    (twin,) = mirrored.scenes.members(copy, "SEGMENT")
    assert twin.name == "lamp.001"
    mirrored.quiet()
    assert (lamp(mirrored).name, twin.name) == ("lamp", "lamp.001")
    assert mirrored.fake.objects == {"lamp": 1}
    if how == "copied":
        return
    mirrored.scenes.put_aside(copy)
    mirrored.mirror.changed()
    mirrored.until(lambda: mirrored.fake.objects == {"lamp.001": 1})  # that of the scene that is shown


def test_an_object_with_another_origin_is_of_the_same_workspace(mirrored: SimpleNamespace, blender: Any) -> None:
    """As after Set Origin or an applied transform; also of the object that comes first by its name."""
    ob = lamp(mirrored)
    ob.name = "a lamp"
    for each in (ob, mirrored.scenes.rest(mirrored.scene)):
        each.location = (1, 2, 3)
        mirrored.segments.apply_transform(each)
    mirrored.mirror.changed()
    mirrored.until(lambda: mirrored.fake.objects == {"a lamp": 1})
    assert "trained again" not in blender.context.window_manager.segwild.status
