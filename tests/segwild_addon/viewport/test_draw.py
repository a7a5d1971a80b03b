"""How coarse a view is drawn, from what its drawings have cost."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.viewport import draw, sort


def test_coarse_drawings_find_what_they_can_afford():
    """The cost of a row is learned, from the first full drawing and then from each coarse one."""
    known, fixed_secs, row_secs = draw._Region(), 0.05, 8e-6
    draw._learn(known, fixed_secs + 200_000 * row_secs, False, 1, True)
    assert known.cost_secs == pytest.approx(1.65)
    for _ in range(6):
        every = max(1, round(known.thin))
        secs = fixed_secs + 200_000 * row_secs / every
        draw._learn(known, secs, True, every, False)
    assert secs < 1.4 * draw.ROUGH_SECS
    assert 1 <= known.thin <= draw.THIN_MAX


def test_one_expensive_moment_is_forgotten():
    known = draw._Region()
    draw._learn(known, 3.0, False, 1, True)  # the first, with all that is uploaded and compiled
    draw._learn(known, 0.004, False, 1, False)
    assert known.cost_secs == 0.004
    for _ in range(8):
        draw._learn(known, 0.004, True, max(1, round(known.thin)), False)
    assert known.thin == 1


def test_the_order_of_a_closed_view_is_not_waited_for(blender):
    positions = np.zeros((5, 3), np.float32)
    part = sort.Part(0, 5, np.array([0, 0, 1], np.float32), 0.0)
    draw.SHARED.orders._sorter.ask(("no such region", "scene"), positions, [part], None)
    while not draw.SHARED.orders.ready:
        pass
    assert draw._tick() is None
    draw.free()


def test_a_problem_is_forgotten_when_something_is_deleted(blender, monkeypatch):
    kept, deleted = (blender.data.objects.new(name, blender.data.pointclouds.new(name)) for name in ("kept", "deleted"))
    for ob in (kept, deleted):
        blender.context.scene.collection.objects.link(ob)
    blender.context.view_layer.update()
    monkeypatch.setattr(draw, "_problem", "There is no memory left.")
    blender.app.handlers.depsgraph_update_post.append(draw._after_update)
    kept.location.x = 1
    blender.context.view_layer.update()
    assert draw.problem()  # nothing that could help
    assert draw._tick() is None
    blender.data.objects.remove(deleted)
    blender.context.view_layer.update()
    blender.app.handlers.depsgraph_update_post.remove(draw._after_update)
    assert not draw.problem()


@pytest.mark.parametrize("change", [draw.relit, draw.changed, lambda uuid: draw.highlight(uuid, None)])
def test_a_problem_is_forgotten_when_something_is_shown_otherwise(blender, monkeypatch, change):
    monkeypatch.setattr(draw, "_problem", "There is no memory left.")
    change("some object")
    assert not draw.problem()
