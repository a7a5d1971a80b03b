"""Sparse points into the first Gaussians: which points count, how many rows there are, how wide they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.render.harmonics import C0
from backend.scene.workspace import SparsePoints
from backend.train import initial as module
from backend.train.initial import initial
from segwild_addon.protocol.errors import InputError
from tests.backend.train.test_loop import workspace


@pytest.fixture
def captured(tmp_path):
    made = workspace(tmp_path / "w")
    return made.points(), made.used_photos()


def test_enough_points_become_a_row_each(captured, monkeypatch: pytest.MonkeyPatch) -> None:
    points, photos = captured
    monkeypatch.setattr(module, "LEAST", 100)
    rows = initial(points, photos, cap=1000, sh_degree=1, seed=0)
    assert torch.equal(rows["means"], torch.from_numpy(points.positions.astype(np.float32)))
    assert rows["sh0"][:, 0].numpy() * C0 + 0.5 == pytest.approx(points.colors / 255, abs=1e-6)
    assert rows["shN"].shape == (len(points.positions), 3, 3)
    assert torch.sigmoid(rows["opacity_logits"]).unique().tolist() == pytest.approx([0.1])
    assert (rows["log_scales"] == rows["log_scales"][:, :1]).all()
    apart = np.linalg.norm(points.positions[:, None] - points.positions, axis=2)
    near = np.sort(apart, 1)[:, 1:4].mean(1)
    inner = near < np.quantile(near, 0.98)
    assert rows["log_scales"][inner, 0].exp().numpy() == pytest.approx(near[inner], rel=1e-4)


def test_few_points_are_filled_up_where_photos_look(captured) -> None:
    points, photos = captured
    rows = initial(points, photos, cap=2000, sh_degree=0, seed=0)
    count = len(points.positions)
    assert len(rows["means"]) == 2000
    assert torch.equal(rows["means"][:count], torch.from_numpy(points.positions.astype(np.float32)))
    scattered = rows["means"][-(2000 - count) // 4 :].numpy().astype(float)
    seen = [photo.camera.project(scattered) for photo in photos]
    framed = [(depth > 0) & (pixels >= 0).all(1) & (pixels <= (64, 48)).all(1) for pixels, depth in seen]
    assert np.any(framed, 0).all()
    assert all(torch.isfinite(value).all() for value in rows.values())
    again = initial(points, photos, cap=2000, sh_degree=0, seed=0)
    assert all(torch.equal(rows[name], again[name]) for name in rows)
    assert not torch.equal(rows["means"], initial(points, photos, cap=2000, sh_degree=0, seed=1)["means"])


def test_doubtful_points_do_not_count_where_there_are_others(captured) -> None:
    points, photos = captured
    doubtful = replace(points, errors=np.where(np.arange(len(points.errors)) < 200, 9.0, points.errors))
    rows = initial(doubtful, photos, cap=200, sh_degree=0, seed=0)
    assert len(rows["means"]) == 200
    kept = {tuple(row) for row in points.positions[200:].astype(np.float32).tolist()}
    assert {tuple(row) for row in rows["means"].tolist()} <= kept


def test_hardly_any_points_are_too_few(captured) -> None:
    points, photos = captured
    few = SparsePoints(**{**vars(points), "positions": points.positions[:3], "colors": points.colors[:3]})
    few = replace(few, tracks=points.tracks[:3], errors=points.errors[:3])
    with pytest.raises(InputError, match="only 3 points"):
        initial(few, photos, cap=100, sh_degree=0, seed=0)
