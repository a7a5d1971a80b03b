"""Files that a person has for each photo into features: masks with labels, and arrays of any features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from backend.features.lift import Scaling
from backend.features.pixels import OneHot, Pixels, Sampled, unit_scale
from backend.scene import Camera, Photo, Workspace
from backend.train.views import in_picture, photo_points
from segwild_addon.protocol.errors import InputError

if TYPE_CHECKING:
    from backend.features.encoders import Described

LABELS_MAX = 255  # of an 8-bit picture, 0 being none
_SCALES_BYTES = 256 << 20


class Labels:
    """`<photo>.png` of the photo's own size, whose grey or palette value is the label's number; 0: nothing is said.

    Label n becomes channel n - 1; the features of a row are the shares of its pixels.
    """

    scaling: Scaling = "mean"
    made = ""  # pictures may be painted over: lifted anew each time

    def __init__(self, folder: Path, workspace: Workspace, long_side: int) -> None:
        self.folder, self.workspace, self.long_side = folder, workspace, long_side
        _checked(folder)

    def names(self, photos: Sequence[Photo]) -> list[str]:
        return _present(photos, self.folder, ".png", "label pictures")

    def channels(self, views: Described) -> int:
        count = max(int(self._labels(photo).max(initial=0)) for photo in views.photos)
        if count == 0:
            raise InputError("no-labels", f"All label pictures are 0 everywhere: {self.folder}.", "Paint labels 1, 2 …")
        return count

    def pixels(self, views: Described, photo: Photo, camera: Camera) -> Pixels:
        return OneHot(in_picture(self._labels(photo), self.workspace, photo, camera).astype(int) - 1, views.channels)

    def weight(self, views: Described, photo: Photo, camera: Camera) -> np.ndarray:
        return (in_picture(self._labels(photo), self.workspace, photo, camera) > 0).astype(np.float32)

    def _labels(self, photo: Photo) -> np.ndarray:
        return read_labels(self.folder / f"{photo.name}.png", photo)


class Files:
    """`<photo>.npy` with (H, W, D) numbers over the whole photo as taken, of any size and any D."""

    scaling: Scaling = "unit"
    made = ""

    def __init__(self, folder: Path, workspace: Workspace, long_side: int) -> None:
        self.folder, self.workspace, self.long_side = folder, workspace, long_side
        self._scales: dict[str, np.ndarray] = {}  # of photos, which are asked for again for every few channels
        _checked(folder)

    def names(self, photos: Sequence[Photo]) -> list[str]:
        return _present(photos, self.folder, ".npy", "arrays")

    def channels(self, views: Described) -> int:
        """Raises InputError unless all files have as many."""
        counts = {photo.name: self._array(photo).shape[2] for photo in views.photos}
        first = next(iter(counts))
        for name, count in counts.items():
            if count != counts[first]:
                raise InputError(
                    "bad-features",
                    f"{name}.npy has {count} channels, {first}.npy has {counts[first]}: {self.folder}.",
                    "All files must be of one encoder.",
                )
        return counts[first]

    def pixels(self, views: Described, photo: Photo, camera: Camera) -> Pixels:
        features = self._array(photo)
        points = photo_points(self.workspace, photo, camera)
        rows, columns = (
            np.clip((points[..., axis] / side * cells).astype(int), 0, cells - 1)
            for axis, side, cells in ((1, photo.height, features.shape[0]), (0, photo.width, features.shape[1]))
        )
        if photo.name not in self._scales:
            while sum(scale.nbytes for scale in self._scales.values()) > _SCALES_BYTES:
                del self._scales[next(iter(self._scales))]
            self._scales[photo.name] = unit_scale(features)
        return Sampled(features, rows, columns, self._scales[photo.name])

    def _array(self, photo: Photo) -> np.ndarray:
        """(H, W, D), memory-mapped: only what is used is read."""
        path = self.folder / f"{photo.name}.npy"
        try:
            features = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, SyntaxError, TypeError) as error:
            raise InputError(
                "bad-features",
                f"This is no whole .npy file of numbers: {path}.",
                "Write it with numpy.save(path, array.astype('float16')).",
            ) from error
        if isinstance(features, np.lib.npyio.NpzFile):
            features.close()
        if not isinstance(features, np.ndarray) or features.ndim != 3 or 0 in features.shape:
            shape = getattr(features, "shape", "several arrays")
            raise InputError("bad-features", f"Expected height x width x channels, got {shape}: {path}.")
        if features.dtype.kind not in "fiu":
            raise InputError("bad-features", f"Expected numbers, got {features.dtype}: {path}.")
        shape, photo_shape = features.shape[0] / features.shape[1], photo.height / photo.width
        if min(features.shape[:2]) > 1 and not 0.9 < shape / photo_shape < 1.1:
            raise InputError(
                "bad-features",
                f"The array is {features.shape[1]}x{features.shape[0]}, the photo {photo.width}x{photo.height}, "
                f"which is another shape: {path}.",
                "Arrays must cover the whole photo, upright; cut padding away.",
            )
        return features


def read_labels(path: Path, photo: Photo) -> np.ndarray:
    """(H, W) uint8 of a label picture. Raises InputError for one that holds no numbers or fits another photo."""
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P", "1"):
                raise InputError(
                    "bad-labels",
                    f"A label picture has colours, not numbers (mode {image.mode}): {path}.",
                    "Save it as 8-bit grey, or with a palette.",
                )
            labels = np.asarray(image if image.mode != "1" else image.convert("L"))
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise what they like
        raise InputError("picture-unreadable", f"The label picture cannot be read: {path}.") from error
    if labels.shape != (photo.height, photo.width):
        raise InputError(
            "mask-size",
            f"A label picture is {labels.shape[1]}x{labels.shape[0]} pixels, its photo is "
            f"{photo.width}x{photo.height}: {path}.",
            "Save it in the photo's own size.",
        )
    return labels


def label_names(folder: Path) -> dict[int, str]:
    """Names by number from names.txt, a line `2 handle` for each; none without the file.

    Raises InputError for a line that is none, and for a number or a name that comes twice.
    """
    path = folder / "names.txt"
    if not path.exists():
        return {}
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "bad-names", f"The names of the labels cannot be read: {path}.", "Save it as UTF-8."
        ) from error
    names: dict[int, str] = {}
    for line in filter(None, map(str.strip, lines)):
        number, name = (*line.split(None, 1), "")[:2]
        if not (number.isascii() and number.isdigit() and 1 <= int(number[:4]) <= LABELS_MAX and name):
            raise InputError(
                "bad-names", f"{line[:80]!r} names no label: {path}.", f"Write a number from 1 to {LABELS_MAX}, a name."
            )
        if int(number) in names or name in names.values():
            raise InputError("bad-names", f"{line[:80]!r} names one twice: {path}.", "Give each label one name.")
        names[int(number)] = name
    return names


def _checked(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError("folder-missing", f"There is no such folder: {folder}.", "Check the path.")


def _present(photos: Sequence[Photo], folder: Path, suffix: str, what: str) -> list[str]:
    names = [photo.name for photo in photos if (folder / f"{photo.name}{suffix}").is_file()]
    if not names:
        raise InputError(
            "no-features",
            f"The folder holds {what} for none of the scene's {len(photos)} photos: {folder}.",
            f"Name them by file stem, for instance {photos[0].name}{suffix}." if photos else "There are no photos.",
        )
    return names
