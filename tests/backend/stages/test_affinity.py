"""The affinity field as a stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.features import Lifted
from backend.features.encoders import Described, Options, open_encoder
from backend.progress import Quiet
from backend.render import Seen
from backend.scene.files import read_arrays
from backend.segment import objects
from backend.segment.masks import Masks as KeptMasks
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
    objects.rename(blobs.workspace, "proposal 1", "mine")
    mine = objects.find(blobs.workspace, "mine").rows
    again = affinity.run(Affinity(root, small_sam, steps=4, objects=9), Quiet())
    found = {item.name: item.rows for item in objects.load(blobs.workspace)}
    assert sorted(found) == sorted(["mine", *again["objects"]])
    assert np.array_equal(found.pop("mine"), mine)
    assert not np.isin(np.concatenate([*found.values(), []]), mine).any()
    one = affinity.run(Affinity(root, small_sam, steps=4, objects=1), Quiet())
    assert sorted(objects.names(blobs.workspace).values()) == sorted(["mine", *one["objects"]])  # no rest


def test_proposals_of_a_scene_that_was_trained_anew_meanwhile_are_refused(
    blobs, small_sam: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*_):
        replace(blobs.scene, sh0=blobs.scene.sh0 * 0.5).save(blobs.workspace.splats)
        return [np.flatnonzero(blobs.labels == blobs.red)]

    monkeypatch.setattr(affinity, "proposals", meanwhile)
    with pytest.raises(InputError) as caught:
        affinity.run(Affinity(blobs.workspace.root, small_sam, steps=0, objects=1), Quiet())
    assert caught.value.code == "scene-changed"
    assert not objects.names(blobs.workspace)


def test_held_out_are_the_photos_that_trained_nothing(blobs, small_sam: Path) -> None:
    photos = blobs.workspace.photos()
    blobs.workspace.write_photos([replace(photo, split="test" if photo.name == "a1" else "train") for photo in photos])
    result = affinity.run(Affinity(blobs.workspace.root, small_sam, steps=0), Quiet())
    assert result.items() >= {"held_out": ["a1"], "masks": 0, "steps": 0, "trained": False}.items()


def test_masks_of_other_gaussians_have_no_say(blobs, small_sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = blobs.workspace.root
    monkeypatch.setattr(sam, "Wanted", lambda: Wanted(-9, 0.0, 0.01, 1))
    masks.run(Masks(root, checkpoint=small_sam, points=16), Quiet())
    blobs.scene.take(np.arange(len(blobs.scene) - 1)).save(blobs.workspace.splats)
    progress = Quiet()
    assert affinity.run(Affinity(root, small_sam, steps=0), progress)["masks"] == 0
    assert [(warning.code, warning.items) for warning in progress.warnings] == [
        ("masks-stale", ("a0", "a1", "a2", "a3", "a4", "a5"))
    ]


def test_masks_beyond_what_is_held_are_read_again(blobs, small_sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = blobs.workspace.root
    monkeypatch.setattr(sam, "Wanted", lambda: Wanted(-9, 0.0, 0.01, 1))
    masks.run(Masks(root, checkpoint=small_sam, points=16), Quiet())
    encoder = open_encoder(Options("sam", checkpoint=small_sam), blobs.workspace)
    again, held = (affinity.Seeing(Described(blobs.workspace, blobs.scene, encoder), encoder) for _ in range(2))
    assert again.masked == held.masked == list(range(6))
    first = [held.members(number) for number in (0, 3, 0)]
    monkeypatch.setattr(affinity, "_MEMBERS_BYTES", 0)
    second = [again.members(number) for number in (0, 3, 0)]
    assert (sorted(held._members), sorted(again._members)) == ([0, 3], [])
    for one, other, number in zip(first, second, (0, 3, 0), strict=True):
        camera, kept = held.cameras[number], KeptMasks.load(blobs.workspace, "sam", f"a{number}")
        assert one.shape == (camera.height, camera.width, len(kept.scores))
        assert one.any()
        assert np.array_equal(one, other)


def test_the_mass_is_the_sum_of_all_views(blobs, small_sam: Path) -> None:
    encoder = open_encoder(Options("sam", checkpoint=small_sam), blobs.workspace)
    source = affinity.Seeing(Described(blobs.workspace, blobs.scene, encoder), encoder)
    expected = np.sum([Seen(blobs.scene, camera).mass() for camera in source.cameras], axis=0)
    assert np.array_equal(affinity._mass(source, blobs.scene), expected)  # bit for bit


def test_one_photo_is_too_few(blobs, small_sam: Path) -> None:
    blobs.workspace.write_photos(blobs.workspace.photos()[:1])
    with pytest.raises(InputError, match="at least 2 photos"):
        affinity.run(Affinity(blobs.workspace.root, small_sam), Quiet())


def test_senseless_counts(blobs) -> None:
    for request in (Affinity(blobs.workspace.root, steps=-1), Affinity(blobs.workspace.root, objects=-2)):
        with pytest.raises(InputError, match="count from 0"):
            affinity.run(request, Quiet())
    assert not np.any([path.name == "affinity.safetensors" for path in blobs.workspace.root.rglob("*")])
