"""Embedding and lifting as stages: made once, made again when stale."""

from __future__ import annotations

import numpy as np
import pytest

from backend.features import Lifted
from backend.progress import Quiet
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
    lift.run(Lift(root), Quiet())
    assert (root / "features" / "colour.safetensors").stat().st_mtime_ns == before


def test_embeddings_are_reused_until_they_are_stale(blobs) -> None:
    root = blobs.workspace.root
    assert embed.run(Embed(root), Quiet())["photos"] == 6
    path = root / "embeddings" / "colour" / "a0.safetensors"
    before = path.stat().st_mtime_ns
    embed.run(Embed(root), Quiet())
    assert path.stat().st_mtime_ns == before
    path.write_bytes(b"damaged")
    embed.run(Embed(root), Quiet())
    assert path.stat().st_size > 1000
    blobs.scene.take(np.arange(500)).save(blobs.workspace.splats)
    embed.run(Embed(root), Quiet())
    assert embed.cached(blobs.workspace, "colour", "a0", "another") is None


def test_an_unknown_encoder(blobs) -> None:
    with pytest.raises(InputError, match="no encoder called 'dino'"):
        lift.run(Lift(blobs.workspace.root, "dino"), Quiet())
