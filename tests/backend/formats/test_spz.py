"""The .spz format: bytes made by hand, what a byte can hold, and files that mean harm."""

from __future__ import annotations

import gzip
import math
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backend.formats import reader_of, writer_of
from backend.formats.rows import SOLID_LOGIT
from backend.formats.spz import read_spz, write_spz
from backend.progress import Quiet
from backend.scene.gaussians import Gaussians
from backend.scene.harmonics import eval_sh_basis
from backend.scene.placement import transformed
from backend.scene.transforms import Similarity, matrices_from_quats
from segwild_addon.protocol.errors import InputError

BASES = {0: 0, 1: 3, 2: 8, 3: 15}


def header(*, magic=0x5053474E, version=2, count=1, degree=0, bits=8, flags=0) -> bytes:
    return struct.pack("<IIIBBBB", magic, version, count, degree, bits, flags, 0)


# 1, -2 and 3.5 with 8 fractional bits: 0x000100, -0x200 and 0x380.
POSITION = bytes.fromhex("000100 00fe ff 800300".replace(" ", ""))
ALPHA, COLOUR, SCALE = b"\xcc", bytes([128, 255, 0]), bytes([160, 144, 176])
SIDEWAYS = bytes([255, 128, 0])  # 1, 0, -1 of 127.5: longer than 1, so w is 0
BODY = POSITION + ALPHA + COLOUR + SCALE + SIDEWAYS


def some_gaussians(count: int = 7, degree: int = 3, seed: int = 0) -> Gaussians:
    rng = np.random.default_rng(seed)
    return Gaussians(
        means=rng.normal(size=(count, 3)).astype(np.float32),
        quats=rng.normal(size=(count, 4)).astype(np.float32),
        log_scales=rng.uniform(-6, -1, (count, 3)).astype(np.float32),
        opacity_logits=rng.normal(size=count).astype(np.float32),
        sh0=rng.normal(size=(count, 1, 3)).astype(np.float32),
        shN=rng.uniform(-0.8, 0.8, (count, BASES[degree], 3)).astype(np.float32),
    )


@st.composite
def all_gaussians(draw: st.DrawFn) -> Gaussians:
    count = draw(st.integers(1, 6))
    reach = draw(st.sampled_from([2.0**-20, 1.0, 127.0, 2.0**20]))

    def numbers(*shape: int, low: float, high: float) -> np.ndarray:
        return draw(arrays(np.float32, (count, *shape), elements=st.floats(low, high, width=32)))

    return Gaussians(
        means=numbers(3, low=-reach, high=reach),
        quats=numbers(4, low=-4, high=4),
        log_scales=numbers(3, low=-10, high=5.9375),
        opacity_logits=numbers(low=-30, high=30),
        sh0=numbers(1, 3, low=-3.25, high=3.25),
        shN=numbers(draw(st.sampled_from(list(BASES.values()))), 3, low=-1, high=0.875),
    )


def shapes(gaussians: Gaussians) -> np.ndarray:
    """(N, 3, 3) of the ellipsoids, which two quaternions can share."""
    quats = gaussians.quats.astype(float)
    quats[~quats.any(axis=1)] = (1, 0, 0, 0)
    axes = matrices_from_quats(quats / np.abs(quats).max(axis=1, keepdims=True))
    return axes @ (np.exp(gaussians.log_scales.astype(float))[:, :, None] ** 2 * axes.swapaxes(1, 2))


def read(folder: Path, content: bytes, progress: Quiet | None = None) -> Gaussians:
    (folder / "a.spz").write_bytes(gzip.compress(content))
    return read_spz(folder / "a.spz", progress)


def refused(folder: Path, file: bytes, code: str) -> str:
    (folder / "bad.spz").write_bytes(file)
    with pytest.raises(InputError) as refusal:
        read_spz(folder / "bad.spz")
    assert refusal.value.code == code, refusal.value
    assert refusal.value.sentence.endswith(f"{folder / 'bad.spz'}.")
    return refusal.value.sentence


# Layout


def test_bytes_made_by_hand_are_read(tmp_path: Path) -> None:
    found = read(tmp_path, header() + BODY)
    assert found.means.tolist() == [[1, 2, -3.5]]  # y and z point the other way
    assert found.opacities[0] == pytest.approx(0.8)
    np.testing.assert_allclose(found.sh0[0, 0] * 0.15 + 0.5, [128 / 255, 1, 0], atol=1e-6)
    assert found.log_scales.tolist() == [[0, -1, 1]]
    np.testing.assert_allclose(found.quats, [[0, 1, -1 / 255, 1]], atol=1e-6)
    assert found.sh_degree == 0


def test_attributes_lie_one_after_the_other(tmp_path: Path) -> None:
    parts = [POSITION, bytes(9), b"\xff\x00", COLOUR, bytes(3), SCALE, bytes([0] * 3), SIDEWAYS, bytes([128] * 3)]
    found = read(tmp_path, header(count=2) + b"".join(parts))
    assert found.means.tolist() == [[1, 2, -3.5], [0, 0, 0]]
    assert found.opacity_logits.tolist() == [SOLID_LOGIT, -SOLID_LOGIT]
    assert found.log_scales.tolist() == [[0, -1, 1], [-10, -10, -10]]
    assert found.quats[1, 0] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("largest", range(4))
def test_rotations_of_version_3(tmp_path: Path, largest: int) -> None:
    small = [511, -256, 100]
    bits = largest
    for value in small:
        bits = bits << 10 | (value < 0) << 9 | abs(value)
    body = POSITION + ALPHA + COLOUR + SCALE + struct.pack("<I", bits)
    xyzw = [value / 511 * math.sqrt(0.5) for value in small]
    xyzw.insert(largest, math.sqrt(1 - sum(value * value for value in xyzw)))
    x, y, z, w = xyzw
    np.testing.assert_allclose(read(tmp_path, header(version=3) + body).quats, [[w, x, -y, -z]], atol=1e-6)


def test_harmonics_have_their_channels_side_by_side(tmp_path: Path) -> None:
    found = read(tmp_path, header(degree=1) + BODY + bytes([0, 128, 192, 64, 129, 127, 255, 1, 130]))
    signs = np.array([[-1], [-1], [1]])  # the basis functions are those of -y, z and -x
    expected = np.array([[-128, 0, 64], [-64, 1, -1], [127, -127, 2]]) / 128 * signs
    np.testing.assert_allclose(found.shN[0], expected, atol=1e-7)


def test_harmonics_of_degree_4_are_dropped_with_a_warning(tmp_path: Path) -> None:
    progress = Quiet()
    found = read(tmp_path, header(degree=4) + BODY + bytes([130] * 45 + [7] * 27), progress)
    assert np.unique(np.abs(found.shN)).tolist() == [2 / 128]
    assert found.sh_degree == 3
    assert [warning.code for warning in progress.warnings] == ["harmonics-dropped"]


def test_gaussians_become_the_bytes_made_by_hand(tmp_path: Path) -> None:
    gaussians = Gaussians(
        means=np.float32([[1, -2, 3.5]]),
        quats=np.float32([[-6, 2, -4, 5]]),  # norm 9
        log_scales=np.float32([[0, -1, 9]]),
        opacity_logits=np.float32([math.log(0.8 / 0.2)]),
        sh0=np.float32([[[0, 9, -0.5]]]),
        shN=np.float32([[[0, 0.5, -0.51], [0.2, -2, 2], [0.03, 0.04, -0.03]]]),
    )
    progress = Quiet()
    write_spz(tmp_path / "a.spz", gaussians, progress=progress)
    position = struct.pack("<i", 1 << 16)[:3] + struct.pack("<i", 2 << 16)[:3] + struct.pack("<i", -(7 << 15))[:3]
    harmonics = bytes([128, 64, 192, 104, 255, 0, 128, 136, 128])  # y flips its sign, z too, x does not
    rotation = bytes([99, 71, 198])  # x y z of (6, -2, -4, 5) / 9 after the flip and with w made positive
    body = position + b"\xcc" + bytes([128, 255, 108]) + bytes([160, 144, 255]) + rotation + harmonics
    assert gzip.decompress((tmp_path / "a.spz").read_bytes()) == header(degree=1, bits=16) + body
    assert [warning.code for warning in progress.warnings] == ["sizes-clipped"]


# Round trips


@settings(max_examples=80, deadline=None)
@given(gaussians=all_gaussians())
def test_a_round_trip_loses_what_the_format_cannot_hold_and_no_more(
    tmp_path_factory: pytest.TempPathFactory, gaussians: Gaussians
) -> None:
    path = tmp_path_factory.mktemp("spz") / "a.spz"
    write_spz(path, gaussians)
    found = read_spz(path)
    step = max(2.0**-16, np.abs(gaussians.means).max() * 2.0**-22)
    assert np.abs(found.means - gaussians.means).max() <= 0.5 * step + 1e-9
    assert np.abs(found.log_scales - gaussians.log_scales).max() <= 1 / 32 + 1e-6
    assert np.abs(found.opacities - gaussians.opacities).max() <= 0.5 / 255 + 1e-6
    assert np.abs(found.sh0 - gaussians.sh0).max() <= 0.5 / 255 / 0.15 + 1e-5
    assert found.shN.shape == gaussians.shN.shape
    assert np.abs(found.shN[:, :3] - gaussians.shN[:, :3]).max(initial=0) <= 4 / 128 + 1e-6
    assert np.abs(found.shN[:, 3:] - gaussians.shN[:, 3:]).max(initial=0) <= 8 / 128 + 1e-6
    again = path.with_name("again.spz")
    write_spz(again, found)
    np.testing.assert_allclose(read_spz(again).means, found.means, atol=step)


@settings(max_examples=80, deadline=None)
@given(quat=arrays(np.float32, 4, elements=st.floats(-1, 1, width=32)))
def test_every_orientation_keeps_its_ellipsoid(tmp_path_factory: pytest.TempPathFactory, quat: np.ndarray) -> None:
    gaussians = some_gaussians(1, 0)
    gaussians.quats[0] = quat
    gaussians.log_scales[0] = (0, -1, -3)
    path = tmp_path_factory.mktemp("spz") / "a.spz"
    write_spz(path, gaussians)
    # The turn is lost below 0.03 rad; the lengths are whole steps.
    assert np.abs(shapes(read_spz(path)) - shapes(gaussians)).max() < 0.03


def test_colours_are_seen_alike_from_every_side_in_the_flipped_axes(tmp_path: Path) -> None:
    gaussians = some_gaussians(5)
    write_spz(tmp_path / "a.spz", gaussians)
    raw = np.frombuffer(gzip.decompress((tmp_path / "a.spz").read_bytes())[-5 * 45 :], np.uint8).reshape(5, 15, 3)
    inside = np.concatenate([gaussians.sh0 * 0, (raw.astype(float) - 128) / 128], axis=1)
    outside = np.concatenate([gaussians.sh0 * 0, gaussians.shN], axis=1)
    directions = np.random.default_rng(0).normal(size=(50, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    there = np.einsum("dk,nkc->dnc", eval_sh_basis(directions * [1, -1, -1], 3), inside)
    here = np.einsum("dk,nkc->dnc", eval_sh_basis(directions, 3), outside)
    assert np.abs(there - here).max() < 0.25  # fifteen coefficients, each rounded by at most a sixteenth
    assert np.abs(there - here).mean() < 0.05 < np.abs(here).mean()


def test_writing_undoes_the_normalisation(tmp_path: Path) -> None:
    turned = Similarity(2.5, matrices_from_quats(np.array([[0.3, -0.5, 0.7, 0.4]]))[0], np.array([1.0, -2.0, 3.0]))
    write_spz(tmp_path / "a.spz", transformed(some_gaussians(), turned), world_from_scene=turned.inverse())
    found = read_spz(tmp_path / "a.spz")
    np.testing.assert_allclose(found.means, some_gaussians().means, atol=1e-4)
    np.testing.assert_allclose(shapes(found), shapes(some_gaussians()), atol=0.02)


def test_a_far_splat_costs_the_others_precision_which_is_said(tmp_path: Path) -> None:
    gaussians, progress = some_gaussians(), Quiet()
    gaussians.means[0, 0] = 1e6
    gaussians.log_scales[:] = -4
    write_spz(tmp_path / "a.spz", gaussians, progress=progress)
    assert [warning.code for warning in progress.warnings] == ["positions-coarse"]
    assert np.abs(read_spz(tmp_path / "a.spz").means - gaussians.means).max() <= 1 / 16
    gaussians.means[0, 0] = -1e7
    with pytest.raises(InputError) as refusal:
        write_spz(tmp_path / "b.spz", gaussians)
    assert refusal.value.code == "spz-too-far"
    assert not (tmp_path / "b.spz").exists()


def test_the_suffix_finds_it() -> None:
    assert reader_of(Path("a/B.SPZ")) is read_spz
    assert writer_of(Path("b.spz")) is write_spz


# Files that cannot be used


def test_files_that_end_too_early(tmp_path: Path) -> None:
    write_spz(tmp_path / "a.spz", some_gaussians(200))
    content = (tmp_path / "a.spz").read_bytes()
    for length in (0, 1, 9, 10, 30, len(content) // 2, len(content) - 9, len(content) - 8, len(content) - 1):
        refused(tmp_path, content[:length], "spz-cut-short")
    for length in (5, 16, 16 + len(BODY) - 1):
        refused(tmp_path, gzip.compress((header() + BODY)[:length]), "spz-cut-short")


def test_a_wrong_checksum_is_noticed(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(header() + BODY))
    content[-6] ^= 1
    assert "damaged" in refused(tmp_path, bytes(content), "spz-malformed")


def test_other_files(tmp_path: Path) -> None:
    refused(tmp_path, b"NGSP\x04\0\0\0" + bytes(100), "spz-malformed")
    refused(tmp_path, gzip.compress(header(magic=1) + BODY), "spz-malformed")
    assert "version 4" in refused(tmp_path, gzip.compress(header(version=4) + BODY), "spz-version")
    refused(tmp_path, gzip.compress(header(degree=5) + BODY), "spz-malformed")
    refused(tmp_path, gzip.compress(header(bits=31) + BODY), "spz-malformed")
    refused(tmp_path, gzip.compress(header(count=0)), "spz-empty")
    refused(tmp_path, gzip.compress(header(flags=3) + BODY), "spz-extensions")
    assert len(read(tmp_path, header(flags=1) + BODY)) == 1
    with pytest.raises(InputError) as refusal:
        read_spz(tmp_path / "none.spz")
    assert refusal.value.code == "file-missing"


@pytest.mark.parametrize("count", [500, 10_000_000, 2**32 - 1])
def test_counts_beyond_the_file_are_refused_before_memory_is_taken(tmp_path: Path, count: int) -> None:
    (tmp_path / "huge.spz").write_bytes(gzip.compress(header(count=count, degree=3) + BODY))
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as refusal:
            read_spz(tmp_path / "huge.spz")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert refusal.value.code == ("spz-too-many" if count > 500 else "spz-cut-short")


def test_a_bomb_is_not_blown_up(tmp_path: Path) -> None:
    squeeze = zlib.compressobj(9, wbits=31)
    packed = [squeeze.compress(header() + BODY), *(squeeze.compress(bytes(1 << 20)) for _ in range(200))]
    (tmp_path / "bomb.spz").write_bytes(b"".join(packed) + squeeze.flush())
    tracemalloc.start()
    try:
        assert len(read_spz(tmp_path / "bomb.spz")) == 1  # what follows the splats is left packed
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 200), junk=st.binary(min_size=1, max_size=8), packed=st.booleans())
def test_any_damage_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, position: int, junk: bytes, packed: bool
) -> None:
    path = tmp_path_factory.mktemp("spz") / "a.spz"
    write_spz(path, some_gaussians(3, 1))
    content = bytearray(path.read_bytes() if packed else gzip.decompress(path.read_bytes()))
    content[position : position + len(junk)] = junk
    path.write_bytes(content if packed else gzip.compress(content))
    try:
        found = read_spz(path)
    except InputError:
        return
    assert found.finite_rows().all()
