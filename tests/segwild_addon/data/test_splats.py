"""Rows into point clouds and back, exactly, in every Blender."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.data import splats
from segwild_addon.data.rows import Rows
from segwild_addon.protocol.errors import InputError


def some(count: int, degree: int, seed: int = 0) -> Rows:
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    quats = normal(count, 4)
    base = 10 * normal(count, 4)  # raw colours lie outside 0..1
    base[:, 3] = random.random(count)
    return Rows(
        normal(count, 3),
        np.exp(normal(count, 3)),
        quats / np.linalg.norm(quats, axis=1, keepdims=True),
        base,
        normal(count, (degree + 1) ** 2 - 1, 3),
        random.integers(0, 2**31 - 1, count, np.int32),
        random.integers(0, 9, count, np.int32),
        (random.random(count) * (random.random(count) < 0.5)).astype(np.float32),
        (random.random(count) * (random.random(count) < 0.5)).astype(np.float32),
    )


def same(found: Rows, expected: Rows) -> None:
    for field in fields(Rows):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name), field.name)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_rows_come_back_as_they_went(blender: Any, count: int, degree: int) -> None:
    rows = some(count, degree)
    found = splats.read(splats.create("a", rows))
    same(found, rows if count else replace(rows, sh=found.sh))


@pytest.mark.parametrize("before", [0, 3, 40])
@pytest.mark.parametrize("after", [0, 1, 40, 90])
def test_writing_replaces_all_rows(blender: Any, before: int, after: int) -> None:
    ob = splats.create("a", some(before, 3))
    ob.data.materials.append(blender.data.materials.new("m"))
    name = ob.data.name
    rows = replace(some(after, 1, seed=1), erased=np.zeros(after, np.float32))
    splats.write(ob, rows)
    found = splats.read(ob)
    same(found, rows if after else replace(rows, sh=found.sh))
    assert ob.data.name == name
    assert [material.name for material in ob.data.materials] == ["m"]
    assert len(blender.data.pointclouds) == 1
    assert not blender.data.meshes


def test_linked_duplicates_part_when_one_is_written(blender: Any) -> None:
    first = splats.create("a", some(10, 0))
    second = first.copy()
    splats.write(second, some(4, 0, seed=1))
    same(splats.read(first), some(10, 0))
    assert len(splats.read(second)) == 4


def test_making_splats_leaves_selection_and_active_object_alone(blender: Any) -> None:
    ob = blender.data.objects.new("chosen", None)
    blender.context.scene.collection.objects.link(ob)
    ob.select_set(True)
    blender.context.view_layer.objects.active = ob
    splats.create("a", some(10, 0))
    assert blender.context.view_layer.objects.active == ob
    assert ob.select_get()
    assert [other.name for other in blender.data.objects] == ["a", "chosen"]


def test_what_holds_no_splats_is_refused(blender: Any) -> None:
    with pytest.raises(InputError):
        splats.read(blender.data.objects.new("empty", None))


def test_attributes_of_another_type_count_as_missing(blender: Any) -> None:
    ob = splats.create("a", some(5, 1))
    ob.data.attributes.remove(ob.data.attributes["scale"])
    ob.data.attributes.new("scale", "FLOAT", "POINT")
    ob.data.attributes.remove(ob.data.attributes["rotation"])
    found = splats.read(ob)
    assert not found.scales.any()
    assert (found.rotations == [1, 0, 0, 0]).all()
    splats.write(ob, some(5, 1))
    same(splats.read(ob), some(5, 1))
