"""What a person typed or drew on a photo into a prompt on its picture, checked."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.capture.pictures import read_mask
from backend.scene import Camera, Photo, Workspace
from backend.scene.lenses import Lens
from segwild_addon.protocol.errors import InputError

_BESIDE_PX = 3  # of a picture: a click this far beyond it means its rim ...
_RIM_PX = 1e-3  # ... which is the last of it
_ROWS_AT_ONCE = 256  # positions of a whole large photo are hundreds of megabytes
_CLICK_HINT = "Write X,Y,+ on the object or X,Y,- beside it, in pixels of the photo as taken."
_BOX_HINT = "Write X0,Y0,X1,Y1 in pixels of the photo as taken."


@dataclass(frozen=True, eq=False)
class Clicks:
    """Points on the photo as taken."""

    points: np.ndarray  # (K, 2) float64 pixels
    positive: np.ndarray  # (K,) bool, False: beside the object


@dataclass(frozen=True, eq=False)
class Mask:
    """The object's pixels on the photo as taken."""

    pixels: np.ndarray  # (H, W) bool


@dataclass(frozen=True)
class Box:
    """A rectangle around the object on the photo as taken, pixels."""

    left: float
    top: float
    right: float
    bottom: float


Prompt = Clicks | Mask | Box


def prompt_of(photo: Photo, clicks: Sequence[str], mask: Path | None, box: str | None) -> Prompt:
    """The one kind of prompt that was given. Raises InputError for none, several, or one that makes no sense."""
    given = [name for name, present in (("--click", clicks), ("--mask", mask), ("--box", box)) if present]
    if len(given) != 1:
        raise InputError(
            "bad-prompt",
            f"Got {' and '.join(given)}, which contradict each other." if given else "Nothing says what to select.",
            "Give one of: --click X,Y,+ (repeatable), --mask FILE, --box X0,Y0,X1,Y1.",
        )
    if mask is not None:
        return parsed_mask(mask, photo)
    if box:
        return parsed_box(box, photo)
    return parsed_clicks(clicks, photo)


def parsed_clicks(texts: Sequence[str], photo: Photo) -> Clicks:
    """`X,Y,+` and `X,Y,-` with at least one `+`, all inside the photo."""
    points, positive = [], []
    for text in texts:
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != 3 or parts[2] not in ("+", "-"):
            raise InputError("bad-click", f"{text!r} is no click.", _CLICK_HINT)
        x, y = _numbers(parts[:2], text, "click", _CLICK_HINT)
        if not (0 <= x < photo.width and 0 <= y < photo.height):
            raise InputError(
                "click-outside",
                f"The click {text!r} lies outside the photo {photo.name!r}.",
                f"The photo is {photo.width} pixels wide and {photo.height} high.",
            )
        points.append((x, y))
        positive.append(parts[2] == "+")
    if not any(positive):
        raise InputError("bad-click", "No click is on the object.", _CLICK_HINT)
    refuse_contradictions([(math.floor(x), math.floor(y)) for x, y in points], positive)
    return Clicks(np.array(points, float), np.array(positive))


def refuse_contradictions(places: Sequence[Hashable], positive: Sequence[bool]) -> None:
    """Raises InputError if one place is said to be on the object and beside it."""
    said: dict[Hashable, bool] = {}
    for place, sign in zip(places, positive, strict=True):
        if said.setdefault(place, sign) != sign:
            raise InputError(
                "contradicting-clicks",
                "Two clicks on the same place contradict each other: on the object, and beside it.",
                "Take one of them back.",
            )


def parsed_mask(path: Path, photo: Photo) -> Mask:
    if not path.exists():
        raise InputError("file-missing", f"There is no such mask: {path}.", "Check the path.")
    pixels = read_mask(path, photo.width, photo.height)
    if not pixels.any():
        raise InputError("empty-mask", f"The mask has no white pixel: {path}.", "Paint the object white.")
    if pixels.all():
        raise InputError(
            "full-mask",
            f"The mask covers the whole photo, so it says nothing about what is not the object: {path}.",
            "Paint what does not belong to the object black, or use a photo that shows more than the object.",
        )
    return Mask(pixels)


def parsed_box(text: str, photo: Photo) -> Box:
    """Corners in any order, cut to the photo."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4:
        raise InputError("bad-box", f"{text!r} is no box.", _BOX_HINT)
    x0, y0, x1, y1 = _numbers(parts, text, "box", _BOX_HINT)
    left, right = (min(max(x, 0.0), float(photo.width)) for x in sorted((x0, x1)))
    top, bottom = (min(max(y, 0.0), float(photo.height)) for y in sorted((y0, y1)))
    if right - left < 2 or bottom - top < 2:
        raise InputError(
            "bad-box",
            f"The box {text!r} holds no pixels of the photo {photo.name!r}.",
            f"The photo is {photo.width} pixels wide and {photo.height} high.",
        )
    return Box(left, top, right, bottom)


def _numbers(parts: Sequence[str], text: str, what: str, hint: str) -> list[float]:
    try:
        numbers = [float(part) for part in parts]
    except ValueError as error:
        raise InputError(f"bad-{what}", f"{text!r} is no {what}.", hint) from error
    if not all(math.isfinite(number) for number in numbers):
        raise InputError(f"bad-{what}", f"{text!r} is no {what}.", hint)
    return numbers


def in_picture_pixels(points: np.ndarray, workspace: Workspace, photo: Photo) -> np.ndarray:
    """Photo pixels (..., 2) to pixels of its undistorted picture; some may fall outside."""
    return _through(workspace.lens(photo), points, photo)


def shown_clicks(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Clicks (K, 2) in pixels of a camera of a photo's picture, those close beside it on its rim.

    Raises InputError if the picture, which may be smaller than the photo as taken, does not show one of them.
    """
    x, y = points.T
    inside = (
        (x >= -_BESIDE_PX) & (x <= camera.width + _BESIDE_PX) & (y >= -_BESIDE_PX) & (y <= camera.height + _BESIDE_PX)
    )
    if not inside.all():  # so is NaN
        raise InputError(
            "click-outside",
            "A click lies outside the part of the photo that the scene uses.",
            "Click nearer to the middle of the photo, or on another photo.",
        )
    return np.clip(points, 0, (camera.width - _RIM_PX, camera.height - _RIM_PX))


def shown_box(corners: np.ndarray, camera: Camera) -> np.ndarray:
    """(2, 2) left top and right bottom of a box in pixels of a camera of a photo's picture, cut to the picture.

    Raises InputError if that shows nothing of it.
    """
    cut = np.clip(corners, 0, (camera.width, camera.height))
    if not (cut[1] > cut[0]).all():
        raise InputError(
            "bad-box",
            "The box lies outside the part of the photo that the scene uses.",
            "Draw it nearer to the middle of the photo, or on another photo.",
        )
    return cut


def _through(lens: Lens | None, points: np.ndarray, photo: Photo) -> np.ndarray:
    assert photo.camera is not None  # callers pass used photos
    if lens is not None:
        return lens.to_picture(points).astype(float)
    return points * (photo.camera.width / photo.width, photo.camera.height / photo.height)


def on_photo(mask: np.ndarray, workspace: Workspace, photo: Photo, camera: Camera) -> np.ndarray:
    """A mask (H, W) bool on the pixel grid of a camera of the photo's picture, on the photo as taken.

    The way back from `train.views.in_picture`. Pixels of the photo that its picture does not show are False.
    """
    assert photo.camera is not None
    ratio = np.array([camera.width / photo.camera.width, camera.height / photo.camera.height])
    result = np.zeros((photo.height, photo.width), bool)
    lens = workspace.lens(photo)
    for first in range(0, photo.height, _ROWS_AT_ONCE):
        y, x = np.mgrid[first : min(first + _ROWS_AT_ONCE, photo.height), : photo.width] + 0.5
        with np.errstate(invalid="ignore"):
            places = np.floor(_through(lens, np.stack([x, y], -1), photo) * ratio)
        inside = ((places >= 0) & (places < (camera.width, camera.height))).all(-1)  # NaN is outside
        columns, rows = places[inside].astype(int).T
        result[first : first + len(y)][inside] = mask[rows, columns]
    return result
