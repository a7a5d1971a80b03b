"""Features of pictures onto rows: exact for constant pictures, flagged where nobody looks, the same in any chunks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from backend.features import Lifted, Neutral, lift
from backend.features.colour import lab
from backend.features.lift import _chunks
from backend.features.pixels import Grid, Pixels, Whole
from backend.progress import Quiet
from backend.render import Seen
from backend.scene.files import read_arrays
from segwild_addon.protocol.errors import InputError


@dataclass
class Drawn:
    """Views whose features are made from their neutral picture."""

    scene: Any
    cameras: list
    encode: Callable[[int, np.ndarray], np.ndarray]
    channels: int

    def pixels(self, number: int) -> Pixels:
        return Whole(self.encode(number, Neutral(self.scene, self.cameras[number]).picture))

    def weight(self, number: int, seen: Seen) -> np.ndarray:
        return seen.alpha()


def of_colors(blobs, encode=lambda _, picture: lab(picture), channels: int = 3) -> Drawn:
    return Drawn(blobs.scene, blobs.cameras, encode, channels)


def random_features(channels: int) -> Callable[[int, np.ndarray], np.ndarray]:
    """Unit features per pixel, others in each view."""

    def encode(number: int, picture: np.ndarray) -> np.ndarray:
        features = np.random.default_rng(number).normal(0.3, 1, (*picture.shape[:2], channels))
        return (features / np.linalg.norm(features, axis=-1, keepdims=True)).astype(np.float32)

    return encode


def test_rows_get_what_their_pixels_show(blobs) -> None:
    lifted = lift(blobs.scene, of_colors(blobs), Quiet(), scaling="standard")
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


@pytest.mark.parametrize("scaling", ["standard", "unit", "mean"])
def test_the_sums_are_the_formula(blobs, scaling: str) -> None:
    """f = ΣA / ΣZ, written out in float64 over all channels at once."""
    views = of_colors(blobs, random_features(5), 5)
    lifted = lift(blobs.scene, views, Quiet(), scaling=scaling)
    A, squares, Z = np.zeros((len(blobs.scene), 5)), np.zeros((len(blobs.scene), 5)), np.zeros(len(blobs.scene))
    pixels, weights = [], []
    for number, camera in enumerate(blobs.cameras):
        seen = Seen(blobs.scene, camera)
        one = views.pixels(number).of(0, 5)
        a, z = (part.astype(float) for part in seen.accumulate(one, seen.alpha().astype(np.float32)))
        A, Z = A + a, Z + z
        squares += a**2 / np.maximum(z, 1e-6)[:, None]
        pixels.append(one.reshape(-1, 5))
        weights.append(seen.alpha().ravel())
    fine = Z > 1
    raw = A[fine] / Z[fine, None]
    if scaling == "standard":
        mean = np.average(np.concatenate(pixels), axis=0, weights=np.concatenate(weights))
        variance = (
            np.average(np.concatenate(pixels).astype(float) ** 2, axis=0, weights=np.concatenate(weights)) - mean**2
        )
        expected = (raw - mean) / np.sqrt(variance)
        confidence = 1 / (1 + ((squares[fine] / Z[fine, None] - raw**2) / variance).mean(1))
    elif scaling == "unit":
        expected = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        confidence = np.linalg.norm(raw, axis=1)
    else:
        expected, confidence = raw, np.ones(fine.sum())
    assert np.abs(lifted.features[fine] - expected).max() < 5e-3
    assert np.abs(lifted.confidence[fine] - confidence).max() < 2e-3
    assert np.abs(lifted.mass - Z).max() < 1e-2


@pytest.mark.parametrize("robust", [False, True])
def test_chunks_change_nothing(blobs, robust: bool) -> None:
    views = Drawn(blobs.scene, blobs.cameras[:3], random_features(12), 12)
    whole = lift(blobs.scene, views, Quiet(), robust=robust)
    few = lift(blobs.scene, views, Quiet(), robust=robust, budget_bytes=12 * 8 * len(blobs.scene))
    assert np.abs(whole.features.astype(float) - few.features).max() < 2e-3
    assert whole.confidence == pytest.approx(few.confidence, abs=2e-3)
    assert whole.mass == pytest.approx(few.mass, rel=1e-3)
    seen = ~whole.unseen
    assert np.linalg.norm(whole.features[seen].astype(float), axis=1) == pytest.approx(np.ones(seen.sum()), abs=2e-3)


def test_all_views_agreeing_is_full_confidence(blobs) -> None:
    def same(_: int, picture: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.float32([0.6, 0, -0.8]), (*picture.shape[:2], 3))

    lifted = lift(blobs.scene, of_colors(blobs, same), Quiet())
    seen = ~lifted.unseen
    assert lifted.confidence[seen] == pytest.approx(np.ones(seen.sum()), abs=1e-5)
    assert np.abs(lifted.features[seen] - [0.6, 0, -0.8]).max() < 1e-3


def test_the_second_pass_hears_a_lone_voice_less(blobs) -> None:
    """Five views say one thing, the sixth the opposite of it with a little of another."""

    def said(number: int, picture: np.ndarray) -> np.ndarray:
        vector = (1.0, 0.0) if number else (-0.8, 0.6)
        return np.broadcast_to(np.float32(vector), (*picture.shape[:2], 2))

    views = of_colors(blobs, said, 2)
    plain, robust = (lift(blobs.scene, views, Quiet(), robust=robust) for robust in (False, True))
    many = Seen(blobs.scene, blobs.cameras[3]).mass() > 1
    assert plain.features[many, 1].max() > 0.05
    heard = many & (plain.features[:, 0] > 0.8)
    assert np.abs(robust.features[heard, 1].astype(float)).max() < 1e-3
    assert (robust.confidence[heard] > plain.confidence[heard] - 1e-3).all()


def test_unseen_rows_say_nothing(blobs) -> None:
    scene = blobs.scene
    behind = scene.means.copy()
    behind[:10] = (0, 0, 50)
    moved = type(scene)(behind, scene.quats, scene.log_scales, scene.opacity_logits, scene.sh0, scene.shN)
    for scaling in ("standard", "unit", "mean"):
        views = Drawn(moved, blobs.cameras, lambda _, picture: picture, 3)
        lifted = lift(moved, views, Quiet(), scaling=scaling)
        assert lifted.unseen[:10].all()
        assert not lifted.features[:10].any()
        assert not lifted.confidence[:10].any()


def test_as_many_channels_as_memory_allows() -> None:
    assert _chunks(1000, 512, 1 << 29, 3) == [(0, 512)]
    million = _chunks(1_000_000, 512, 1 << 29, 3)
    size = million[0][1]
    assert size * 3 * 4 * 1_000_000 <= 1 << 29
    assert million[-1][1] == 512
    assert all(last == first for (_, last), (first, _) in pairwise(million))
    assert _chunks(200_000, 512, 1 << 29, 3)[0] == (0, 192)  # full passes of the renderer
    assert _chunks(10**9, 20, 1, 3)[0] == (0, 8)


def test_no_views_is_an_error(blobs) -> None:
    with pytest.raises(InputError, match="No photo shows"):
        lift(blobs.scene, Drawn(blobs.scene, [], lab, 3), Quiet())


def test_features_of_other_gaussians_are_stale(blobs) -> None:
    lifted = lift(blobs.scene, of_colors(blobs), Quiet())
    lifted.save(blobs.workspace, "colour")
    again = Lifted.load(blobs.workspace, "colour")
    assert again is not None
    assert np.array_equal(again.features, lifted.features)
    assert Lifted.load(blobs.workspace, "colour", "neutral plain") is not None
    assert Lifted.load(blobs.workspace, "colour", "photo plain") is None
    blobs.scene.take(np.arange(100)).save(blobs.workspace.splats)
    assert Lifted.load(blobs.workspace, "colour") is None
    assert read_arrays(blobs.workspace.root / "features" / "colour.safetensors")[1]["features"] == "colour"


def test_a_neutral_view_is_black_where_nothing_is(blobs) -> None:
    view = Neutral(blobs.scene, blobs.cameras[0])
    sky = view.alpha < 1e-6
    assert sky.any()
    assert not view.picture[sky].any()


@pytest.mark.parametrize("robust", [False, True])
def test_a_grid_is_lifted_as_its_pixels_are(blobs, robust: bool) -> None:
    random = np.random.default_rng(1)
    grids = [random.normal(0.2, 1, (6, 15, 20)).astype(np.float32) for _ in range(3)]
    cameras = blobs.cameras[:3]

    class Gridded(Drawn):
        def pixels(self, number: int) -> Pixels:
            return Grid(grids[number], (15, 20), cameras[number].height, cameras[number].width)

    class Spread(Gridded):
        def pixels(self, number: int) -> Pixels:
            return Whole(super().pixels(number).of(0, 6))

    by_cells, by_pixels = (
        lift(blobs.scene, kind(blobs.scene, cameras, lambda *_: None, 6), Quiet(), robust=robust)
        for kind in (Gridded, Spread)
    )
    assert np.abs(by_cells.features.astype(float) - by_pixels.features).max() < 2e-3
    assert by_cells.mass == pytest.approx(by_pixels.mass, rel=1e-3, abs=1e-4)
    assert by_cells.confidence == pytest.approx(by_pixels.confidence, abs=1e-3)
