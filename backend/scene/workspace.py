"""The workspace: one folder per scene, readable without our code, whole after a kill at any instant.

scene.json                 format version, photo folder, world similarity, what was made with which settings
photos.json                one row per photo: file, size, split, camera (and where the capture found it, if a
                           training has refined its pose), left out or not and why
photos/<name>.jpg          upright, undistorted pictures: what the Gaussians are fitted to
photos/<name>.clear.png    where such a picture was transparent (255), if it was
cameras/                   COLMAP model of the capture, in the capture's own frame
cameras/points.safetensors sparse points in the scene frame
cameras/lenses.safetensors photo pixels <-> picture pixels
splats/base.safetensors    the Gaussians; splats/checkpoint.safetensors while training
appearance.safetensors     per-photo embeddings and the appearance model
transients/<name>.png      what the training left out (255): passers-by, masks of the person, frames
embeddings/<encoder>/<name>.safetensors  what an encoder or a network made of a photo's pose
embeddings/people/<name>.safetensors     where a network saw in a photo what comes and goes
masks/<segmenter>/<name>.npz  masks of everything in a photo's pose
features/<name>.safetensors
segments.json, segments/<id>.npz; segments/<id>.cut.safetensors where an object was cut
renders/ exports/ report/
"""

from __future__ import annotations

import contextlib
import difflib
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backend.scene.files import clear_parts, read_arrays, read_json, write_arrays, write_json
from backend.scene.gaussians import Gaussians
from backend.scene.lenses import Lens
from backend.scene.lock import Locked, locked
from backend.scene.photos import Photo
from backend.scene.transforms import Similarity
from segwild_addon.protocol.errors import InputError, ResourceError

FORMAT = 1


@dataclass(frozen=True)
class SparsePoints:
    """Points triangulated by the capture, scene frame."""

    positions: np.ndarray  # (M, 3) float32
    colors: np.ndarray  # (M, 3) uint8, RGB
    errors: np.ndarray  # (M,) float32, mean reprojection error in pixels
    tracks: np.ndarray  # (M,) int32, number of photos that see the point
    seen_point: np.ndarray  # (S,) int32, observations: index of the point ...
    seen_photo: np.ndarray  # (S,) int32, ... and row in photos.json of the photo that sees it

    def spread(self) -> float:
        """The radius around their median that holds 90 % of them; infinite if there are none."""
        if not len(self.positions):
            return math.inf
        return float(np.quantile(np.linalg.norm(self.positions - np.median(self.positions, axis=0), axis=1), 0.9))

    def by_photo(self, photos: Sequence[Photo]) -> dict[str, np.ndarray]:
        """The positions (K, 3) of the points that each photo sees, by its name; `photos` are all of photos.json."""
        order = np.argsort(self.seen_photo, kind="stable")
        edges = np.searchsorted(self.seen_photo[order], np.arange(len(photos) + 1))
        return {
            photo.name: self.positions[self.seen_point[order[edges[row] : edges[row + 1]]]]
            for row, photo in enumerate(photos)
        }


class Workspace:
    """Paths and small files of one scene folder. Large arrays are read where they are needed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.splats = root / "splats" / "base.safetensors"
        self.checkpoint = root / "splats" / "checkpoint.safetensors"
        self.appearance = root / "appearance.safetensors"
        self.segments = root / "segments.json"

    @classmethod
    def create(cls, root: Path, **facts: Any) -> Workspace:
        """Open `root`, making it and its scene.json if need be; `facts` join scene.json.

        Raises InputError if `root` is a file, or a folder that holds something else than a workspace.
        """
        if root.exists() and not root.is_dir():
            raise InputError("not-a-folder", f"The workspace must be a folder, but this is a file: {root}.")
        workspace = cls(root)
        if (root / "scene.json").exists():
            workspace = cls.open(root)
            clear_parts(root)
        elif root.is_dir() and any(entry for entry in root.iterdir() if not entry.name.startswith(".")):
            raise InputError(
                "not-a-workspace",
                f"The folder is not empty and is not a SegWild workspace: {root}.",
                "Choose a new folder for the scene.",
            )
        scene = {"format": FORMAT, "made": {}} | (workspace.scene() if workspace.exists() else {}) | facts
        write_json(root / "scene.json", scene)
        return workspace

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """Raises InputError if `root` is no workspace or one of a newer format."""
        workspace = cls(root)
        if not workspace.exists():
            raise InputError(
                "not-a-workspace",
                f"This folder is not a SegWild workspace (it has no scene.json): {root}.",
                "Make one with: segwild capture PHOTOS --out FOLDER.",
            )
        version = workspace.scene().get("format")
        if version != FORMAT:
            raise InputError(
                "workspace-format",
                f"The workspace has format {version!r}, this SegWild reads format {FORMAT}: {root}.",
                "Open it with the SegWild that made it, or update SegWild.",
            )
        return workspace

    def exists(self) -> bool:
        return (self.root / "scene.json").is_file()

    # scene.json

    def scene(self) -> dict[str, Any]:
        value = read_json(self.root / "scene.json")
        if not isinstance(value, dict) or not isinstance(value.get("made", {}), dict):
            raise InputError("file-damaged", f"Not a scene description: {self.root / 'scene.json'}.")
        return value

    def update_scene(self, **facts: Any) -> None:
        with self.changing():
            write_json(self.root / "scene.json", self.scene() | facts)

    def record(self, stage: str, **facts: Any) -> None:
        """Note in scene.json that a stage has finished, when, and with which settings and results."""
        note = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **facts}
        with self.changing():
            scene = self.scene()
            write_json(self.root / "scene.json", scene | {"made": scene.get("made", {}) | {stage: note}})

    @property
    def trained_at(self) -> int:
        """When the Gaussians became what they are, nanoseconds since 1970; 0 without any."""
        try:
            return self.splats.stat().st_mtime_ns
        except OSError:
            return 0

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Reading and writing a small file of the scene as one step: a job and an answer may end together."""
        try:
            with locked(self.root / ".scene.lock", wait_secs=10.0):
                yield
        except Locked as error:
            raise ResourceError(
                "scene-busy", f"Another program holds the scene: {self.root}.", "End it and run again."
            ) from error

    def made(self, stage: str) -> dict[str, Any] | None:
        """What `record` noted for a stage, or None if it never finished."""
        return self.scene().get("made", {}).get(stage)

    def forget(self, *stages: str, within: bool = False) -> None:
        """Take back what `record` noted: what a changed input makes stale. `within`: the caller is `changing` more."""
        with contextlib.nullcontext() if within else self.changing():
            scene = self.scene()
            made = {stage: facts for stage, facts in scene.get("made", {}).items() if stage not in stages}
            write_json(self.root / "scene.json", scene | {"made": made})

    def scene_from_capture(self) -> Similarity:
        """From the capture's frame (COLMAP, or an imported file) to the scene's normalised frame."""
        world = self.scene().get("scene_from_capture")
        try:
            return Similarity.from_json(world) if world else Similarity.identity()
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                "file-damaged",
                f"The frame of the scene is damaged ({error!r}): {self.root / 'scene.json'}.",
                "Run segwild capture again.",
            ) from error

    # photos

    def photos(self) -> list[Photo]:
        """Every photo, used or not. Raises InputError if there was no capture or the file is damaged."""
        path = self.root / "photos.json"
        if not path.exists():
            raise InputError(
                "no-photos-yet",
                f"The workspace has no photos yet: {self.root}.",
                "Run: segwild capture PHOTOS --out WORKSPACE.",
            )
        try:
            rows = read_json(path)
            if not isinstance(rows, list):
                raise TypeError("not a list")
            return [Photo.from_json(row) for row in rows]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                "file-damaged", f"The photo list is damaged ({error!r}): {path}.", "Run segwild capture again."
            ) from error

    def write_photos(self, photos: list[Photo]) -> None:
        write_json(self.root / "photos.json", [photo.to_json() for photo in photos])

    def used_photos(self) -> list[Photo]:
        return [photo for photo in self.photos() if photo.used]

    def photo(self, name: str) -> Photo:
        """The used photo of that name. Raises InputError for an unknown or excluded one."""
        photos = {photo.name: photo for photo in self.photos()}
        photo = photos.get(name)
        if photo is None:
            near = difflib.get_close_matches(name, photos, n=3, cutoff=0.4) or list(photos)[:3]
            raise InputError(
                "unknown-photo",
                f"No photo is called {name!r}.",
                f"Photos are named by file stem, for instance: {', '.join(near)}." if near else "There are no photos.",
            )
        if not photo.used:
            raise InputError(
                "photo-left-out",
                f"The photo {name!r} is not part of the scene: {photo.excluded}.",
                "Choose another photo.",
            )
        return photo

    def picture_file(self, name: str) -> Path:
        """The undistorted picture of a photo."""
        return self.root / "photos" / f"{name}.jpg"

    def clear_file(self, name: str) -> Path:
        """Where the picture of a photo was transparent; missing where it was not."""
        return self.root / "photos" / f"{name}.clear.png"

    # cameras/

    def lens(self, photo: Photo) -> Lens | None:
        """How the photo as taken maps to its picture; None if both are the same pixels."""
        path = self.root / "cameras" / "lenses.safetensors"
        if not path.exists() or photo.camera is None:
            return None
        there, back = f"{photo.name}/picture_from_photo", f"{photo.name}/photo_from_picture"
        arrays, _ = read_arrays(path, there, back)  # of a thousand photos, all are hundreds of megabytes
        if there not in arrays:
            return None
        return Lens(photo.width, photo.height, photo.camera.width, photo.camera.height, arrays[there], arrays[back])

    def write_lenses(self, lenses: dict[str, Lens]) -> None:
        arrays = {}
        for name, lens in lenses.items():
            arrays[f"{name}/picture_from_photo"] = lens.picture_from_photo.astype(np.float32)
            arrays[f"{name}/photo_from_picture"] = lens.photo_from_picture.astype(np.float32)
        write_arrays(self.root / "cameras" / "lenses.safetensors", arrays)

    def points(self) -> SparsePoints:
        """Raises InputError if the capture left none."""
        arrays, _ = read_arrays(self.root / "cameras" / "points.safetensors")
        try:
            return SparsePoints(**arrays)
        except TypeError as error:
            raise InputError(
                "file-damaged", f"Not a point file: {self.root / 'cameras/points.safetensors'}."
            ) from error

    def write_points(self, points: SparsePoints) -> None:
        write_arrays(self.root / "cameras" / "points.safetensors", vars(points))

    # splats/

    def gaussians(self) -> Gaussians:
        """The finished Gaussians. Raises InputError if nothing was trained or imported yet."""
        if not self.splats.exists():
            raise InputError(
                "no-splats-yet",
                f"The workspace has no Gaussians yet: {self.root}.",
                "Run: segwild train WORKSPACE (or segwild import FILE --out WORKSPACE).",
            )
        return Gaussians.load(self.splats)
