"""Features of pictures onto rows: exact for constant pictures, flagged where nobody looks."""

from __future__ import annotations

import numpy as np
import pytest

from backend.features import Lifted, Neutral, lift, neutral_colors
from backend.features.colour import lab
from backend.progress import Quiet
from segwild_addon.protocol.errors import InputError


def test_rows_get_what_their_pixels_show(blobs) -> None:
    lifted = lift(blobs.scene, blobs.cameras, lambda _, view: lab(view.picture), Quiet())
    seen = ~lifted.unseen
    assert seen[blobs.labels == blobs.red].mean() > 0.9
    a = lifted.features[:, 1].astype(float)  # green to red
    red = np.median(a[seen & (blobs.labels == blobs.red)])
    blue = np.median(a[seen & (blobs.labels == blobs.blue)])
    ground = np.median(a[seen & (blobs.labels == 0)])
    assert red > blue > ground
    assert np.median(lifted.confidence[seen]) > 0.7
    assert (lifted.confidence >= 0).all()
    assert (lifted.confidence <= 1).all()


def test_unseen_rows_say_nothing(blobs) -> None:
    scene = blobs.scene
    behind = scene.means.copy()
    behind[:10] = (0, 0, 50)
    moved = type(scene)(behind, scene.quats, scene.log_scales, scene.opacity_logits, scene.sh0, scene.shN)
    lifted = lift(moved, blobs.cameras, lambda _, view: view.picture, Quiet())
    assert lifted.unseen[:10].all()
    assert not lifted.features[:10].any()
    assert not lifted.confidence[:10].any()


def test_no_views_is_an_error(blobs) -> None:
    with pytest.raises(InputError, match="No photo shows"):
        lift(blobs.scene, [], lambda _, view: view.picture, Quiet())


def test_features_of_other_gaussians_are_stale(blobs) -> None:
    lifted = lift(blobs.scene, blobs.cameras[:2], lambda _, view: view.picture, Quiet())
    lifted.save(blobs.workspace, "colour")
    again = Lifted.load(blobs.workspace, "colour")
    assert again is not None
    assert np.array_equal(again.features, lifted.features)
    blobs.scene.take(np.arange(100)).save(blobs.workspace.splats)
    assert Lifted.load(blobs.workspace, "colour") is None


def test_a_neutral_view_is_black_where_nothing_is(blobs) -> None:
    view = Neutral(blobs.scene, blobs.cameras[0])
    sky = view.alpha < 1e-6
    assert sky.any()
    assert not view.picture[sky].any()
    assert neutral_colors(blobs.scene, blobs.cameras[0]).min() >= 0
