"""Several clicks: each mends its surroundings and leaves the rest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.segment import clumps as module
from backend.segment.clumps import Clumps
from backend.segment.ground import find_ground
from backend.segment.prepared import Prepared
from backend.segment.region import Walks


def at(blobs, *rows: int) -> np.ndarray:
    weights = np.zeros(len(blobs.scene))
    weights[list(rows)] = 1
    return weights


@pytest.fixture
def walks(blobs) -> Walks:
    looks = blobs.scene.sh0[:, 0] / blobs.scene.sh0[:, 0].std(0)
    return Walks(blobs.scene, looks, find_ground(blobs.scene, blobs.cameras))


def test_two_clicks_on_two_things_choose_both(blobs, walks: Walks) -> None:
    red, blue = (np.flatnonzero(blobs.labels == label)[:3] for label in (blobs.red, blobs.blue))
    region = walks.region([at(blobs, *red), at(blobs, *blue)])
    assert region is not None
    chosen = np.zeros(len(blobs.scene), bool)
    chosen[region.rows] = True
    for label in (blobs.red, blobs.blue):
        assert chosen[blobs.labels == label].mean() > 0.9
    assert chosen[blobs.labels == 0].mean() < 0.05


@pytest.mark.parametrize("place", [0, 200, 449])
def test_a_click_beside_costs_only_its_surroundings(blobs, walks: Walks, place: int) -> None:
    """Even where it hits a row of the object by mistake."""
    red = np.flatnonzero(blobs.labels == blobs.red)
    far = int(red[np.linalg.norm(blobs.scene.means[red] - blobs.scene.means[red[place]], axis=1).argmax()])
    region = walks.region([at(blobs, far)], [at(blobs, int(red[place]))])
    assert region is not None
    assert far in region.rows
    assert red[place] not in region.rows
    assert not np.isin(region.rows, np.flatnonzero(blobs.labels == blobs.blue)).any()


def test_one_more_click_on_what_is_chosen_changes_little(blobs, walks: Walks) -> None:
    red = np.flatnonzero(blobs.labels == blobs.red)
    region = walks.region([at(blobs, int(red[0])), at(blobs, int(red[300]))], [at(blobs, 2000)])
    assert region is not None
    assert blobs.iou(region.rows, blobs.red) > 0.9


def test_a_row_that_is_on_and_beside_goes_to_the_heavier_side(blobs) -> None:
    prepared = Prepared.of(blobs.workspace)
    red = np.flatnonzero(blobs.labels == blobs.red)
    on, beside = at(blobs, red[0], red[1]), 2 * at(blobs, red[1])
    selection = prepared.clicked([on], [beside])
    assert selection.chosen[red[0]]
    assert not selection.chosen[red[1]]
    assert prepared.clicked([on], [0.5 * at(blobs, red[1])]).chosen[red[:2]].all()


@given(st.integers(2, 60), st.integers(0, 2**32 - 1))
def test_clumps_keep_all_ties_between_them(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    edges = np.unique(np.sort(random.integers(0, count, (4 * count, 2)), 1), axis=0)
    edges = edges[edges[:, 0] != edges[:, 1]]
    strengths = random.random(len(edges))
    few = module.MOST
    module.MOST = max(1, count // 4)
    try:
        made = Clumps(edges, strengths, count)
    finally:
        module.MOST = few
    assert np.bincount(made.of_row).max() <= -(-2 * count // max(1, count // 4))
    labels = random.random(int(made.of_row.max()) + 1) < 0.5
    spread = made.spread(labels)
    fine = strengths[spread[edges[:, 0]] != spread[edges[:, 1]]].sum()
    coarse = made.strengths[labels[made.edges[:, 0]] != labels[made.edges[:, 1]]].sum()
    assert coarse == pytest.approx(fine)
    values = random.normal(size=count)
    assert made.gathered(values).sum() == pytest.approx(values.sum())
    values[0] = -np.inf
    assert np.isneginf(made.gathered(values)[made.of_row[0]])
    values[count - 1] = np.inf
    assert np.isposinf(made.gathered(values)[made.of_row[count - 1]])
