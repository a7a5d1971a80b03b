"""Looks of a workspace: what their file holds, and how photos mix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.scene.files import read_arrays, write_arrays
from backend.train.appearance import Appearance, Look, initial_shared
from backend.train.backdrop import SKY_BASES
from backend.train.mlp import MlpAppearance
from backend.train.relighting import LinearAppearance, Relighting
from segwild_addon.protocol.errors import InputError

LINEAR, MLP = LinearAppearance(2), MlpAppearance(3, 4, 8)


def looks(kind: Relighting = LINEAR) -> Appearance:
    """Two photos with other lights and other skies, of five rows."""
    shared = {name: value + 0.1 * torch.randn(value.shape) for name, value in initial_shared(kind, 2, 0).items()}
    rows = {name: torch.randn(value.shape) for name, value in kind.initial_rows(5).items()}
    return Appearance.of(("a", "b"), kind, shared, rows | {"means": torch.zeros(5, 3)})


@pytest.mark.parametrize("kind", [LINEAR, MLP, LinearAppearance(2, degree=1)], ids=str)
def test_looks_survive_the_file_and_another_photo_joins_them(kind: Relighting, blobs) -> None:
    saved = looks(kind)
    saved.save(blobs.workspace)
    read = Appearance.load(blobs.workspace)
    assert read.kind == kind
    assert set(read.rows) == set(kind.row_rates)
    for name, value in (saved.shared | saved.rows).items():
        assert torch.equal((read.shared | read.rows)[name], value), name
    assert read.numbers == kind.numbers + 3 * SKY_BASES
    more = read.with_look("c", read.embedding(Look("a")) * 2).with_look("b", read.embedding(Look("a")))
    assert more.names == ("a", "b", "c")
    assert torch.equal(more.embedding(Look("b")), read.embedding(Look("a")))
    assert torch.equal(more.embedding(Look("c")), 2 * read.embedding(Look("a")))


def test_a_scene_of_one_light_says_how_to_train_looks() -> None:
    kind = LinearAppearance(0)
    one = Appearance.of(("a", "b"), kind, initial_shared(kind, 2, 0, own_sky=False), kind.initial_rows(5))
    assert not one.embedding(Look()).numel()
    with pytest.raises(InputError, match="one light for all photos") as caught:
        one.embedding(Look("a"))
    assert "--appearance linear" in caught.value.hint
    with pytest.raises(InputError, match="'c' has no look of its own") as caught:
        looks().embedding(Look("c"))
    assert caught.value.hint.endswith("such as a, b.")


def test_looks_of_before_are_read(blobs) -> None:
    """There was one kind, and photos had no skies of their own."""
    saved = looks()
    saved.save(blobs.workspace)
    arrays, metadata = read_arrays(blobs.workspace.appearance)
    del arrays["shared.skies"]
    write_arrays(blobs.workspace.appearance, arrays, {"photos": metadata["photos"]})
    old = Appearance.load(blobs.workspace)
    assert old.kind == LINEAR
    assert old.numbers == 2
    assert torch.equal(old.embedding(Look("a")), saved.embedding(Look("a"))[:2])


@pytest.mark.parametrize("kind", [LINEAR, MLP], ids=str)
def test_damaged_looks_are_a_sentence(kind: Relighting, blobs) -> None:
    looks(kind).save(blobs.workspace)
    arrays, metadata = read_arrays(blobs.workspace.appearance)
    file = blobs.workspace.appearance
    own = next(iter(kind.row_rates))
    for wrong in (
        {name: value for name, value in arrays.items() if name != own},
        {name: value for name, value in arrays.items() if name != "shared.gain"},
        arrays | {own: arrays[own][:, :1]},
        arrays | {"shared.sky": np.zeros((4, 3), np.float32)},
    ):
        write_arrays(file, wrong, metadata)
        with pytest.raises(InputError, match="damaged"):
            Appearance.load(blobs.workspace)
    for facts in ('{"kind": "linear", "wide": 3}', "[]", "not json"):
        write_arrays(file, arrays, metadata | {"appearance": facts})
        with pytest.raises(InputError, match="damaged"):
            Appearance.load(blobs.workspace)
    write_arrays(file, arrays, metadata | {"appearance": '{"kind": "diffusion"}'})
    with pytest.raises(InputError, match="unknown kind: diffusion"):
        Appearance.load(blobs.workspace)
