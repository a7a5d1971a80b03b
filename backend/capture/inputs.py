"""The folder a person points at into what it offers: photos alone, or photos that have cameras already."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from backend.capture.colmap import ColmapScene, colmap_scene
from backend.capture.folder import PHOTO_SUFFIXES, Offered, files_in, named, photo_folder
from backend.capture.phototourism import Table, find_table, read_table
from backend.progress import Progress
from segwild_addon.protocol.errors import InputError


@dataclass(frozen=True)
class Input:
    """A recognised input folder. `fingerprint` changes when any file it depends on does."""

    folder: Path  # of the photos, absolute
    offered: list[Offered]
    model: Path | None = None  # COLMAP model, or None if cameras must be found
    table: Table | None = None  # Photo Tourism's split

    @property
    def kind(self) -> str:
        return "phototourism" if self.table else "colmap" if self.model else "photos"

    def fingerprint(self) -> str:
        """Names, sizes and times of all files; contents are not read."""
        files = [photo.path for photo in self.offered]
        if self.model:
            files += sorted(path for path in self.model.iterdir() if path.is_file())
        if self.table:
            files.append(self.table.path)
        digest = hashlib.blake2b(digest_size=12)
        for path in files:
            status = path.stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()


def recognised(folder: Path, progress: Progress) -> Input:
    """Raises InputError if the folder is missing, empty, or holds a model that is no model."""
    folder = folder.expanduser().absolute()
    try:
        for place in (folder, folder / "dense"):
            scene = colmap_scene(place) if place.is_dir() else None
            if scene is not None:
                return _with_cameras(place, scene, progress)
        folder = photo_folder(folder)
        return Input(folder, named(files_in(folder, progress), folder))
    except OSError as error:
        raise InputError(
            "folder-unreadable",
            f"The folder cannot be read ({error.strerror}): {folder}.",
            "Change its permissions or copy the photos elsewhere.",
        ) from error


def _with_cameras(place: Path, scene: ColmapScene, progress: Progress) -> Input:
    files = sorted(
        path
        for path in scene.images.rglob("*")
        if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not files:
        raise InputError(
            "no-photos",
            f"The COLMAP model's folder images/ holds no photos: {scene.images}.",
            "Put the photos the model was made from there.",
        )
    # COLMAP solves for the pixels as stored and never looks at a header's rotation.
    offered = [replace(photo, upright=False) for photo in named(files, scene.images)]
    table_path = find_table(place)
    if table_path is None:
        return Input(scene.images, offered, scene.model)
    table = read_table(table_path)
    present = {photo.file for photo in offered}
    missing = sorted(set(table.splits) - present)
    if len(missing) == len(table.splits):
        raise InputError(
            "table-names-nothing",
            f"None of the {len(missing)} photos in the Photo Tourism table exists: {table_path}.",
            f"Put the photos into {scene.images}.",
        )
    if missing:
        progress.warn(
            "photos-missing", f"{len(missing)} photos in {table_path.name} do not exist and are not used.", missing
        )
    offered = [
        photo
        if photo.excluded or photo.file in table.splits
        else replace(photo, excluded=f"it has no row with an id in {table_path.name}")
        for photo in offered
    ]
    return Input(scene.images, offered, scene.model, table)
