"""The compact formats, read back by the backend's readers."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the backend's readers stand beside torch")

from backend.formats import reader_of
from backend.scene.transforms import matrices_from_quats
from segwild_addon.data import compact
from segwild_addon.data.rows import Rows, rows
from segwild_addon.data.steps import finished
from segwild_addon.protocol.errors import InputError, ResourceError


def some(count: int = 200, bases: int = 15) -> Rows:
    random = np.random.default_rng(0)
    quats = random.normal(size=(count, 4))
    base = np.c_[random.normal(0, 0.8, (count, 3)), random.uniform(0.02, 0.98, count)]
    return rows(
        random.normal(0, 2, (count, 3)).astype(np.float32),
        np.exp(random.normal(-3, 1, (count, 3))).astype(np.float32),
        (quats / np.linalg.norm(quats, axis=1, keepdims=True)).astype(np.float32),
        base.astype(np.float32),
        random.normal(0, 0.2, (count, bases, 3)).astype(np.float32),
    )


def shapes(quats: np.ndarray, scales: np.ndarray) -> np.ndarray:
    axes = matrices_from_quats(quats.astype(float)) * scales[:, None]
    return axes @ np.moveaxis(axes, 1, 2) / (scales.max(1) ** 2)[:, None, None]


@pytest.mark.parametrize("bases", [0, 3, 8, 15])
def test_a_spz_is_what_was_written_as_far_as_it_can_say(tmp_path: Path, bases: int) -> None:
    written, path = some(bases=bases), tmp_path / "a.spz"
    assert finished(compact.writing_spz(path, written)) == len(written)
    found = reader_of(path)(path)
    np.testing.assert_allclose(found.means, written.positions, atol=2e-5)
    np.testing.assert_allclose(found.scales, written.scales, rtol=1 / 30)
    np.testing.assert_allclose(found.sh0[:, 0], written.base[:, :3], atol=0.5 / 255 / 0.15 + 1e-6)
    np.testing.assert_allclose(found.opacities, written.base[:, 3], atol=0.6 / 255)
    assert found.shN.shape == written.sh.shape
    np.testing.assert_allclose(found.shN[:, :3], written.sh[:, :3].clip(-1, 1), atol=4.6 / 128)
    np.testing.assert_allclose(found.shN, written.sh.clip(-1, 1), atol=8.6 / 128)
    np.testing.assert_allclose(
        shapes(found.quats, written.scales), shapes(written.rotations, written.scales), atol=0.04
    )


def test_a_spz_is_smaller_than_a_search_for_repetitions_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.spz"
    finished(compact.writing_spz(path, some(5000)))
    assert path.stat().st_size < len(gzip.compress(gzip.decompress(path.read_bytes()), 6))


def test_a_spz_of_several_chunks_is_that_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says how far it is."""
    finished(compact.writing_spz(tmp_path / "one.spz", some(200)))
    monkeypatch.setattr(compact, "_CHUNK_ROWS", 64)
    told = list(compact.writing_spz(tmp_path / "more.spz", some(200)))
    assert told == sorted(told)
    assert len(told) >= 4 * 6
    assert told[-1] == 1
    one, more = (gzip.decompress((tmp_path / name).read_bytes()) for name in ("one.spz", "more.spz"))
    assert one == more


def test_a_splat_is_what_was_written_but_for_directed_colour(tmp_path: Path) -> None:
    written, path = some(), tmp_path / "a.splat"
    assert finished(compact.writing_splat(path, written)) == len(written)
    found = reader_of(path)(path)
    np.testing.assert_array_equal(found.means, written.positions)
    np.testing.assert_allclose(found.scales, written.scales, rtol=1e-5)
    shown = 0.5 + compact._C0 * written.base[:, :3]
    np.testing.assert_allclose(0.5 + compact._C0 * found.sh0[:, 0], shown.clip(0, 1), atol=0.51 / 255)
    np.testing.assert_allclose(found.opacities, written.base[:, 3], atol=0.6 / 255)
    np.testing.assert_allclose(
        shapes(found.quats, written.scales), shapes(written.rotations, written.scales), atol=0.04
    )


@pytest.mark.parametrize("writing", [compact.writing_splat, compact.writing_spz])
def test_rows_that_are_not_finite_are_left_out_and_nothing_half_written_stays(writing, tmp_path: Path) -> None:
    written = some(30)
    written.positions[3, 1] = np.nan
    assert finished(writing(tmp_path / "a", written)) == 29
    written.base[:] = np.inf
    with pytest.raises(InputError, match="no splat to write"):
        finished(writing(tmp_path / "b", written))
    with pytest.raises(ResourceError, match="Writing failed"):
        finished(writing(tmp_path / "missing" / "c", some(3)))
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_places_beyond_what_a_spz_can_say_are_refused(tmp_path: Path) -> None:
    far = some(5)
    far.positions[0, 0] = 1e7
    with pytest.raises(InputError, match="away"):
        finished(compact.writing_spz(tmp_path / "a.spz", far))
    far.positions[0, 0] = 8e6
    finished(compact.writing_spz(tmp_path / "a.spz", far))
    assert reader_of(tmp_path / "a.spz")(tmp_path / "a.spz").means[0, 0] == pytest.approx(8e6, abs=1)
