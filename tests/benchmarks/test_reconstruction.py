"""The benchmark of reconstructions: each variant a whole line, splits of one capture, the curve drawn."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.capture.pictures import write_picture
from backend.scene import Photo, Workspace
from backend.train.config import PRESETS, Capped, PoseRefinement
from backend.train.mlp import MlpAppearance
from benchmarks import reconstruction
from benchmarks.course import course_svg, courses
from benchmarks.reconstructed import ceiling, changed
from tests.backend.conftest import RED, Blobs, blob_scene, ring_of_cameras
from tests.backend.train.test_loop import workspace

TINY = {"steps": 40, "long_side": 64, "density.cap": 600}


@pytest.fixture
def captured(tmp_path: Path) -> Workspace:
    made = workspace(tmp_path / "captured")
    made.write_photos([replace(photo, split="test" if photo.name == "p2" else "train") for photo in made.photos()])
    (made.root / "scene.json").write_text(
        json.dumps(made.scene() | {"made": {"capture": {"settings": {}, "result": {}}}}), encoding="utf-8"
    )
    return made


def test_lines_are_whole_and_the_curve_is_drawn(
    captured: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        reconstruction, "folds", lambda scene, *_: iter([reconstruction.Fold(scene, "", captured.root)])
    )
    out, plot = tmp_path / "lines.jsonl", tmp_path / "course.svg"
    words = ["--scenes", "bowl", "--variants", 'none,wrong:no.such="field"', "--work", str(tmp_path / "work")]
    words += [part for name, value in TINY.items() for part in ("--set", f"{name}={value}")]
    assert reconstruction.main([*words, "--out", str(out), "--plot", str(plot)]) == 1  # the second one failed
    good, bad = (json.loads(line) for line in out.read_text(encoding="utf-8").splitlines())
    assert (good["variant"], good["changes"]["appearance.rank"], good["n"]) == ("none", 0, 1)
    assert 5 < good["value"] < 60
    assert good["own_look"] > 5
    assert good["peak_memory_bytes"] > 1e7
    assert good["time_secs"] > 0
    assert set(good["soundness"]) >= {"opaque", "needles", "near_camera_worst"}
    assert [step for _, step, _ in good["course"]] == [2, 4, 8, 16, 24, 32, 40]
    assert (bad["value"], bad["variant"]) == (None, "wrong")
    assert "TrainConfig has no no" in bad["reason"]
    assert "none seed 0" in capsys.readouterr().out
    assert ElementTree.parse(plot).getroot().tag.endswith("svg")
    assert not captured.splats.exists()  # trained in a copy
    assert not list((tmp_path / "work" / "trained").iterdir())  # which is gone


def test_photos_are_held_out_of_one_capture(captured: Workspace, tmp_path: Path) -> None:
    other = Workspace.open(reconstruction._split(captured.root, tmp_path / "fold", ("p0", "p4")))
    assert [photo.name for photo in other.used_photos() if photo.split == "test"] == ["p0", "p4"]
    for first, second in zip(captured.photos(), other.photos(), strict=True):
        assert np.array_equal(first.camera.cam_from_world, second.camera.cam_from_world)
    with pytest.raises(FileNotFoundError, match="--data"):
        next(reconstruction.folds("kermit", tmp_path, tmp_path))


def test_options_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    found = reconstruction.variants(["all", "wide:density.cap=9;appearance.rank=0"])
    assert found == {"all": {}, "wide": {"density.cap": 9, "appearance.rank": 0}}
    config = changed(PRESETS["quick"], found["wide"] | {"policy": "capped"})
    assert (config.density, config.appearance.rank, config.steps) == (Capped(cap=9), 0, PRESETS["quick"].steps)
    network = changed(PRESETS["quick"], reconstruction.VARIANTS["mlp"] | {"appearance.width": 9})
    assert network.appearance == MlpAppearance(width=9)
    assert changed(PRESETS["quick"], reconstruction.VARIANTS["refined"]).poses == PoseRefinement()
    for words in (["--variants", "unheard"], ["--set", "steps"]):
        with pytest.raises(SystemExit):
            reconstruction.main(words)
    assert "choose from" in capsys.readouterr().err


def test_the_ceiling_is_what_all_masks_together_select(tmp_path: Path) -> None:
    scene, labels = blob_scene()
    made = Workspace.create(tmp_path / "blobs")
    photos = [
        Photo(f"a{number}", f"a{number}.jpg", camera.width, camera.height, camera=camera)
        for number, camera in enumerate(ring_of_cameras())
    ]
    made.write_photos(photos)
    blobs = Blobs(made, scene, labels)
    for photo in photos:
        mask = blobs.mask(RED, photo.name)[::2, ::2]
        write_picture(tmp_path / "masks" / f"{photo.name}.png", mask)
    assert ceiling(made, scene, tmp_path / "masks") > 0.95
    assert ceiling(made, scene, tmp_path / "none") is None


def test_a_course_is_one_line_per_training() -> None:
    line = {"scene": "a<b", "fold": "", "variant": "all", "value": 20.0, "course": [[1.0, 10, 15.0], [9.0, 90, 20.0]]}
    panels = courses([line, line | {"variant": "none"}, line | {"value": None}, line | {"course": []}])
    assert [(scene, len(series)) for scene, series in panels.items()] == [("a<b", 2)]
    root = ElementTree.fromstring(course_svg(panels))
    assert len([part for part in root.iter() if part.tag.endswith("path")]) == 4  # two lines, two in the legend
    assert ElementTree.fromstring(course_svg({})).tag.endswith("svg")
