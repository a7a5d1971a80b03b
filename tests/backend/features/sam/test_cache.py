"""A view is embedded once per picture and checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.features.sam import Embedding, Network, embedded, open_network


def test_an_embedding_is_kept_until_gaussians_size_or_checkpoint_change(blobs, small_sam: Path) -> None:
    network = open_network(small_sam)
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    asked = []

    def get(stamp: str = "one", size: tuple[int, int] = (60, 80), by: Network = network) -> Embedding:
        def drawn() -> np.ndarray:
            asked.append(stamp)
            return picture[: size[0]]

        return embedded(blobs.workspace, "a0", drawn, size, by, stamp)

    first = get()
    again = get()
    assert asked == ["one"]
    assert first.features.dtype == np.float16
    assert np.array_equal(first.features, again.features)
    assert (again.height, again.width) == (60, 80)
    assert np.abs(first.features - network.embed(picture).features).max() < 2e-3
    get("two")
    get("two", (50, 80))
    get("two", (50, 80), Network(network.model, "another file"))
    assert len(asked) == 4
    (blobs.workspace.root / "embeddings" / "sam" / "a0.safetensors").write_bytes(b"no tensors")
    assert np.array_equal(get().features, first.features)
