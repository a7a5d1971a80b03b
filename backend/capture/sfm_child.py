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
from itertools import combinations
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pycolmap

from backend.capture.model import export
from backend.capture.pairs import nearest_pairs

EXHAUSTIVE_UP_TO = 200  # photos
NEAREST = 40  # photos matched with each one in larger collections
_EXTRACT_TOGETHER, _MATCH_TOGETHER = 8, 100  # photos and pairs per progress report


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
    """Cameras for a folder of pictures. Returns the folder of the best model (or None) and counts."""
    work, pictures, names = Path(job["work"]), Path(job["pictures"]), list(job["names"])
    first = _attempt(job, work / "first", relaxed=False, reporter=reporter)
    attempts = [first]
    if first["registered"] < len(names):
        attempts.append(_attempt(job, work / "relaxed", relaxed=True, reporter=reporter))
    best = max(attempts, key=lambda attempt: (attempt["registered"], attempt["points"]))
    return best | {"pictures": str(pictures)}


def _attempt(job: dict[str, Any], folder: Path, *, relaxed: bool, reporter: Reporter) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / "database.db"
    again = " once more, with more detail" if relaxed else ""
    _extract(job, database, relaxed=relaxed, reporter=reporter, again=again)
    _match(job, database, relaxed=relaxed, reporter=reporter, again=again)
    return _map(job, database, folder / "models", relaxed=relaxed, reporter=reporter, again=again)


def _extract(job: dict[str, Any], database: Path, *, relaxed: bool, reporter: Reporter, again: str) -> None:
    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu = False
    options.num_threads = job["threads"]
    options.max_image_size = job["long_side"]
    if relaxed:
        options.sift.peak_threshold /= 3
        options.sift.max_num_features = 2 * options.sift.max_num_features
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


def _match(job: dict[str, Any], database: Path, *, relaxed: bool, reporter: Reporter, again: str) -> None:
    options = pycolmap.FeatureMatchingOptions()
    options.use_gpu = False
    options.num_threads = job["threads"]
    options.guided_matching = relaxed
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = job["seed"]
    if relaxed:
        verification.min_num_inliers = 10
    pairs = _pairs(job, database)
    reporter.phase(f"Matching photos{again}", len(pairs))
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = database.parent / "pairs.txt"
    for start in range(0, len(pairs), _MATCH_TOGETHER):
        batch = pairs[start : start + _MATCH_TOGETHER]
        pairing.match_list_path.write_text("".join(f"{a} {b}\n" for a, b in batch))
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
    job: dict[str, Any], database: Path, models: Path, *, relaxed: bool, reporter: Reporter, again: str
) -> dict[str, Any]:
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = job["threads"]
    options.random_seed = job["seed"]
    options.min_model_size = 2
    if relaxed:
        options.min_num_matches = 10
        options.mapper.init_min_num_inliers = 40
        options.mapper.init_min_tri_angle = 6.0
        options.mapper.abs_pose_min_num_inliers = 15
        options.mapper.abs_pose_min_inlier_ratio = 0.15
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
        return {"model": None, "registered": 0, "points": 0, "matched": len(matched)}
    key, best = max(found.items(), key=lambda item: (item[1].num_reg_images(), item[1].num_points3D()))
    return {
        "model": str(models / str(key)),
        "registered": best.num_reg_images(),
        "points": best.num_points3D(),
        "matched": len(matched),
    }


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
