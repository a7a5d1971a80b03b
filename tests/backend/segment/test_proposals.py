"""Clusters of features become proposals, part by part."""

from __future__ import annotations

import numpy as np

from backend.segment.graph import scene_graph
from backend.segment.proposals import proposals


def test_each_part_of_each_kind_is_proposed(blobs) -> None:
    """Both blobs have the same feature and the ground another: three things, for the blobs do not touch."""
    random = np.random.default_rng(0)
    kinds = np.array([[1.0, 0, 0], [0, 1, 0], [0, 1, 0]])
    features = kinds[blobs.labels] + random.normal(0, 0.02, (len(blobs.scene), 3))
    usable = np.ones(len(features), bool)
    usable[:5] = False
    graph = scene_graph(blobs.scene)
    found = proposals(features, usable, blobs.scene.means, graph)
    best = [max(blobs.iou(rows, label) for rows in found) for label in (0, blobs.red, blobs.blue)]
    assert min(best) > 0.9
    everything = np.concatenate(found)
    assert len(np.unique(everything)) == len(everything)
    assert not np.isin(np.arange(5), everything).any()
    assert [len(rows) for rows in found] == sorted((len(rows) for rows in found), reverse=True)
    again = proposals(features, usable, blobs.scene.means, graph)
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


def test_too_little_to_cluster(blobs) -> None:
    graph = scene_graph(blobs.scene)
    features, nobody = np.ones((len(blobs.scene), 3)), np.zeros(len(blobs.scene), bool)
    assert proposals(features, nobody, blobs.scene.means, graph) == []
    assert proposals(0 * features, ~nobody, blobs.scene.means, graph) == []
