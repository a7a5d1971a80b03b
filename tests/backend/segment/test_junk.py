"""Junk that was put into a clean scene is found, each for its own cause, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from backend.scene import Gaussians
from backend.scene.gaussians import FIELDS, concatenate
from backend.segment.graph import scene_graph
from backend.segment.junk import CAUSES, find_junk, measured
from segwild_addon.protocol.errors import InputError
from tests.backend.conftest import BLUE, CENTRES, blob_scene, looking_at, ring_of_cameras


@pytest.fixture(scope="module")
def known() -> tuple[Gaussians, np.ndarray]:
    return blob_scene()


def rows(like: Gaussians, means: np.ndarray, **changes: np.ndarray) -> Gaussians:
    fields = {name: np.repeat(getattr(like, name)[:1], len(means), 0) for name in FIELDS}
    return Gaussians(**fields | {"means": means.astype(np.float32)} | changes)


@pytest.fixture(scope="module")
def littered(known) -> tuple[Gaussians, dict[str, np.ndarray]]:
    scene, _ = known
    camera = ring_of_cameras()[1]
    thin = np.log(np.tile([0.3, 0.01, 0.01], (4, 1))).astype(np.float32)
    parts = {
        "needle": rows(scene, scene.means[900:904] + 0.01, log_scales=thin),
        "floater": rows(scene, np.array([[0.0, 0, 1.3], [0.02, 0, 1.3], [1.2, 1.2, 1.0]])),
        "near-camera": rows(scene, (camera.centre + 0.2 * camera.forward)[None] + [[0, 0, 0.01], [0, 0, -0.01]]),
        "unseen": rows(
            scene,
            np.array(CENTRES[BLUE]) + np.array([[0, 0, 0], [0.01, 0, 0]]),
            opacity_logits=np.full(2, -6, np.float32),
        ),
    }
    places, first = {}, len(scene)
    for cause, part in parts.items():
        places[cause] = np.arange(first, first + len(part))
        first += len(part)
    return concatenate([scene, *parts.values()]), places


def test_each_kind_is_found_for_its_cause(littered) -> None:
    scene, places = littered
    found = find_junk(scene, scene_graph(scene), ring_of_cameras(), strength=1.0)
    for column, cause in enumerate(CAUSES):
        assert set(places[cause]) <= set(found.rows[found.causes[:, column]]), cause
    needles = found.rows[found.causes[:, CAUSES.index("needle")]]
    assert set(needles) == set(places["needle"])
    near = found.rows[found.causes[:, CAUSES.index("near-camera")]]
    assert set(near) == set(places["near-camera"])
    assert found.counts()["needle"] == len(needles)


def test_more_strength_finds_more_of_the_same(littered) -> None:
    scene, _ = littered
    graph = scene_graph(scene)
    found = [set(find_junk(scene, graph, ring_of_cameras(), strength=strength).rows) for strength in (0.0, 0.5, 1.0)]
    assert found[0] <= found[1] <= found[2]
    assert 0 < len(found[0]) < len(found[2])


def test_a_clean_scene_has_hardly_any(known) -> None:
    scene, _ = known
    found = find_junk(scene, scene_graph(scene), ring_of_cameras(), strength=0.5)
    assert found.counts()["needle"] == found.counts()["near-camera"] == found.counts()["floater"] == 0
    assert len(found.rows) < 0.05 * len(scene)


def test_what_one_photo_of_many_shows_is_seen(known) -> None:
    """A speck before a blob, too small for all cameras but the one that has come near."""
    scene, _ = known
    far = ring_of_cameras()[0]
    speck = far.centre + 0.7 * far.forward
    near = looking_at(speck - 0.02 * far.forward, speck, np.array([0.0, 0, 1]), focal=190, width=200, height=150)
    faint = {"log_scales": np.full((1, 3), -7, np.float32), "opacity_logits": np.full(1, -1.5, np.float32)}
    with_it = concatenate([scene, rows(scene, speck[None], **faint)])
    graph, column = scene_graph(with_it), CAUSES.index("unseen")
    for cameras, unseen in (([far] * 50, True), ([far, near, *[far] * 48], False)):
        assert (measured(with_it, graph, cameras)[-1, column] >= 1) == unseen


def test_only_where_it_is_asked(littered) -> None:
    scene, places = littered
    within = np.zeros(len(scene), bool)
    within[places["needle"][:2]] = True
    found = find_junk(scene, scene_graph(scene), [], within=within, strength=1.0)
    assert set(found.rows) == set(places["needle"][:2])


def test_only_what_is_asked_for(littered) -> None:
    scene, _ = littered
    graph = scene_graph(scene)
    every = find_junk(scene, graph, ring_of_cameras(), strength=1.0)
    for column, cause in enumerate(CAUSES):
        found = find_junk(scene, graph, ring_of_cameras(), strength=1.0, causes=(cause,))
        assert np.array_equal(found.rows, every.rows[every.causes[:, column]])
        assert found.counts() == {each: len(found.rows) * (each == cause) for each in CAUSES}
    two = find_junk(scene, graph, ring_of_cameras(), strength=1.0, causes=CAUSES[:2])
    assert np.array_equal(two.rows, every.rows[every.causes[:, :2].any(1)])


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_a_strength_that_is_none(littered, strength: float) -> None:
    scene, _ = littered
    with pytest.raises(InputError):
        find_junk(scene, scene_graph(scene), [], strength=strength)
