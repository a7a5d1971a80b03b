"""The .splat format: bytes made by hand, what a byte can hold, and files that mean harm."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backend.formats import reader_of, writer_of
from backend.formats.rows import FLATTEST_LOG_SCALE, SOLID_LOGIT
from backend.formats.splat import read_splat, write_splat
from backend.progress import Quiet
from backend.scene.gaussians import Gaussians
from backend.scene.placement import transformed
from backend.scene.transforms import Similarity, matrices_from_quats
from segwild_addon.protocol.errors import InputError

C0 = 1 / (2 * math.sqrt(math.pi))


def row(
    *, mean=(1.0, -2.0, 3.5), scale=(0.5, 1.0, 2.0), rgba=(255, 0, 51, 204), rotation=(255, 128, 128, 128)
) -> bytes:
    return struct.pack("<6f4B4B", *mean, *scale, *rgba, *rotation)


def one(bases: int = 3, **fields) -> Gaussians:
    values = {
        "means": [[1, -2, 3.5]],
        "quats": [[0.1, 0.1, -0.7, 0.7]],
        "log_scales": np.log([[0.5, 1, 2]]),
        "opacity_logits": [math.log(0.8 / 0.2)],
        "sh0": [[[0.5 / C0, -0.5 / C0, -0.3 / C0]]],
        "shN": np.zeros((1, bases, 3)),
    }
    return Gaussians(**{name: np.array(value, np.float32) for name, value in {**values, **fields}.items()})


@st.composite
def all_gaussians(draw: st.DrawFn) -> Gaussians:
    count = draw(st.integers(1, 6))

    def numbers(*shape: int, low: float, high: float) -> np.ndarray:
        return draw(arrays(np.float32, (count, *shape), elements=st.floats(low, high, width=32)))

    return Gaussians(
        means=numbers(3, low=-(2.0**50), high=2.0**50),
        quats=numbers(4, low=-4, high=4),
        log_scales=numbers(3, low=-29, high=39),
        opacity_logits=numbers(low=-30, high=30),
        sh0=numbers(1, 3, low=-1.75, high=1.75),
        shN=np.zeros((count, draw(st.sampled_from([0, 3, 8, 15])), 3), np.float32),
    )


def refused(path: Path, content: bytes, code: str) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError) as refusal:
        read_splat(path)
    assert refusal.value.code == code
    assert refusal.value.sentence.endswith(f"{path}.")


# Layout


def test_bytes_made_by_hand_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.splat").write_bytes(row() + row(mean=(7, 8, 9), rgba=(0, 0, 0, 255), rotation=(0, 192, 64, 128)))
    found = read_splat(tmp_path / "a.splat")
    assert found.means.tolist() == [[1, -2, 3.5], [7, 8, 9]]
    np.testing.assert_allclose(found.scales[0], [0.5, 1, 2], rtol=1e-6)
    np.testing.assert_allclose(0.5 + C0 * found.sh0[0, 0], [1, 0, 0.2], atol=1e-6)
    assert found.opacities[0] == pytest.approx(0.8)
    assert found.opacity_logits[1] == SOLID_LOGIT
    assert found.quats.tolist() == [[127 / 128, 0, 0, 0], [-1, 0.5, -0.5, 0]]
    assert found.sh_degree == 0


def test_gaussians_become_the_bytes_made_by_hand(tmp_path: Path) -> None:
    write_splat(tmp_path / "a.splat", one())
    # (0.1, 0.1, -0.7, 0.7) has norm 1: 140.8, 38.4 and 217.6 after the scaling.
    assert (tmp_path / "a.splat").read_bytes() == row(rotation=(141, 141, 38, 218))


def test_ends_of_the_ranges(tmp_path: Path) -> None:
    progress = Quiet()
    beyond = one(sh0=[[[9, -9, 0]]], opacity_logits=[-90], quats=[[1, 0, 0, 0]], log_scales=[[-200, 60, 0]])
    write_splat(tmp_path / "a.splat", beyond, progress=progress)
    _, _, _, *scale, red, green, blue, alpha, w, x, y, z = struct.unpack("<6f4B4B", (tmp_path / "a.splat").read_bytes())
    assert (red, green, blue, alpha) == (255, 0, 128, 0)
    assert (w, x, y, z) == (255, 128, 128, 128)
    assert scale == [0, pytest.approx(math.exp(40)), 1]
    assert progress.warnings == []
    found = read_splat(tmp_path / "a.splat")
    assert found.log_scales[0, 0] == FLATTEST_LOG_SCALE
    assert found.opacity_logits[0] == -SOLID_LOGIT


# Round trips


@settings(max_examples=80, deadline=None)
@given(gaussians=all_gaussians())
def test_a_round_trip_loses_what_bytes_cannot_hold_and_no_more(
    tmp_path_factory: pytest.TempPathFactory, gaussians: Gaussians
) -> None:
    path, progress = tmp_path_factory.mktemp("splat") / "a.splat", Quiet()
    write_splat(path, gaussians, progress=progress)
    assert path.stat().st_size == 32 * len(gaussians)
    found = read_splat(path, progress)
    assert found.means.tobytes() == gaussians.means.tobytes()
    np.testing.assert_allclose(found.log_scales, gaussians.log_scales, atol=1e-5)
    assert np.abs(found.opacities - gaussians.opacities).max() <= 0.5 / 255 + 1e-6
    assert np.abs(found.sh0 - gaussians.sh0).max() <= 0.5 / 255 / C0 + 1e-5
    quats = gaussians.quats.astype(float)  # squares of the smallest vanish in float32
    lengths = np.linalg.norm(quats, axis=1, keepdims=True)
    expected = np.where(lengths > 0, quats / np.where(lengths > 0, lengths, 1), [1, 0, 0, 0])
    assert np.abs(found.quats - expected).max() <= 1 / 128 + 1e-6
    assert progress.warnings == []


def test_writing_undoes_the_normalisation(tmp_path: Path) -> None:
    turned = Similarity(2.5, matrices_from_quats(np.array([[0.3, -0.5, 0.7, 0.4]]))[0], np.array([1.0, -2.0, 3.0]))
    write_splat(tmp_path / "a.splat", transformed(one(), turned), world_from_scene=turned.inverse())
    found = read_splat(tmp_path / "a.splat")
    np.testing.assert_allclose(found.means, one().means, atol=1e-5)
    np.testing.assert_allclose(found.scales, one().scales, rtol=1e-5)
    np.testing.assert_allclose(matrices_from_quats(found.quats), matrices_from_quats(one().quats), atol=0.03)


def test_colour_that_depends_on_the_view_is_dropped_with_a_warning(tmp_path: Path) -> None:
    progress = Quiet()
    write_splat(tmp_path / "a.splat", one(shN=np.full((1, 8, 3), 0.1)), progress=progress)
    (warning,) = progress.warnings
    assert warning.code == "harmonics-dropped"
    assert "degree 1 to 2" in warning.sentence


def test_the_suffix_finds_it() -> None:
    assert reader_of(Path("a/B.SPLAT")) is read_splat
    assert writer_of(Path("b.splat")) is write_splat


# Rows and files that cannot be used


def test_rows_that_cannot_be_drawn_are_left_out_with_a_count(tmp_path: Path) -> None:
    bad = [row(mean=(math.nan, 0, 0)), row(scale=(-1, 1, 1)), row(scale=(math.inf, 1, 1)), row(mean=(1e30, 0, 0))]
    (tmp_path / "a.splat").write_bytes(b"".join(bad) + row() + row(rotation=(128,) * 4))
    progress = Quiet()
    assert len(read_splat(tmp_path / "a.splat", progress)) == 2
    assert [warning.code for warning in progress.warnings] == ["rows-left-out", "rotations-missing"]
    assert progress.warnings[0].sentence.startswith("4 of 6 splats")
    refused(tmp_path / "b.splat", b"".join(bad), "splat-empty")


def test_gaussians_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refusal:
        write_splat(tmp_path / "a.splat", one(means=[[math.nan, 0, 0]]))
    assert refusal.value.code == "nothing-to-write"
    assert not (tmp_path / "a.splat").exists()


@pytest.mark.parametrize("length", [1, 31, 33, 63])
def test_files_that_end_within_a_splat(tmp_path: Path, length: int) -> None:
    refused(tmp_path / "a.splat", (row() * 2)[:length], "splat-cut-short")


def test_files_without_a_splat(tmp_path: Path) -> None:
    refused(tmp_path / "a.splat", b"", "splat-empty")
    with pytest.raises(InputError) as refusal:
        read_splat(tmp_path / "none.splat")
    assert refusal.value.code == "file-missing"


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("splat") / "a.splat"
    path.write_bytes(content)
    try:
        found = read_splat(path)
    except InputError:
        return
    assert found.finite_rows().all()
    write_splat(path, found)
    assert len(read_splat(path)) == len(found)
