"""Point clouds with rows, in every version, beside threads and in any mode."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

import bpy

from segwild_addon.data import compat

KINDS = ("scenes", "objects", "meshes", "node_groups", "pointclouds")


def counts() -> list[int]:
    return [len(getattr(bpy.data, kind)) for kind in KINDS]


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_a_cloud_has_its_rows_at_the_origin_and_leaves_nothing_else(count):
    before = counts()
    cloud = compat.sized(f"{count} things", count)
    assert (len(cloud.points), cloud.users, cloud.name) == (count, 0, f"{count} things")
    positions = np.ones(3 * count, np.float32)
    cloud.points.foreach_get("co", positions)
    assert not positions.any()
    before[-1] += 1
    assert counts() == before
    bpy.data.pointclouds.remove(cloud)


def test_a_cloud_is_made_in_edit_mode_and_what_is_selected_stays_so():
    ob = bpy.data.objects.new("mesh", bpy.data.meshes.new("mesh"))
    bpy.context.scene.collection.objects.link(ob)
    bpy.context.view_layer.objects.active = ob
    ob.select_set(True)
    bpy.ops.object.mode_set(mode="EDIT")
    cloud = compat.sized("things", 10)
    assert len(cloud.points) == 10
    assert ob.mode == "EDIT"
    assert ob.select_get()
    assert bpy.context.view_layer.objects.active == ob


def test_clouds_are_made_while_other_threads_run():
    """Where Blender reads a context without holding Python's lock, this ends the process."""
    ended = threading.Event()

    def busy():
        while not ended.is_set():
            [object() for _ in range(100)]
            time.sleep(0)

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for _ in range(300):
            bpy.data.pointclouds.remove(compat.sized("things", 100))
    finally:
        ended.set()
        thread.join()
