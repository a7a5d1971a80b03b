"""Guessed outlines of a ball: all of it, without its needles, in photos that show it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backend.render import Seen
from backend.segment import metrics
from backend.segment.cutter import Cutting, cut
from backend.segment.graph import scene_graph
from backend.segment.outline import Outline
from backend.segment.silhouettes import outlines_of
from tests.backend.conftest import CENTRES, RED


def test_outlines_are_found_without_a_drawn_one(blobs) -> None:
    photos = [(photo.name, photo.camera) for photo in blobs.workspace.used_photos()]
    spacing = scene_graph(blobs.scene).spacing
    found = outlines_of(blobs.scene, blobs.labels == RED, spacing, photos, [], Cutting(views=3))
    assert len(found) >= 3
    for outline in found:
        share = Seen(blobs.scene, outline.camera).render_channels((blobs.labels == RED).astype(np.float32)[:, None])
        assert (metrics.iou(outline.mask, share[..., 0] > 0.5) or 0) > 0.85


def test_photos_that_show_no_outline_are_replaced(walled) -> None:
    photos = [(photo.name, photo.camera) for photo in walled.workspace.used_photos()]
    drawn = Outline("a0", photos[0][1], walled.mask(walled.red)[::2, ::2], drawn=True)
    spacing = scene_graph(walled.scene).spacing
    found = outlines_of(walled.scene, walled.labels == RED, spacing, photos, [drawn], Cutting(views=2))
    assert found[0] is drawn
    assert sorted(outline.name for outline in found[1:]) == ["a1", "a5"]


def test_guessed_outlines_hold_all_that_is_shown(blobs) -> None:
    """Half of the ball has the ground's colour: it stays."""
    photos = [(photo.name, photo.camera) for photo in blobs.workspace.used_photos()]
    red = blobs.labels == RED
    grey = red & (blobs.scene.means[:, 2] < CENTRES[RED][2])
    sh0 = blobs.scene.sh0.copy()
    sh0[grey] = np.median(sh0[blobs.labels == 0], 0)
    scene = replace(blobs.scene, sh0=sh0)
    found = outlines_of(scene, red, scene_graph(scene).spacing, photos, [], Cutting(views=3, margin=0.0))
    assert len(found) >= 3
    for outline in found:
        share = Seen(scene, outline.camera).render_channels(red.astype(np.float32)[:, None])[..., 0]
        assert outline.mask[share > 0.5].all()


def test_needles_have_no_word_in_guessed_outlines(blobs) -> None:
    """A scene from elsewhere may be full of them; what they cover is not the object."""
    photos = [(photo.name, photo.camera) for photo in blobs.workspace.used_photos()]
    red, settings = blobs.labels == RED, Cutting(views=3)
    log_scales = blobs.scene.log_scales.copy()
    log_scales[np.flatnonzero(red)[::15]] = np.log([0.5, 0.02, 0.02])
    scene = replace(blobs.scene, log_scales=log_scales)
    spacing = scene_graph(scene).spacing
    smooth = outlines_of(blobs.scene, red, spacing, photos, [], settings)
    found = outlines_of(scene, red, spacing, photos, [], settings)
    assert [outline.name for outline in found] == [outline.name for outline in smooth]
    for outline, wanted in zip(found, smooth, strict=True):
        assert outline.mask.sum() < 1.25 * wanted.mask.sum()
    made = cut(scene, red, found, settings)
    changed = {*made.hidden, *made.given, *made.dropped}
    assert len(changed & set(np.flatnonzero(red)[::15])) > 0.9 * len(np.flatnonzero(red)[::15])
