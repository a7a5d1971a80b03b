"""Labelled patches into labels of rows: against the vote written out, with ties, and what patches are cut."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.features import Lifted, transfer
from backend.features.transfer import UNSAID, Patches, patches, transferred
from backend.render import Seen


def lifted_of(features: np.ndarray, unseen: tuple[int, ...] = ()) -> Lifted:
    count = len(features)
    gone = np.zeros(count, bool)
    gone[list(unseen)] = True
    return Lifted(np.where(gone[:, None], 0, features).astype(np.float16), *np.ones((2, count), np.float32), gone)


def voted(feature: np.ndarray, known: Patches, k: int) -> tuple[int, float]:
    """The rule, one row at a time."""
    cosines = known.features @ (feature / np.linalg.norm(feature))
    nearest = np.argsort(-cosines, kind="stable")[:k]
    counts, sums = Counter[int](), Counter[int]()
    for place in nearest:
        counts[int(known.labels[place])] += 1
        sums[int(known.labels[place])] += float(cosines[place])
    label = max(counts, key=lambda each: (counts[each], sums[each]))
    return label, max(0.0, counts[label] / len(nearest) * sums[label] / counts[label])


@given(seed=st.integers(0, 10_000), k=st.integers(1, 9), count=st.integers(1, 12), kinds=st.integers(1, 4))
def test_the_vote_row_by_row(seed: int, k: int, count: int, kinds: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(count, 6)).astype(np.float32)
    known = Patches(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 3 * random.integers(0, kinds, count))
    lifted = lifted_of(random.normal(size=(15, 6)), unseen=(4,))
    found = transferred(lifted, known, k)
    for row, feature in enumerate(lifted.features.astype(float)):
        if row == 4:
            assert (found.labels[row], found.confidence[row]) == (UNSAID, 0)
            continue
        label, confidence = voted(feature, known, k)
        assert found.labels[row] == label
        assert found.confidence[row] == pytest.approx(confidence, abs=1e-5)


def test_ties_go_to_the_larger_sum() -> None:
    """Two of each label: 7 has the nearest one, 2 the nearer pair."""
    angles = np.radians([1, 40, 10, 20, 89])
    known = Patches(np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32), np.array([7, 7, 2, 2, 5]))
    found = transferred(lifted_of(np.array([[3.0, 0]])), known, 4)
    assert found.labels[0] == 2
    assert found.confidence[0] == pytest.approx(0.5 * (np.cos(angles[2]) + np.cos(angles[3])) / 2, abs=1e-5)


def test_rows_in_pieces_are_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    known = Patches(np.eye(4, dtype=np.float32), np.arange(4))
    lifted = lifted_of(random.normal(size=(50, 4)))
    whole = transferred(lifted, known, 3)
    monkeypatch.setattr(transfer, "_COMPARED", 28)
    pieces = transferred(lifted, known, 3)
    assert np.array_equal(pieces.labels, whole.labels)
    assert pieces.confidence == pytest.approx(whole.confidence)


def test_no_patches_say_nothing() -> None:
    none = Patches(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    assert (transferred(lifted_of(np.ones((3, 4))), none).labels == UNSAID).all()
    assert len(Patches.joined([none, none]).labels) == 0


def test_labels_share_the_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "MOST", 40)
    random = np.random.default_rng(1)
    parts = [
        Patches(random.normal(size=(size, 3)).astype(np.float32), np.full(size, label))
        for size, label in ((5, 9), (500, 0), (60, 4))
    ]
    kept = Patches.joined(parts)
    assert Counter(kept.labels.tolist()) == {9: 5, 0: 13, 4: 13}
    assert all((part.features[:, None] == kept.features[kept.labels == part.labels[0]]).all(2).any() for part in parts)


def test_patches_show_the_scene_and_one_label(blobs) -> None:
    """A channel per kind of row: what a patch shows is what its label was drawn around."""
    kinds = np.eye(3)[blobs.labels]
    camera = blobs.cameras[0]
    seen = Seen(blobs.scene, camera)
    labels = np.full((camera.height, camera.width), UNSAID)
    labels[blobs.mask(blobs.red)[::2, ::2]] = blobs.red
    labels[blobs.mask(blobs.blue)[::2, ::2]] = blobs.blue
    found = patches(lifted_of(kinds), seen, labels)
    assert set(found.labels) == {blobs.red, blobs.blue}
    assert np.linalg.norm(found.features, axis=1) == pytest.approx(np.ones(len(found.labels)), abs=1e-5)
    # The pixels inside: neither half of a patch nor of anything but its label.
    assert (found.features.argmax(1) == found.labels).mean() > 0.98
    most = sum(int((labels == label).sum()) for label in (blobs.red, blobs.blue)) / transfer.PATCH_PX**2
    assert 0.7 * most < len(found.labels) < 1.3 * most
    sky = np.full((camera.height, camera.width), UNSAID)
    sky[:8] = 1
    assert seen.alpha()[:8].max() < 0.1
    assert len(patches(lifted_of(kinds), seen, sky).labels) == 0


def test_a_view_smaller_than_a_patch(blobs) -> None:
    camera = blobs.cameras[0].resized(3, 3)
    assert len(patches(lifted_of(np.eye(3)[blobs.labels]), Seen(blobs.scene, camera), np.ones((3, 3), int)).labels) == 0
