"""Embedding and lifting as stages: made once, made again when stale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.capture.pictures import write_picture
from backend.features import Lifted, encoders, principal_colors
from backend.features import lift as lift_views
from backend.features.compress import Training
from backend.features.encoders import Described, Options, open_encoder
from backend.progress import Quiet
from backend.scene.files import read_arrays
from backend.stages import embed, lift
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Embed, Lift


def test_lifting_makes_what_is_missing(blobs) -> None:
    root = blobs.workspace.root
    result = lift.run(Lift(root), Quiet())
    assert result.items() >= {"features": "colour", "gaussians": len(blobs.scene), "channels": 20}.items()
    assert len(list((root / "embeddings" / "colour").iterdir())) == 6
    lifted = Lifted.load(blobs.workspace, "colour")
    assert lifted is not None
    assert lifted.features.dtype == np.float16
    assert result["unseen"] == lifted.unseen.sum()
    before = (root / "features" / "colour.safetensors").stat().st_mtime_ns
    noted = (root / "scene.json").stat().st_mtime_ns, blobs.workspace.made("lift-colour")
    again = lift.run(Lift(root), Quiet())
    assert (root / "features" / "colour.safetensors").stat().st_mtime_ns == before
    assert ((root / "scene.json").stat().st_mtime_ns, blobs.workspace.made("lift-colour")) == noted
    assert again["channels"] == 20


def test_embeddings_are_reused_until_they_are_stale(blobs) -> None:
    root = blobs.workspace.root
    assert embed.run(Embed(root), Quiet()).items() >= {"photos": 6, "channels": 20}.items()
    path = root / "embeddings" / "colour" / "a0.safetensors"
    before = path.stat().st_mtime_ns
    embed.run(Embed(root), Quiet())
    assert path.stat().st_mtime_ns == before
    path.write_bytes(b"damaged")
    embed.run(Embed(root), Quiet())
    assert path.stat().st_size > 1000
    before = path.stat().st_mtime_ns
    blobs.scene.take(np.arange(500)).save(blobs.workspace.splats)
    embed.run(Embed(root), Quiet())
    assert path.stat().st_mtime_ns > before


def test_an_unknown_encoder(blobs) -> None:
    with pytest.raises(InputError, match="no encoder called 'lseg'"):
        lift.run(Lift(blobs.workspace.root, "lseg"), Quiet())


def test_photos_themselves_without_passers_by(photographed, blobs) -> None:
    """What was judged transient has no say; what is lifted from photos is not taken for what is lifted from renders."""
    root, width, height = photographed.root, 64, 48
    blobs.scene.save(photographed.splats)
    lift.run(Lift(root), Quiet())
    neutral = Lifted.load(photographed, "colour", "neutral plain")
    assert neutral is not None
    judged = np.zeros((height, width, 3), np.uint8)
    judged[:, :32] = 255
    write_picture(root / "transients" / "p0.png", judged)
    encoder = open_encoder(Options(input="photo"), photographed)
    views = Described(photographed, photographed.gaussians(), encoder, "photo")
    weight = views.weight(0, None)
    assert not weight[:, :31].any()
    assert weight[:, 33:].all()
    assert views.weight(1, None).all()
    assert lift.run(Lift(root, input="photo"), Quiet())["features"] == "colour-photo"
    seen = Lifted.find(photographed, "colour-photo")
    assert not np.array_equal(seen.features, neutral.features)
    both = sorted((path.name, path.stat().st_mtime_ns) for path in (root / "features").iterdir())
    assert [name for name, _ in both] == ["colour-photo.safetensors", "colour.safetensors"]
    for each in (Lift(root), Lift(root, input="photo")):  # neither takes the other's place
        lift.run(each, Quiet())
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (root / "features").iterdir()) == both


def test_segment_anything_is_lifted(blobs, small_sam: Path) -> None:
    root = blobs.workspace.root
    result = lift.run(Lift(root, "sam", checkpoint=small_sam, robust=True), Quiet())
    assert result.items() >= {"channels": 256, "photos": 6}.items()
    assert len(list((root / "embeddings" / "sam").iterdir())) == 6
    lifted = Lifted.load(blobs.workspace, "sam")
    assert lifted is not None
    seen = ~lifted.unseen
    assert np.linalg.norm(lifted.features[seen].astype(float), axis=1) == pytest.approx(np.ones(seen.sum()), abs=2e-3)
    colors = principal_colors(blobs.workspace, "sam")
    assert colors.shape == (len(blobs.scene), 3)
    assert colors[seen].std(0).min() > 0.05
    before = (root / "features" / "sam.safetensors").stat().st_mtime_ns
    lift.run(Lift(root, "sam", checkpoint=small_sam, robust=True), Quiet())
    assert (root / "features" / "sam.safetensors").stat().st_mtime_ns == before
    lift.run(Lift(root, "sam", checkpoint=small_sam), Quiet())
    assert (root / "features" / "sam.safetensors").stat().st_mtime_ns > before


def test_what_does_not_fit_into_memory_changes_nothing(blobs, small_sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How far views agree lies on disk, and pictures of weights are made again."""
    root = blobs.workspace.root
    described = Described(blobs.workspace, blobs.scene, open_encoder(Options("colour"), blobs.workspace))
    expected = lift_views(blobs.scene, described, Quiet(), robust=True)
    assert len(described._weights) == 6
    monkeypatch.setattr(encoders, "_WEIGHTS_BYTES", 0)
    again = Described(blobs.workspace, blobs.scene, described.encoder)
    shares = np.zeros((6, len(blobs.scene)), np.float16)
    found = lift_views(blobs.scene, again, Quiet(), robust=True, shares=shares)
    assert not again._weights
    assert (shares > 0).any()
    assert np.array_equal(found.features, expected.features)
    lift.run(Lift(root, "sam", checkpoint=small_sam, robust=True), Quiet())
    sam = Described(blobs.workspace, blobs.scene, open_encoder(Options("sam", checkpoint=small_sam), blobs.workspace))
    expected = lift_views(blobs.scene, sam, Quiet(), robust=True)
    assert np.array_equal(Lifted.find(blobs.workspace, "sam").features, expected.features)
    assert [path.name for path in (root / "features").iterdir()] == ["sam.safetensors"]


def test_compressed_features_are_kept_beside_the_others(
    blobs, small_sam: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = blobs.workspace.root
    monkeypatch.setattr(lift, "Training", lambda: Training(steps=20))
    result = lift.run(Lift(root, "sam", checkpoint=small_sam, compress=16), Quiet())
    assert result.items() >= {"features": "sam-16", "channels": 16}.items()
    assert 0 < result["cosine"] <= 1
    maps, _ = read_arrays(root / "features" / "sam-16.compression.safetensors")
    assert maps["encoder"].shape == (16, 256)
    assert Lifted.load(blobs.workspace, "sam-16") is not None
    assert "cosine" not in lift.run(Lift(root, "sam", checkpoint=small_sam, compress=16), Quiet())  # they are there
    for changes in (
        {"features": "colour", "compress": 4},
        {"features": "sam", "compress": -1, "checkpoint": small_sam},
    ):
        with pytest.raises(InputError):
            lift.run(Lift(root, **changes), Quiet())


def test_a_lift_that_is_stopped_leaves_nothing(blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stops(Quiet):
        def advance(self, steps: int = 1, note: str = "") -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lift.run(Lift(blobs.workspace.root), Stops())
    assert list((blobs.workspace.root / "features").iterdir()) == []
