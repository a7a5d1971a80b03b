"""Picture files of every kind become upright RGB, and resizing averages over exact areas."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from backend.capture.pictures import (
    PictureError,
    decoded,
    fitted_size,
    read_mask,
    read_picture,
    read_with_clear,
    resized,
    write_for_matching,
    write_picture,
)
from segwild_addon.protocol.errors import InputError

RAMP = np.linspace(0, 255, 64 * 48).reshape(48, 64)


@pytest.fixture
def colours() -> np.ndarray:
    return np.stack([RAMP, RAMP[::-1], np.full_like(RAMP, 90)], axis=-1).astype(np.uint8)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_greyscale_and_16_bits_fill_the_range(tmp_path: Path) -> None:
    grey = Image.fromarray(RAMP.astype(np.uint8))
    deep = Image.fromarray((RAMP * 257).astype(np.uint16))
    for image, name in ((grey, "grey.png"), (deep, "deep.png"), (deep, "deep.tif")):
        picture = read_picture(saved(image, tmp_path / name))
        assert picture.shape == (48, 64, 3)
        assert picture.dtype == np.uint8
        assert np.abs(picture - RAMP[..., None]).max() <= 1


def test_floating_point_greyscale_is_read_as_zero_to_one(tmp_path: Path) -> None:
    picture = read_picture(saved(Image.fromarray((RAMP / 255).astype(np.float32)), tmp_path / "f.tif"))
    assert np.abs(picture - RAMP[..., None]).max() <= 1


def test_cmyk_palette_and_transparency_become_rgb(tmp_path: Path, colours: np.ndarray) -> None:
    image = Image.fromarray(colours)
    cmyk = read_picture(saved(image.convert("CMYK"), tmp_path / "c.jpg", quality=98, subsampling=0))
    assert np.abs(cmyk.astype(int) - colours).mean() < 6
    palette = read_picture(saved(image.quantize(200), tmp_path / "p.png"))
    assert np.abs(palette.astype(int) - colours).mean() < 6
    alpha = np.where(np.arange(64) < 32, 255, 0).astype(np.uint8)
    clear = Image.fromarray(np.dstack([colours, np.broadcast_to(alpha, (48, 64))]))
    picture, where = read_with_clear(saved(clear, tmp_path / "a.png"))
    assert np.array_equal(picture[:, :32], colours[:, :32])
    assert not picture[:, 32:].any()
    assert where is not None
    assert np.array_equal(where, np.broadcast_to(alpha < 128, (48, 64)))
    clear.putalpha(255)
    assert read_with_clear(saved(clear, tmp_path / "whole.png"))[1] is None


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_header_rotation_is_applied(tmp_path: Path, colours: np.ndarray, orientation: int, turned) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(Image.fromarray(colours), tmp_path / "o.png", exif=exif)
    assert np.array_equal(read_picture(path), turned(colours))
    assert np.array_equal(decoded(path, upright=False).pixels, colours)
    assert decoded(path).turned == (orientation != 1)


def test_files_without_pixels_are_named(tmp_path: Path, colours: np.ndarray) -> None:
    path = saved(Image.fromarray(np.tile(colours, (8, 8, 1))), tmp_path / "whole.jpg")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    for file, said in ((cut, "damaged"), (text, "not a picture"), (tmp_path / "none.jpg", "missing")):
        with pytest.raises(InputError, match=said) as caught:
            read_picture(file)
        assert str(file) in caught.value.sentence
        assert caught.value.hint


def test_a_decompression_bomb_is_refused_before_it_unfolds(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(PictureError, match="megapixels"):
        decoded(bomb)


def test_masks_are_light_where_true_and_must_fit(tmp_path: Path) -> None:
    mask = np.zeros((30, 40), bool)
    mask[5:9, 7:20] = True
    write_picture(tmp_path / "m.png", mask)
    assert np.array_equal(read_mask(tmp_path / "m.png", 40, 30), mask)
    ones = saved(Image.fromarray(mask.astype(np.uint8)), tmp_path / "ones.png")
    assert np.array_equal(read_mask(ones, 40, 30), mask)
    assert not read_mask(saved(Image.new("L", (40, 30)), tmp_path / "none.png"), 40, 30).any()
    with pytest.raises(InputError, match="40x30") as caught:
        read_mask(tmp_path / "m.png", 80, 60)
    assert caught.value.code == "mask-size"


def test_written_pictures_come_back(tmp_path: Path, colours: np.ndarray) -> None:
    write_picture(tmp_path / "deep" / "p.png", colours)
    assert np.array_equal(read_picture(tmp_path / "deep" / "p.png"), colours)
    write_picture(tmp_path / "p.jpg", colours)
    assert np.abs(read_picture(tmp_path / "p.jpg").astype(int) - colours).mean() < 2
    with Image.open(tmp_path / "p.jpg") as image:
        assert image.layer[0][1:3] == image.layer[1][1:3]  # colour as fine as brightness
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_copies_for_matching_keep_the_focal_length(tmp_path: Path, colours: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    exif.get_ifd(0x8769)[0x920A] = 50.0
    # 24 x 36 mm at 100 pixels per millimetre.
    exif.get_ifd(0x8769).update({0xA002: 3600, 0xA003: 2400, 0xA20E: 1000.0, 0xA210: 3})
    source = decoded(saved(Image.fromarray(colours), tmp_path / "s.jpg", exif=exif))
    write_for_matching(tmp_path / "c.jpg", source.pixels, source.lens_tags)
    copy = decoded(tmp_path / "c.jpg")
    assert not copy.turned
    assert copy.lens_tags.get(0x010F) == "Maker"
    assert copy.lens_tags.get_ifd(0x8769)[0x920A] == 50.0
    assert copy.lens_tags.get_ifd(0x8769)[0xA405] == 50


@given(
    old=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    new=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 99),
)
def test_resizing_keeps_constants_and_shrinking_keeps_the_mean(
    old: tuple[int, int], new: tuple[int, int], seed: int
) -> None:
    picture = np.random.default_rng(seed).random((old[1], old[0], 3), dtype=np.float32)
    result = resized(picture, *new)
    assert result.shape == (new[1], new[0], 3)
    assert result.min() >= picture.min() - 1e-5
    assert result.max() <= picture.max() + 1e-5
    if new[0] <= old[0] and new[1] <= old[1]:
        assert np.allclose(result.mean(axis=(0, 1)), picture.mean(axis=(0, 1)), atol=1e-5)
    assert np.allclose(resized(np.full_like(picture, 0.3), *new), 0.3, atol=1e-6)


def test_shrinking_by_whole_factors_is_the_block_mean(colours: np.ndarray) -> None:
    blocks = colours.reshape(12, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(resized(colours, 16, 12) - blocks).max() <= 0.5
    assert resized(colours, 64, 48) is colours
    assert resized(RAMP.astype(np.float32), 10, 7).shape == (7, 10)


def test_shrinking_by_a_fraction_weighs_cut_pixels() -> None:
    row = np.array([[0.0, 3.0, 9.0]], np.float32)
    assert np.allclose(resized(row, 2, 1), [[1.0, 7.0]])


def test_fitted_sizes_never_enlarge() -> None:
    assert fitted_size(6000, 4000, 3200) == (3200, 2133)
    assert fitted_size(640, 480, 3200) == (640, 480)
    assert fitted_size(5000, 1, 100) == (100, 1)
