"""Structure from motion in a process of its own: `python -m backend.capture.sfm_child find|export JOB.json`.

pycolmap and Pillow corrupt each other's memory in one process (aborts, or hangs for good, with pycolmap
4.1 and 4.2): this program imports pycolmap, numpy and the standard library alone, and `backend.capture.sfm`
drives it. It writes JSON lines on its standard output:

    {"phase": NAME, "total": N}   {"done": STEPS}   {"result": {...}}   {"error": SENTENCE}

and ends when its standard input closes: a parent that was killed leaves nothing running.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pycolmap

from backend.capture.model import export
from backend.capture.pairs import nearest_pairs
from backend.capture.parts import other_parts
from backend.lifeline import end_with_starter

EXHAUSTIVE_UP_TO = 150  # photos; above, cost grows with their number and not with its square
NEAREST = 40  # photos matched with each one in larger collections
_EXTRACT_TOGETHER, _MATCH_TOGETHER = 8, 100  # photos and pairs per progress report
_CENTRED_POINTS = 100  # that a photo sees, or its principal point stays in its middle
_CENTRED_ERROR = 0.9  # of the reprojection error: more is left where the middle was right
_CENTRED_MOST = 0.2  # of a side: farther away, the photo was not cropped but misunderstood


@dataclass(frozen=True)
class Features:
    """What counts as a feature."""

    name: str = "features"
    peak_threshold: float = 0.02 / 3  # COLMAP's own; less: fainter features, slower


@dataclass(frozen=True)
class Mapping:
    """What is enough to place a photo: COLMAP's own values."""

    name: str = "models"
    min_num_matches: int = 15
    init_min_num_inliers: int = 100
    init_min_tri_angle_deg: float = 16.0
    pose_min_num_inliers: int = 30
    pose_min_inlier_ratio: float = 0.25
    smallest_model: int = 10  # photos; in small collections a third of them


FAINT_FEATURES = Features("faint-features", peak_threshold=0.0025)
LOOSE_MAPPING = Mapping("loose-models", 10, 40, 6.0, 15, 0.15, 2)


class Reporter:
    """JSON lines for the parent."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, **message: Any) -> None:
        print(json.dumps(message), file=self._stream, flush=True)

    def phase(self, name: str, total: int | None = None) -> None:
        self.say(phase=name, total=total)

    def done(self, steps: int) -> None:
        self.say(done=steps)


def find(job: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Cameras for pictures. Returns the folder of the best model (or None), counts and photos of the others.

    Photos that found no place get a second chance: looser thresholds on the same matches, then fainter
    features where many are missing. The model with most photos wins.
    """
    count, attempts = len(job["names"]), []
    for features, mapping in ((Features(), Mapping()), (Features(), LOOSE_MAPPING), (FAINT_FEATURES, LOOSE_MAPPING)):
        best = max(attempts, key=lambda attempt: attempt["registered"], default=None)
        if best and best["registered"] == count:
            break
        if best and features is FAINT_FEATURES and count > 50 and best["registered"] > 0.8 * count:
            break  # features and matches anew double the time, and a large collection has strays
        attempts.append(_attempt(job, features, mapping, reporter, again=" once more" if attempts else ""))
    return max(attempts, key=lambda attempt: attempt["registered"])  # the strictest of equals


def _attempt(
    job: dict[str, Any], features: Features, mapping: Mapping, reporter: Reporter, *, again: str
) -> dict[str, Any]:
    folder = Path(job["work"]) / features.name
    database, models = folder / "database.db", folder / mapping.name
    if not (folder / "matched").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _extract(job, database, features, reporter, again=again)
        _match(job, database, reporter, again=again)
        (folder / "matched").touch()
    return _map(job, database, models, mapping, reporter, again=again)


def _extract(job: dict[str, Any], database: Path, features: Features, reporter: Reporter, *, again: str) -> None:
    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu = False
    options.num_threads = job["threads"]
    options.max_image_size = job["long_side"]
    options.sift.peak_threshold = features.peak_threshold
    reader = pycolmap.ImageReaderOptions()
    reader.camera_model = "SIMPLE_RADIAL"
    names = job["names"]
    reporter.phase(f"Finding features{again}", len(names))
    for start in range(0, len(names), _EXTRACT_TOGETHER):
        batch = names[start : start + _EXTRACT_TOGETHER]
        pycolmap.extract_features(
            database,
            job["pictures"],
            image_names=batch,
            camera_mode=pycolmap.CameraMode.PER_IMAGE,
            reader_options=reader,
            extraction_options=options,
            device=pycolmap.Device.cpu,
        )
        reporter.done(len(batch))


def _match(job: dict[str, Any], database: Path, reporter: Reporter, *, again: str) -> None:
    options = pycolmap.FeatureMatchingOptions()
    options.use_gpu = False
    options.num_threads = job["threads"]
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = job["seed"]
    pairs = _pairs(job, database)
    reporter.phase(f"Matching photos{again}", len(pairs))
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = database.parent / "pairs.txt"
    for start in range(0, len(pairs), _MATCH_TOGETHER):
        batch = pairs[start : start + _MATCH_TOGETHER]
        pairing.match_list_path.write_text("".join(f"{a} {b}\n" for a, b in batch), encoding="utf-8")
        pycolmap.match_image_pairs(
            database,
            matching_options=options,
            pairing_options=pairing,
            verification_options=verification,
            device=pycolmap.Device.cpu,
        )
        reporter.done(len(batch))


def _pairs(job: dict[str, Any], database: Path) -> list[tuple[str, str]]:
    names = job["names"]
    if len(names) <= EXHAUSTIVE_UP_TO:
        return list(combinations(names, 2))
    with pycolmap.Database.open(database) as opened:
        ids = {image.name: image.image_id for image in opened.read_all_images()}
        known = [name for name in names if name in ids]
        rows = nearest_pairs(
            lambda row: np.asarray(opened.read_descriptors(ids[known[row]]).data),
            len(known),
            nearest=NEAREST,
            seed=job["seed"],
        )
    return [(known[a], known[b]) for a, b in rows]


def _map(
    job: dict[str, Any], database: Path, models: Path, mapping: Mapping, reporter: Reporter, *, again: str
) -> dict[str, Any]:
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = job["threads"]
    options.random_seed = job["seed"]
    options.min_model_size = min(mapping.smallest_model, max(2, len(job["names"]) // 3))
    options.min_num_matches = mapping.min_num_matches
    options.mapper.init_min_num_inliers = mapping.init_min_num_inliers
    options.mapper.init_min_tri_angle = mapping.init_min_tri_angle_deg
    options.mapper.abs_pose_min_num_inliers = mapping.pose_min_num_inliers
    options.mapper.abs_pose_min_inlier_ratio = mapping.pose_min_inlier_ratio
    shutil.rmtree(models, ignore_errors=True)
    models.mkdir(parents=True)
    reporter.phase(f"Placing cameras{again}", len(job["names"]))
    found = pycolmap.incremental_mapping(
        database, job["pictures"], models, options, next_image_callback=lambda: reporter.done(1)
    )
    with pycolmap.Database.open(database) as opened:
        pair_ids, counts = opened.read_two_view_geometry_num_inliers()
        strong = [pair for pair, count in zip(pair_ids, counts, strict=True) if count >= options.min_num_matches]
        matched = {image for pair in strong for image in pycolmap.pair_id_to_image_pair(pair)}
    if not found:
        return {"model": None, "registered": 0, "points": 0, "matched": len(matched), "others": []}
    key, best = max(found.items(), key=lambda item: (item[1].num_reg_images(), item[1].num_points3D()))
    placed = {
        number: [image.name for image in model.images.values() if image.has_pose] for number, model in found.items()
    }
    _centred(best, job["threads"]).write(models / str(key))
    return {
        "model": str(models / str(key)),
        "registered": best.num_reg_images(),
        "points": best.num_points3D(),
        "matched": len(matched),
        "others": other_parts(placed.pop(key), placed.values()),
    }


def _centred(found: pycolmap.Reconstruction, threads: int) -> pycolmap.Reconstruction:
    """The same with a principal point found for each photo that sees enough; as it was if that explains little more.

    People crop their photos, and until here the middle of each is taken for it, which bends all cameras a little. Where
    nobody has, turning a camera and moving its principal point look much alike, and the middle is the better guess.
    """
    config, options = pycolmap.BundleAdjustmentConfig(), pycolmap.BundleAdjustmentOptions()
    for image in found.images.values():
        if image.has_pose:
            config.add_image(image.image_id)
            if image.num_points3D < _CENTRED_POINTS:
                config.set_constant_cam_intrinsics(image.camera_id)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    options.refine_principal_point = True
    options.print_summary = False
    options.ceres.solver_options.num_threads = threads
    result = pycolmap.Reconstruction(found)
    pycolmap.create_default_bundle_adjuster(options, config, result).solve()
    result.update_point_3d_errors()
    moved = [
        max(abs(camera.principal_point_x / camera.width - 0.5), abs(camera.principal_point_y / camera.height - 0.5))
        for camera in result.cameras.values()
    ]
    before, after = (model.compute_mean_reprojection_error() for model in (found, result))
    return result if after < _CENTRED_ERROR * before and max(moved) < _CENTRED_MOST else found


def _export(job: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    reporter.phase("Undoing lenses")
    return export(Path(job["model"]), job["photos"], Path(job["arrays"]), Path(job["cameras"]))


def _end_with_parent() -> None:
    """Standard input carries nothing: it ends when the parent does."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(1)


def main() -> int:
    # Libraries print where they like: keep the original standard output for messages alone.
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    end_with_starter()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    reporter = Reporter(messages)
    verb, job = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    pycolmap.logging.minloglevel = pycolmap.logging.Level.ERROR.value
    pycolmap.set_random_seed(job.get("seed", 0))
    try:
        reporter.say(result={"find": find, "export": _export}[verb](job, reporter))
    except Exception as error:
        # The one place where this program fails: the parent turns the text into a sentence.
        reporter.say(error=str(error) or type(error).__name__)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # no destructors: some builds of pycolmap crash in them
