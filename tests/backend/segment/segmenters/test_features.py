"""Clicks into rows with features like theirs, wherever they are."""

from __future__ import annotations

import numpy as np
import pytest

from backend.features import Lifted
from backend.progress import Quiet
from backend.segment.posterior import UNIT
from backend.segment.prepared import Prepared
from backend.segment.prompts import Clicks
from backend.segment.segmenters import looking_alike
from backend.segment.selection import Selector
from backend.stages import lift
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Lift


def selector(blobs) -> Selector:
    return Selector(Prepared.of(blobs.workspace), blobs.workspace, blobs.photo())


def clicks(*points: tuple[float, float], positive: tuple[bool, ...] = (True,)) -> Clicks:
    return Clicks(np.array(points), np.array(positive))


def features(blobs, kinds: np.ndarray, certainty: float = 1.0, unseen: np.ndarray | None = None) -> Lifted:
    """A channel per kind (N,) int, with some noise."""
    random = np.random.default_rng(2)
    gone = np.zeros(len(kinds), bool) if unseen is None else unseen
    values = np.eye(kinds.max() + 1)[kinds] + random.normal(0, 0.05, (len(kinds), kinds.max() + 1))
    return Lifted(
        np.where(gone[:, None], 0, values).astype(np.float16),
        np.where(gone, 0, certainty).astype(np.float32),
        np.where(gone, 0, 50).astype(np.float32),
        gone,
    )


def test_colours_that_were_lifted_tell_the_blobs_apart(blobs) -> None:
    lift.run(Lift(blobs.workspace.root), Quiet())
    lifted = Lifted.find(blobs.workspace, "colour")
    prepared = selector(blobs)
    for label, other in ((blobs.red, blobs.blue), (blobs.blue, blobs.red)):
        x, y = blobs.pixel(label)
        on = [(x, y), (x, y - 25), (x, y + 25), (x - 25, y), (x + 25, y)]  # its rims look unlike its middle
        points = *on, blobs.pixel(other), (200.0, 280.0)  # the last one is on the ground
        found = looking_alike(prepared, clicks(*points, positive=(True,) * 5 + (False, False)), lifted)
        assert blobs.iou(np.flatnonzero(found.chosen), label) > 0.85
        assert found.chosen[blobs.labels == other].mean() < 0.02


def test_one_click_means_everything_that_looks_alike(blobs) -> None:
    """Both blobs, which do not touch, of features that do not tell them apart; without what else there is."""
    lifted = features(blobs, (blobs.labels > 0).astype(int))
    found = looking_alike(selector(blobs), clicks(blobs.pixel(blobs.red)), lifted)
    truth = blobs.labels > 0
    assert (found.chosen & truth).sum() / (found.chosen | truth).sum() > 0.95


def test_every_positive_and_every_negative_click_counts(blobs) -> None:
    lifted = features(blobs, blobs.labels)
    red, blue, ground = blobs.pixel(blobs.red), blobs.pixel(blobs.blue), (200.0, 280.0)
    prepared = selector(blobs)
    both = looking_alike(prepared, clicks(red, blue, ground, positive=(True, True, False)), lifted)
    assert (both.chosen == (blobs.labels > 0)).mean() > 0.98
    one = looking_alike(prepared, clicks(red, blue, ground, positive=(True, False, False)), lifted)
    assert blobs.iou(np.flatnonzero(one.chosen), blobs.red) > 0.95


def test_a_negative_click_keeps_out_more_than_its_own_kind(blobs) -> None:
    """It is on the blue ball; the ground is nearer to the red one than to that, and not meant either."""
    values = np.array([[0.8, 0.6, 0], [0, 1, 0], [0, 0, 1]])[blobs.labels]
    lifted = Lifted(values.astype(np.float16), *np.ones((2, len(values)), np.float32), np.zeros(len(values), bool))
    points = blobs.pixel(blobs.red), blobs.pixel(blobs.blue)
    found = looking_alike(selector(blobs), clicks(*points, positive=(True, False)), lifted)
    assert blobs.iou(np.flatnonzero(found.chosen), blobs.red) > 0.95


def test_a_margin_leaves_out_what_is_hardly_nearer(blobs) -> None:
    """Rows between two looks, a little nearer to the red one."""
    kinds = np.zeros((len(blobs.labels), 3), np.float32)
    kinds[np.arange(len(blobs.labels)), blobs.labels] = 1
    kinds[blobs.labels == blobs.blue] = (0, 0.92, 0.39)
    lifted = Lifted(kinds.astype(np.float16), *np.ones((2, len(kinds)), np.float32), np.zeros(len(kinds), bool))
    prompts = clicks(blobs.pixel(blobs.red), (200.0, 280.0), positive=(True, False))
    prepared = selector(blobs)
    assert looking_alike(prepared, prompts, lifted).chosen[blobs.labels == blobs.blue].mean() > 0.95
    assert looking_alike(prepared, prompts, lifted, 0.95).chosen[blobs.labels == blobs.blue].mean() < 0.05


def test_it_is_evidence_of_one_vote_at_most_beside_that_of_seeds(blobs) -> None:
    lifted = features(blobs, blobs.labels, certainty=0.8)
    found = looking_alike(selector(blobs), clicks(blobs.pixel(blobs.red)), lifted)
    said, on, beside = found.evidence
    assert [votes.kind for votes in found.evidence] == ["features", "seed", "seed"]
    assert (said.inside.astype(int) + said.outside).max() <= 0.8 * UNIT + 1
    assert not (said.inside.astype(bool) & said.outside.astype(bool)).any()
    assert len(on.rows)
    assert not len(beside.rows)


def test_rows_without_features_follow_their_neighbours(blobs) -> None:
    unseen = np.random.default_rng(4).random(len(blobs.labels)) < 0.2
    lifted = features(blobs, blobs.labels, unseen=unseen)
    found = looking_alike(selector(blobs), clicks(blobs.pixel(blobs.red)), lifted)
    assert not np.isin(found.evidence[0].rows, np.flatnonzero(unseen)).any()
    assert blobs.iou(np.flatnonzero(found.chosen), blobs.red) > 0.9


def test_a_click_on_nothing_that_has_features(blobs) -> None:
    everything = np.ones(len(blobs.labels), bool)
    for lifted, point in (
        (features(blobs, blobs.labels), (200.0, 2.0)),
        (features(blobs, blobs.labels, unseen=everything), blobs.pixel(blobs.red)),
    ):
        with pytest.raises(InputError, match="no surface"):
            looking_alike(selector(blobs), clicks(point), lifted)
