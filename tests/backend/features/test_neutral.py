"""The scene in neutral light, as the plain statement of its colours has it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.features import Neutral
from backend.render import Seen
from backend.render.harmonics import colors_from_sh


@pytest.mark.parametrize("bands", [0, 3, 15])
def test_a_picture_is_that_of_all_rows_colours(blobs, bands: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(bands)
    shN = random.normal(0, 0.3, (len(blobs.scene), bands, 3)).astype(np.float32)
    scene, camera = replace(blobs.scene, shN=shN), blobs.cameras[1]
    towards = scene.means - camera.centre.astype(np.float32)
    colors = colors_from_sh(*(torch.from_numpy(each) for each in (scene.sh0, scene.shN, towards))).numpy()
    channels = np.concatenate([colors, np.ones((len(scene), 1), np.float32)], 1)
    wanted = Seen(scene, camera).render_channels(channels)
    # None of it goes through channels of all rows, most of which a view does not see.
    monkeypatch.setattr(Seen, "render_channels", None)
    view = Neutral(scene, camera)
    assert view.picture == pytest.approx(np.clip(wanted[..., :3], 0, 1), abs=1e-5)
    assert view.alpha == pytest.approx(wanted[..., 3], abs=1e-5)


def test_nothing_is_drawn_before_it_is_asked_for(blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Seen, "picture", None)
    assert Neutral(blobs.scene, blobs.cameras[0]).seen.mass().any()
