"""From what a person types to a named object."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.capture.pictures import write_picture
from backend.progress import Cancelled, Quiet
from backend.segment import cuts, objects
from backend.segment.orbit import Orbit
from backend.segment.prepared import Prepared
from backend.stages import cutting, evaluate_masks, segment
from segwild_addon.protocol.errors import InputError, SegWildError, SetupError
from segwild_addon.protocol.requests import EvaluateMasks, Segment


def click(blobs, label: int, sign: str = "+") -> str:
    x, y = blobs.pixel(label)
    return f"{x:.1f},{y:.1f},{sign}"


def test_a_click_makes_an_object(blobs) -> None:
    result = segment.run(Segment(blobs.workspace.root, "red", "a0", (click(blobs, blobs.red),)), Quiet())
    found = objects.find(blobs.workspace, "red")
    assert result.items() >= {"object": "red", "id": 1, "gaussians": len(found.rows), "view": "a0"}.items()
    assert blobs.iou(found.rows, blobs.red) > 0.9


def test_the_same_name_is_replaced_and_another_added(blobs) -> None:
    root = blobs.workspace.root
    segment.run(Segment(root, "one", "a0", (click(blobs, blobs.red),)), Quiet())
    segment.run(Segment(root, "two", "a0", (click(blobs, blobs.red),)), Quiet())
    segment.run(Segment(root, "one", "a0", (click(blobs, blobs.blue),)), Quiet())
    assert list(objects.names(blobs.workspace).values()) == ["one", "two"]
    assert blobs.iou(objects.find(blobs.workspace, "one").rows, blobs.blue) > 0.9
    assert blobs.iou(objects.find(blobs.workspace, "two").rows, blobs.red) > 0.9


def test_a_mask_makes_an_object_that_scores_in_other_photos(blobs, tmp_path) -> None:
    for name in ("a0", "a2", "a4"):
        write_picture(tmp_path / "masks" / f"{name}.png", blobs.mask(blobs.blue, name))
    root = blobs.workspace.root
    result = segment.run(Segment(root, "blue", "a0", mask=tmp_path / "masks" / "a0.png"), Quiet())
    assert result["iou"] > 0.9
    scores = evaluate_masks.run(EvaluateMasks(root, "blue", tmp_path / "masks", ("a0",)), Quiet())
    assert scores["n"] == 2
    assert scores["iou"] > 0.85


def test_a_mask_is_kept_and_cuts(blobs, tmp_path) -> None:
    write_picture(tmp_path / "a0.png", blobs.mask(blobs.blue))
    request = Segment(blobs.workspace.root, "blue", "a0", mask=tmp_path / "a0.png", cut="exact")
    result = segment.run(request, Quiet())
    assert result["cut"]["outlines"][0] == "a0"
    found = objects.find(blobs.workspace, "blue")
    assert np.array_equal(found.masks["a0"], blobs.mask(blobs.blue))
    assert cuts.load(blobs.workspace, found).mode == "exact"


def test_a_cut_takes_the_scene_that_was_prepared(blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = Prepared.of
    monkeypatch.setattr(Prepared, "of", lambda *words: made.append(words) or real(*words))
    request = Segment(blobs.workspace.root, "red", "a0", (click(blobs, blobs.red),), cut="exact")
    whole = cutting.cut_object(blobs.workspace, segment.run(request, Quiet())["object"], "exact", Quiet())
    cut = segment.run(request, Quiet())["cut"]
    assert {**cut, "time_secs": 0} == {**whole, "time_secs": 0}
    assert len(made) == 3  # one for each


@pytest.mark.parametrize(
    "options",
    [
        {"orbit": 99},
        {"checkpoint": Path("sam.pth")},
        {"segmenter": "sam", "checkpoint": Path("nowhere.pth")},
        {"segmenter": "features", "margin": 3.0},
        {"segmenter": "features", "features": "sam"},
    ],
)
def test_options_that_make_no_sense_are_told_before_the_work(blobs, options: dict) -> None:
    progress = Phases()
    with pytest.raises(SegWildError):
        segment.run(Segment(blobs.workspace.root, "x", "a0", ("1,1,+",), **options), progress)
    assert progress.names == []


class Phases(Quiet):
    """Remembers their names."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def phase(self, name: str, total: int | None = None) -> None:
        self.names.append(name)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, "bad-prompt"),
        ({"click": ("1,1",)}, "bad-click"),
        ({"click": ("9999,1,+",)}, "click-outside"),
        ({"click": ("200,2,+",)}, "nothing-there"),
        ({"click": ("1,1,+",), "view": "nowhere"}, "unknown-photo"),
        ({"click": ("1,1,+",), "name": " "}, "bad-name"),
    ],
)
def test_a_bad_prompt_leaves_no_object(blobs, changes: dict, code: str) -> None:
    request = Segment(**({"workspace": blobs.workspace.root, "name": "x", "view": "a0"} | changes))
    with pytest.raises(InputError) as caught:
        segment.run(request, Quiet())
    assert caught.value.code == code
    assert not blobs.workspace.segments.exists()


def test_an_imported_splat_without_photos(blobs) -> None:
    (blobs.workspace.root / "photos.json").unlink()
    with pytest.raises(InputError, match="no photos to click on") as caught:
        segment.run(Segment(blobs.workspace.root, "x", "a0", ("1,1,+",)), Quiet())
    assert "--cameras" in caught.value.hint


def test_segment_anything_makes_an_object(blobs, small_sam) -> None:
    """Random weights mean nothing in particular: the object is what the mask they gave chooses."""
    root = blobs.workspace.root
    request = Segment(
        root, "sam", "a0", ("100,150,+", "300,40,-"), segmenter="sam", checkpoint=small_sam, scale="whole", orbit=0
    )
    result = segment.run(request, Quiet())
    assert result["orbit"] == []
    found = objects.find(blobs.workspace, "sam")
    drawn = found.masks["a0"]
    assert 0 < drawn.mean() < 1
    assert found.guessed == {"a0"}  # a cut does not believe it alone
    assert result["iou"] > 0
    assert (root / "embeddings" / "sam" / "a0.safetensors").exists()
    write_picture(root / "drawn.png", drawn)
    segment.run(Segment(root, "drawn", "a0", mask=root / "drawn.png"), Quiet())
    rows = [objects.find(blobs.workspace, name).rows for name in ("sam", "drawn")]
    assert np.array_equal(*rows)


def looking_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a network says from other sides counts, so that one of random weights is heard."""
    monkeypatch.setattr(segment, "Orbit", lambda views: Orbit(views=views, agreement=0.0, change=0.0, gain=0.0))


def test_segment_anything_is_asked_from_other_sides(blobs, small_sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looking_around(monkeypatch)
    root = blobs.workspace.root
    write_picture(root / "red.png", blobs.mask(blobs.red))
    request = Segment(root, "red", "a0", mask=root / "red.png", segmenter="sam", checkpoint=small_sam, orbit=2)
    result = segment.run(request, Quiet())
    assert [step["used"] for step in result["orbit"]] == [True, True]
    found = objects.find(blobs.workspace, "red")
    assert [view for kind, view in objects.sources(blobs.workspace, found) if kind == "orbit"] == [
        step["view"] for step in result["orbit"]
    ]
    assert result["gaussians"] == len(found.rows)
    assert np.array_equal(found.masks["a0"], blobs.mask(blobs.red))
    assert not found.guessed


def test_who_stops_a_look_around_has_the_object_of_that_moment(
    blobs, small_sam: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stops(Quiet):
        def advance(self, steps: int = 1, note: str = "") -> None:
            if note.startswith("orbit"):
                raise Cancelled

    looking_around(monkeypatch)
    root = blobs.workspace.root
    write_picture(root / "red.png", blobs.mask(blobs.red))
    request = Segment(root, "red", "a0", mask=root / "red.png", segmenter="sam", checkpoint=small_sam, cut="exact")
    with pytest.raises(Cancelled):
        segment.run(request, Stops())
    found = objects.find(blobs.workspace, "red")
    assert [kind for kind, _ in objects.sources(blobs.workspace, found)].count("orbit") == 1
    assert cuts.load(blobs.workspace, found) is None


@pytest.mark.parametrize("views", [-1, 25])
def test_no_such_number_of_views(blobs, views: int) -> None:
    request = Segment(blobs.workspace.root, "x", "a0", (click(blobs, blobs.red),), orbit=views)
    with pytest.raises(InputError, match="--orbit is"):
        segment.run(request, Quiet())


def test_features_make_an_object(blobs) -> None:
    root = blobs.workspace.root
    x, y = blobs.pixel(blobs.red)
    on = [f"{x + right},{y + down},+" for right, down in ((0, 0), (0, -25), (0, 25), (-25, 0), (25, 0))]
    points = (*on, click(blobs, blobs.blue, "-"), "200,280,-")
    result = segment.run(Segment(root, "red", "a0", points, segmenter="features"), Quiet())
    found = objects.find(blobs.workspace, "red")
    assert result["gaussians"] == len(found.rows)
    assert blobs.iou(found.rows, blobs.red) > 0.85
    assert [kind for kind, _ in objects.sources(blobs.workspace, found)] == ["features", "seed", "seed"]
    fewer = Segment(root, "red", "a0", points, segmenter="features", margin=1.9)
    assert segment.run(fewer, Quiet())["gaussians"] < result["gaussians"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"features": "sam"}, "no-features"),
        ({"features": "../../elsewhere"}, "no-features"),
        ({"margin": 3.0}, "bad-option"),
        ({"margin": float("nan")}, "bad-option"),
        ({"click": (), "box": "10,10,90,90"}, "bad-prompt"),
        ({"checkpoint": Path("sam.pth")}, "bad-option"),
        ({"click": ("200,2,+",)}, "nothing-there"),
    ],
)
def test_features_that_cannot_answer(blobs, changes: dict, code: str) -> None:
    request = Segment(blobs.workspace.root, "x", "a0", (click(blobs, blobs.red),), segmenter="features")
    with pytest.raises(InputError) as caught:
        segment.run(replace(request, **changes), Quiet())
    assert caught.value.code == code
    assert not blobs.workspace.segments.exists()


def test_a_checkpoint_that_is_none(blobs, tmp_path, monkeypatch) -> None:
    root = blobs.workspace.root
    request = Segment(root, "x", "a0", ("100,150,+",), segmenter="sam")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SEGWILD_SAM_CHECKPOINT", raising=False)
    with pytest.raises(SetupError, match="needs a checkpoint"):
        segment.run(request, Quiet())
    (tmp_path / "notes.txt").write_text("not weights")
    for changes in ({"checkpoint": tmp_path / "notes.txt"}, {"checkpoint": tmp_path / "x", "segmenter": "graph"}):
        with pytest.raises(InputError):
            segment.run(replace(request, **changes), Quiet())
    assert not blobs.workspace.segments.exists()


@pytest.mark.slow
def test_masks_of_a_real_photo(test_data, tmp_path) -> None:
    """The frog from one mask, in a scene trained for a few minutes, on two other photos."""
    from backend.stages import capture, train
    from segwild_addon.protocol.requests import Capture, Train

    root, masks = tmp_path / "w", test_data / "kermit" / "masks" / "kermit"
    capture.run(Capture(test_data / "kermit" / "images", root, "quick", 0), Quiet())
    train.run(Train(root, "quick", iterations=1200, long_side=400, transients=False), Quiet())
    segment.run(Segment(root, "frog", "kermit000", mask=masks / "kermit000.png"), Quiet())
    scores = evaluate_masks.run(EvaluateMasks(root, "frog", masks, ("kermit000",)), Quiet())
    assert scores["n"] == 2
    assert scores["iou"] >= 0.75


def test_the_object_is_the_same_every_time(blobs) -> None:
    request = Segment(blobs.workspace.root, "red", "a0", (click(blobs, blobs.red), click(blobs, blobs.blue, "-")))
    segment.run(request, Quiet())
    first = objects.find(blobs.workspace, "red")
    segment.run(request, Quiet())
    second = objects.find(blobs.workspace, "red")
    assert np.array_equal(first.rows, second.rows)
    assert np.array_equal(first.probability, second.probability)
