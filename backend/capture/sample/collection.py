"""Visits to the square into a folder of photos with their truth beside it, and that folder read back.

photos/<photo>.jpg                   what structure from motion and training see
truth/settings.json                  photos, long_side, seed
truth/cameras.json, light.json       per photo
truth/objects.json                   names, labels, one click each; written last
truth/points.npz                     points, normals, labels of visible surfaces
truth/masks/<object>/<photo>.png     visible pixels; masks_unoccluded/: without passers-by
truth/occluders/<photo>.png          passers-by
truth/clean/<photo>.jpg              the photo without passers-by; neutral/: in neutral light
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from backend.capture.sample import light as lighting
from backend.capture.sample import photographers, raycast, truth
from backend.capture.sample.light import NEUTRAL, Light
from backend.capture.sample.square import square
from backend.capture.sample.truth import Click, ClickSearch, SurfacePoints
from backend.progress import Progress, Quiet
from backend.scene.cameras import Camera
from backend.scene.files import read_json, write_json, written_whole
from segwild_addon.protocol.errors import InputError

VERSION = 1  # of the pictures: the same settings and version give the same bytes
MOST_PHOTOS, SIDES = 1000, (64, 4096)
_EXIF_IFD, _FOCAL_35MM = 0x8769, 0xA405
_FILM_DIAGONAL = 43.27  # millimetres
_QUALITY = 95


@dataclass(frozen=True, eq=False)
class SamplePhoto:
    """One photo of the collection and the truth about how it was taken."""

    name: str
    camera: Camera
    light: Light
    occluded: bool  # passers-by stand in front


@dataclass(frozen=True)
class SampleObject:
    """A named object of the square."""

    name: str
    label: int  # in point labels; 0 is the background
    click: Click | None  # None if no photo shows it


@dataclass(frozen=True, eq=False)
class Collection:
    """A sample collection on disk."""

    root: Path
    photos: tuple[SamplePhoto, ...]
    objects: tuple[SampleObject, ...]

    @property
    def photo_folder(self) -> Path:
        return self.root / "photos"

    def photo(self, name: str) -> SamplePhoto:
        """Raises InputError for an unknown name."""
        for photo in self.photos:
            if photo.name == name:
                return photo
        raise InputError("unknown-photo", f"The sample has no photo called {name!r}.", "Photos are named by file stem.")

    def picture(self, photo: str) -> np.ndarray:
        """(H, W, 3) uint8, the photo as the pipeline sees it."""
        return _read_picture(self.root / "photos" / f"{photo}.jpg")

    def clean(self, photo: str) -> np.ndarray:
        """(H, W, 3) uint8, the photo without passers-by."""
        return _read_picture(self.root / "truth" / "clean" / f"{photo}.jpg")

    def neutral(self, photo: str) -> np.ndarray:
        """(H, W, 3) uint8, the photo without passers-by, in neutral light."""
        return _read_picture(self.root / "truth" / "neutral" / f"{photo}.jpg")

    def mask_folder(self, name: str, *, occluded: bool = True) -> Path:
        """The folder of `<photo>.png` masks of an object."""
        return self.root / "truth" / ("masks" if occluded else "masks_unoccluded") / name

    def mask(self, name: str, photo: str, *, occluded: bool = True) -> np.ndarray:
        """(H, W) bool, pixels of an object; with `occluded` those that passers-by leave visible."""
        return _read_picture(self.mask_folder(name, occluded=occluded) / f"{photo}.png") > 127

    def occluders(self, photo: str) -> np.ndarray:
        """(H, W) bool, pixels of passers-by."""
        return _read_picture(self.root / "truth" / "occluders" / f"{photo}.png") > 127

    def points(self) -> SurfacePoints:
        """Surface points with normals and labels."""
        path = self.root / "truth" / "points.npz"
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return SurfacePoints(arrays["points"], arrays["normals"], arrays["labels"])
        except (OSError, ValueError, KeyError) as error:
            raise _incomplete(path) from error

    def labels(self, points: np.ndarray, *, slack: float = np.inf) -> np.ndarray:
        """The label of the surface nearest to each point (N, 3), metres, world; see `Square.labels`."""
        return square().labels(points, slack=slack)

    @classmethod
    def open(cls, root: Path) -> Collection:
        """Raises InputError if the folder holds no complete sample."""
        folder = root / "truth"
        if not (folder / "objects.json").is_file():
            raise InputError(
                "no-sample", f"There is no complete sample collection here: {root}.", "Run: segwild sample FOLDER"
            )
        try:
            cameras, lights = read_json(folder / "cameras.json"), read_json(folder / "light.json")
            photos = tuple(
                SamplePhoto(
                    name, _camera_from_json(row), Light.from_json(lights[name]["light"]), bool(lights[name]["occluded"])
                )
                for name, row in cameras.items()
            )
            objects = tuple(
                SampleObject(row["name"], int(row["label"]), Click(**row["click"]) if row["click"] else None)
                for row in read_json(folder / "objects.json")
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _incomplete(folder) from error
        return cls(root, photos, objects)


def generate(
    out: Path,
    *,
    photos: int = 36,
    long_side: int = 640,  # pixels of the largest photos
    seed: int = 0,  # other cameras, light and passers-by; the square stays
    progress: Progress | None = None,
) -> Collection:
    """Take a collection of photos of the square, with its truth.

    The same settings give the same files; a folder that already holds them is only read. Raises InputError
    if an option is out of range or the folder holds something else.
    """
    settings = {"version": VERSION, "photos": photos, "long_side": long_side, "seed": seed}
    _check(settings)
    progress = progress or Quiet()
    if _claimed(out, settings):
        return Collection.open(out)
    place = square()
    cameras, lights, parts = {}, {}, []
    searches = {name: ClickSearch() for name in place.names}
    progress.phase("sample", photos)
    for index in range(photos):
        visit = photographers.visit(place, index, photos=photos, long_side=long_side, seed=seed)
        sight = raycast.look(place.bodies, visit.passers, visit.camera)
        _write_pictures(out, visit, sight)
        owners = truth.labels(sight, len(place.names))
        for k, name in enumerate(place.names):
            whole = owners == k + 1
            visible = whole & ~sight.passers
            _write_mask(out / "truth" / "masks_unoccluded" / name / f"{visit.name}.png", whole)
            _write_mask(out / "truth" / "masks" / name / f"{visit.name}.png", visible)
            searches[name].offer(visit.name, whole, visible)
        _write_mask(out / "truth" / "occluders" / f"{visit.name}.png", sight.passers)
        parts.append(truth.surface(sight, visit.camera, len(place.names), stride=max(1, long_side // 160)))
        cameras[visit.name] = _camera_to_json(visit.camera)
        lights[visit.name] = {"light": visit.light.to_json(), "occluded": bool(len(visit.passers))}
        progress.advance(1, visit.name)
    folder = out / "truth"
    with written_whole(folder / "points.npz") as file:
        np.savez_compressed(file, **vars(truth.thinned(parts)))
    write_json(folder / "cameras.json", cameras)
    write_json(folder / "light.json", lights)
    clicks = {name: search.click for name, search in searches.items()}
    write_json(
        folder / "objects.json",
        [
            {"name": name, "label": k + 1, "click": asdict(clicks[name]) if clicks[name] else None}
            for k, name in enumerate(place.names)
        ],
    )
    return Collection.open(out)


def developed(camera: Camera, light: Light) -> np.ndarray:
    """The square as a camera would show it in some light, (H, W, 3) uint8: no passers-by, no noise."""
    bodies, nobody = square().bodies, photographers.passers.NOBODY
    answer, _ = raycast.gather(bodies, nobody, camera, raycast.look(bodies, nobody, camera), light.towards_sun)
    linear = lighting.mixed(answer, lighting.sky(camera, light), light)
    return lighting.quantised(lighting.exposed(linear, light))


def _check(settings: dict[str, int]) -> None:
    if not 1 <= settings["photos"] <= MOST_PHOTOS:
        raise InputError(
            "bad-option", f"The sample cannot have {settings['photos']} photos.", f"Choose 1 to {MOST_PHOTOS}."
        )
    if not SIDES[0] <= settings["long_side"] <= SIDES[1]:
        raise InputError(
            "bad-option",
            f"Photos of the sample cannot be {settings['long_side']} pixels long.",
            f"Choose {SIDES[0]} to {SIDES[1]} pixels.",
        )
    if settings["seed"] < 0:
        raise InputError("bad-option", f"A seed cannot be negative: {settings['seed']}.", "Choose 0 or more.")


def _claimed(out: Path, settings: dict[str, int]) -> bool:
    """Make `out` ours; True if it already holds this very sample. Foreign files are never touched."""
    marker = out / "truth" / "settings.json"
    if marker.is_file():
        if read_json(marker) != settings:
            raise InputError(
                "other-sample", f"Another sample lies in this folder: {out}.", "Choose an empty folder, or delete it."
            )
        if (out / "truth" / "objects.json").is_file():
            return True
        for name in ("photos", "truth"):  # what an interrupted run left
            shutil.rmtree(out / name, ignore_errors=True)
    elif any((out / name).exists() for name in ("photos", "truth")) or (out.exists() and not out.is_dir()):
        raise InputError(
            "folder-in-use", f"This folder holds other files: {out}.", "Choose an empty folder for the sample."
        )
    write_json(marker, settings)
    return False


def _write_pictures(out: Path, visit: photographers.Visit, sight: raycast.Sight) -> None:
    bodies, light = square().bodies, visit.light
    clean, full = raycast.gather(bodies, visit.passers, visit.camera, sight, light.towards_sun)
    behind = lighting.sky(visit.camera, light)
    exif = _exif(visit.camera)
    # Neutral light has no sun, so the same answers serve.
    for folder, answer, sky, lit in (
        (out / "photos", full, behind, light),
        (out / "truth" / "clean", clean, behind, light),
        (out / "truth" / "neutral", clean, lighting.sky(visit.camera, NEUTRAL), NEUTRAL),
    ):
        display = lighting.exposed(lighting.mixed(answer, sky, lit), lit)
        picture = lighting.quantised(display, noise=lit.noise, seed=visit.seed)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{visit.name}.jpg", quality=_QUALITY, subsampling=0, exif=exif)


def _write_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path, compress_level=1)


def _read_picture(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            return np.array(picture)
    except OSError as error:
        raise _incomplete(path) from error


def _incomplete(path: Path) -> InputError:
    return InputError(
        "sample-damaged", f"A part of the sample is missing or damaged: {path}.", "Delete the sample and make it again."
    )


def _exif(camera: Camera) -> Image.Exif:
    exif = Image.Exif()
    diagonal = float(np.hypot(camera.width, camera.height))
    exif.get_ifd(_EXIF_IFD)[_FOCAL_35MM] = round(camera.fx * _FILM_DIAGONAL / diagonal)
    return exif


def _camera_to_json(camera: Camera) -> dict[str, Any]:
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in vars(camera).items()}


def _camera_from_json(row: dict[str, Any]) -> Camera:
    return Camera(**{**row, "cam_from_world": np.array(row["cam_from_world"], float)})
