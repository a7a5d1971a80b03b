"""The sky behind everything: a photo's own, and what all have in common."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.render.harmonics import C0, higher_bases
from backend.scene.cameras import looking_at
from backend.train import backdrop
from backend.train.appearance import Appearance, Look, initial_shared
from backend.train.backdrop import SKY_BASES, coarse_sky
from backend.train.mlp import MlpAppearance
from backend.train.relighting import LinearAppearance, Relighting

VIEW = looking_at(np.array([0.3, -3.0, 0.4]), np.zeros(3), np.array([0, 0, 1.0]), focal=50, width=50, height=40)
LINEAR, MLP = LinearAppearance(2), MlpAppearance(3, 4, 8)


def looks(kind: Relighting = LINEAR) -> Appearance:
    """Two photos with other lights and other skies, of five rows."""
    shared = {name: value + 0.1 * torch.randn(value.shape) for name, value in initial_shared(kind, 2, 0).items()}
    rows = {name: torch.randn(value.shape) for name, value in kind.initial_rows(5).items()}
    return Appearance.of(("a", "b"), kind, shared, rows | {"means": torch.zeros(5, 3)})


@pytest.mark.parametrize("kind", [LINEAR, MLP], ids=str)
def test_a_photos_own_sky_changes_no_gaussian_and_mixes(kind: Relighting) -> None:
    appearance = looks(kind)
    a, b = (appearance.embedding(Look(name)) for name in "ab")
    sh = torch.randn(5, 1, 3), torch.randn(5, 3, 3)
    light_of_a = torch.cat([a[: kind.numbers], torch.zeros(3 * SKY_BASES)])
    for one, other in zip(
        *(kind.lit(*sh, appearance.rows, appearance.shared, look) for look in (a, light_of_a)), strict=True
    ):
        assert torch.equal(one, other)
    skies = [coarse_sky(VIEW, appearance.shared, look) for look in (a, b, light_of_a)]
    assert (skies[0] - skies[2]).abs().max() > 0.01
    mixed = coarse_sky(VIEW, appearance.shared, appearance.embedding(Look("a", "b", 0.25)))
    assert torch.allclose(mixed, 0.75 * skies[0] + 0.25 * skies[1], atol=1e-5)


@pytest.mark.parametrize("rank", [0, 2])
def test_what_skies_have_in_common_is_the_neutral_sky(rank: int) -> None:
    kind = LinearAppearance(rank)
    shared = {name: value + 0.1 for name, value in initial_shared(kind, 2, 0).items()}
    shared["skies"] = torch.randn(2, 3 * SKY_BASES) + 1
    appearance = Appearance.of(("a", "b"), kind, shared, kind.initial_rows(5))
    before = [coarse_sky(VIEW, shared, torch.cat([shared["embeddings"][i], shared["skies"][i]])) for i in (0, 1)]
    after = [coarse_sky(VIEW, appearance.shared, appearance.embedding(Look(name))) for name in "ab"]
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(before, after, strict=True))
    assert appearance.shared["skies"].mean(0).abs().max() < 1e-6
    none = LinearAppearance(0)
    without = Appearance.of(("a", "b"), none, initial_shared(none, 2, 0, own_sky=False), none.initial_rows(5))
    assert without.names == ()


def test_each_pixel_has_the_sky_of_its_own_direction() -> None:
    """At the rim half a cell is as its neighbour."""
    shared = initial_shared(LinearAppearance(0), 1, 0, own_sky=False)
    shared["sky"] = torch.randn(SKY_BASES, 3, generator=torch.Generator().manual_seed(1)) * 0.1
    found = backdrop.sky_picture(VIEW, shared, None)
    rays = torch.from_numpy(VIEW.rays(VIEW.pixel_centres()).astype(np.float32)).reshape(-1, 3)
    basis = torch.cat([torch.full_like(rays[:, :1], C0), higher_bases(rays, SKY_BASES - 1)], 1)
    wanted = (basis @ shared["sky"] + 0.5).reshape(found.shape)
    assert (found - wanted)[4:-4, 4:-4].abs().max() < 5e-3


def test_directions_are_computed_once_for_each_camera_and_go_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    compute = backdrop._sky_basis
    monkeypatch.setattr(backdrop, "_sky_basis", lambda *arguments: asked.append(0) or compute(*arguments))
    shared = initial_shared(LINEAR, 2, 0)
    before = len(backdrop._BASES)
    cameras = [replace(VIEW, fx=40.0 + number) for number in range(100)]
    first, second = ([coarse_sky(camera, shared, None) for camera in cameras] for _ in range(2))
    assert len(asked) == len(cameras)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    del cameras
    assert len(backdrop._BASES) == before
