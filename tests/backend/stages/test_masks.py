"""Masks of everything as a stage: whole files, made once, found by name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from backend.progress import Quiet
from backend.segment.masks import Masks, masks_file
from backend.segment.segmenters import sam
from backend.segment.segmenters.sam import Wanted
from backend.segment.suppression import areas
from backend.stages import masks
from segwild_addon.protocol.errors import InputError, ResourceError
from segwild_addon.protocol.requests import Masks as Request


@pytest.fixture(autouse=True)
def easily_pleased(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of random weights is never sure."""
    monkeypatch.setattr(sam, "Wanted", lambda: Wanted(-9, 0.0, 0.01, 1))


def content(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def test_masks_of_everything(blobs, small_sam: Path) -> None:
    root = blobs.workspace.root
    result = masks.run(Request(root, checkpoint=small_sam, points=30), Quiet())
    assert result.items() >= {"photos": 6, "made": 6}.items()
    found = Masks.load(blobs.workspace, "sam", "a0")
    assert found is not None
    camera = blobs.cameras[0]
    assert found.size.tolist() == [camera.height, camera.width]
    pixels = found.pixels
    assert pixels.shape == (len(found.scores), camera.height, camera.width)
    assert pixels.sum((1, 2)).tolist() == areas(found.masks).tolist()
    assert (np.diff(found.scores) <= 0).all()
    for number, parent in enumerate(found.parent):
        if parent >= 0:
            assert (pixels[number] & pixels[parent]).sum() >= 0.9 * pixels[number].sum()
    assert result["masks"] >= len(found.scores)
    again = masks.run(Request(root, checkpoint=small_sam, points=30), Quiet())
    assert again.items() >= {"made": 0, "masks": result["masks"]}.items()
    assert masks.run(Request(root, checkpoint=small_sam, points=30, lattice="uniform"), Quiet())["made"] == 6


def test_photos_listed_in_another_order_have_the_same_masks(blobs, small_sam: Path) -> None:
    root = blobs.workspace.root
    masks.run(Request(root, checkpoint=small_sam, points=16), Quiet())
    first = {name: content(masks_file(blobs.workspace, "sam", name)) for name in ("a0", "a3")}
    for name in first:
        masks_file(blobs.workspace, "sam", name).unlink()
    blobs.workspace.write_photos(blobs.workspace.photos()[::-1])
    assert masks.run(Request(root, checkpoint=small_sam, points=16), Quiet())["made"] == 2
    for name, arrays in first.items():
        again = content(masks_file(blobs.workspace, "sam", name))
        assert all(np.array_equal(arrays[key], again[key]) for key in arrays)


def test_what_was_finished_is_kept_and_what_is_damaged_made_again(blobs, small_sam: Path) -> None:
    class Stops(Quiet):
        done = 0

        def advance(self, steps: int = 1, note: str = "") -> None:
            self.done += 1
            if self.done == 2:
                raise KeyboardInterrupt

    request = Request(blobs.workspace.root, checkpoint=small_sam, points=16)
    with pytest.raises(KeyboardInterrupt):
        masks.run(request, Stops())
    path = masks_file(blobs.workspace, "sam", "a1")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="Not a file of masks"):
        Masks.load(blobs.workspace, "sam", "a1")
    assert masks.run(request, Quiet())["made"] == 5
    assert path.read_bytes()[-22:-18] == b"PK\x05\x06"


def test_masks_of_other_gaussians_are_made_again(blobs, small_sam: Path) -> None:
    request = Request(blobs.workspace.root, checkpoint=small_sam, points=16)
    masks.run(request, Quiet())
    blobs.scene.take(np.arange(1200)).save(blobs.workspace.splats)
    assert masks.run(request, Quiet())["made"] == 6


def test_a_full_disk(blobs, small_sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ResourceError, match="disk is full"):
            masks.run(Request(blobs.workspace.root, checkpoint=small_sam, points=16), Quiet())
    assert not list(blobs.workspace.root.rglob("*.npz"))
    assert not list(blobs.workspace.root.rglob("*.part"))


@pytest.mark.parametrize("count", [0, -3, 5000])
def test_senseless_counts(blobs, count: int) -> None:
    with pytest.raises(InputError, match="--points is"):
        masks.run(Request(blobs.workspace.root, points=count), Quiet())
