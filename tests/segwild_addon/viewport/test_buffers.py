"""Rows as the shaders read them, and what is uploaded when."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from segwild_addon.data.rows import Rows, rows
from segwild_addon.protocol.errors import ResourceError
from segwild_addon.viewport import buffers, shaders

from .reference import random_rows


def some(count: int, seed: int = 0, bases: int = 15, first_id: int = 1) -> Rows:
    positions, scales, quats, opacities, base, sh = random_rows(count, seed, bases=bases)
    ids = np.arange(first_id, first_id + count, dtype=np.int32)
    return rows(positions, scales, quats, np.c_[base, opacities].astype(np.float32), sh, ids)


def decoded(array: np.ndarray, bases: int) -> np.ndarray:
    """(N, bases, 3) as the shader reads `harmonics`."""
    held, unit = array[:, :bases].astype(np.int64), array[:, -1:]
    channels = np.stack([held & 255, (held >> 8) & 255, held >> 16], -1)
    return (channels - 127) * unit[..., None]


@given(
    st.sampled_from([3, 8, 15]).flatmap(
        lambda bases: hn.arrays(np.float32, (6, bases, 3), elements=st.floats(-1e4, 1e4, width=32))
    )
)
def test_harmonics_keep_eight_bits_of_each_row(sh):
    got = decoded(buffers.harmonics(sh), sh.shape[1])
    largest = np.abs(sh).reshape(len(sh), -1).max(1)
    assert (np.abs(got - sh).reshape(len(sh), -1).max(1) <= largest / 253 + 2e-28).all()  # smaller ones count as zero
    np.testing.assert_array_equal(got[sh == 0], 0)


def test_a_lower_degree_is_widened_with_zeros():
    for bases in (0, 3, 8):
        sh = random_rows(5, 0, bases=bases)[5]
        wide = buffers._widened(buffers.harmonics(sh), 16)
        got = decoded(wide, 15)
        np.testing.assert_allclose(got[:, :bases], sh, rtol=0, atol=0.01)
        assert not got[:, bases:].any()


def test_rows_that_are_not_finite_are_never_drawn():
    good = some(4)
    positions = good.positions.copy()
    positions[2, 1] = np.nan
    pack = buffers.packed(rows(positions, good.scales, good.rotations, good.base, good.sh, good.ids))
    assert pack.centres[2, 3] == 0
    assert (pack.centres[[0, 1, 3], 3] == good.base[[0, 1, 3], 3]).all()
    assert np.isfinite(pack.positions).all()


def test_harmonics_are_encoded_again_only_where_they_differ():
    good = some(50)
    first = buffers.packed(good)
    assert buffers.packed(some(50), first).harmonics is first.harmonics
    sh = good.sh.copy()
    sh[7, 3, 1] = np.nextafter(sh[7, 3, 1], np.float32(10))
    swapped = good.sh.copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    for other in (sh, swapped):
        changed = buffers.packed(rows(good.positions, good.scales, good.rotations, good.base, other, good.ids), first)
        assert changed.harmonics is not first.harmonics
        np.testing.assert_array_equal(changed.harmonics, buffers.harmonics(other))
    assert len(buffers.packed(some(20), first).harmonics) == 20


def tints_in(words, count):
    """As the shader reads them."""
    flat = np.ravel(words)
    return [(int(flat[row // shaders.TINTS]) >> (4 * (row % shaders.TINTS))) & 15 for row in range(count)]


@given(st.lists(st.integers(0, 15), min_size=1, max_size=200))
def test_each_row_has_its_tint(tints):
    assert tints_in(buffers.tint_words(np.array(tints, np.uint8)), len(tints)) == tints


@given(st.integers(1, 200), st.sets(st.integers(0, 250), max_size=60), st.lists(st.integers(0, 255), max_size=250))
def test_highlights_and_colours_go_by_ids(count, marked, numbers):
    ids = np.random.default_rng(count).permutation(count).astype(np.int32)  # 0 is among them: unknown
    layer = buffers.Layer()
    layer.members, layer.ids = {"one": slice(0, count)}, ids
    layer.mark({"one": np.array(sorted(marked), np.int64)})
    layer.color({"one": np.array(numbers, np.uint8), "gone": np.ones(3, np.uint8)})

    def tint(id_):
        if id_ in marked and id_ > 0:
            return 1
        number = numbers[id_ - 1] if 0 < id_ <= len(numbers) else 0
        return 2 + (number - 1) % buffers.COLORS if number else 0

    assert layer._tints().tolist() == [tint(id_) for id_ in ids.tolist()]


@pytest.fixture
def sent(monkeypatch):
    """What is uploaded, without a graphics card."""
    log = []

    def uploaded(flat, size, form, kind):
        log.append(kind)
        return SimpleNamespace(flat=flat, size=size)

    monkeypatch.setattr(buffers, "uploaded", uploaded)
    return log


def test_only_what_differs_is_uploaded(sent):
    layer = buffers.Layer()
    one, two = buffers.packed(some(50)), buffers.packed(some(30, 1, first_id=51))
    layer.set({"one": one, "two": two})
    layer.textures()
    assert sorted(sent) == ["centres", "colours", "harmonics", "mask", "turns"]
    sent.clear()

    layer.textures()
    layer.set({"one": one, "two": buffers.packed(some(30, 1, first_id=51))})  # read again, the same
    layer.textures()
    assert sent == []

    layer.mark({"one": np.array([3]), "two": np.array([60])})
    layer.textures()
    assert sent == ["mask"]
    sent.clear()

    layer.set({"one": one.with_base(np.zeros((50, 3), np.float32)), "two": two})  # another light
    layer.textures()
    assert sent == ["colours"]
    sent.clear()

    before = layer.layout
    layer.set({"two": two})
    layer.textures()
    assert sorted(sent) == ["centres", "colours", "harmonics", "mask", "turns"]
    assert layer.layout > before
    np.testing.assert_array_equal(layer.ids, two.ids)


def test_of_two_objects_with_the_same_rows_one_is_highlighted(sent):
    layer = buffers.Layer()
    layer.set({"one": buffers.packed(some(5)), "copy": buffers.packed(some(5))})
    layer.mark({"copy": np.array([2, 3]), "gone": np.array([1])})
    assert tints_in(layer.textures()["mask"].flat, 10) == [0] * 6 + [1, 1, 0, 0]


def test_rows_name_their_object(sent):
    layer = buffers.Layer()
    layer.set({"one": buffers.packed(some(5)), "two": buffers.packed(some(3, 1, bases=3))})
    centres = layer.textures()["centres"].flat[: 8 * 8].reshape(8, 8)
    assert list(centres[:, 7]) == [0] * 5 + [1] * 3
    assert layer.members == {"one": slice(0, 5), "two": slice(5, 8)}
    harmonics = layer.textures()["harmonics"].flat[: 8 * 16].reshape(8, 16)
    assert not decoded(harmonics, 15)[5:, 3:].any()


def test_more_rows_than_can_be_numbered_are_refused():
    class Many:
        degree = 0

        def __len__(self):
            return buffers.ROWS_MAX + 1

    with pytest.raises(ResourceError, match="cannot be drawn"):
        buffers.Layer().set({"many": Many()})


def test_the_version_is_another_whenever_what_is_drawn_is():
    layer, other = buffers.Layer(), buffers.Layer()
    seen = {layer.version, other.version}
    assert len(seen) == 2

    def changed() -> bool:
        new = layer.version not in seen
        seen.add(layer.version)
        return new

    layer.set({"a": buffers.packed(some(30))})
    assert changed()
    layer.set({"a": buffers.packed(some(30))})
    assert not changed()
    layer.mark({})
    assert not changed()
    layer.mark({"a": np.array([3, 4])})
    assert changed()
    layer.mark({"a": np.array([3, 4])})
    assert not changed()
    layer.color({"a": np.array([0, 2, 2], np.uint8)})
    assert changed()
    layer.color({"a": np.array([0, 2, 2], np.uint8)})
    assert not changed()
    layer.set({"a": buffers.packed(some(30, seed=1))})
    assert changed()
    layer.set({"a": buffers.packed(some(30, seed=1, first_id=9))})
    assert changed()
    layer.mark({})
    assert changed()
