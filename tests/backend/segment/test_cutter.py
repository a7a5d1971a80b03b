"""Needles that stick out of a ball: cut at its edge, the rest of the scene unharmed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.render import Seen
from backend.scene import Gaussians
from backend.scene.cameras import looking_at
from backend.scene.gaussians import FIELDS, concatenate
from backend.scene.transforms import quats_from_matrices
from backend.segment import metrics
from backend.segment.cuts import part_of
from backend.segment.cutter import MODES, NOBODY, REST, Cut, Cutting, cut
from backend.segment.outline import Outline
from tests.backend.conftest import BLUE, CENTRES, RADIUS, RED, Blobs

NEEDLES = 60


@pytest.fixture(scope="module")
def spiky(_blobs_master) -> tuple[Gaussians, np.ndarray]:
    """The blobs, and the red one bristling: needles from its surface outwards, two deviations beyond it."""
    scene, labels = _blobs_master
    random = np.random.default_rng(0)
    directions = random.normal(size=(NEEDLES, 3))
    directions[:, 2] = np.abs(directions[:, 2]) + 0.2
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    side = np.cross(directions, random.normal(size=(NEEDLES, 3)))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    axes = np.stack([directions, side, np.cross(directions, side)], 2)
    red = scene.take(np.flatnonzero(labels == RED)[:NEEDLES])
    needles = Gaussians(
        (np.array(CENTRES[RED]) + RADIUS * directions).astype(np.float32),
        quats_from_matrices(axes).astype(np.float32),
        np.log(np.tile([0.12, 0.01, 0.01], (NEEDLES, 1))).astype(np.float32),
        np.full(NEEDLES, 3.0, np.float32),
        red.sh0,
        red.shN,
    )
    return concatenate([scene, needles]), np.concatenate([labels, np.full(NEEDLES, RED)])


@pytest.fixture
def outlines(blobs: Blobs) -> list[Outline]:
    """Of the ball without needles, from all sides."""
    result = []
    for number, camera in enumerate(blobs.cameras):
        share = Seen(blobs.scene, camera).render_channels((blobs.labels == RED).astype(np.float32)[:, None])[..., 0]
        result.append(Outline(f"a{number}", camera, share > 0.5, drawn=True))
    return result


def alone(scene: Gaussians, labels: np.ndarray, made: Cut | None) -> Gaussians:
    own = labels == RED
    if made is None:
        return scene.take(own)
    own = own.copy()
    own[made.hidden] = False
    own[made.given] = own[made.dropped] = False
    return concatenate([scene.take(own), made.parts.take(made.inside)])


def spilled(item: Gaussians, outlines: list[Outline]) -> tuple[float, float]:
    """Weight outside the masks, pixels, and the mean IoU, of an object rendered alone."""
    pictures = [(Seen(item, outline.camera).alpha(), outline.mask) for outline in outlines]
    out = sum(float(alpha[~mask].sum()) for alpha, mask in pictures)
    return out, float(np.mean([metrics.iou(alpha > 0.5, mask) for alpha, mask in pictures]))


@pytest.mark.parametrize("mode", MODES)
def test_the_needles_go_and_the_ball_stays(spiky, outlines, mode) -> None:
    scene, labels = spiky
    made = cut(scene, labels == RED, outlines, Cutting(mode=mode))
    bald, ideal = spilled(alone(*spiky, None).take(np.arange(450)), outlines)
    before, iou_before = spilled(alone(*spiky, None), outlines)
    after, iou_after = spilled(alone(*spiky, made), outlines)
    # What the ball itself has beyond its mask, half a pixel of rim, is no needle's.
    assert before - bald > 1000
    assert (after - bald) <= 0.2 * (before - bald)
    assert iou_after > iou_before + 0.05
    if mode == "exact":
        assert iou_after > ideal - 0.03


@pytest.mark.parametrize("mode", MODES)
def test_rows_far_from_the_edge_are_not_looked_at_and_nothing_changes(spiky, outlines, mode, monkeypatch) -> None:
    scene, labels = spiky
    made = cut(scene, labels == RED, outlines, Cutting(mode=mode))
    monkeypatch.setattr(Outline, "in_reach", lambda outline, seen: np.ones(len(seen), bool))
    all_looked_at = cut(scene, labels == RED, outlines, Cutting(mode=mode))
    for name in FIELDS:
        assert np.array_equal(getattr(made.parts, name), getattr(all_looked_at.parts, name))
    for name in ("parents", "sides", "given", "dropped"):
        assert np.array_equal(getattr(made, name), getattr(all_looked_at, name))


def test_haze_around_the_ball_goes_and_the_ball_stays_as_wide(spiky, outlines) -> None:
    """Wide and thin, with few neighbours as wide: what counts is how far it reaches in the pictures."""
    scene, labels = spiky
    ball = np.flatnonzero(labels == RED)[:-NEEDLES]
    around = np.random.default_rng(1).choice(ball, 12, replace=False)
    haze = scene.take(around)
    fields = {name: getattr(haze, name) for name in FIELDS}
    fields |= {
        "log_scales": np.full((12, 3), np.log(0.15), np.float32),
        "opacity_logits": np.full(12, -2.5, np.float32),
    }
    whole = concatenate([scene.take(np.flatnonzero(labels == 0)), scene.take(ball), Gaussians(**fields)])
    chosen = np.arange(len(whole)) >= (labels == 0).sum()
    made = cut(whole, chosen, outlines)
    kept = part_of(len(whole), only=(np.flatnonzero(chosen), made)).of(whole)
    bald, ideal = spilled(scene.take(ball), outlines)
    before, _ = spilled(whole.take(chosen), outlines)
    after, iou_after = spilled(kept, outlines)
    assert before - bald > 500
    assert after - bald < 0.2 * (before - bald)
    assert iou_after > ideal - 0.02


def test_nothing_is_lost(spiky, outlines) -> None:
    scene, labels = spiky
    made = cut(scene, labels == RED, outlines)
    assert set(made.hidden) & set(range(len(scene) - NEEDLES, len(scene)))
    mass = scene.opacities * scene.scales.prod(1)
    parts = made.parts.opacities * made.parts.scales.prod(1)
    got = np.bincount(made.parents, parts, minlength=len(scene))[made.hidden]
    # Opacities end at 0.99, which costs a little.
    assert (got > 0.85 * mass[made.hidden]).all()
    assert (got < 1.02 * mass[made.hidden]).all()
    whole = scene.take(np.setdiff1d(np.arange(len(scene)), made.hidden))
    for outline in outlines[:2]:
        pictures = [Seen(item, outline.camera).picture(item)[0] for item in (scene, concatenate([whole, made.parts]))]
        assert np.abs(pictures[0] - pictures[1]).mean() < 0.01


def test_a_needle_nobody_sees_is_left_alone(spiky, outlines) -> None:
    """Inside the blue ball: its tail leaves the mask, but no view can tell."""
    scene, labels = spiky
    needle = scene.take(np.array([len(scene) - 1]))
    fields = {name: getattr(needle, name) for name in FIELDS}
    fields |= {"means": np.array([CENTRES[BLUE]], np.float32), "log_scales": needle.log_scales - np.float32(np.log(3))}
    hidden = Gaussians(**fields)
    scales = scene.log_scales + np.where(labels == BLUE, np.log(2), 0).astype(np.float32)[:, None]  # no cracks
    scene = concatenate([replace(scene, log_scales=scales), hidden])
    labels = np.append(labels, RED)
    made = cut(scene, labels == RED, outlines)
    assert len(scene) - 1 not in made.hidden
    assert len(scene) - 1 not in np.concatenate([made.given, made.dropped])


def test_a_tail_in_the_ground_is_cut_though_nobody_sees_it(blobs) -> None:
    """From eyes as high as the ball; what the blue ball hides of the red one stays."""
    scene, labels = blobs.scene, blobs.labels
    fields = {name: getattr(scene, name)[labels == RED][:1] for name in FIELDS}
    fields |= {
        "means": np.array([[*CENTRES[RED][:2], 0.0]], np.float32),
        "log_scales": np.log(np.array([[0.03, 0.03, 0.15]], np.float32)),
    }
    spiked, chosen = concatenate([scene, Gaussians(**fields)]), np.append(labels == RED, True)
    eyes = [np.array([2.4 * np.cos(angle), 2.4 * np.sin(angle), 0.45]) for angle in np.arange(6) * np.pi / 3]
    middle, up = np.array([0, 0, 0.2]), np.array([0.0, 0, 1])
    low = [looking_at(eye, middle, up, focal=190, width=200, height=150) for eye in eyes]
    own = (labels == RED).astype(np.float32)[:, None]
    masks = [Seen(scene, camera).render_channels(own)[..., 0] > 0.5 for camera in low]
    guessed = [Outline("a", camera, mask, drawn=False) for camera, mask in zip(low, masks, strict=True)]
    sizes = [mask.sum() for mask in masks]
    assert min(sizes) < 0.7 * max(sizes)  # the blue ball stands before it
    made = cut(spiked, chosen, guessed)
    assert set(made.hidden) == {len(scene)}
    assert not len(made.given)
    assert not len(made.dropped)
    ball = scene.take(np.flatnonzero(labels == RED))
    tails = [concatenate([ball, more]) for more in (made.parts.take(made.inside), spiked.take(made.hidden))]
    bald, after, before = (spilled(item, guessed)[0] for item in (ball, *tails))
    assert after - bald < 0.2 * (before - bald)
    assert not len(cut(spiked, chosen, guessed, Cutting(held=-1.0)).hidden)


def test_a_row_outside_of_every_outline_is_the_rests(spiky, outlines) -> None:
    scene, labels = spiky
    chosen = labels == RED
    stray = int(np.flatnonzero(labels == 0)[20 * 40 + 35])  # ground, in plain view
    chosen = chosen.copy()
    chosen[stray] = True
    made = cut(scene, chosen, outlines)
    assert stray in made.given


def test_what_looks_like_the_object_leaves_no_ghost(spiky, outlines) -> None:
    """A scene without the ball shows nothing red; grey ground that was selected with it stays."""
    scene, labels = spiky
    chosen = (labels == RED) | ((labels == 0) & (np.linalg.norm(scene.means[:, :2] - CENTRES[RED][:2], axis=1) < 0.4))
    made = cut(scene, chosen, outlines, Cutting(sticks_px=0.5))
    assert (labels[made.parents[made.sides == NOBODY]] == RED).mean() > 0.9
    assert (labels[made.parents[made.sides == REST]] == 0).mean() > 0.9
    assert len(made.given) > 20
    assert (labels[made.given] == 0).all()
    rest = part_of(len(scene), without=(np.flatnonzero(chosen), made)).of(scene)
    picture = Seen(rest, outlines[0].camera).picture(rest)[0]
    assert (picture[..., 0] - picture[..., 1]).max() < 0.15


def test_without_outlines_nothing_is_cut(spiky) -> None:
    scene, labels = spiky
    made = cut(scene, labels == RED, [])
    assert len(made.parts) == len(made.parents) == len(made.given) == 0


def test_guessed_outlines_do_with_fewer_words_but_never_one(spiky, outlines) -> None:
    scene, labels = spiky
    guessed = [Outline(item.name, item.camera, item.mask, drawn=False) for item in outlines]
    agreed = cut(scene, labels == RED, guessed)
    alone_believed = cut(scene, labels == RED, guessed, Cutting(agree=1))
    assert 0 < len(agreed.hidden) <= len(alone_believed.hidden)
