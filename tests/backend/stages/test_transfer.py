"""A folder of label pictures into named objects; what does not fit is told and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.features import Lifted
from backend.progress import Quiet
from backend.segment import objects
from backend.segment.posterior import UNIT, Votes
from backend.stages import transfer
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Transfer

GROUND = 9


def painted(blobs, folder: Path, names: tuple[str, ...] = ("a0",), ground: int = GROUND, numbers=(1, 2)) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        labels = np.full((blobs.photo(name).height, blobs.photo(name).width), ground, np.uint8)
        for label, number in zip((blobs.red, blobs.blue), numbers, strict=True):
            labels[blobs.mask(label, name)] = number
        Image.fromarray(labels).save(folder / f"{name}.png")
    return folder


def kinds(blobs, channels: int = 70) -> Lifted:
    """Features that know what each row is, as a file of a network that does might."""
    random = np.random.default_rng(6)
    values = np.eye(channels)[blobs.labels] + random.normal(0, 0.02, (len(blobs.labels), channels))
    count = len(values)
    return Lifted(values.astype(np.float16), *np.ones((2, count), np.float32), np.zeros(count, bool))


def test_labels_of_one_photo_become_objects_all_around(blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By colours, without any weights; the side that the labelled photo does not show, too."""
    said: list[Votes] = []
    save = objects.save

    def heard(*arguments: Any, **options: Any) -> objects.Object:
        said.extend(arguments[4])
        return save(*arguments, **options)

    monkeypatch.setattr(objects, "save", heard)
    folder = painted(blobs, tmp_path / "labels")
    (folder / "names.txt").write_text("1 red ball\n2\tblue ball\n\n9 ground\n")
    result = transfer.run(Transfer(blobs.workspace.root, folder), Quiet())
    assert [made["name"] for made in result["objects"]] == ["red ball", "blue ball", "ground"]
    assert [made["label"] for made in result["objects"]] == [1, 2, GROUND]
    assert result["photos"] == 1
    for name, label in (("red ball", blobs.red), ("blue ball", blobs.blue), ("ground", 0)):
        found = objects.find(blobs.workspace, name)
        assert blobs.iou(found.rows, label) > 0.85
        assert objects.sources(blobs.workspace, found) == (("labels", ""),)
    assert len(said) == 3
    assert max((votes.inside.astype(int) + votes.outside).max() for votes in said) <= UNIT + 1


def test_features_of_a_file_and_names_that_nobody_gave(blobs, tmp_path: Path) -> None:
    kinds(blobs).save(blobs.workspace, "file")
    progress = Quiet()
    request = Transfer(blobs.workspace.root, painted(blobs, tmp_path / "labels", ("a0", "a3")), "file")
    first = transfer.run(request, progress)
    assert [made["name"] for made in first["objects"]] == ["label 1", "label 2", "label 9"]
    assert blobs.iou(objects.find(blobs.workspace, "label 2").rows, blobs.blue) > 0.97
    assert progress.warnings == []
    again = transfer.run(request, progress)
    assert [(made["id"], made["gaussians"]) for made in again["objects"]] == [
        (made["id"], made["gaussians"]) for made in first["objects"]
    ]


def test_labels_of_a_scene_that_was_trained_anew_meanwhile_are_refused(
    blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = transfer.labelled

    def meanwhile(*arguments):
        done = real(*arguments)
        replace(blobs.scene, sh0=blobs.scene.sh0 * 0.5).save(blobs.workspace.splats)
        return done

    kinds(blobs).save(blobs.workspace, "file")
    monkeypatch.setattr(transfer, "labelled", meanwhile)
    with pytest.raises(InputError) as caught:
        transfer.run(Transfer(blobs.workspace.root, painted(blobs, tmp_path / "labels", ("a0", "a3")), "file"), Quiet())
    assert caught.value.code == "scene-changed"
    assert not objects.names(blobs.workspace)


def test_what_0_stands_for(blobs, tmp_path: Path) -> None:
    """One label alone: told from the rest where 0 is the rest, and all that is a little alike where it is nothing."""
    values = np.eye(3)[blobs.labels]
    values[blobs.labels == blobs.blue] = (0, 0.8, 0.6)
    count = len(values)
    Lifted(values.astype(np.float16), *np.ones((2, count), np.float32), np.zeros(count, bool)).save(
        blobs.workspace, "file"
    )
    folder = painted(blobs, tmp_path / "labels", ground=0, numbers=(1, 0))
    rest = transfer.run(Transfer(blobs.workspace.root, folder, "file", rest=True), Quiet())
    assert [made["name"] for made in rest["objects"]] == ["label 1"]  # the rest is no object
    assert blobs.iou(objects.find(blobs.workspace, "label 1").rows, blobs.red) > 0.97
    transfer.run(Transfer(blobs.workspace.root, folder, "file"), Quiet())
    rows = objects.find(blobs.workspace, "label 1").rows
    assert np.isin(np.flatnonzero(blobs.labels == blobs.blue), rows).mean() > 0.9
    assert np.isin(np.flatnonzero(blobs.labels == 0), rows).mean() < 0.05


def test_labels_that_nothing_looks_like_are_told(blobs, tmp_path: Path) -> None:
    """A label on the sky, and one that is a name alone."""
    kinds(blobs).save(blobs.workspace, "file")
    folder = painted(blobs, tmp_path / "labels")
    labels = np.array(Image.open(folder / "a0.png"))
    labels[:10] = 7
    Image.fromarray(labels).save(folder / "a0.png")
    (folder / "names.txt").write_text("7 sky\n8 nobody\n")
    progress = Quiet()
    result = transfer.run(Transfer(blobs.workspace.root, folder, "file"), progress)
    assert {warned.code: warned.items for warned in progress.warnings} == {
        "labels-not-painted": ("nobody",),
        "labels-without-gaussians": ("sky",),
    }
    assert "sky" not in {made["name"] for made in result["objects"]}


def spoiled(folder: Path, what: str) -> None:
    pixels = np.array(Image.open(folder / "a0.png"))
    if what == "unknown":
        Image.fromarray(pixels).save(folder / "a00.png")
    elif what == "size":
        Image.fromarray(pixels[:, :-1]).save(folder / "a0.png")
    elif what == "shades":
        Image.fromarray((np.arange(pixels.size) % 200).astype(np.uint8).reshape(pixels.shape)).save(folder / "a0.png")
    elif what == "empty":
        Image.fromarray(np.zeros_like(pixels)).save(folder / "a0.png")
    elif what == "sky":
        pixels[:] = 0
        pixels[:6] = 1
        Image.fromarray(pixels).save(folder / "a0.png")
    elif what == "colours":
        Image.fromarray(np.dstack([pixels] * 3)).save(folder / "a0.png")
    elif what == "damaged":
        (folder / "a0.png").write_bytes(b"no picture")
    elif what == "none":
        (folder / "a0.png").unlink()
    else:
        (folder / "names.txt").write_bytes(what.encode("latin-1"))


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("unknown", "unknown-photo"),
        ("size", "mask-size"),
        ("shades", "too-many-labels"),
        ("empty", "no-labels"),
        ("sky", "no-labels"),
        ("colours", "bad-labels"),
        ("damaged", "picture-unreadable"),
        ("none", "no-labels"),
        ("red", "bad-names"),
        ("0 nothing", "bad-names"),
        ("256 too large", "bad-names"),
        ("1", "bad-names"),
        ("1 a\n1 b", "bad-names"),
        ("1 a\n2 a", "bad-names"),
        ("1 label 2", "bad-names"),
        ("1 \xff", "bad-names"),
        (f"1 {'a' * 101}", "bad-name"),
    ],
)
def test_labels_that_make_no_sense_change_nothing(blobs, tmp_path: Path, what: str, code: str) -> None:
    kinds(blobs, 3).save(blobs.workspace, "file")
    folder = painted(blobs, tmp_path / "labels")
    spoiled(folder, what)
    with pytest.raises(InputError) as caught:
        transfer.run(Transfer(blobs.workspace.root, folder, "file"), Quiet())
    assert caught.value.code == code
    assert not blobs.workspace.segments.exists()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"features": "dino"}, "no-features"),
        ({"neighbours": 0}, "bad-option"),
        ({"labels": Path("nowhere")}, "folder-missing"),
    ],
)
def test_options_that_make_no_sense(blobs, tmp_path: Path, changes: dict, code: str) -> None:
    fields = {"labels": painted(blobs, tmp_path / "labels"), **changes}
    with pytest.raises(InputError) as caught:
        transfer.run(Transfer(blobs.workspace.root, **fields), Quiet())
    assert caught.value.code == code


def test_a_scene_without_photos(blobs, tmp_path: Path) -> None:
    folder = painted(blobs, tmp_path / "labels")
    (blobs.workspace.root / "photos.json").unlink()
    with pytest.raises(InputError, match="no photos"):
        transfer.run(Transfer(blobs.workspace.root, folder), Quiet())
