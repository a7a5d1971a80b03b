"""Checkpoints of torchvision's segmentation networks are told apart; what is none of them is told in a sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from backend.features import people, weights
from backend.features.people import checkpoint, open_network
from backend.features.people.checkpoint import KINDS, build, kind_of
from backend.progress import Quiet
from backend.stages import doctor
from segwild_addon.protocol.errors import InputError, SetupError
from segwild_addon.protocol.requests import Doctor


def shapes(kind: str, *, auxiliary: bool = True) -> dict[str, Tensor]:
    """Names and shapes as a file has them, on the meta device."""
    state = build(kind, auxiliary=auxiliary).state_dict()
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


def drawn(kind: str, *, auxiliary: bool = True) -> dict[str, Tensor]:
    """A state dict of the true format with random weights, counters included."""
    random = torch.Generator().manual_seed(1)
    drawn = {}
    for name, value in build(kind, auxiliary=auxiliary).state_dict().items():
        if value.is_floating_point():
            scale = max(value[0].numel(), 1) ** -0.5 if value.dim() > 1 else 0.2
            drawn[name] = scale * torch.randn(value.shape, generator=random)
            if name.endswith("running_var"):
                drawn[name] = 0.5 + drawn[name].abs()
        else:
            drawn[name] = torch.tensor(1000)
    return drawn


@pytest.mark.parametrize("kind", KINDS)
def test_every_published_network_is_told_from_the_others(kind: str) -> None:
    assert kind_of(shapes(kind)) == kind
    assert kind_of(shapes(kind, auxiliary=False)) == kind


@pytest.mark.parametrize(
    ("kind", "auxiliary", "archive"),
    [
        ("lraspp_mobilenet_v3_large", False, True),
        ("deeplabv3_mobilenet_v3_large", True, True),
        ("deeplabv3_mobilenet_v3_large", False, False),  # and as older torch wrote files
    ],
)
def test_a_file_opens_as_the_network_it_is(kind: str, auxiliary: bool, archive: bool, tmp_path: Path) -> None:
    saved = drawn(kind, auxiliary=auxiliary)
    torch.save(saved, tmp_path / "weights.pth", _use_new_zipfile_serialization=archive)
    network = open_network(tmp_path / "weights.pth")
    assert network.digest == weights.digest(tmp_path / "weights.pth")
    assert not network.model.training
    own = network.model.state_dict()
    assert all(value.device.type == "cpu" for value in own.values())
    for name, value in own.items():
        assert name.endswith("num_batches_tracked") or torch.equal(value, saved[name]), name
    assert not any(name.startswith("aux_classifier") for name in own)  # not computed


def other_classes(tensors: dict[str, Tensor]) -> None:
    for name in ("classifier.low_classifier", "classifier.high_classifier"):
        tensors[f"{name}.weight"] = tensors[f"{name}.weight"][:19]


def one_by_one(tensors: dict[str, Tensor]) -> None:
    """Names as in Mask R-CNN."""
    tensors.clear()
    names = (
        "backbone.body.layer3.5.conv1.weight",
        "rpn.head.conv.weight",
        "roi_heads.mask_predictor.conv5_mask.weight",
    )
    tensors.update({name: torch.zeros(2) for name in names})


def other_backbone(tensors: dict[str, Tensor]) -> None:
    """FCN with MobileNet, which torchvision does not publish."""
    tensors.clear()
    tensors.update({name: torch.zeros(2) for name in ("backbone.0.0.weight", "classifier.4.weight")})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tensors: tensors.pop("backbone.4.block.3.0.weight"), "'backbone.4.block.3.0.weight' of LR-ASPP"),
        (lambda tensors: tensors.update({"surplus": torch.zeros(1)}), "'surplus' is no part of LR-ASPP"),
        (other_classes, "for the 21 labels of Pascal VOC"),
        (one_by_one, "no checkpoint of a segmentation network"),
        (other_backbone, "no checkpoint of a segmentation network"),
        (lambda tensors: tensors.pop("backbone.0.0.weight"), "'backbone.0.0.weight' of LR-ASPP"),
        (lambda tensors: tensors.clear() or tensors.update({"x": torch.zeros(1)}), "no checkpoint of a segmentation"),
        (lambda tensors: tensors.update({"epoch": 3}), "is int, not a tensor"),
        (lambda tensors: tensors.update({"count": torch.tensor(3)}), "'count' is no plain tensor"),
    ],
)
def test_another_layout(change: Callable, told: str, red_is_a_person: Path, tmp_path: Path) -> None:
    tensors = torch.load(red_is_a_person, weights_only=True)
    change(tensors)
    torch.save(tensors, tmp_path / "other.pth")
    with pytest.raises(InputError, match=told) as caught:
        open_network(tmp_path / "other.pth")
    assert caught.value.code == "checkpoint-unknown"
    assert caught.value.hint


def test_a_download_that_stopped(red_is_a_person: Path, tmp_path: Path) -> None:
    content = red_is_a_person.read_bytes()
    for length in (0, 1000, len(content) - 1):
        (tmp_path / "part.pth").write_bytes(content[:length])
        with pytest.raises(InputError) as caught:
            open_network(tmp_path / "part.pth")
        assert caught.value.code == "checkpoint-damaged", length


def test_without_torchvision(red_is_a_person: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(SetupError, match="is not installed"):
        open_network(red_is_a_person)
    assert people.on_this_machine() == [
        "torchvision, whose networks are used, is not installed. Install it: pip install -e ."
    ]


def test_what_is_published_is_what_torchvision_says() -> None:
    files = checkpoint.published()
    assert [file.kind for file in files] == list(KINDS.values())
    for file in files:
        assert file.url.startswith("https://download.pytorch.org/models/")
        assert len(file.sha256) == 8
        assert file.file.endswith(f"-{file.sha256}.pth")
        assert int(file.sha256, 16)
    # A file that was made in the true format is as large as the published one.
    size = 4 * sum(value.numel() for value in shapes("lraspp_mobilenet_v3_large").values())
    assert size == pytest.approx(files[0].size_bytes, rel=0.03)


def test_what_the_doctor_says(red_is_a_person: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    files = checkpoint.published()
    nothing = doctor.run(Doctor(), Quiet())["people_checkpoints"]
    for file, line in zip(files, nothing, strict=True):
        assert file.url in line
        assert f"SHA-256 {file.sha256}…" in line
        assert " MB" in line
    weights.folder().mkdir(parents=True)
    whole = red_is_a_person.read_bytes()
    (weights.folder() / files[0].file).write_bytes(whole)
    (weights.folder() / "fcn_of_my_own.pth").write_bytes(whole)
    (weights.folder() / "sam_of_somebody.pth").write_bytes(whole)  # of another kind
    lines = people.on_this_machine()
    assert "is not what was published under that name" in lines[0]
    assert "not found" in lines[1]
    assert lines[-1].endswith(f"fcn_of_my_own.pth (not a published file; SHA-256 {weights.digest(red_is_a_person)})")
    assert len(lines) == len(files) + 1
    known = replace(files[0], sha256=weights.digest(red_is_a_person)[:8])
    monkeypatch.setattr(checkpoint, "published", lambda: (known,))
    assert [line.endswith("(as published)") for line in people.on_this_machine()] == [True, True]
