"""Scores of an object against a folder of masks: what counts, what is skipped, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.capture.pictures import write_picture
from backend.progress import Quiet
from backend.segment import objects
from backend.stages import evaluate_masks
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import EvaluateMasks


@pytest.fixture
def request_(blobs, tmp_path) -> EvaluateMasks:
    objects.save(blobs.workspace, "red", blobs.labels == blobs.red, np.ones(len(blobs.scene)))
    for name in ("a0", "a1"):
        write_picture(tmp_path / "masks" / f"{name}.png", blobs.mask(blobs.red, name))
    return EvaluateMasks(blobs.workspace.root, "red", tmp_path / "masks")


def test_every_photo_with_a_mask_is_scored(request_) -> None:
    result = evaluate_masks.run(request_, Quiet())
    assert (result["n"], result["n_empty"], result["not_scored"]) == (2, 0, [])
    assert result["iou"] == pytest.approx(np.mean([view["iou"] for view in result["views"]]))
    assert result["iou"] > 0.93
    assert result["boundary_iou"] > 0.8
    assert result["extracted_iou"] > 0.8
    assert result["spill"] < 0.05


def test_empty_foreign_left_out_and_skipped_masks(blobs, request_) -> None:
    write_picture(request_.masks / "a2.png", blobs.mask(blobs.red) & False)
    write_picture(request_.masks / "a3.png", blobs.mask(blobs.red))
    write_picture(request_.masks / "stranger.png", blobs.mask(blobs.red))
    photos = blobs.workspace.photos()
    blobs.workspace.write_photos([replace(p, excluded="blurred") if p.name == "a3" else p for p in photos])
    progress = Quiet()
    result = evaluate_masks.run(replace(request_, skip=("a1",)), progress)
    assert (result["n"], result["n_empty"]) == (1, 1)
    assert {row["mask"]: row["reason"] for row in result["not_scored"]} == {
        "a1.png": "skipped on request",
        "a3.png": "the photo was left out: blurred",
        "stranger.png": "no photo has this name",
    }
    assert progress.warnings[0].items == ("a3.png", "stranger.png")


def test_nothing_to_score(request_, tmp_path) -> None:
    for changes in (
        {"masks": tmp_path / "nowhere"},
        {"skip": ("a0", "a1")},
        {"skip": ("a9",)},
        {"object": "rad"},
    ):
        with pytest.raises(InputError):
            evaluate_masks.run(replace(request_, **changes), Quiet())


def test_a_mask_of_another_size(request_) -> None:
    write_picture(request_.masks / "a4.png", np.ones((5, 5), bool))
    with pytest.raises(InputError, match="a4"):
        evaluate_masks.run(request_, Quiet())
