"""The objects command."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plyfile import PlyData

from backend.progress import Quiet
from backend.segment import cuts, objects
from backend.stages import export
from backend.stages import objects as stage
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Export, Objects


def command(blobs, *words: str) -> list[str]:
    action, *names = words
    result = stage.run(Objects(blobs.workspace.root, action, tuple(names)), Quiet())
    return [f"{row['id']} {row['name']} {row['gaussians']}" for row in result["objects"]]


def test_list_rename_merge_delete(blobs) -> None:
    for name, rows in (("a", [1, 2]), ("b", [2, 3]), ("c", [9])):
        objects.save(blobs.workspace, name, np.array(rows), np.ones(len(blobs.scene)))
    assert command(blobs, "list") == ["1 a 2", "2 b 2", "3 c 1"]
    assert command(blobs, "rename", "c", "see") == ["1 a 2", "2 b 2", "3 see 1"]
    assert command(blobs, "merge", "a", "b") == ["1 a 3", "3 see 1"]
    assert command(blobs, "delete", "a", "see") == []


def test_parts_are_listed_below_what_they_are_parts_of(blobs) -> None:
    for name in ("globe", "bench", "lamp"):
        kept(blobs, name, np.array([1]))
    result = answered(blobs, "parent", "globe", "lamp")
    assert [(row["name"], row["depth"], row["parent"]) for row in result["objects"]] == [
        ("bench", 0, 0),
        ("lamp", 0, 0),
        ("globe", 1, 3),
    ]
    assert command(blobs, "parent", "globe") == command(blobs, "list") == ["1 globe 1", "2 bench 1", "3 lamp 1"]
    answered(blobs, "parent", "globe", "lamp")
    assert command(blobs, "parent", "globe", "") == ["1 globe 1", "2 bench 1", "3 lamp 1"]


def kept(blobs, name: str, rows: np.ndarray) -> objects.Object:
    return objects.save(blobs.workspace, name, rows, np.ones(len(blobs.scene)))


def answered(blobs, *words: str, **options) -> dict:
    action, *names = words
    return stage.run(Objects(blobs.workspace.root, action, tuple(names), **options), Quiet())


def test_cut_is_shown_and_taken_back(blobs, tmp_path) -> None:
    red = kept(blobs, "red", (blobs.labels == blobs.red) | (np.arange(len(blobs.labels)) % 97 == 0))
    result = answered(blobs, "cut", "red", mode="axis")
    assert result["mode"] == result["objects"][0]["cut"] == "axis"
    assert len(result["outlines"]) > 2
    whole, made = len(red.rows), cuts.load(blobs.workspace, red)
    file = tmp_path / "red.ply"
    export.run(Export(blobs.workspace.root, file, object="red"), Quiet())
    shown = (
        whole
        - len(np.intersect1d(red.rows, made.hidden))
        - len(made.given)
        - len(made.dropped)
        + int(made.inside.sum())
    )
    assert len(PlyData.read(file)["vertex"]) == shown
    assert answered(blobs, "revert", "red")["reverted"]
    export.run(Export(blobs.workspace.root, file, object="red"), Quiet())
    assert len(PlyData.read(file)["vertex"]) == whole
    assert answered(blobs, "list")["objects"][0]["cut"] is None


def test_an_object_no_photo_shows_cannot_be_cut(blobs) -> None:
    kept(blobs, "dot", np.array([0]))
    with pytest.raises(InputError) as caught:
        answered(blobs, "cut", "dot")
    assert caught.value.code == "no-outline"


def test_grow_shrink(blobs) -> None:
    part = np.flatnonzero(blobs.labels == blobs.red)
    part = part[blobs.scene.means[part, 2] > 0.3]
    kept(blobs, "red", part)
    more = answered(blobs, "grow", "red", steps=2)
    assert more["before"] == len(part) < more["objects"][0]["gaussians"]
    less = answered(blobs, "shrink", "red", steps=1)
    assert less["objects"][0]["gaussians"] < more["objects"][0]["gaussians"]
    with pytest.raises(InputError, match="Nothing would be left"):
        answered(blobs, "shrink", "red", steps=100)


def test_split_names_every_part(blobs) -> None:
    kept(blobs, "blobs", blobs.labels > 0)
    kept(blobs, "blobs 2", np.array([1]))
    result = answered(blobs, "split", "blobs")
    assert result["parts"] == ["blobs 3"]
    assert result["crumbs"] == 0
    rows = [objects.find(blobs.workspace, name).rows for name in ("blobs", "blobs 3")]
    assert np.array_equal(np.sort(np.concatenate(rows)), np.flatnonzero(blobs.labels > 0))
    assert answered(blobs, "split", "blobs")["parts"] == []


def test_parts_of_a_part_have_its_parent(blobs) -> None:
    kept(blobs, "blobs", blobs.labels > 0)
    kept(blobs, "all", blobs.labels >= 0)
    answered(blobs, "parent", "blobs", "all")
    answered(blobs, "split", "blobs")
    assert objects.parents(blobs.workspace) == {1: 2, 2: 0, 3: 2}


def test_what_stands_apart_becomes_objects_but_what_is_one_does_not(blobs) -> None:
    red = np.flatnonzero(blobs.labels == blobs.red)
    objects.save(blobs.workspace, "frog", red, np.ones(len(blobs.scene)))
    result = answered(blobs, "find")
    assert result["made"] == ["thing 1"]
    assert blobs.iou(objects.find(blobs.workspace, "thing 1").rows, blobs.blue) > 0.9
    assert np.array_equal(objects.find(blobs.workspace, "frog").rows, red)
    assert answered(blobs, "find")["made"] == []
    objects.delete(blobs.workspace, "frog")
    assert answered(blobs, "find", "lamp")["made"] == ["lamp 1"]
    assert [item["name"] for item in answered(blobs, "list")["objects"]] == ["thing 1", "lamp 1"]


def test_junk_is_counted_and_kept_only_if_named(blobs) -> None:
    scene = blobs.scene
    scales = scene.log_scales.copy()
    scales[7] = np.log([0.4, 0.01, 0.01])
    replace(scene, log_scales=scales).save(blobs.workspace.splats)
    result = answered(blobs, "junk", strength=1.0)
    assert result["needle"] == 1
    assert result["objects"] == []
    answered(blobs, "junk", "rubbish", strength=1.0)
    assert 7 in objects.find(blobs.workspace, "rubbish").rows
    kept(blobs, "frog", np.arange(8))
    needles = answered(blobs, "junk", strength=1.0, causes=("needle",), within="frog")
    assert {name: needles.get(name) for name in ("suspected", "needle", "floater")} == {
        "suspected": 1,
        "needle": 1,
        "floater": None,
    }
    assert answered(blobs, "junk", strength=1.0, causes=("floater",), within="frog")["suspected"] == 0
    with pytest.raises(InputError, match="nobody"):
        answered(blobs, "junk", within="nobody")


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (("grow", "blobs"), "scene_graph"),
        (("shrink", "blobs"), "scene_graph"),
        (("find",), "proposed"),
        (("junk", "rubbish"), "scene_graph"),
    ],
)
def test_rows_of_a_scene_that_was_trained_anew_meanwhile_are_refused(
    blobs, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], step: str
) -> None:
    scales = blobs.scene.log_scales.copy()
    scales[7] = np.log([0.4, 0.01, 0.01])
    replace(blobs.scene, log_scales=scales).save(blobs.workspace.splats)  # one is junk
    if "blobs" in words:
        kept(blobs, "blobs", blobs.labels > 0)
    real = getattr(stage, step)

    def meanwhile(*arguments):
        done = real(*arguments)
        replace(blobs.scene, sh0=blobs.scene.sh0 * 0.5).save(blobs.workspace.splats)
        return done

    monkeypatch.setattr(stage, step, meanwhile)
    with pytest.raises(InputError) as caught:
        answered(blobs, *words, strength=1.0)
    assert caught.value.code == "scene-changed"


@pytest.mark.parametrize(
    "words",
    [
        ("list", "x"),
        ("rename", "x"),
        ("delete",),
        ("merge", "x"),
        ("parent",),
        ("cut",),
        ("grow", "x", "y"),
        ("split",),
    ],
)
def test_the_wrong_number_of_names(blobs, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        command(blobs, *words)
    assert caught.value.code == "bad-option"
    assert caught.value.hint.startswith("Run: segwild objects")
