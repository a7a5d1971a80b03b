"""One training of one workspace into figures: JSON on stdin, JSON on stdout.

Runs in a process of its own, `python -m benchmarks.reconstructed`, so that its peak of memory is its own.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backend.capture.pictures import read_mask, read_picture, resized
from backend.capture.sample import Collection
from backend.progress import Quiet
from backend.render import Seen
from backend.scene import Gaussians, Photo, Workspace
from backend.scene.gaussians import FIELDS
from backend.segment.scoring import Judge
from backend.stages.demo import transient_scores
from backend.train.appearance import KINDS, Appearance, Look
from backend.train.config import PRESETS, PoseRefinement, TrainConfig, sampled
from backend.train.evaluate import left_half_scores, shown
from backend.train.fit import Fit
from backend.train.loop import Training
from backend.train.metrics import left_half, psnr, right_half
from backend.train.soundness import soundness
from backend.train.views import Views, in_picture
from benchmarks.truth import neutral_scores, without_passers

COURSE_SIDE, COURSE_STEPS = 160, 32  # long side in pixels and fitting steps of the points on the curve
COURSE_AT = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # of the steps; and at the end
OWN_LOOKS = 12  # training photos rendered in their own look


@dataclass(frozen=True)
class Case:
    """What a process is asked."""

    workspace: str  # captured; what is there of an earlier training is overwritten
    preset: str = "quick"
    changes: dict[str, Any] = field(default_factory=dict)  # of the preset: "steps", "density.cap", ...
    masks: dict[str, str] = field(default_factory=dict)  # object -> folder of <photo>.png, for the mask ceiling
    sample: str | None = None  # folder of the sample collection, for its occluders' truth
    course: bool = True  # measure PSNR on the way; that time is not counted
    threads: int = 2
    device: str = "cpu"


def changed(config: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    """The configuration with fields replaced, "density.cap" within "density".

    "policy" is adaptive or capped, "appearance" linear or mlp, "poses" captured or refined, and "photos" is left to
    `answered`.

    Raises KeyError for unknown ones.
    """
    if changes.get("policy", "adaptive") == "capped":
        config = sampled(config)
    if "appearance" in changes:
        config = dataclasses.replace(config, appearance=KINDS[changes["appearance"]]())
    if changes.get("poses", "captured") == "refined":
        config = dataclasses.replace(config, poses=PoseRefinement())
    for path, value in changes.items():
        if path not in ("policy", "appearance", "poses", "photos"):
            config = _with(config, path.split("."), value)
    return config


def _with(config: Any, path: Sequence[str], value: Any) -> Any:
    if path[0] not in {item.name for item in dataclasses.fields(config)}:
        raise KeyError(f"{type(config).__name__} has no {path[0]}")
    own = value if len(path) == 1 else _with(getattr(config, path[0]), path[1:], value)
    return dataclasses.replace(config, **{path[0]: own})


class Watching(Quiet):
    """Measures held-out PSNR now and then, and how long the training took without that."""

    def __init__(self, held: Sequence[Photo], workspace: Workspace, steps: int) -> None:
        super().__init__()
        self.training: Training | None = None
        self.held, self.workspace = held, workspace
        self.due = [max(1, round(share * steps)) for share in COURSE_AT]
        self.done, self.paused = 0, 0.0
        self.points: list[tuple[float, int, float]] = []  # seconds, step, dB
        self.began = time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        if self.training is None or not self.held or not self.due or self.done < self.due[0]:
            return
        self.due = [step for step in self.due if step > self.done]
        start = time.monotonic()
        self.points.append((start - self.began - self.paused, self.done, _coarse(self.training, self.held)))
        self.paused += time.monotonic() - start

    @property
    def secs(self) -> float:
        return time.monotonic() - self.began - self.paused


def _coarse(training: Training, held: Sequence[Photo]) -> float:
    """Held-out PSNR as it stands, in small pictures and with few fitting steps."""
    rows = {name: value.detach().cpu() for name, value in training.rows.values.items()}
    shared = {name: value.detach().cpu() for name, value in training.shared.values.items()}
    scene = Gaussians(**{name: rows[name].numpy() for name in FIELDS})
    looks = Appearance.of(training.views.names, training.config.appearance, shared, rows)
    fit, found = Fit(scene, looks, steps=COURSE_STEPS), []
    for photo in held:
        assert photo.camera is not None  # used photos have one
        camera = photo.camera.fitted(COURSE_SIDE)
        picture = resized(read_picture(training.workspace.picture_file(photo.name)), camera.width, camera.height)
        embedding = fit.embedding(camera, picture, left_half(picture).shape[1])
        image = shown(scene, looks, camera, embedding).clip(0, 1)
        found.append(psnr(right_half(image), right_half(picture.astype(np.float32) / 255)))
    return float(np.mean(found))


def answered(case: Case) -> dict[str, Any]:
    """Train and score."""
    torch.set_num_threads(case.threads)
    workspace = Workspace.open(Path(case.workspace))
    for path in (workspace.splats, workspace.checkpoint, workspace.appearance):
        path.unlink(missing_ok=True)
    config = changed(PRESETS[case.preset], case.changes)  # type: ignore[index]
    sample = None if case.sample is None else Collection.open(Path(case.sample))
    if case.changes.get("photos") == "unoccluded":
        if sample is None:
            raise ValueError("only the sample knows what its photos look like without passers-by")
        without_passers(sample, workspace)
    photos = workspace.used_photos()
    trained = [photo for photo in photos if photo.split == "train"]
    held = [photo for photo in photos if photo.split == "test"]
    watching = Watching(held if case.course else [], workspace, config.steps)
    views = Views(workspace, trained, config.long_side)
    training = Training(workspace, config, views, watching, case.device)
    watching.training = training
    training.run()
    secs = watching.secs
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # before anything that only scores
    scores = left_half_scores(workspace, held, fit_long_side=config.long_side, progress=Quiet())
    scene = workspace.gaussians()
    photos = workspace.used_photos()  # whose cameras may have been refined
    trained = [photo for photo in photos if photo.split == "train"]
    course = watching.points
    if case.course and held:
        course = [*course, (secs, config.steps, _coarse(training, held))]
    answer: dict[str, Any] = {
        "gaussians": len(scene),
        "time_secs": secs,
        "peak_memory_bytes": peak,
        "psnr": _mean([score.psnr for score in scores]),
        "ssim": _mean([score.ssim for score in scores]),
        "per_photo": {score.photo: {"psnr": score.psnr, "ssim": score.ssim} for score in scores},
        "own_look": own_look(workspace, trained, config.long_side),
        "course": course,
        "soundness": asdict(soundness(scene, [photo.camera for photo in photos if photo.camera is not None])),
        "ceiling": {name: ceiling(workspace, scene, Path(folder)) for name, folder in case.masks.items()},
    }
    if sample is not None:
        answer["neutral"] = _mean(neutral_scores(sample, workspace, held))
        if config.transients:
            answer["transients"] = transient_scores(sample, workspace)
    return answer


def own_look(workspace: Workspace, photos: Sequence[Photo], long_side: int) -> float | None:
    """Mean PSNR of training photos in their own looks, whole pictures without what was judged transient."""
    appearance, scene = Appearance.load(workspace), workspace.gaussians()
    values = []
    for index in np.unique(np.linspace(0, len(photos) - 1, min(OWN_LOOKS, len(photos))).astype(int)):
        photo = photos[index]
        assert photo.camera is not None
        camera = photo.camera.fitted(long_side)
        truth = resized(read_picture(workspace.picture_file(photo.name)), camera.width, camera.height) / 255
        embedding = None
        if appearance is not None and photo.name in appearance.names:
            embedding = appearance.embedding(Look(photo.name))
        error = np.square(shown(scene, appearance, camera, embedding).clip(0, 1) - truth).mean(-1)
        file = workspace.root / "transients" / f"{photo.name}.png"
        if file.exists():
            error = error[read_picture(file)[..., 0] < 128]
        values.append(-10 * np.log10(max(float(error.mean()), 1e-10)))
    return _mean(values)


def ceiling(workspace: Workspace, scene: Gaussians, folder: Path) -> float | None:
    """Mean IoU if every mask of an object votes and the same masks are scored: what the geometry permits."""
    inside, total = np.zeros(len(scene)), np.zeros(len(scene))
    masks: dict[str, np.ndarray] = {}
    photos = {photo.name: photo for photo in workspace.used_photos()}
    for path in sorted(folder.glob("*.png")):
        photo = photos.get(path.stem)
        if photo is None or photo.camera is None:
            continue
        mask = read_mask(path, photo.width, photo.height)
        if not mask.any():
            continue
        masks[photo.name] = mask
        labels = in_picture(mask, workspace, photo, photo.camera).astype(np.int32)
        sums, _ = Seen(scene, photo.camera).accumulate(labels, labels=2)
        inside += sums[:, 1]
        total += sums.sum(1)
    if not masks:
        return None
    rows = np.flatnonzero(inside > 0.5 * np.maximum(total, 1e-9))
    return _mean([Judge(scene, workspace, photos[name]).score(rows, mask).iou for name, mask in masks.items()])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def main(read: Callable[[], str] = sys.stdin.read) -> int:
    print(json.dumps(answered(Case(**json.loads(read())))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
