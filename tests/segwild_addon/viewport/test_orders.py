"""Orders of views that are drawn again and again: when sorting again is worth it, and who waits for it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.viewport import buffers, orders, sort


@pytest.fixture
def layer():
    layer = buffers.Layer()
    layer.positions = np.random.default_rng(0).normal(size=(sort.AT_ONCE + 1, 3)).astype(np.float32)
    layer.layout = 1
    return layer


def parts(layer, angle_deg=0.0, offset=0.0):
    angle = np.radians(angle_deg)
    towards = np.array([np.sin(angle), 0, np.cos(angle)], np.float32)
    return [sort.Part(0, len(layer), towards, offset)]


def test_pans_and_dollies_sort_nothing(layer, sent):
    held = orders.Orders()
    first = held.find("view", layer, parts(layer), moving=False)
    assert held.find("view", layer, parts(layer, offset=3.0), moving=False) is first
    assert not held.waiting


def test_a_turning_view_waits_for_the_thread(layer, sent):
    held = orders.Orders()
    first = held.find("view", layer, parts(layer), moving=False)
    assert held.find("view", layer, parts(layer, 0.5), moving=True) is first
    assert not held.waiting  # half a degree is no reason
    assert held.find("view", layer, parts(layer, 3.0), moving=True) is first
    assert held.waiting
    while not held.ready:
        pass
    second = held.find("view", layer, parts(layer, 3.0), moving=False)
    assert not held.waiting
    expected = sort.order_of(layer.positions, parts(layer, 3.0))
    np.testing.assert_array_equal(second.texture.flat[: len(expected)], expected)
    held.forget(stop=True)


def test_a_view_at_rest_does_not_end_the_wait_of_another(layer, sent):
    held = orders.Orders()
    for name in ("one", "other"):
        held.find(name, layer, parts(layer), moving=False)
    held.find("one", layer, parts(layer, 3.0), moving=False)
    while not held.ready:
        pass
    held.find("other", layer, parts(layer), moving=False)
    assert held.waiting
    held.find("one", layer, parts(layer, 3.0), moving=False)
    assert not held.waiting
    held.forget(stop=True)


def test_a_view_that_is_closed_is_waited_for_no_longer(layer, sent):
    held = orders.Orders()
    held.find("view", layer, parts(layer), moving=False)
    held.find("view", layer, parts(layer, 3.0), moving=False)
    held.keep(lambda key: key != "view")
    assert not held.waiting
    assert not held.ready
    held.forget(stop=True)


def test_at_rest_the_order_becomes_exact(layer, sent):
    held = orders.Orders()
    held.find("view", layer, parts(layer), moving=False)
    held.find("view", layer, parts(layer, 0.5), moving=False)
    assert held.waiting
    held.forget(stop=True)


def test_an_order_of_other_rows_is_never_used(layer, sent):
    held = orders.Orders()
    held.find("view", layer, parts(layer), moving=False)
    layer.layout += 1
    layer.positions = layer.positions[:1000]
    assert held.find("view", layer, parts(layer), moving=True).count == 1000


def test_pictures_do_not_wait(layer, sent):
    held = orders.Orders()
    held.find("view", layer, parts(layer), moving=False)
    exact = held.find("view", layer, parts(layer, 5.0), moving=False, patient=False)
    assert not held.waiting
    expected = sort.order_of(layer.positions, parts(layer, 5.0))
    np.testing.assert_array_equal(exact.texture.flat[: len(expected)], expected)
