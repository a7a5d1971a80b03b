"""Workspaces with masks of objects -> how well labels of one photo, or a few, reach the others by features alone.

    python -m benchmarks.labels --set kermit kermit.segwild kermit/masks

Every masked photo in turn is the labelled one; all others are scored. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from backend.features import Lifted
from backend.features.transfer import LONG_SIDE, UNSAID, Patches, patches, transferred
from backend.render import Seen
from backend.segment import metrics
from backend.stages.transfer import labelled
from backend.train.views import in_picture
from benchmarks.clicks import Viewed
from benchmarks.masked import Scene, references
from benchmarks.rasterize import facts

PROTOCOL = {"id": "labels-of-photos", "version": 1}
Masks = dict[str, dict[str, np.ndarray]]  # object -> photo -> (H, W) bool


def painted(masks: Masks, photo: str) -> np.ndarray:
    """(H, W) int: the objects' numbers from 1, 0 elsewhere; where masks overlap, the later one's."""
    own = [(number, given[photo]) for number, given in enumerate(masks.values(), 1) if photo in given]
    picture = np.zeros(own[0][1].shape, np.int64)
    for number, mask in own:
        picture[mask] = number
    return picture


def chosen_by(
    scene: Scene, lifted: Lifted, masks: Masks, photos: list[str], *, rest: bool, neighbours: int = 5
) -> dict[str, np.ndarray]:
    """Object -> rows (N,) bool, from labels on some photos."""
    parts = []
    for name in photos:
        photo = scene.workspace.photo(name)
        assert photo.camera is not None  # used
        camera = photo.camera.fitted(LONG_SIDE)
        labels = in_picture(painted(masks, name), scene.workspace, photo, camera)
        said = labels if rest else np.where(labels == 0, UNSAID, labels)
        parts.append(patches(lifted, Seen(scene.gaussians, camera), said))
    found = transferred(lifted, Patches.joined(parts), neighbours)
    return {name: labelled(scene.prepared, lifted, found, number).chosen for number, name in enumerate(masks, 1)}


def run(options: argparse.Namespace) -> None:
    for name, root, folder in options.set:
        scene = Scene.open(Path(root))
        lifted = Lifted.find(scene.workspace, options.features)
        items = sorted(path for path in Path(folder).iterdir() if path.is_dir())
        masks: Masks = {item.name: found for item in items if len(found := scene.masks(item, options.views)) > 1}
        together = {photo: mask for given in masks.values() for photo, mask in given.items()}
        viewed = Viewed(scene, list(together))
        order = references(together, len(together))
        figures: dict[str, list[float]] = {}
        for seed in range(min(options.seeds, len(order))):
            photos = [order[(seed + step) % len(order)] for step in range(options.photos)]
            for words, rest in (("rest", True), ("nothing said", False)):
                chosen = chosen_by(scene, lifted, masks, photos, rest=rest, neighbours=options.neighbours)
                rows: list[dict[str, Any]] = []
                for item, given in masks.items():
                    if not any(photo in given for photo in photos):
                        continue  # it was labelled nowhere
                    scored = [
                        metrics.iou(viewed.shown(chosen[item], photo), mask)
                        for photo, mask in given.items()
                        if photo not in photos
                    ]
                    value = metrics.mean_over_views(scored).value
                    about = {"protocol": PROTOCOL, "labelled": photos, "n": len(scored), "features": options.features}
                    about |= {"gaussians": len(scene.gaussians), "neighbours": options.neighbours, "reason": None}
                    about |= facts(f"{name}/{item}", seed)
                    rows.append({"name": f"labels/0 is {words}/iou", "value": value, "unit": "1"} | about)
                    if value is not None:
                        figures.setdefault(words, []).append(value)
                with options.out.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows)
                told = "  ".join(f"{row['scene'].split('/')[-1]} {row['value']:.2f}" for row in rows if row["value"])
                print(f"{', '.join(photos)}, 0 is {words}: {told}", flush=True)
        for words, values in figures.items():
            print(f"{name}, 0 is {words}: {np.mean(values):.3f} of {len(values)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs=3, action="append", required=True, metavar=("NAME", "WORKSPACE", "MASKS"))
    parser.add_argument("--photos", type=int, default=1, help="labelled photos")
    parser.add_argument("--seeds", type=int, default=3, help="most choices of labelled photos")
    parser.add_argument("--views", type=int, default=8, help="most masked photos per object")
    parser.add_argument("--features", default="colour", help="lifted ones that are compared")
    parser.add_argument("--neighbours", type=int, default=5, help="patches that vote")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "labels.jsonl")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    run(options)


if __name__ == "__main__":
    main()
