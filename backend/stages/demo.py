"""The bundled sample collection through everything, with a report."""

from __future__ import annotations

import shutil
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backend.capture.pictures import read_picture
from backend.capture.sample import Collection, generate
from backend.progress import Progress
from backend.render import chosen_engine
from backend.scene import Workspace
from backend.scene.files import write_json
from backend.stages import capture, evaluate, evaluate_masks, export, lift, segment, train
from backend.stages.beside import Beside
from backend.stages.cutting import divided
from backend.stages.demo_page import Outcome, demo_report
from backend.stages.opened import Opened
from backend.train.views import in_picture
from segwild_addon.protocol import requests
from segwild_addon.protocol.errors import InputError, ResourceError

HELD_OUT = 5
LEAST_SHARE = 0.01  # of a photo: an object of fewer pixels says more about resolution than about selection
BASELINE = "without-looks.segwild"


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    photos: int
    long_side: int  # of the photos
    train: dict[str, Any]  # options of the training


QUICK = Size(photos=36, long_side=480, train={"preset": "quick", "long_side": 320, "iterations": 2_800})
FULL = Size(photos=36, long_side=640, train={"preset": "standard"})


def run(request: requests.Demo, progress: Progress) -> dict[str, Any]:
    """Make photos, forget how, reconstruct, select every object by one click, score against the truth."""
    began = time.monotonic()
    size = QUICK if request.quick else FULL
    out = request.out
    outcome = Outcome()
    options = size.train | {"device": request.device, "seed": request.seed}

    with _Timed(outcome, "taking photos"):
        sample = generate(
            out / "sample", photos=size.photos, long_side=size.long_side, seed=request.seed, progress=progress
        )
    with _Timed(outcome, "finding cameras"):
        captured = capture.run(
            requests.Capture(
                photos=sample.photo_folder, out=out / "square.segwild", preset="quick", test=tuple(held_out(sample))
            ),
            progress,
        )
    workspace = Workspace.open(out / "square.segwild")
    comparison = _twin(workspace, out / BASELINE)
    with _beside(comparison, options, progress) as other:
        with _Timed(outcome, "training"):
            if not workspace.segments.exists():  # a demo that is run again keeps its objects
                train.run(requests.Train(workspace=workspace.root, **options), progress)
        with _Timed(outcome, "training without looks"):  # what it takes longer than the first, if both are at once
            _compare(comparison, options, other, progress)
    with _Timed(outcome, "fitting held-out photos"):
        outcome.scores, outcome.baseline = (
            evaluate.run(requests.Evaluate(workspace=each.root, device=request.device), progress)
            for each in (workspace, comparison)
        )
    with _Timed(outcome, "lifting features"):
        lift.run(requests.Lift(workspace=workspace.root), progress)
    with _Timed(outcome, "selecting objects"):
        opened = Opened(workspace.root)
        _select(sample, opened, outcome, progress)
    with _Timed(outcome, "cleaning edges"):
        _clean(opened, outcome, progress)
    outcome.transients = transient_scores(sample, workspace)
    with _Timed(outcome, "exporting"):
        _export(workspace, out / "exports", outcome, progress)
    progress.phase("Writing the report")
    page = out / "report" / "index.html"
    demo_report(sample, workspace, comparison, captured, outcome, began).write(page)
    ious = [result["iou"] for result in outcome.objects.values()]
    return {
        "report": str(page),
        "workspace": str(workspace.root),
        "photos": captured["photos"],
        "gaussians": len(workspace.gaussians()),
        "psnr": outcome.scores["psnr"],
        "psnr_without_looks": outcome.baseline["psnr"],
        "gain_db": outcome.scores["psnr"] - outcome.baseline["psnr"],
        "ssim": outcome.scores["ssim"],
        "mean_iou": float(np.mean(ious)) if ious else None,
        "objects": {name: result["iou"] for name, result in outcome.objects.items()},
        "transients": outcome.transients,
        "exports": [str(path) for path in outcome.exports],
        "time_secs": round(time.monotonic() - began, 1),
        "times": outcome.times,
    }


class _Timed:
    """Notes how long a stage took."""

    def __init__(self, outcome: Outcome, name: str) -> None:
        self.outcome, self.name = outcome, name

    def __enter__(self) -> None:
        self.began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.outcome.times[self.name] = round(time.monotonic() - self.began, 1)


def held_out(sample: Collection) -> list[str]:
    """Photos to score: without passers-by, spread over the collection, not the ones that get clicked."""
    clicked = {item.click.photo for item in sample.objects if item.click is not None}
    empty = [photo.name for photo in sample.photos if not photo.occluded and photo.name not in clicked]
    places = np.linspace(0, len(empty) - 1, min(HELD_OUT, len(empty))).round().astype(int)
    return [empty[place] for place in places]


def _twin(workspace: Workspace, root: Path) -> Workspace:
    """A second workspace with the same cameras and pictures, for a training to compare with."""
    if not (root / "scene.json").exists():
        shutil.rmtree(root, ignore_errors=True)
        for name in ("photos", "cameras"):
            shutil.copytree(workspace.root / name, root / name)
        shutil.copy(workspace.root / "photos.json", root / "photos.json")
        scene = workspace.scene()
        scene["made"] = {"capture": scene["made"]["capture"]}
        twin = Workspace(root)
        write_json(root / "scene.json", scene)
        return twin
    return Workspace.open(root)


def _beside(twin: Workspace, options: dict[str, Any], progress: Progress) -> AbstractContextManager[Beside | None]:
    """The training to compare with, begun in a process beside this one; None on a graphics card, which one fills."""
    if twin.made("train") is not None or chosen_engine(options["device"], progress) != "cpu":
        return nullcontext()
    return Beside("train", _without_looks(twin, options), twin.root, progress)


def _compare(twin: Workspace, options: dict[str, Any], other: Beside | None, progress: Progress) -> None:
    """The end of that training; here, if it has no process or has lost it."""
    if other is not None:
        try:
            other.result()
        except ResourceError as error:
            progress.warn(error.code, "The second training lost its process: it goes on in this one.")
    train.run(_without_looks(twin, options), progress)


def _without_looks(twin: Workspace, options: dict[str, Any]) -> requests.Train:
    return requests.Train(workspace=twin.root, appearance="none", **options)


def _clean(opened: Opened, outcome: Outcome, progress: Progress) -> None:
    """Cut what sticks out of each object, so that reports and exports show them clean; scored they were whole."""
    for name in outcome.objects:
        try:
            divided(opened.workspace, name, "exact", progress, opened.prepared)
        except InputError as error:  # no photo shows its edge: it stays whole
            progress.warn(error.code, error.sentence)


def _select(sample: Collection, opened: Opened, outcome: Outcome, progress: Progress) -> None:
    """One click per object, where a person would click; scored on all other photos, without passers-by."""
    workspace = opened.workspace
    used = {photo.name for photo in workspace.used_photos()}
    wanted = [item for item in sample.objects if item.click is not None and item.click.photo in used]
    for item in wanted:
        click = item.click
        segment.run(
            requests.Segment(
                workspace=workspace.root, name=item.name, view=click.photo, click=(f"{click.x:g},{click.y:g},+",)
            ),
            progress,
            opened,
        )
    if wanted:
        asked = [
            requests.EvaluateMasks(
                workspace=workspace.root,
                object=item.name,
                masks=sample.mask_folder(item.name, occluded=False),
                skip=(item.click.photo,),
                least=LEAST_SHARE,
            )
            for item in wanted
        ]
        outcome.objects |= {result["object"]: result for result in evaluate_masks.run_all(asked, progress)}


def transient_scores(sample: Collection, workspace: Workspace) -> dict[str, float]:
    """How well passers-by were found in training photos: IoU, recall, precision, share of the rest that was lost."""
    both = either = people = lost = rest = 0
    for photo in workspace.used_photos():
        file = workspace.root / "transients" / f"{photo.name}.png"
        if not file.exists() or photo.camera is None:
            continue
        found = read_picture(file)[..., 0] > 127
        truth = _on_grid(sample.occluders(photo.name), workspace, photo.name, found.shape)
        both += int((found & truth).sum())
        either += int((found | truth).sum())
        people += int(truth.sum())
        lost += int((found & ~truth).sum())
        rest += int((~truth).sum())
    return {
        "iou": both / max(either, 1),
        "recall": both / max(people, 1),
        "precision": both / max(both + lost, 1),
        "static_lost": lost / max(rest, 1),
    }


def _on_grid(mask: np.ndarray, workspace: Workspace, name: str, shape: tuple[int, ...]) -> np.ndarray:
    photo = workspace.photo(name)
    assert photo.camera is not None
    return in_picture(mask, workspace, photo, photo.camera.resized(shape[1], shape[0]))


def _export(workspace: Workspace, folder: Path, outcome: Outcome, progress: Progress) -> None:
    for name in [None, *outcome.objects]:
        path = folder / f"{name or 'square'}.ply"
        export.run(requests.Export(workspace=workspace.root, out=path, object=name, look="neutral"), progress)
        outcome.exports.append(path)
