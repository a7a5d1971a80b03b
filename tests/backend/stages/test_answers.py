"""Questions answered from an open scene, also one without photos."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from backend.segment import objects
from backend.stages.answers import Answers, rows_of
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Choose, Keep, Prepare
from segwild_addon.protocol.values import ArrayRef, Mark

ON_RED = Mark((-0.45, -0.27, 0.28), (-0.6, -2.5, 0.5), 0.01)


def opened(blobs, ref: ArrayRef) -> np.ndarray:
    bits = np.load(blobs.workspace.root / ref.path, allow_pickle=False)
    return np.flatnonzero(np.unpackbits(bits, bitorder="little", count=len(blobs.scene)))


@pytest.mark.parametrize("photos", [True, False])
def test_what_marks_choose_is_what_is_kept(blobs, photos: bool) -> None:
    if not photos:  # an import
        (blobs.workspace.root / "photos.json").unlink()
    answers = Answers(blobs.workspace.root)
    *_, ready = answers.prepare(Prepare())
    assert ready.gaussians == len(blobs.scene)
    chosen = answers.answer(Choose((ON_RED,)))
    rows = opened(blobs, chosen.rows)
    assert blobs.iou(rows, blobs.red) > 0.9
    kept = answers.answer(Keep("frog", marks=(ON_RED,)))
    assert np.array_equal(opened(blobs, kept.rows), rows)
    item = objects.find(blobs.workspace, "frog")
    assert np.array_equal(item.rows, rows)
    assert {votes.kind for votes in item.evidence} == {"region", "seed"}


def test_rows_are_kept_exactly(blobs) -> None:
    answers = Answers(blobs.workspace.root)
    bits = np.random.default_rng(0).random(len(blobs.scene)) < 0.3
    text = base64.b64encode(np.packbits(bits, bitorder="little")).decode()
    kept = answers.answer(Keep("any", rows=text, marks=(ON_RED,)))
    item = objects.find(blobs.workspace, "any")
    assert np.array_equal(item.rows, np.flatnonzero(bits))
    assert np.array_equal(opened(blobs, kept.rows), item.rows)
    assert (item.probability == 1).all()


@pytest.mark.parametrize("count", [1, 7, 8, 9, 2500])
def test_bits_have_one_meaning(count: int) -> None:
    bits = np.random.default_rng(count).random(count) < 0.5
    packed = np.packbits(bits, bitorder="little")
    assert np.array_equal(rows_of(base64.b64encode(packed).decode(), count), bits)
    wrong = [b"", packed.tobytes() + b"\0"]
    if count % 8:
        wrong.append((packed | np.append(np.zeros(len(packed) - 1, np.uint8), 128)).astype(np.uint8).tobytes())
    for data in wrong:
        with pytest.raises(InputError, match="not those of this scene"):
            rows_of(base64.b64encode(data).decode(), count)
    with pytest.raises(InputError, match="not base64"):
        rows_of("ä", count)
