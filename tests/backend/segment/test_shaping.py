"""Growing, shrinking and falling apart."""

from __future__ import annotations

import numpy as np
import pytest

from backend.scene import Gaussians
from backend.segment.graph import scene_graph
from backend.segment.shaping import components, components_of, grown, shrunk
from tests.backend.conftest import blob_scene


@pytest.fixture(scope="module")
def known() -> tuple[Gaussians, np.ndarray]:
    return blob_scene()


@pytest.fixture(scope="module")
def graph(known):
    return scene_graph(known[0])


def test_growing_stays_on_what_looks_alike(known, graph) -> None:
    scene, labels = known
    some = np.zeros(len(labels), bool)
    red = np.flatnonzero(labels == 1)
    high = red[scene.means[red, 2] > 0.3]
    some[high] = True
    larger = grown(some, graph)
    assert (larger & ~some).sum() > 10
    assert larger[some].all()
    everything = grown(some, graph, 40)
    assert everything[red].mean() > 0.9
    assert everything[labels == 2].sum() == 0


def test_shrinking_takes_the_rim(known, graph) -> None:
    scene, labels = known
    disc = (labels == 0) & (np.linalg.norm(scene.means[:, :2], axis=1) < 0.9)
    inner = shrunk(disc, graph)
    lost = disc & ~inner
    radius = np.linalg.norm(scene.means[:, :2], axis=1)
    assert lost.any()
    assert inner[disc & (radius < 0.7) & (radius > 0.65)].mean() > 0.5
    assert radius[lost].mean() > radius[inner].mean()
    assert not shrunk(inner, graph, 100)[labels == 0].all()


def test_parts_are_all_there_largest_first(known, graph) -> None:
    scene, labels = known
    both = labels > 0
    both[np.flatnonzero(labels == 2)[:100]] = False
    parts = components(both, scene.means, graph)
    assert len(parts[0]) > len(parts[1]) > 300
    assert (labels[parts[0]] == 1).all()
    assert (labels[parts[1]] == 2).all()
    assert np.array_equal(np.sort(np.concatenate(parts)), np.flatnonzero(both))


def test_many_sets_fall_apart_as_each_alone(known, graph) -> None:
    scene, _ = known
    owner = np.random.default_rng(0).integers(-1, 3, len(scene.means))  # neighbours of several owners, and crumbs
    alone = [part for number in range(3) for part in components(owner == number, scene.means, graph)]
    together = components_of(owner, scene.means, graph)
    assert len(together) > 100
    assert [len(part) for part in together] == sorted((len(part) for part in together), reverse=True)
    assert {tuple(part) for part in together} == {tuple(part) for part in alone}


def test_nothing_has_no_parts(known, graph) -> None:
    scene, labels = known
    assert components(np.zeros(len(labels), bool), scene.means, graph) == []
