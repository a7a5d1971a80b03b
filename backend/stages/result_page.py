"""A trained workspace -> report/index.html: neutral light, six looks of one view, masks, the worst photos first."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from backend.capture.pictures import read_picture, resized
from backend.progress import Progress
from backend.scene import Camera, Photo, Workspace
from backend.scene.paths import looked_at, orbit
from backend.segment.shown import Shown, draw
from backend.stages.report import Picture, Report
from backend.train.appearance import NEUTRAL, Look
from backend.train.soundness import Soundness, soundness
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Report as Request

LONG_SIDE = 480  # pixels of what is drawn
ORBIT_FRAMES, LOOKS, WORST, MASKS = 6, 6, 12, 6


@dataclass(frozen=True, eq=False)
class Explained:
    """How well the scene in a photo's own look resembles the photo, without what was judged transient."""

    photo: Photo
    psnr: float
    ignored: float  # share of its pixels
    picture: np.ndarray  # (H, W, 3) uint8
    render: np.ndarray
    mask: np.ndarray | None  # (H, W) bool


def run(request: Request, progress: Progress) -> dict[str, Any]:
    """Returns the `page`, each training photo's PSNR and the soundness. Raises InputError without a trained scene."""
    workspace = Workspace.open(request.workspace)
    shown = Shown.open(workspace)
    photos = [photo for photo in workspace.used_photos() if photo.split == "train"]
    if not photos:
        raise InputError("no-photos", "The workspace has no photos to report on.", "Run segwild capture and train.")
    progress.phase("Drawing photos", len(photos))
    explained = []
    for photo in photos:
        explained.append(_explained(shown, photo))
        progress.advance()
    explained.sort(key=lambda item: (item.psnr, item.photo.name))
    cameras = [photo.camera for photo in workspace.used_photos() if photo.camera is not None]
    sound = soundness(shown.gaussians, cameras)
    path = workspace.root / "report" / "index.html"
    progress.phase("Writing the report")
    _page(shown, explained, cameras, sound).write(path)
    return {
        "page": str(path),
        "photos": len(photos),
        "own_look_psnr": float(np.mean([item.psnr for item in explained])),
        "per_photo": {item.photo.name: {"psnr": item.psnr, "ignored": item.ignored} for item in explained},
        "soundness": asdict(sound),
    }


def _explained(shown: Shown, photo: Photo) -> Explained:
    assert photo.camera is not None  # used photos have one
    camera = photo.camera.fitted(LONG_SIDE)
    picture = resized(read_picture(shown.workspace.picture_file(photo.name)), camera.width, camera.height)
    known = shown.appearance is not None and photo.name in shown.appearance.names
    look = Look(photo.name) if known else NEUTRAL
    render = draw(shown.baked(look), camera, shown.sky(camera, look))[0]
    error = np.square(render.astype(float) - picture).mean(2) / 255**2
    file, mask = shown.workspace.root / "transients" / f"{photo.name}.png", None
    if file.exists():
        mask = resized(read_picture(file), camera.width, camera.height)[..., 0] > 127
    counted = error if mask is None or mask.all() else error[~mask]
    psnr = -10 * math.log10(max(float(counted.mean()), 1e-10))
    return Explained(photo, psnr, 0.0 if mask is None else float(mask.mean()), picture, render, mask)


def _page(shown: Shown, explained: list[Explained], cameras: list[Camera], sound: Soundness) -> Report:
    workspace = shown.workspace
    report = Report(workspace.root.stem)
    scores = workspace.made("evaluate") or {}
    held = scores.get("result", {})
    trained = workspace.made("train") or {}
    values = [
        (f"{len(explained)}", "photos trained on"),
        (f"{len(shown.gaussians):,}", "Gaussians"),
        (f"{np.mean([item.psnr for item in explained]):.1f} dB", "photos in their own look, static pixels"),
    ]
    if held:
        values.append((f"{held['psnr']:.1f} dB", f"{held['photos']} held-out photos, right half"))
    values += [
        (f"{sound.opaque:.0%}", "Gaussians that are opaque"),
        (f"{sound.needles:.1%}", "needles"),
        (f"{sound.near_camera_worst:.1%}", "of the worst view is fog before the camera"),
    ]
    report.figures(values)
    report.section("Empty, in neutral light", "From viewpoints between and beside those of the photos.")
    report.row([Picture(picture) for picture in orbited(shown, cameras, ORBIT_FRAMES, LONG_SIDE)], columns=3)
    _looks(report, shown, explained)
    report.section(
        "Photos, worst first",
        "Each photo, the scene in its look, and what differs: bright is far off. Red was judged to be there only when "
        "the photo was taken, and ignored.",
    )
    for item in explained[:WORST]:
        words = f"{item.photo.name}: {item.psnr:.1f} dB" + (f", {item.ignored:.0%} ignored" if item.ignored else "")
        report.row(
            [
                Picture(_marked(item), words),
                Picture(item.render, "rendered in its own look"),
                Picture(_difference(item)),
            ],
            long_side=420,
        )
    masked = sorted((item for item in explained if item.ignored > 0), key=lambda item: -item.ignored)[:MASKS]
    if masked:
        report.section(
            "Most ignored", "The photos in which most was taken for passers-by: check that it is nothing else."
        )
        report.row([Picture(_marked(item), f"{item.photo.name}: {item.ignored:.0%}") for item in masked], columns=3)
    _held_out(report, shown, held)
    course = trained.get("course", {})
    report.section("How it went")
    report.curve(course.get("steps", []), course.get("loss", []), "step", "loss")
    if course.get("turn_deg"):
        report.curve(course["steps"], course["turn_deg"], "step", "degrees cameras have turned (median)")
    rows = [(item.photo.name, f"{item.psnr:.2f}", f"{item.ignored:.1%}") for item in explained]
    report.table(("photo", "dB", "ignored"), rows)
    return report


def _looks(report: Report, shown: Shown, explained: list[Explained]) -> None:
    """One view in the looks of photos that differ most."""
    if shown.appearance is None or len(shown.appearance.names) < 2:
        return
    embeddings = shown.appearance.shared["embeddings"].numpy()
    chosen = [int(np.linalg.norm(embeddings - embeddings.mean(0), axis=1).argmax())]
    while len(chosen) < min(LOOKS, len(embeddings)):
        away = np.linalg.norm(embeddings[:, None] - embeddings[chosen][None], axis=2).min(1)
        chosen.append(int(away.argmax()))
    best = explained[-1].photo.camera
    assert best is not None
    camera = best.fitted(LONG_SIDE)
    report.section("One view, six looks", "The same viewpoint in the light of the photos that differ most.")
    pictures = []
    for name in (shown.appearance.names[row] for row in chosen):
        look = Look(name)
        pictures.append(Picture(draw(shown.baked(look), camera, shown.sky(camera, look))[0], name))
    report.row(pictures, columns=3)


def _held_out(report: Report, shown: Shown, held: dict[str, Any]) -> None:
    folder = shown.workspace.root / "report" / "held-out"
    rows = sorted(held.get("per_photo", {}).items(), key=lambda row: row[1]["psnr"])
    rows = [row for row in rows if (folder / f"{row[0]}.png").exists()]
    if not rows:
        return
    report.section("Photos the training never saw", "The look is fitted on the left half, the right half is scored.")
    for name, score in rows[:WORST]:
        photo = Picture(read_picture(shown.workspace.picture_file(name)), name)
        report.row(
            [photo, Picture(read_picture(folder / f"{name}.png"), f"rendered, {score['psnr']:.1f} dB")], long_side=420
        )


def orbited(shown: Shown, cameras: list[Camera], frames: int, long_side: int) -> list[np.ndarray]:
    """Pictures (H, W, 3) uint8 in neutral light around what the photos' cameras look at, in the widest one's format."""
    wide = max(cameras, key=lambda camera: camera.width / camera.height)
    solid = shown.gaussians.means[shown.gaussians.opacities > 0.5]
    points = solid if len(solid) else shown.gaussians.means
    path = orbit([wide, *cameras], looked_at(cameras, points), frames)
    views = [camera.fitted(long_side) for camera in path]
    return [draw(shown.gaussians, camera, shown.sky(camera, NEUTRAL))[0] for camera in views]


def _marked(item: Explained) -> np.ndarray:
    """The photo, what was ignored in red."""
    if item.mask is None:
        return item.picture
    red = 0.35 * item.picture + 0.65 * np.array([226, 62, 44])
    return np.where(item.mask[..., None], red, item.picture).astype(np.uint8)


def _difference(item: Explained) -> np.ndarray:
    """(H, W) uint8, twice the mean absolute difference."""
    return (2 * np.abs(item.render.astype(float) - item.picture).mean(2)).clip(0, 255).astype(np.uint8)
