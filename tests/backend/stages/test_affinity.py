"""The affinity field as a stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.features import Lifted
from backend.progress import Quiet
from backend.scene.files import read_arrays
from backend.segment import objects
from backend.segment.segmenters import sam
from backend.segment.segmenters.sam import Wanted
from backend.stages import affinity, masks
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Affinity, Masks


def test_a_field_and_proposals(blobs, small_sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = blobs.workspace.root
    monkeypatch.setattr(sam, "Wanted", lambda: Wanted(-9, 0.0, 0.01, 1))  # random weights are never sure
    masks.run(Masks(root, checkpoint=small_sam, points=16), Quiet())
    result = affinity.run(Affinity(root, small_sam, steps=4, objects=2), Quiet())
    assert result.items() >= {"photos": 6, "held_out": ["a4"], "masks": 6, "steps": 4}.items()
    assert result["error_lifted"] > 0
    assert result["trained"] == (result["error_trained"] < result["error_lifted"])
    lifted = Lifted.load(blobs.workspace, "affinity")
    assert lifted is not None
    assert lifted.features.shape == (len(blobs.scene), 64)
    arrays, _ = read_arrays(root / "features" / "affinity.decoder.safetensors")
    assert arrays["matrix"].shape == (256, 64)
    assert arrays["offset"].shape == (256,)
    names = list(objects.names(blobs.workspace).values())
    assert names == result["objects"] == [f"proposal {number + 1}" for number in range(min(2, result["proposals"]))]


def test_held_out_are_the_photos_that_trained_nothing(blobs, small_sam: Path) -> None:
    photos = blobs.workspace.photos()
    blobs.workspace.write_photos([replace(photo, split="test" if photo.name == "a1" else "train") for photo in photos])
    result = affinity.run(Affinity(blobs.workspace.root, small_sam, steps=0), Quiet())
    assert result.items() >= {"held_out": ["a1"], "masks": 0, "steps": 0, "trained": False}.items()


def test_one_photo_is_too_few(blobs, small_sam: Path) -> None:
    blobs.workspace.write_photos(blobs.workspace.photos()[:1])
    with pytest.raises(InputError, match="at least 2 photos"):
        affinity.run(Affinity(blobs.workspace.root, small_sam), Quiet())


def test_senseless_counts(blobs) -> None:
    for request in (Affinity(blobs.workspace.root, steps=-1), Affinity(blobs.workspace.root, objects=-2)):
        with pytest.raises(InputError, match="count from 0"):
            affinity.run(request, Quiet())
    assert not np.any([path.name == "affinity.safetensors" for path in blobs.workspace.root.rglob("*")])
