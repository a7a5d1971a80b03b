"""Objects of a file as layers: what is read, when, and in which order it is drawn."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from types import SimpleNamespace

from segwild_addon.data import light as lights
from segwild_addon.data import looks, scenes, splats
from segwild_addon.data.steps import finished
from segwild_addon.data.workspace import Folder
from segwild_addon.viewport import buffers, orders, stock

from .views import VIEWS

VIEW = VIEWS["perspective"]


@pytest.fixture
def scene(blender, make_workspace):
    path, _ = make_workspace(segments={"lamp": (np.arange(10), 0.9), "tree": (np.arange(20, 45), 0.9)})
    scene = finished(scenes.importing(path, [].append))
    blender.context.view_layer.update()
    return scene


def drawn(held, **options):
    """One drawing: objects, and row numbers in the order of drawing."""
    objects = held.sync()
    strokes = held.strokes(VIEW, objects, options.pop("visible", lambda ob: True), name="view", **options)
    for stroke in strokes:
        stroke.layer.textures()
    return [stroke.order.flat[: stroke.count].astype(int) for stroke in strokes]


def test_all_objects_of_a_scene_are_drawn_in_one_order(scene, sent):
    held = stock.Stock()
    (order,) = drawn(held)
    layer = held.layers[scene.segwild.uuid]
    assert sorted(order) == list(range(60))
    depth = layer.positions @ VIEW.cam_from_world[2, :3] + VIEW.cam_from_world[2, 3]
    assert (np.diff(depth[order]) < 1e-3).all()
    members = np.concatenate(
        [[number] * (rows.stop - rows.start) for number, rows in enumerate(layer.members.values())]
    )
    assert (np.diff(members[order]) != 0).sum() > 10  # they interleave


def test_a_second_drawing_uploads_nothing(scene, sent):
    held = stock.Stock()
    drawn(held)
    sent.clear()
    drawn(held)
    assert sent == []


def test_hiding_an_object_sends_an_order_and_no_rows(scene, sent):
    held = stock.Stock()
    drawn(held)
    sent.clear()
    (order,) = drawn(held, visible=lambda ob: ob.name != "lamp")
    assert len(order) == 50
    assert sorted(sent) == ["objects", "order"]


def test_a_highlight_sends_four_bits_for_each_row(scene, sent):
    held = stock.Stock()
    drawn(held)
    sent.clear()
    ids = np.arange(1, 30, dtype=np.int32)
    held.mark(scene.segwild.uuid, {ob.segwild.uuid: ids for ob in scenes.splat_objects(scene)})
    drawn(held)
    assert sent == ["mask"]
    words = held.layers[scene.segwild.uuid].textures()["mask"].flat
    bits = sum(bin(int(word)).count("1") for word in words)
    assert bits == 29


def test_only_what_belongs_to_no_object_is_coloured(scene, sent):
    held = stock.Stock()
    drawn(held)
    sent.clear()
    layer = held.layers[scene.segwild.uuid]
    held.color(scene.segwild.uuid, np.full(10_000, 3, np.uint8))
    drawn(held)
    assert sent == ["mask"]
    tints = layer._tints()
    rest = layer.members[stock.key_of(scenes.rest(scene))]
    assert (tints[rest] == np.where(layer.ids[rest] > 0, 4, 0)).all()
    assert tints[rest].any()
    assert np.count_nonzero(tints) == np.count_nonzero(tints[rest])
    assert len(layer) > rest.stop - rest.start
    sent.clear()
    held.color(scene.segwild.uuid, None)
    drawn(held)
    assert sent == ["mask"]
    assert not layer._tints().any()


def test_grading_sends_the_table_and_a_look_sends_the_colours(scene, sent):
    held = stock.Stock()
    drawn(held)
    ob = scenes.rest(scene)
    sent.clear()
    ob.segwild.exposure, ob.segwild.saturation = 1.0, 0.5
    held.relit(ob.segwild.uuid)
    drawn(held)
    assert sent == ["objects"]
    sent.clear()

    ob.segwild.look_a = "photo-1"
    held.relit(ob.segwild.uuid)
    drawn(held)
    assert sorted(sent) == ["colours", "objects"]
    layer = held.layers[scene.segwild.uuid]
    rows = layer.members[stock.key_of(ob)]
    colours = layer.textures()["colours"].flat[: 60 * 4].reshape(60, 4)[rows, :3]
    loaded = looks.Looks.load(scenes.folder(scene))
    neutral = splats.read(ob)
    expected, _ = loaded.baked(neutral, neutral.ids, looks.Look("photo-1"))
    np.testing.assert_allclose(colours, expected, atol=1e-5)
    assert held.notes[ob.segwild.uuid] == ""

    ob.segwild.look_a = ""
    held.relit(None)
    drawn(held)
    colours = layer.textures()["colours"].flat[: 60 * 4].reshape(60, 4)[rows, :3]
    np.testing.assert_array_equal(colours, neutral.base[:, :3])


def test_a_look_that_changes_harmonics_is_drawn_whole_and_taken_back(blender, make_workspace, sent):
    path, _ = make_workspace(network=True, degree=2)
    scene = finished(scenes.importing(path, [].append))
    blender.context.view_layer.update()
    held, ob = stock.Stock(), scenes.rest(scene)
    drawn(held)
    layer, key = held.layers[scene.segwild.uuid], stock.key_of(ob)
    before = layer.pack(key)
    loaded, neutral = looks.Looks.load(Folder(path)), splats.read(ob)
    for name in ("photo-0", "photo-1"):
        ob.segwild.look_a = name
        held.relit(ob.segwild.uuid)
        drawn(held)
        base, sh = loaded.baked(neutral, neutral.ids, looks.Look(name))
        pack = layer.pack(key)
        np.testing.assert_allclose(pack.colours[:, :3], base, atol=1e-5)
        np.testing.assert_allclose(pack.harmonics, buffers.harmonics(sh), rtol=1e-5)
        assert np.abs(pack.harmonics - before.harmonics).max() > 1
        ((_, _, placed),) = held.placed([ob], lambda ob: True)
        np.testing.assert_array_equal(placed[key].gain, np.eye(3))  # it is in the rows
    ob.segwild.look_strength = 0.0
    held.relit(ob.segwild.uuid)
    drawn(held)
    np.testing.assert_array_equal(layer.pack(key).colours, before.colours)
    np.testing.assert_array_equal(layer.pack(key).harmonics, before.harmonics)


def test_a_missing_look_is_said_and_the_object_still_drawn(scene, sent):
    held = stock.Stock()
    ob = scenes.rest(scene)
    ob.segwild.look_a = "no such photo"
    (order,) = drawn(held)
    assert len(order) == 60
    assert "no such photo" in held.notes[ob.segwild.uuid]


def test_look_and_grading_draw_what_an_export_bakes(scene, sent):
    """The shader multiplies grading · (lit constant term + gain · harmonics): the baked rows say the same."""
    held = stock.Stock()
    ob = scenes.rest(scene)
    facts = ob.segwild
    facts.look_a, facts.exposure, facts.saturation, facts.tint = "photo-0", 0.7, 0.6, (1.0, 0.8, 0.5)
    drawn(held)
    layer = held.layers[scene.segwild.uuid]
    placed = next(held.placed(held.sync(), lambda each: True))[2][stock.key_of(ob)]
    shown = placed.shown(VIEW, VIEW.cam_from_world)
    baked = lights.shown(ob, splats.read(ob))
    colours = layer.textures()["colours"].flat[: 60 * 4].reshape(60, 4)[layer.members[placed.key], :3]
    np.testing.assert_allclose(
        (colours * stock.SH_C0 + 0.5) @ shown.grading.T, baked.base[:, :3] * stock.SH_C0 + 0.5, atol=1e-5
    )
    np.testing.assert_allclose(splats.read(ob).sh @ (shown.grading @ shown.look).T, baked.sh, atol=1e-5)


def test_what_fails_is_done_again(blender, scene, sent, monkeypatch):
    held = stock.Stock()
    drawn(held)
    ob, other = blender.data.objects["lamp"], blender.data.objects["tree"]
    ob.segwild.look_a = "photo-1"
    held.relit(ob.segwild.uuid)
    held.changed(other.segwild.uuid)

    def read(ob):
        if ob == other:
            raise MemoryError
        return splats.read(ob)

    sent.clear()
    monkeypatch.setattr(stock, "splats", SimpleNamespace(**vars(splats) | {"read": read}))
    with pytest.raises(MemoryError):
        drawn(held)
    assert sent == []
    monkeypatch.setattr(stock, "splats", splats)
    base = splats.column(other, splats.BASE, 4)
    base[:, 0] += 1
    splats.write_base(other, base)
    drawn(held)
    layer = held.layers[scene.segwild.uuid]
    loaded, neutral = looks.Looks.load(scenes.folder(scene)), splats.read(ob)
    lit, _ = loaded.baked(neutral, neutral.ids, looks.Look("photo-1"))
    np.testing.assert_allclose(layer.pack(stock.key_of(ob)).colours[:, :3], lit, atol=1e-5)
    np.testing.assert_array_equal(layer.pack(stock.key_of(other)).colours[:, :3], base[:, :3])


def test_changed_rows_are_read_again(scene, sent):
    held = stock.Stock()
    drawn(held)
    ob = scenes.rest(scene)
    base = splats.column(ob, splats.BASE, 4)
    base[:, 0] += 1
    splats.write_base(ob, base)
    sent.clear()
    drawn(held)
    assert sent == []  # nobody has said so
    held.changed(ob.segwild.uuid)
    drawn(held)
    assert sent == ["colours"]


def test_deleted_and_new_objects_are_noticed(blender, scene, sent):
    held = stock.Stock()
    drawn(held)
    blender.data.objects.remove(blender.data.objects["lamp"])
    (order,) = drawn(held)
    assert len(order) == 50
    copy = blender.data.objects["tree"].copy()
    scene.objects.link(copy)
    (order,) = drawn(held)
    assert len(order) == 75
    scenes.remove(scene)
    assert drawn(held) == []
    assert not held.layers


def test_two_scenes_are_two_layers_farthest_first(blender, make_workspace, sent):
    near, far = (finished(scenes.importing(make_workspace(name)[0], [].append)) for name in ("near", "far"))
    scenes.root(far).location = VIEW.forward * 50
    blender.context.view_layer.update()
    held = stock.Stock()
    strokes = held.strokes(VIEW, held.sync(), lambda ob: True, name="view")
    assert [stroke.layer for stroke in strokes] == [held.layers[far.segwild.uuid], held.layers[near.segwild.uuid]]


def test_a_preview_stands_in_for_the_scene(scene, sent):
    held = stock.Stock()
    count = 40
    random = np.random.default_rng(0)
    arrays = {
        "means": random.normal(size=(count, 3)).astype(np.float32),
        "colors": random.uniform(size=(count, 3)).astype(np.float32),
        "scales": np.full((count, 3), 0.1, np.float32),
        "quats": np.tile(np.float32([1, 0, 0, 0]), (count, 1)),
        "opacities": np.ones(count, np.float32),
    }
    held.preview(scene.segwild.uuid, arrays)
    (order,) = drawn(held)
    assert len(order) == count
    layer = next(held.placed(held.sync(), lambda ob: True))[1]
    colours = layer.textures()["colours"].flat[: count * 4].reshape(count, 4)[:, :3]
    np.testing.assert_allclose(colours * stock.SH_C0 + 0.5, arrays["colors"], atol=1e-6)
    held.preview(scene.segwild.uuid, None)
    (order,) = drawn(held)
    assert len(order) == 60


def test_a_preview_and_its_scene_have_an_order_each(blender, make_workspace, sent):
    """They have as many rows, of one object each."""
    scene = finished(scenes.importing(make_workspace()[0], [].append))
    blender.context.view_layer.update()
    held, count = stock.Stock(), 60
    (expected,) = drawn(held)
    held.orders.forget()
    one = {"colors": np.ones((count, 3)), "scales": np.ones((count, 3)), "quats": np.tile([1.0, 0, 0, 0], (count, 1))}
    held.preview(scene.segwild.uuid, {**one, "means": np.zeros((count, 3)), "opacities": np.ones(count)})
    drawn(held)
    held.preview(scene.segwild.uuid, None)
    (order,) = drawn(held)
    np.testing.assert_array_equal(order, expected)


def test_what_is_hidden_is_waited_for_no_longer(blender, scene, sent, monkeypatch):
    monkeypatch.setattr(orders, "AT_ONCE", 10)
    held = stock.Stock()
    drawn(held)
    scenes.root(scene).rotation_euler = (0, 0.5, 0)
    blender.context.view_layer.update()
    drawn(held)
    assert held.orders.waiting
    drawn(held, visible=lambda ob: False)
    assert not held.orders.waiting
    held.free()


def test_a_training_without_a_scene_has_its_preview_too(blender, sent):
    held = stock.Stock()
    one = {"means": np.zeros((1, 3)), "colors": np.ones((1, 3)), "scales": np.ones((1, 3)), "opacities": np.ones(1)}
    held.preview("not yet in this file", {**one, "quats": np.array([[1.0, 0, 0, 0]])}, np.eye(4))
    (order,) = drawn(held)
    assert list(order) == [0]
