"""A rendered selection redrawn along the colours of another view."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from backend.segment.carry import Carrying, _mixture, carried_votes, redrawn, spread_views
from backend.segment.prepared import Prepared
from backend.segment.prompts import Mask
from backend.segment.selection import Selector


def test_a_ragged_rim_moves_to_the_edge_of_the_colours() -> None:
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:120, 0:160]
    truth = (x - 80) ** 2 + (y - 60) ** 2 < 35**2
    picture = np.where(truth[..., None], (0.2, 0.7, 0.2), (0.6, 0.5, 0.5)) + random.normal(0, 0.02, (120, 160, 3))
    angle = np.arctan2(y - 60, x - 80)
    ragged = (x - 80) ** 2 + (y - 60) ** 2 < (35 + 4 * np.sin(6 * angle)) ** 2
    share = gaussian_filter(ragged.astype(np.float32), 3)  # as soft as a render
    found = redrawn(picture.clip(0, 1), share, Carrying())

    def iou(mask: np.ndarray) -> float:
        return float((mask & truth).sum() / (mask | truth).sum())

    assert iou(found) > 0.97 > iou(share > 0.5)


def test_colours_decide_where_nobody_spoke() -> None:
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:120, 0:160]
    truth = (abs(x - 80) < 40) & (abs(y - 60) < 15)
    picture = np.where(truth[..., None], (0.2, 0.6, 0.2), (0.5, 0.5, 0.55)) + random.normal(0, 0.02, (120, 160, 3))
    share = (truth & (x < 90)).astype(np.float32)  # the right third of the board was beyond the frame
    heard = np.where(x < 92, 1, 0).astype(np.float32)

    def iou(mask: np.ndarray) -> float:
        return float((mask & truth).sum() / (mask | truth).sum())

    assert iou(redrawn(picture.clip(0, 1), share, Carrying())) < 0.8
    found = redrawn(picture.clip(0, 1), share, Carrying(), heard)
    assert found[60, 90:105].all()
    assert iou(found) > 0.85
    assert np.array_equal(redrawn(picture, share, Carrying(), np.ones_like(heard)), redrawn(picture, share, Carrying()))


def test_colours_that_do_not_settle_are_no_reason_to_warn() -> None:
    colors = np.random.default_rng(3).uniform((0, -40, -40), (100, 40, 40), (4000, 3))
    mixture = _mixture(colors, rounds=2)  # warnings are errors here
    assert not mixture.converged_
    assert np.isfinite(mixture.score_samples(colors)).all()


def test_views_are_spread_around_the_selection(blobs) -> None:
    cameras = [(photo.name, photo.camera) for photo in blobs.workspace.used_photos()]
    points = blobs.scene.means[blobs.labels == blobs.red].astype(float)
    names = [name for name, _ in spread_views(cameras[1:], points, 2, besides=cameras[0][1])]
    assert names[0] == "a3"  # opposite of a0
    assert len(set(names)) == 2
    assert spread_views(cameras, points + 50, 3, besides=cameras[0][1]) == []


def test_photos_that_do_not_see_the_selection_are_replaced(walled) -> None:
    """Of six photos around the ball three stand behind a wall, among them the first that is asked."""
    selector = Selector(Prepared.of(walled.workspace), walled.workspace, walled.photo(), carrying=Carrying(views=2))
    selection = selector.select(Mask(walled.mask(walled.red)))
    carried = selector.carried(selection)
    assert sorted(votes.view for votes in carried.evidence if votes.kind == "carried") == ["a1", "a5"]


def test_no_more_photos_vote_than_were_wanted(blobs) -> None:
    cameras = [(photo.name, photo.camera) for photo in blobs.workspace.used_photos()]
    votes = carried_votes(blobs.scene, blobs.labels == blobs.red, cameras, Carrying(views=2))
    assert [each and each.view for each in votes] == ["a0", "a1"]


def test_a_mask_that_gives_away_much_of_what_was_rendered_has_no_vote(blobs) -> None:
    """Nobody spoke of the ball's far half, which has the ground's colour: its own colours say that it is ground."""
    red = blobs.labels == blobs.red
    far = red & (blobs.scene.means[:, 1] > np.median(blobs.scene.means[red, 1]))
    sh0 = blobs.scene.sh0.copy()
    sh0[far] = np.median(sh0[blobs.labels == 0], 0)
    scene = replace(blobs.scene, sh0=sh0)
    cameras = [(photo.name, photo.camera) for photo in blobs.workspace.used_photos()]

    def voting(settings: Carrying) -> set[str]:
        return {votes.view for votes in carried_votes(scene, red, cameras, settings, ~far) if votes is not None}

    assert voting(Carrying(holds=0.0)) == {f"a{place}" for place in range(6)}
    assert voting(Carrying()) == {"a0", "a1", "a5"}  # those that look at the near half
