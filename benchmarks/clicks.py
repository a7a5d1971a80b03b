"""Workspaces with masks -> how well one, three and five simulated clicks select objects.

    python -m benchmarks.clicks --set kermit kermit.segwild kermit/masks

Without weights, on one photo; all other masked photos are scored. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from backend.features import Lifted
from backend.render import Seen
from backend.scene import Camera
from backend.segment import metrics
from backend.segment.draft import Draft
from backend.segment.eyes import Eyes
from backend.segment.marks import prompts_of
from backend.segment.prepared import Selection
from backend.segment.prompts import Clicks
from backend.segment.scoring import covering, sampled
from backend.segment.segmenters import looking_alike
from backend.segment.selection import Selector
from backend.segment.witnesses import Witnesses
from benchmarks.masked import Scene, references
from benchmarks.rasterize import facts
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.values import Mark

PROTOCOL = {"id": "k-clicks", "version": 1}
COUNTS = (1, 2, 3, 5)
_WINDOW_PX = (1280, 800)  # of the window in which somebody clicks in space, which shows the whole photo
_SCORED_PX = 640  # long side of the pictures that are scored


class Viewed:
    """Selections rendered on the masked photos."""

    def __init__(self, scene: Scene, names: list[str]) -> None:
        self.views: dict[str, tuple[Seen, Camera, np.ndarray]] = {}
        for name in names:
            camera, positions = covering(scene.workspace, scene.workspace.photo(name))
            smaller = camera.fitted(_SCORED_PX)
            scale = (smaller.width / camera.width, smaller.height / camera.height)
            self.views[name] = (Seen(scene.gaussians, smaller), smaller, positions * scale)

    def shown(self, chosen: np.ndarray, name: str) -> np.ndarray:
        """(H, W) bool of the photo as taken."""
        seen, camera, positions = self.views[name]
        share = seen.render_channels(chosen.astype(np.float32)[:, None])[..., 0]
        return sampled(share, camera, positions) > metrics.ALPHA_THRESHOLD


def next_click(
    shown: np.ndarray, mask: np.ndarray, random: np.random.Generator | None = None
) -> tuple[tuple[float, float], bool]:
    """The pixel deepest within an error, and whether the object was missed there; the first: within the object.

    With `random` any pixel that is at least half as deep.
    """
    depths = []
    for wrong in (mask & ~shown, shown & ~mask):
        depths.append(distance_transform_edt(np.pad(wrong, 1))[1:-1, 1:-1])
    missed = bool(depths[0].max() >= depths[1].max())
    depth = depths[0 if missed else 1]
    place = int(depth.argmax())
    if random is not None:
        place = int(random.choice(np.flatnonzero(depth.ravel() >= depth.max() / 2)))
    y, x = np.unravel_index(place, depth.shape)
    return (float(x) + 0.5, float(y) + 0.5), missed


def clicked(
    scene: Scene,
    viewed: Viewed,
    masks: dict[str, np.ndarray],
    reference: str,
    *,
    carried: bool,
    random: np.random.Generator | None = None,
    features: Lifted | None = None,  # that clicks are compared by; None: they mean what stands there
    eyes: Eyes | None = None,  # whose pictures answer; clicks are marks in space then, made from where the photo was
    sized: bool = False,  # with eyes: after the first click the wheel is turned to what looks best in the photo
    photos: Witnesses | None = None,  # with eyes: they are asked about what does not stand apart, unless it is sized
) -> Iterator[np.ndarray]:
    """The rows (N,) bool after each click."""
    selector = Selector(scene.prepared, scene.workspace, scene.workspace.photo(reference))
    mask = masks[reference]
    chosen = np.zeros(len(scene.gaussians), bool)
    shown = np.zeros_like(mask)
    points: list[tuple[float, float]] = []
    signs: list[bool] = []
    draft = None if eyes is None else Draft(scene.prepared)
    for _ in range(max(COUNTS)):
        point, sign = next_click(shown, mask, random)
        points.append(point)
        signs.append(sign)
        try:
            clicks = Clicks(np.array(points), np.array(signs))
            if draft is not None:
                assert eyes is not None
                draft.become(prompts_of(eyes, marks_of(selector, clicks)), draft.size)
                if sized and len(points) == 1:
                    _turned(draft, lambda rows: metrics.iou(viewed.shown(rows, reference), mask) or 0.0)
                if photos is None or draft.size or draft.apart:
                    selection = draft.selection()
                else:
                    selection = _consulted(photos, draft)
            else:
                selection = selector.select(clicks) if features is None else looking_alike(selector, clicks, features)
        except InputError:  # nothing is there: the picture stays as it is
            points.pop()
            signs.pop()
        else:
            if carried and eyes is None and selection.of_picture:
                selection = selector.carried(selection)
            chosen = selection.chosen
        shown = viewed.shown(chosen, reference)
        yield chosen


def _consulted(photos: Witnesses, draft: Draft) -> Selection:
    *_, selection = photos.consulted([prompt.key for prompt in draft.prompts], draft.prompts)
    assert selection is not None  # the last one
    return selection


def _turned(draft: Draft, score: Callable[[np.ndarray], float]) -> None:
    """To the size whose rows (N,) bool score best."""
    prompts, best, size = draft.prompts, score(draft.chosen), 0
    for level in draft.levels().tolist():
        draft.become(prompts, level)
        if (here := score(draft.chosen)) > best:
            best, size = here, level
    draft.become(prompts, size)


def marks_of(selector: Selector, clicks: Clicks) -> list[Mark]:
    """Clicks on a photo as somebody makes them in a window as wide, who stands where its camera stood.

    Raises InputError where there is nothing.
    """
    camera, depth = selector.camera, selector.seen.depth()
    marks = []
    for point, positive in zip(clicks.points, clicks.positive.tolist(), strict=True):
        at = selector.on_picture(point[None])[0]
        column, row = np.clip(at, 0, (camera.width - 1, camera.height - 1)).astype(int)
        far = float(depth[row, column])
        if not np.isfinite(far):
            raise InputError("nothing-there", "There is nothing where was clicked.", "Click on the object.")
        ray = camera.rays(at[None])[0]
        position = camera.centre + ray * far / (ray @ camera.forward)
        pixel = far / camera.fx * max(camera.width / _WINDOW_PX[0], camera.height / _WINDOW_PX[1])
        marks.append(Mark(tuple(position.tolist()), tuple(camera.centre.tolist()), pixel, positive))
    return marks


def after_clicks(
    scene: Scene,
    viewed: Viewed,
    masks: dict[str, np.ndarray],
    reference: str,
    *,
    carried: bool,
    features: Lifted | None = None,
    eyes: Eyes | None = None,
    sized: bool = False,
    photos: Witnesses | None = None,
) -> list[tuple[float | None, float | None]]:
    """After each click: the mean IoU over the other photos, and the IoU in the clicked one."""
    figures = []
    for chosen in clicked(
        scene, viewed, masks, reference, carried=carried, features=features, eyes=eyes, sized=sized, photos=photos
    ):
        others = [metrics.iou(viewed.shown(chosen, name), truth) for name, truth in masks.items() if name != reference]
        own = metrics.iou(viewed.shown(chosen, reference), masks[reference])
        figures.append((metrics.mean_over_views(others).value, own))
    return figures


def run(options: argparse.Namespace) -> None:
    for name, root, folder in options.set:
        scene = Scene.open(Path(root))
        features = None if options.features is None else Lifted.find(scene.workspace, options.features)
        lines: list[dict[str, Any]] = []
        for item in sorted(path for path in Path(folder).iterdir() if path.is_dir()):
            masks = scene.masks(item, options.views)
            if len(masks) < 2:
                continue
            viewed = Viewed(scene, list(masks))
            for seed, reference in enumerate(references(masks, options.seeds)):
                eyes = Eyes(scene.prepared) if options.marks else None
                photos = None
                if options.photos:
                    used = scene.workspace.used_photos()
                    away = options.photos == "others"
                    photos = Witnesses(
                        scene.prepared, [photo for photo in used if not (away and photo.name == reference)]
                    )
                figures = after_clicks(
                    scene,
                    viewed,
                    masks,
                    reference,
                    carried=not options.preview,
                    features=features,
                    eyes=eyes,
                    sized=options.sizes,
                    photos=photos,
                )
                told = {f"iou@{count}": figures[count - 1][0] for count in COUNTS}
                # Whoever clicks sees this photo, and stops where it looks best there.
                best = max(range(3), key=lambda place: figures[place][1] or 0.0)
                told["iou, best of 3 in the clicked photo"] = figures[best][0]
                about = {"protocol": PROTOCOL, "reference": reference, "n": len(masks) - 1, "preview": options.preview}
                about |= {"features": options.features, "marks": options.marks, "sizes": options.sizes}
                about |= {"photos": options.photos}
                about |= {"gaussians": len(scene.gaussians), "reason": None} | facts(f"{name}/{item.name}", seed)
                rows = [{"name": f"k-clicks/{key}", "value": value, "unit": "1"} | about for key, value in told.items()]
                with options.out.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows)
                lines += rows
                print(
                    f"{item.name} on {reference}: " + "  ".join(f"{value:.2f}" for value in told.values()), flush=True
                )
        for key in dict.fromkeys(line["name"] for line in lines):
            values = [line["value"] for line in lines if line["name"] == key and line["value"] is not None]
            print(f"{name} {key}: {np.mean(values):.3f} of {len(values)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs=3, action="append", required=True, metavar=("NAME", "WORKSPACE", "MASKS"))
    parser.add_argument("--seeds", type=int, default=3, help="most clicked photos per object")
    parser.add_argument("--views", type=int, default=8, help="most masked photos per object")
    parser.add_argument("--preview", action="store_true", help="as the window shows it, not carried to other photos")
    parser.add_argument("--marks", action="store_true", help="as in Blender's window: clicks in space, not on a photo")
    parser.add_argument("--sizes", action="store_true", help="with --marks: the wheel is turned after the first click")
    parser.add_argument(
        "--photos",
        choices=("all", "others"),
        help="with --marks: photos are asked about what does not stand apart; others: without the one that was clicked",
    )
    parser.add_argument("--features", help="lifted features that clicks are compared by, such as colour")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "clicks.jsonl")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    run(options)


if __name__ == "__main__":
    main()
