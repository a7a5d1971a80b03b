"""Picture files into upright RGB arrays and back.

Every kind of file that cameras and scanners leave behind ends as (H, W, 3) uint8: greyscale, 16 bits,
palettes, CMYK and transparency included. No torch and no pycolmap here: training, rendering and
evaluation read their pictures through this module.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from scipy import sparse

from backend.scene.files import written_whole
from segwild_addon.protocol.errors import InputError

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
_STRIP = 3_000  # numbers of a row that are resized together
_ORIENTATION = 0x0112
_EXIF_IFD = 0x8769
_MAKE, _MODEL = 0x010F, 0x0110  # the key to COLMAP's table of sensor widths
_FOCAL_MM, _FOCAL_ON_FILM = 0x920A, 0xA405
_PIXELS_X, _PIXELS_Y, _PIXELS_PER_UNIT, _UNIT = 0xA002, 0xA003, 0xA20E, 0xA210  # of the sensor
_UNIT_MM = {2: 25.4, 3: 10.0}
_FILM_DIAGONAL_MM = 43.27


class PictureError(Exception):
    """A picture file that yields no pixels; the message says why, without the path."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """A picture file's pixels and what its header says about the lens."""

    pixels: np.ndarray  # (H, W, 3) uint8
    lens_tags: Image.Exif  # make, model and focal length, where present
    turned: bool  # the header asked for a rotation or a reflection
    clear: np.ndarray | None = None  # (H, W) bool, transparent by more than half; None: nowhere


def decoded(path: Path, *, upright: bool = True) -> Decoded:
    """The pixels of a file, turned as its EXIF header asks (unless `upright` is False).

    Raises PictureError if the file is missing, damaged, no picture, or larger than 178 megapixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large (not yet huge) pictures and damaged EXIF blocks
            with Image.open(path) as image:
                exif = image.getexif()
                turned = exif.get(_ORIENTATION, 1) in range(2, 9)
                lens_tags = _lens_tags(exif)
                image.load()
                if upright and turned:
                    image = ImageOps.exif_transpose(image)
                pixels, clear = _rgb(image)
    except Image.DecompressionBombError as error:
        raise PictureError("has more than 178 megapixels") from error
    except FileNotFoundError as error:
        raise PictureError("is missing") from error
    except Image.UnidentifiedImageError as error:
        raise PictureError("is not a picture this program can read") from error
    except PermissionError as error:
        raise PictureError("may not be read (permission denied)") from error
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, MemoryError, KeyError, IndexError) as error:
        # Pillow's decoders report damage by all of these.
        raise PictureError(f"is damaged ({str(error) or type(error).__name__})") from error
    return Decoded(pixels, lens_tags, turned, clear)


def read_picture(path: Path, *, upright: bool = True) -> np.ndarray:
    """A picture file as (H, W, 3) uint8, upright. Raises InputError if it yields no pixels."""
    return read_with_clear(path, upright=upright)[0]


def read_with_clear(path: Path, *, upright: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
    """`read_picture`, and where it is transparent: (H, W) bool, None if nowhere."""
    try:
        found = decoded(path, upright=upright)
        return found.pixels, found.clear
    except PictureError as error:
        raise InputError(
            "picture-unreadable", f"A picture {error}: {path}.", "Open it in an image viewer and save it anew."
        ) from error


def read_mask(path: Path, width: int, height: int) -> np.ndarray:
    """A mask file as (H, W) bool, True where it is light (or not 0 in a mask of zeros and ones).

    Raises InputError if it yields no pixels or is not `width` x `height`.
    """
    grey = read_picture(path).max(axis=2)
    if grey.shape != (height, width):
        raise InputError(
            "mask-size",
            f"A mask is {grey.shape[1]}x{grey.shape[0]} pixels, its photo is {width}x{height}: {path}.",
            "Save the mask in the photo's own size.",
        )
    return grey > (127 if grey.max(initial=0) > 1 else 0)


def write_picture(path: Path, array: np.ndarray) -> None:
    """(H, W, 3) or (H, W) uint8, or (H, W) bool as 0 and 255, into a .jpg (quality 95) or .png file.

    The file is whole or not there. Raises ResourceError if it cannot be written.
    """
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    with written_whole(path) as file:
        image = Image.fromarray(np.ascontiguousarray(array))
        if FORMATS[path.suffix.lower()] == "JPEG":
            image.save(file, "JPEG", quality=95, subsampling=0)
        else:
            image.save(file, "PNG", compress_level=4)


def write_for_matching(path: Path, array: np.ndarray, lens_tags: Image.Exif) -> None:
    """(H, W, 3) uint8 into a .jpg file that still names its lens, so that COLMAP has a first focal length."""
    with written_whole(path) as file:
        Image.fromarray(np.ascontiguousarray(array)).save(file, "JPEG", quality=97, subsampling=0, exif=lens_tags)


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture (H, W) or (H, W, C) on another pixel grid, same dtype.

    Shrinking averages over the exact area of each new pixel; enlarging interpolates linearly.
    """
    rows, columns = picture.shape[:2]
    if (columns, rows) == (width, height):
        return picture
    flat, weights = picture.reshape(rows, -1), _weights(rows, height)
    values = np.empty((height, flat.shape[1]), np.float32)
    for first in range(0, flat.shape[1], _STRIP):  # as floating point, all of a large photo would be gigabytes
        values[:, first : first + _STRIP] = weights @ flat[:, first : first + _STRIP].astype(np.float32)
    values = values.reshape(height, columns, -1).transpose(1, 0, 2).reshape(columns, -1)
    values = (_weights(columns, width) @ values).reshape(width, height, -1).transpose(1, 0, 2)
    if np.issubdtype(picture.dtype, np.integer):
        values = np.rint(values)
    return np.ascontiguousarray(values.reshape(height, width, *picture.shape[2:]).astype(picture.dtype))


def fitted_size(width: int, height: int, long_side: int) -> tuple[int, int]:
    """Width and height with the long side at most `long_side`; never enlarged."""
    ratio = min(1.0, long_side / max(width, height))
    return max(1, round(width * ratio)), max(1, round(height * ratio))


def _weights(old: int, new: int) -> sparse.csr_matrix:
    """(new, old) float32, rows sum to one: the share of each old pixel in each new one."""
    ratio = old / new
    if ratio > 1:
        edges = np.arange(new + 1) * ratio
        first, last = np.floor(edges[:-1]).astype(int), np.minimum(np.ceil(edges[1:] - 1e-9).astype(int), old)
        taps = np.arange((last - first).max())
        index = first[:, None] + taps
        share = np.minimum(index + 1, edges[1:, None]) - np.maximum(index, edges[:-1, None])
    else:
        centres = np.clip((np.arange(new) + 0.5) * ratio - 0.5, 0, old - 1)
        index = np.floor(centres).astype(int)[:, None] + np.arange(2)
        share = 1 - np.abs(centres[:, None] - index)
    inside = (share > 0) & (index < old)
    share = np.where(inside, share, 0)
    share /= share.sum(axis=1, keepdims=True)
    row = np.broadcast_to(np.arange(new)[:, None], index.shape)
    return sparse.csr_matrix((share[inside].astype(np.float32), (row[inside], index[inside])), shape=(new, old))


def _rgb(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W, 3) uint8, and where it is transparent by more than half, (H, W) bool or None."""
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        values = np.asarray(image, dtype=np.float32)
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        highest = values.max(initial=0)
        full = (
            1.0 if image.mode == "F" and highest <= 1 else 255.0 if highest <= 255 and image.mode != "I;16" else 65535.0
        )
        grey = np.rint(np.clip(values / full, 0, 1) * 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2), None
    clear = None
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        # Hidden colours under full transparency are noise: black, as an empty scene renders.
        image = image.convert("RGBA")
        clear = np.array(image.getchannel("A")) < 128
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.array(image.convert("RGB")), clear if clear is not None and clear.any() else None


def _lens_tags(exif: Image.Exif) -> Image.Exif:
    """What COLMAP derives a first focal length from, independent of the picture's size and rotation."""
    kept = Image.Exif()
    for tag in (_MAKE, _MODEL):
        if exif.get(tag):
            kept[tag] = exif[tag]
    found = exif.get_ifd(_EXIF_IFD)
    lens = {tag: found[tag] for tag in (_FOCAL_MM, _FOCAL_ON_FILM) if found.get(tag)}
    if _FOCAL_MM in lens and _FOCAL_ON_FILM not in lens:
        on_film = _focal_on_film(found)
        if on_film:
            lens[_FOCAL_ON_FILM] = on_film
    kept.get_ifd(_EXIF_IFD).update(lens)
    return kept


def _focal_on_film(tags: Mapping[int, Any]) -> int:
    """The 35 mm equivalent focal length from the sensor's pixel pitch; 0 if the header does not tell."""
    try:
        diagonal_px = float(np.hypot(float(tags[_PIXELS_X]), float(tags[_PIXELS_Y])))
        diagonal_mm = diagonal_px / float(tags[_PIXELS_PER_UNIT]) * _UNIT_MM[int(tags.get(_UNIT, 2))]
        equivalent = float(tags[_FOCAL_MM]) * _FILM_DIAGONAL_MM / diagonal_mm
        return round(equivalent) if 5 < equivalent < 2000 else 0
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return 0
