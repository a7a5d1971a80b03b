"""Looks in numpy: the same numbers as the backend's, and what they promise of themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segwild_addon.data import looks
from segwild_addon.data.looks import Light, Look, Looks
from segwild_addon.data.rows import rows
from segwild_addon.data.safetensors import mapped
from segwild_addon.data.workspace import Folder
from segwild_addon.protocol.errors import InputError

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]
LOOKS = [
    Look("photo-0"),
    Look("photo-1", strength=1.6),
    Look("photo-0", "photo-2", mix=0.3, strength=0.8),
    Look("photo-2", "photo-2", mix=0.5),
]


def neutral(arrays: dict[str, np.ndarray], ids: np.ndarray) -> Any:
    own = ids - 1
    base = np.concatenate([arrays["sh0"][own, 0], np.full((len(own), 1), 0.5, np.float32)], axis=1)
    return rows(arrays["means"][own], arrays["log_scales"][own], arrays["quats"][own], base, arrays["shN"][own], ids)


@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize("degree", [0, 1, 3])
@pytest.mark.parametrize("look", [*LOOKS, Look()])
def test_baking_agrees_with_the_backend(make_workspace: Make, look: Look, degree: int, network: bool) -> None:
    appearance = pytest.importorskip("backend.train.appearance", reason="the backend's libraries are not installed")
    from backend.scene import Workspace

    path, arrays = make_workspace(photos=3, degree=degree, network=network)
    ids = np.array([5, 1, 60, 33], np.int32)
    trained = appearance.Appearance.load(Workspace(path))
    embedding = trained.embedding(appearance.Look(look.a or None, look.b or None, look.mix, look.strength))
    expected = trained.baked(Workspace(path).gaussians(), embedding)
    found = Looks.load(Folder(path))
    assert found is not None
    base_rgb, sh = found.baked(neutral(arrays, ids), ids, look)
    np.testing.assert_allclose(base_rgb, expected.sh0[ids - 1, 0], rtol=1e-5, atol=4e-6)
    np.testing.assert_allclose(sh, expected.shN[ids - 1], rtol=1e-5, atol=4e-6)


def test_a_mix_lies_between_its_ends_and_no_strength_is_neutral(make_workspace: Make) -> None:
    path, arrays = make_workspace(photos=3)
    found = Looks.load(Folder(path))
    assert found is not None
    ids = np.arange(1, 61, dtype=np.int32)
    own = neutral(arrays, ids)
    first, second = (found.baked(own, ids, Look(name))[0] for name in ("photo-0", "photo-1"))
    mixed = found.baked(own, ids, Look("photo-0", "photo-1", 0.25))[0]
    np.testing.assert_allclose(mixed, 0.75 * first + 0.25 * second, atol=1e-5)
    np.testing.assert_array_equal(found.baked(own, ids, Look("photo-0", strength=0))[0], own.base[:, :3])
    assert np.abs(first - own.base[:, :3]).max() > 0.05


@pytest.mark.parametrize("network", [False, True])
def test_rows_unknown_to_the_workspace_get_what_all_share(make_workspace: Make, network: bool) -> None:
    path, _ = make_workspace(photos=2, network=network)
    found = Looks.load(Folder(path))
    assert found is not None
    light = found.light(Look("photo-0"), np.array([0, 7, 0], np.int32))
    assert light.per_row is not None
    assert not light.per_row[[0, 2]].any()
    assert light.per_row[1].any()
    assert (light.higher is not None) == network
    if light.higher is not None:
        assert not light.higher[[0, 2]].any()
        assert light.higher[1].any()


def test_light_then_matrix_is_the_product() -> None:
    random = np.random.default_rng(0)
    shapes = (3, 3), (3,), (4, 3), (4, 3, 3)
    light = Light(*(random.standard_normal(shape).astype(np.float32) for shape in shapes))
    matrix = random.standard_normal((3, 3))
    colour = random.standard_normal((4, 3)).astype(np.float32)
    zeros = np.zeros((4, 0, 3), np.float32)
    c0 = looks.C0
    once = (light.baked((colour - 0.5) / c0, zeros)[0] * c0 + 0.5) @ matrix.T
    both = light.then(matrix).baked((colour - 0.5) / c0, zeros)[0] * c0 + 0.5
    np.testing.assert_allclose(both, once, atol=1e-5)
    np.testing.assert_allclose(once @ np.linalg.inv(matrix).T, colour @ light.gain.T + light.offset + light.per_row,
                               atol=1e-4)  # fmt: skip
    harmonics = random.standard_normal((4, 8, 3)).astype(np.float32)
    both = light.then(matrix).baked(colour, harmonics)[1]
    np.testing.assert_allclose(both, light.baked(colour, harmonics)[1] @ matrix.T, atol=1e-4)


def test_what_cannot_be_shown_is_said(make_workspace: Make, write_safetensors: Callable[..., None]) -> None:
    path, _ = make_workspace(photos=2)
    found = Looks.load(Folder(path))
    assert found is not None
    with pytest.raises(InputError, match="no look of its own"):
        found.light(Look("elsewhere"), np.array([1], np.int32))
    with pytest.raises(InputError, match="more"):
        found.light(Look("photo-0"), np.array([61], np.int32))
    file = path / "appearance.safetensors"
    for sizes in ('{"kind": "other"}', '{"kind": "linear", "rank": -1}', '{"kind": "linear", "rank": 5}', "[]"):
        arrays, metadata = mapped(file)
        arrays = {name: array.copy() for name, array in arrays.items()}
        write_safetensors(file, arrays, metadata | {"appearance": sizes})
        with pytest.raises(InputError, match="damaged"):
            Looks.load(Folder(path))
    (path / "appearance.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with pytest.raises(InputError, match="damaged"):
        Looks.load(Folder(path))
    (path / "appearance.safetensors").unlink()
    assert Looks.load(Folder(path)) is None


def test_looks_are_read_again_when_their_file_changes(make_workspace: Make) -> None:
    path, _ = make_workspace(photos=2)
    folder = Folder(path)
    first = looks.of_folder(folder)
    assert looks.of_folder(folder) is first
    make_workspace(photos=3)
    second = looks.of_folder(folder)
    assert second is not None
    assert len(second.names) == 3
