"""A view is embedded once per picture and checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.features.sam import Network, embedded, open_network


def test_an_embedding_is_kept_until_picture_or_checkpoint_change(blobs, small_sam: Path) -> None:
    network = open_network(small_sam)
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    first = embedded(blobs.workspace, "a0", picture, network)
    path = blobs.workspace.root / "embeddings" / "sam" / "a0.safetensors"
    written = path.stat().st_mtime_ns
    again = embedded(blobs.workspace, "a0", picture, network)
    assert path.stat().st_mtime_ns == written
    assert first.features.dtype == np.float16
    assert np.array_equal(first.features, again.features)
    assert np.abs(first.features - network.embed(picture).features).max() < 2e-3
    other = embedded(blobs.workspace, "a0", picture[::-1].copy(), network)
    assert path.stat().st_mtime_ns > written
    assert not np.array_equal(other.features, first.features)
    written = path.stat().st_mtime_ns
    embedded(blobs.workspace, "a0", picture[::-1].copy(), Network(network.model, "another file"))
    assert path.stat().st_mtime_ns > written


def test_a_damaged_embedding_is_made_again(blobs, small_sam: Path) -> None:
    network = open_network(small_sam)
    picture = np.zeros((60, 80, 3), np.uint8)
    first = embedded(blobs.workspace, "a0", picture, network)
    path = blobs.workspace.root / "embeddings" / "sam" / "a0.safetensors"
    path.write_bytes(b"no tensors")
    assert np.array_equal(embedded(blobs.workspace, "a0", picture, network).features, first.features)
