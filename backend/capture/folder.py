"""A folder of files into the photos it offers, each with a name, a size, and why it is left out if it is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from backend.capture import duplicates
from backend.capture.pictures import PictureError, decoded, fitted_size, resized, write_for_matching
from backend.progress import Progress
from segwild_addon.protocol.errors import InputError

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".jp2", ".avif"}
FOREIGN_SUFFIXES = {".heic", ".heif", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"}
VIDEO_SUFFIXES = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mts", ".3gp", ".wmv"}
SMALLEST_LONG_SIDE = 256  # pixels
LARGEST_LONG_SIDE = 3200  # pixels of a workspace's pictures; more never reaches the training
_NO_TEXT = re.compile(r"[\ud800-\udfff]")  # what stands in Python for bytes of a file's name that are no UTF-8


@dataclass(frozen=True)
class Offered:
    """A photo file and what became of it."""

    path: Path
    file: str  # relative to the photo folder, with forward slashes
    name: str  # unique; bytes of the file's name that are no text are replaced, because COLMAP and others keep none
    width: int = 0  # pixels, upright; 0 if it could not be read
    height: int = 0
    excluded: str = ""  # why it is left out
    upright: bool = True  # False: the camera was solved for the pixels as stored, header rotation ignored

    @property
    def working_size(self) -> tuple[int, int]:
        """Width and height at which pictures are matched and resampled."""
        return fitted_size(self.width, self.height, LARGEST_LONG_SIDE)


def photo_folder(folder: Path) -> Path:
    """Where the photos of a plain folder lie: in it, or else in its images/ or photos/.

    Raises InputError if there is no such folder or it holds no photo.
    """
    if not folder.exists():
        raise InputError("folder-missing", f"There is no such folder: {folder}.", "Check the path.")
    if not folder.is_dir():
        raise InputError(
            "not-a-folder", f"Photos are taken from a folder, but this is a file: {folder}.", "Give its folder instead."
        )
    for candidate in (folder, folder / "images", folder / "photos"):
        if candidate.is_dir() and _with_suffix(candidate, PHOTO_SUFFIXES):
            return candidate
    if _with_suffix(folder, VIDEO_SUFFIXES):
        raise InputError(
            "only-a-video",
            f"The folder holds a video but no photos: {folder}.",
            "Extract frames first, for instance: ffmpeg -i VIDEO -vf fps=2 FOLDER/frame_%04d.jpg.",
        )
    if _with_suffix(folder, FOREIGN_SUFFIXES):
        raise InputError(
            "only-raw-photos",
            f"The folder holds only HEIC or raw photos, which cannot be read: {folder}.",
            "Export them as JPEG first.",
        )
    raise InputError("no-photos", f"The folder holds no photos: {folder}.", "Put JPEG or PNG photos into it.")


def files_in(folder: Path, progress: Progress) -> list[Path]:
    """The photo files of a folder by name, subfolders not included; other files are named in a warning."""
    visible = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    visible.sort(key=lambda path: (path.stem, path.suffix))  # "a.jpg" before "a copy.jpg"
    others = [path.name for path in visible if path.suffix.lower() not in PHOTO_SUFFIXES | FOREIGN_SUFFIXES]
    if any(Path(name).suffix.lower() in VIDEO_SUFFIXES for name in others):
        progress.warn("videos-ignored", "Videos are not used: extract frames from them to add their views.", others)
    elif others:
        progress.warn("other-files", "Files that are no photos were ignored.", others)
    return [path for path in visible if path.suffix.lower() in PHOTO_SUFFIXES | FOREIGN_SUFFIXES]


def named(files: Iterable[Path], folder: Path) -> list[Offered]:
    """The files by unique name, the stem; a second file of one stem is left out under its full name.

    In subfolders a stem that is taken is joined to its folders' names first: rigs number every camera's
    photos alike. Names that differ only in case count as one: some file systems cannot keep both.
    """
    taken: set[str] = set()
    readable: set[str] = set()
    offered = []
    for path in files:
        relative = path.relative_to(folder)
        joined = "_".join([*relative.parts[:-1], path.stem])
        name = next((name for name in (path.stem, joined) if name.casefold() not in taken), None)
        excluded = ""
        if name is None:
            name = "_".join(relative.parts)
            excluded = "another photo has the same name apart from its suffix"
            while name.casefold() in taken:
                name += "_"
        taken.add(name.casefold())
        name = _NO_TEXT.sub("\ufffd", name)
        while name.casefold() in readable:
            name += "_"
        readable.add(name.casefold())
        offered.append(Offered(path, relative.as_posix(), name, excluded=excluded))
    return offered


def vetted(
    offered: list[Offered],
    progress: Progress,
    *,
    copies: Path | None = None,  # folder for <name of the row>.jpg copies to match, or none
) -> list[Offered]:
    """The same photos with sizes, and reasons for those that cannot be used.

    With `copies` the photos are about to be matched: duplicates and tiny ones are left out, and an upright
    copy of every other one is written for matching, named by `copy_name`.
    """
    progress.phase("Reading photos", len(offered))
    seen: dict[bytes, str] = {}
    thumbnails: dict[int, np.ndarray] = {}
    result = []
    for row, photo in enumerate(offered):
        result.append(photo if photo.excluded else _vetted(photo, row, seen, thumbnails, copies))
        progress.advance()
    rows = list(thumbnails)
    twins = duplicates.copies(list(thumbnails.values()), [(result[row].width, result[row].height) for row in rows])
    for place, twin in twins.items():
        reason = f"it is a copy of {result[rows[twin]].file}"
        result[rows[place]] = replace(result[rows[place]], excluded=reason)
    left_out = [photo for photo in result if photo.excluded]
    if left_out:
        progress.warn(
            "photos-left-out",
            f"{len(left_out)} of {len(result)} photos were left out.",
            [f"{photo.file}: {photo.excluded}" for photo in left_out],
        )
    return result


def copy_name(row: int) -> str:
    """File name of the copy for matching: plain ASCII without spaces, as COLMAP's lists of pairs need."""
    return f"{row:06d}.jpg"


def _vetted(
    photo: Offered, row: int, seen: dict[bytes, str], thumbnails: dict[int, np.ndarray], copies: Path | None
) -> Offered:
    """Of a photo to be matched, notes what it looks like in `seen` and `thumbnails`."""
    if photo.path.suffix.lower() in FOREIGN_SUFFIXES:
        return replace(photo, excluded="HEIC and raw files cannot be read: export it as JPEG")
    try:
        picture = decoded(photo.path, upright=photo.upright)
    except PictureError as error:
        return replace(photo, excluded=f"the file {error}")
    height, width = picture.pixels.shape[:2]
    photo = replace(photo, width=width, height=height)
    if copies is None:
        return photo
    if max(width, height) < SMALLEST_LONG_SIDE:
        return replace(photo, excluded=f"it is smaller than {SMALLEST_LONG_SIDE} pixels ({width}x{height})")
    digest = hashlib.blake2b(f"{width}x{height}".encode(), digest_size=16)
    digest.update(picture.pixels)
    twin = seen.setdefault(digest.digest(), photo.file)
    if twin != photo.file:
        return replace(photo, excluded=f"it is an exact duplicate of {twin}")
    thumbnails[row] = duplicates.thumbnail(picture.pixels)
    copy = copies / copy_name(row)
    if not copy.exists():
        write_for_matching(copy, resized(picture.pixels, *photo.working_size), picture.lens_tags)
    return photo


def _with_suffix(folder: Path, suffixes: set[str]) -> bool:
    return any(
        path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
        for path in folder.iterdir()
    )
