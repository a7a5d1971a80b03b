"""Checkpoints of segment-anything are found, and what is none is told in a sentence and never run."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from backend.features import weights
from backend.features.sam import checkpoint, find_checkpoint, on_this_machine, open_network
from segwild_addon.protocol.errors import InputError, SetupError


class Runs:
    """Pickled, it would make a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_opens_as_the_network_it_says_it_is(small_sam: Path) -> None:
    network = open_network(small_sam)
    assert network.side_px == 128
    assert len(network.digest) == 64
    saved = torch.load(small_sam, weights_only=True)
    assert all(torch.equal(value, saved[name]) for name, value in network.model.state_dict().items())
    assert not any(value.is_meta for value in network.model.parameters())


def test_half_precision_is_read_as_float32(small_sam: Path, tmp_path: Path) -> None:
    tensors = torch.load(small_sam, weights_only=True)
    torch.save({name: value.half() for name, value in tensors.items()}, tmp_path / "half.pth")
    network = open_network(tmp_path / "half.pth")
    assert all(value.dtype == torch.float32 for value in network.model.parameters())


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    value, path = {"weights": Runs(tmp_path / "ran")}, tmp_path / "code.pth"
    for protocol in (-1, 2, 5):
        if protocol < 0:
            torch.save(value, path)
        else:
            path.write_bytes(pickle.dumps(value, protocol))
        with pytest.raises(InputError) as caught:
            open_network(path)
        # torch itself writes protocol 2; a newer one is not even looked into.
        assert caught.value.code == ("checkpoint-damaged" if protocol == 5 else "checkpoint-unsafe")
        assert not (tmp_path / "ran").exists()


def test_a_download_that_stopped(small_sam: Path, tmp_path: Path) -> None:
    content = small_sam.read_bytes()
    path = tmp_path / "part.pth"
    for length in (0, 1, 1000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError) as caught:
            open_network(path)
        assert caught.value.code == "checkpoint-damaged", length
        assert caught.value.hint


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tensors: tensors.pop("mask_decoder.iou_token.weight"), "'mask_decoder.iou_token.weight' of"),
        (lambda tensors: tensors.update({"surplus": torch.zeros(1)}), "'surplus' is no part"),
        (lambda tensors: tensors.update({"image_encoder.pos_embed": torch.zeros(1, 4, 4, 48)}), "has the shape"),
        (lambda tensors: tensors.update({"image_encoder.pos_embed": 3}), "is int, not a tensor"),
        (lambda tensors: tensors.update({"huge": torch.zeros(1).expand(1 << 40)}), "'huge' is no plain tensor"),
        (lambda tensors: tensors.pop("image_encoder.patch_embed.proj.weight"), "it has no image encoder"),
        (
            lambda tensors: tensors.update({"image_encoder.patch_embed.proj.weight": torch.zeros(49, 3, 16, 16)}),
            "its embedding is 49 wide",
        ),
    ],
)
def test_another_layout(small_sam: Path, tmp_path: Path, change, told: str) -> None:
    tensors = torch.load(small_sam, weights_only=True)
    change(tensors)
    torch.save(tensors, tmp_path / "other.pth")
    with pytest.raises(InputError, match=told) as caught:
        open_network(tmp_path / "other.pth")
    assert caught.value.code == "checkpoint-unknown"


def test_something_else_than_weights(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(InputError, match="holds list, not named tensors"):
        open_network(tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("no weights at all, only some words")
    with pytest.raises(InputError) as caught:
        open_network(tmp_path / "text.pth")
    assert caught.value.code == "checkpoint-damaged"
    with pytest.raises(InputError, match="cannot be read"):
        open_network(tmp_path)


def test_without_the_package(small_sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "segment_anything"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    with pytest.raises(SetupError, match="is not installed") as caught:
        open_network(small_sam)
    assert "segwild[sam]" in caught.value.hint


def test_where_a_checkpoint_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(checkpoint.VARIABLE, raising=False)
    with pytest.raises(SetupError, match="needs a checkpoint") as caught:
        find_checkpoint()
    assert checkpoint.PUBLISHED[0].url in caught.value.hint
    cached, other, given = weights.folder() / "sam_vit_h_4b8939.pth", tmp_path / "other.pth", tmp_path / "given.pth"
    cached.parent.mkdir(parents=True)
    for path in (cached, other, given):
        path.touch()
    (cached.parent / "sam_vit_a.pth").touch()
    assert find_checkpoint() == cached  # a published one before one of another name
    monkeypatch.setenv(checkpoint.VARIABLE, str(other))
    assert find_checkpoint() == other
    assert find_checkpoint(given) == given
    other.unlink()
    with pytest.raises(InputError, match=checkpoint.VARIABLE):
        find_checkpoint()
    with pytest.raises(InputError, match="no such checkpoint: "):
        find_checkpoint(tmp_path / "nowhere.pth")


def test_what_the_doctor_says(small_sam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(checkpoint.VARIABLE, raising=False)
    nothing = on_this_machine()
    for published, line in zip(checkpoint.PUBLISHED, nothing, strict=True):
        assert published.url in line
        assert published.sha256 in line
        assert " MB" in line
    weights.folder().mkdir(parents=True)
    shutil.copy(small_sam, weights.folder() / "sam_vit_b_01ec64.pth")
    assert "is not what was published" in on_this_machine()[0]
    shutil.copy(small_sam, tmp_path / "mine.pth")
    monkeypatch.setenv(checkpoint.VARIABLE, str(tmp_path / "mine.pth"))
    assert f"mine.pth (not a published file; SHA-256 {weights.digest(small_sam)})" in on_this_machine()[-1]
    known = replace(checkpoint.PUBLISHED[0], sha256=weights.digest(small_sam))
    monkeypatch.setattr(checkpoint, "PUBLISHED", (known,))
    assert [line.endswith("(as published)") for line in on_this_machine()] == [True, True]
    monkeypatch.setenv(checkpoint.VARIABLE, str(tmp_path / "gone.pth"))
    assert on_this_machine()[0].startswith("missing: ")
