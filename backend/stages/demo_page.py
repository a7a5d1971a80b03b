"""What the demo found, as a page: photos beside renders, objects cut out, looks mixed, figures."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backend.capture.pictures import read_picture, resized
from backend.capture.sample import Collection
from backend.render import Seen
from backend.scene import Camera, Gaussians, Workspace
from backend.segment.shown import Shown, draw
from backend.stages.report import Picture, Report
from backend.stages.result_page import orbited
from backend.train.appearance import NEUTRAL, Look


@dataclass
class Outcome:
    """What the stages found, for the report and for --json."""

    times: dict[str, float] = field(default_factory=dict)  # seconds per stage
    scores: dict[str, Any] = field(default_factory=dict)
    baseline: dict[str, Any] = field(default_factory=dict)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)  # name -> evaluate-masks result
    transients: dict[str, float] = field(default_factory=dict)
    exports: list[Path] = field(default_factory=list)


def demo_report(
    sample: Collection,
    workspace: Workspace,
    baseline: Workspace,
    captured: dict[str, Any],
    outcome: Outcome,
    began: float,
) -> Report:
    shown = Shown.open(workspace)
    photos = {photo.name: photo for photo in workspace.used_photos()}
    tested = list(outcome.scores["per_photo"])
    trained = [name for name, photo in photos.items() if photo.split == "train"]
    ious = [result["iou"] for result in outcome.objects.values()]
    report = Report("A square, reconstructed from tourist photos")
    report.text(
        "The photos below were taken of an invented square: other cameras, light and weather in each, people in the "
        "way in two of three. Everything after them was found from the photos alone; the truth is only used to score."
    )
    report.figures(
        [
            (f"{captured['photos']} of {len(sample.photos)}", "photos with cameras"),
            (f"{len(shown.gaussians):,}", "Gaussians"),
            (f"{outcome.scores['psnr']:.1f} dB", "held-out photos, right half"),
            (f"+{outcome.scores['psnr'] - outcome.baseline['psnr']:.1f} dB", "gained by per-photo looks"),
            (f"{np.mean(ious):.2f}" if ious else "none", "mean IoU, one click per object"),
            (f"{(time.monotonic() - began) / 60:.1f} min", "for this whole report"),
        ]
    )
    report.section("The photos", "As they were taken.")
    report.row([Picture(sample.picture(name)) for name in trained[:12]], columns=6, long_side=300)
    report.section(
        "Empty, in neutral light",
        "The reconstruction from viewpoints nobody stood at, as if nobody was there and the light was even.",
    )
    cameras = [camera for photo in shown.workspace.used_photos() if (camera := photo.camera) is not None]
    report.row([Picture(picture) for picture in orbited(shown, cameras, 6, 560)], columns=3)

    report.section(
        "Photo, own look, neutral light, what was ignored",
        f"Passers-by were found by what could not be explained: {outcome.transients['recall']:.0%} of their pixels, "
        f"with {outcome.transients['static_lost']:.1%} of the rest lost.",
    )
    crowded = [photo.name for photo in sample.photos if photo.occluded and photo.name in trained]
    for name in crowded[:4]:
        camera = _camera(photos[name].camera)
        photo = read_picture(workspace.picture_file(name))
        own = draw(shown.baked(Look(name)), camera, shown.sky(camera, Look(name)))[0]
        neutral = draw(shown.gaussians, camera, shown.sky(camera, NEUTRAL))[0]
        report.row(
            [
                Picture(photo, name),
                Picture(own, "rendered in its own look"),
                Picture(neutral, "rendered in neutral light"),
                Picture(_overlay(workspace, name), "ignored as transient"),
            ],
            long_side=420,
        )
    report.section(
        "Photos the training never saw",
        "Only the look is fitted, on the left half; the right half is scored. Without looks, every photo is "
        "expected to have the same light.",
    )
    for name in tested:
        report.row(
            [
                Picture(read_picture(workspace.picture_file(name)), name),
                Picture(_held_out(workspace, name), f"rendered, {outcome.scores['per_photo'][name]['psnr']:.1f} dB"),
                Picture(
                    _held_out(baseline, name),
                    f"without looks, {outcome.baseline['per_photo'][name]['psnr']:.1f} dB",
                ),
            ],
            long_side=480,
        )
    _objects_section(report, sample, shown, outcome)
    _looks_section(report, shown, trained)
    made = workspace.made("train") or {}
    report.section("How it went")
    course = made.get("course", {})
    report.curve(course.get("steps", []), course.get("loss", []), "step", "loss")
    report.table(
        ("stage", "seconds"), [(name.capitalize(), f"{seconds:.0f}") for name, seconds in outcome.times.items()]
    )
    report.section("Files", "Standard splat files; any viewer of 3D Gaussians opens them.")
    report.table(
        ("file", "size"), [(f"exports/{path.name}", f"{path.stat().st_size / 1e6:.1f} MB") for path in outcome.exports]
    )
    return report


def _objects_section(report: Report, sample: Collection, shown: Shown, outcome: Outcome) -> None:
    report.section(
        "One click, one object",
        "Each object was selected by a single click (the ring). From another photo's viewpoint it is shown alone, as "
        "selected and with its edges cleaned of what stuck out, and in its place. IoU, of what was selected, is the "
        "mean over all other photos that it fills to at least 1 %.",
    )
    used = [photo.name for photo in shown.workspace.used_photos()]
    for item in sample.objects:
        result = outcome.objects.get(item.name)
        if result is None or item.click is None:
            continue
        alone = shown.gaussians.take(shown.rows(only=item.name))
        clean = shown.part(only=item.name).of(shown.gaussians)
        other = _camera(shown.workspace.photo(_best_other(sample, item.name, used, item.click.photo)).camera)
        report.row(
            [
                Picture(
                    _marked(sample.picture(item.click.photo), item.click.x, item.click.y), f"{item.name}: the click"
                ),
                Picture(_cut_out(alone, other), f"{len(alone):,} Gaussians"),
                Picture(_cut_out(clean, other), "its edges cleaned"),
                Picture(_tinted(shown, item.name, other), f"in place · IoU {result['iou']:.2f}"),
            ],
            long_side=420,
        )


def _looks_section(report: Report, shown: Shown, trained: list[str]) -> None:
    if shown.appearance is None or len(trained) < 2:
        return
    sky = shown.appearance.shared["embeddings"]
    first, second = (trained[index] for index in _far_apart(sky.numpy()))
    camera = _camera(shown.workspace.photo(trained[0]).camera)
    report.section(
        "Any photo's light, and between two",
        f"The same view in the look of {first}, on the way to {second}; below, the strength of one look from none.",
    )
    mixes = [Look(first, second, mix) for mix in (0.0, 0.33, 0.67, 1.0)]
    strengths = [Look(second, strength=strength) for strength in (0.0, 0.5, 1.0, 1.5)]
    for looks, words in ((mixes, "mix {0.mix:.2f}"), (strengths, "strength {0.strength:.1f}")):
        report.row(
            [
                Picture(draw(shown.baked(look), camera, shown.sky(camera, look))[0], words.format(look))
                for look in looks
            ],
            long_side=420,
        )


def _camera(camera: Camera | None) -> Camera:
    assert camera is not None  # used photos have one
    return camera.fitted(560)


def _far_apart(embeddings: np.ndarray) -> tuple[int, int]:
    """The two most different looks."""
    distance = np.linalg.norm(embeddings[:, None] - embeddings[None], axis=2)
    first, second = np.unravel_index(distance.argmax(), distance.shape)
    return int(first), int(second)


def _best_other(sample: Collection, name: str, photos: list[str], clicked: str) -> str:
    """The photo that shows most of an object and was not clicked."""
    shares = {photo: float(sample.mask(name, photo).mean()) for photo in photos if photo != clicked}
    return max(shares, key=lambda photo: (shares[photo], photo)) if shares else clicked


def _overlay(workspace: Workspace, name: str) -> np.ndarray:
    """The photo, with what was ignored in red."""
    mask = read_picture(workspace.root / "transients" / f"{name}.png")[..., :1] > 127
    photo = resized(read_picture(workspace.picture_file(name)), mask.shape[1], mask.shape[0]).astype(float)
    return np.where(mask, 0.35 * photo + 0.65 * np.array([226, 62, 44]), photo * 0.6 + 80).clip(0, 255).astype(np.uint8)


def _held_out(workspace: Workspace, name: str) -> np.ndarray:
    return read_picture(workspace.root / "report" / "held-out" / f"{name}.png")


def _marked(photo: np.ndarray, x: float, y: float) -> np.ndarray:
    """The photo with a ring around the click."""
    rows, columns = np.mgrid[: photo.shape[0], : photo.shape[1]]
    away = np.hypot(columns + 0.5 - x, rows + 0.5 - y) / max(photo.shape[:2])
    ring = np.abs(away - 0.022)
    marked = photo.copy()
    marked[ring < 0.009] = 20
    marked[ring < 0.005] = (255, 214, 64)
    return marked


def _cut_out(gaussians: Gaussians, camera: Camera) -> np.ndarray:
    """(H, W, 4) uint8, straight alpha."""
    picture, alpha = draw(gaussians, camera)
    straight = np.clip(picture / np.maximum(alpha, 1e-3)[..., None], 0, 255)
    return np.dstack([straight, alpha.clip(0, 1) * 255]).round().astype(np.uint8)


def _tinted(shown: Shown, name: str, camera: Camera) -> np.ndarray:
    """The scene with one object highlighted where it can be seen."""
    selected = shown.rows(only=name).astype(np.float32)[:, None]
    seen = Seen(shown.gaussians, camera)
    picture = seen.picture(shown.gaussians, shown.sky(camera, NEUTRAL))[0]
    share = seen.render_channels(selected)
    mixed = picture * (1 - 0.55 * share) * (0.55 + 0.45 * share) + 0.55 * share * np.array([1.0, 0.45, 0.15])
    return np.round(255 * mixed.clip(0, 1)).astype(np.uint8)
