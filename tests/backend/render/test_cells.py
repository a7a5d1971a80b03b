"""Sums over a grid's cells are those over the pixels between them."""

from __future__ import annotations

import numpy as np
import pytest

from backend.features.pixels import Grid
from backend.render import Cells, Seen


@pytest.mark.parametrize(
    ("shape", "inner", "size"),
    [
        ((12, 16), (12, 16), (128, 96)),
        ((20, 20), (13.4, 20), (128, 86)),
        ((3, 4), (3, 4), (61, 47)),
        ((1, 5), (0.7, 5), (50, 9)),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_cells_are_pixels(blobs, shape, inner, size, weighted: bool) -> None:
    random = np.random.default_rng(0)
    camera = blobs.cameras[0].resized(*size)
    seen = Seen(blobs.scene, camera)
    weight = random.random((camera.height, camera.width)).astype(np.float32) if weighted else None
    grid = Grid(random.normal(size=(7, *shape)).astype(np.float32), inner, camera.height, camera.width)
    A, Z = seen.accumulate(grid.of(0, 7), weight)
    cells = Cells(seen, grid.cells.shape[1:], inner, weight)
    assert cells.mass == pytest.approx(Z, rel=1e-5, abs=1e-5)
    total = np.ones((len(blobs.scene), 7), np.float32)  # it adds to what is there
    cells.add(grid.nodes(0, 7), total)
    assert total - 1 == pytest.approx(A, abs=1e-3)
    part = np.zeros((len(blobs.scene), 2), np.float32)
    cells.add(grid.nodes(3, 5), part)
    assert part == pytest.approx(A[:, 3:5], abs=1e-3)


def test_a_fine_grid_is_refused(blobs) -> None:
    camera = blobs.cameras[0].resized(64, 48)
    assert not Cells.fits(48, 64, (48, 64), (48, 64))
    assert Cells.fits(384, 512, (48, 64), (48, 64))
    with pytest.raises(ValueError, match="too fine"):
        Cells(Seen(blobs.scene, camera), (48, 64), (48, 64))


def test_the_same_bits_again(blobs) -> None:
    camera = blobs.cameras[0].resized(100, 75)
    features = np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32)
    sums = []
    for _ in range(2):
        into = np.zeros((len(blobs.scene), 9), np.float32)
        Cells(Seen(blobs.scene, camera), (3, 4), (3, 4)).add(features, into)
        sums.append(into)
    assert np.array_equal(*sums)
