"""Workspaces with masks -> how well objects are selected, cut out and deleted, beside published rules.

    python -m benchmarks.selection --set kermit kermit.segwild masks/ --sheets sheets

One mask of one photo is the whole prompt; all other masked photos are scored. Rules get that mask alone, or with the
masks that SegWild carries to other photos. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from backend.capture.pictures import read_mask, read_picture, resized, write_picture
from backend.features import Lifted, colour
from backend.progress import Quiet
from backend.render import Seen
from backend.scene import Gaussians, Workspace
from backend.segment import cuts, metrics
from backend.segment.cutter import MODES, Cut, Cutting, cut, outlines_of
from backend.segment.outline import Outline
from backend.segment.prepared import Prepared
from backend.segment.prompts import Mask
from backend.segment.scoring import covering, sampled
from backend.segment.selection import Selector
from backend.segment.shown import draw
from backend.stages import lift
from backend.train.views import in_picture
from benchmarks.rasterize import facts
from benchmarks.rules import RULES, Evidence
from segwild_addon.protocol.requests import Lift

FIGURES = ("iou", "boundary_iou", "extracted_iou", "extracted_boundary_iou", "spill", "outside")
LEAST = 0.01  # of a photo that a mask fills; smaller ones are neither prompts nor scored
PROTOCOL = {"id": "reference-mask", "version": 1}
SHEET_PX = 960  # long side that is drawn ...
TILE_PX = 280  # ... and the height of the part around the object that is shown


@dataclass(frozen=True, eq=False)
class Scene:
    """A workspace, opened once for all its objects."""

    workspace: Workspace
    prepared: Prepared
    features: np.ndarray

    @classmethod
    def open(cls, root: Path) -> Scene:
        workspace = Workspace.open(root)
        lift.run(Lift(root), Quiet())
        lifted = Lifted.load(workspace, colour.NAME)
        assert lifted is not None  # just made
        prepared = Prepared.of(workspace, lifted)
        _ = prepared.graph, prepared.walks  # once per scene: no object's time
        return cls(workspace, prepared, lifted.features)

    @property
    def gaussians(self) -> Gaussians:
        return self.prepared.scene

    def masks(self, folder: Path, most: int) -> dict[str, np.ndarray]:
        """Masks of used photos, by photo, as taken; of more than `most`, those that are spread over the names."""
        found = {}
        for photo in self.workspace.used_photos():
            path = folder / f"{photo.name}.png"
            if path.exists():
                mask = read_mask(path, photo.width, photo.height)
                if mask.mean() >= LEAST:
                    found[photo.name] = mask
        names = sorted(found)
        kept = {names[place] for place in np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int)}
        return {name: mask for name, mask in found.items() if name in kept}


@dataclass(frozen=True, eq=False)
class Result:
    """What one way of selecting gave."""

    rows: np.ndarray  # (M,) int64
    made: Cut | None
    secs: float  # of its own; what is shared is not counted


def results(scene: Scene, masks: dict[str, np.ndarray], reference: str) -> Iterator[tuple[str, Result]]:
    """Every rule with one mask and with the carried ones, and SegWild's own selection whole and cut."""
    workspace, gaussians = scene.workspace, scene.gaussians
    photos = [(photo.name, photo.camera) for photo in workspace.used_photos() if photo.camera is not None]
    began = time.perf_counter()
    selector = Selector(scene.prepared, workspace, workspace.photo(reference))
    first = selector.select(Mask(masks[reference]))
    yield "segwild one-mask", Result(np.flatnonzero(first.chosen), None, time.perf_counter() - began)
    chosen = selector.carried(first).chosen
    own = time.perf_counter() - began
    rows = np.flatnonzero(chosen)
    yield "segwild", Result(rows, None, own)
    pixels = in_picture(masks[reference], workspace, selector.photo, selector.camera)
    drawn = Outline(reference, selector.camera, pixels, drawn=True)
    began = time.perf_counter()
    outlines = outlines_of(gaussians, chosen, scene.prepared.graph.spacing, photos, [drawn], Cutting())
    shared = time.perf_counter() - began
    for mode in MODES:
        began = time.perf_counter()
        made = cut(gaussians, chosen, scene.prepared.graph.spacing, outlines, Cutting(mode=mode))
        yield f"segwild cut {mode}", Result(rows, made, shared + time.perf_counter() - began)
    depth = distance_transform_edt(np.pad(pixels, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    for words, given in (("one-mask", [drawn]), ("carried", outlines)):
        evidence = Evidence(gaussians, given, scene.features, (float(x), float(y)))
        for name, rule in RULES.items():
            if name == "sgc" and words == "carried":
                continue  # its rule is of one view
            began = time.perf_counter()
            found = np.flatnonzero(rule(evidence))
            yield f"{name} {words}", Result(found, None, time.perf_counter() - began)
            if name == "sgc" and len(found):
                held = np.zeros(len(gaussians), bool)
                held[found] = True
                literal = cut(gaussians, held, scene.prepared.graph.spacing, [drawn], Cutting(mode="literal"))
                yield "sgc one-mask, cut literal", Result(found, literal, time.perf_counter() - began)


def scored(scene: Scene, result: Result, masks: dict[str, np.ndarray], reference: str) -> dict[str, float | None]:
    """Means over the masked photos but the reference."""
    count = len(scene.gaussians)
    whole, own = cuts.applied(scene.gaussians, result.rows, result.made)
    alone = cuts.part_of(count, only=(result.rows, result.made)).of(scene.gaussians)
    held = np.zeros((len(whole), 1), np.float32)
    held[own] = 1
    rows = []
    for name, mask in masks.items():
        if name == reference:
            continue
        camera, positions = covering(scene.workspace, scene.workspace.photo(name))
        shown = sampled(Seen(whole, camera).render_channels(held)[..., 0], camera, positions)
        alpha = sampled(Seen(alone, camera).alpha(), camera, positions)
        visible, extracted = shown > metrics.ALPHA_THRESHOLD, alpha > metrics.ALPHA_THRESHOLD
        rows.append(
            (
                metrics.iou(visible, mask),
                metrics.boundary_iou(visible, mask),
                metrics.iou(extracted, mask),
                metrics.boundary_iou(extracted, mask),
                metrics.spill(alpha, mask),
                float(alpha[~mask].sum() / mask.sum()),
            )
        )
    return {
        figure: metrics.mean_over_views(column).value
        for figure, column in zip(FIGURES, zip(*rows, strict=True), strict=True)
    }


def references(masks: dict[str, np.ndarray], seeds: int) -> list[str]:
    """As many different prompts as there are, at most one per seed: photos in an order drawn once."""
    names = sorted(masks)
    return [names[place] for place in np.random.default_rng(0).permutation(len(names))[:seeds]]


def sheet(scene: Scene, masks: dict[str, np.ndarray], reference: str, found: dict[str, Result]) -> np.ndarray:
    """(H, W, 3) uint8: rows are the prompt's photo and two others; columns photo, selection, extraction whole and cut,
    extraction by FlashSplat's rule, deletion whole and cut."""
    gaussians, count = scene.gaussians, len(scene.gaussians)
    ours, made, other = (found[name] for name in ("segwild", "segwild cut exact", "flashsplat carried"))
    lines = []
    for name in [reference, *sorted(masks.keys() - {reference}, key=lambda each: -masks[each].mean())[:2]]:
        photo = scene.workspace.photo(name)
        assert photo.camera is not None
        camera = photo.camera.fitted(SHEET_PX)
        picture = resized(read_picture(scene.workspace.picture_file(name)), camera.width, camera.height)
        if name == reference:
            prompt = in_picture(masks[name], scene.workspace, photo, camera)[..., None]
            picture = np.where(prompt, picture // 2 + np.array([128, 80, 0], np.uint8), picture)
        held = np.zeros((count, 1), np.float32)
        held[ours.rows] = 1
        share = Seen(gaussians, camera).render_channels(held)
        tinted = draw(gaussians, camera)[0] * (1 - 0.5 * share) + 0.5 * share * np.array([255, 130, 30])
        parts = [cuts.part_of(count, only=(each.rows, each.made)) for each in (ours, made, other)]
        parts += [cuts.part_of(count, without=(each.rows, each.made)) for each in (ours, made)]
        line = [picture, tinted.astype(np.uint8), *(draw(part.of(gaussians), camera)[0] for part in parts)]
        box = _around(in_picture(masks[name], scene.workspace, photo, camera))
        line = [each[box] for each in line]
        size = (max(1, round(line[0].shape[1] * TILE_PX / line[0].shape[0])), TILE_PX)
        lines.append(np.concatenate([np.pad(resized(each, *size), ((0, 4), (0, 4), (0, 0))) for each in line], 1))
    width = max(line.shape[1] for line in lines)
    return np.concatenate([np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0))) for line in lines])


def _around(mask: np.ndarray) -> tuple[slice, slice]:
    """The mask's box and a third of its size on every side."""
    slices = []
    for axis in (1, 0):
        places = np.flatnonzero(mask.any(axis))
        room = (places[-1] - places[0]) // 3 + 8
        slices.append(slice(max(0, places[0] - room), places[-1] + room))
    return slices[0], slices[1]


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for name, root, folder in options.set:
        scene = Scene.open(Path(root))
        for item in sorted(path for path in Path(folder).iterdir() if path.is_dir()):
            if options.object and item.name not in options.object:
                continue
            masks = scene.masks(item, options.views)
            if len(masks) < 2:
                print(f"{name}/{item.name}: fewer than two masks fill {LEAST:.0%} of a photo, left out")
                continue
            for seed, reference in enumerate(references(masks, options.seeds)):
                about = facts(f"{name}/{item.name}", seed)
                first = len(lines)
                found: dict[str, Result] = {}
                for method, result in results(scene, masks, reference):
                    found[method] = result
                    values = {**scored(scene, result, masks, reference), "time_secs": round(result.secs, 3)}
                    for figure, value in values.items():
                        lines.append(
                            {
                                "name": f"reference-mask/{figure}",
                                "value": value,
                                "unit": "s" if figure == "time_secs" else "1",
                                "method": method,
                                "reference": reference,
                                "n": len(masks) - 1,
                                "protocol": PROTOCOL,
                                "gaussians": len(scene.gaussians),
                                "reason": "not defined in any photo" if value is None else None,
                                **about,
                            }
                        )
                with options.out.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(line) + "\n" for line in lines[first:])
                if options.sheets and seed == 0:
                    write_picture(
                        Path(options.sheets) / f"{name}-{item.name}.png", sheet(scene, masks, reference, found)
                    )
                print(f"{name}/{item.name} from {reference}: done", flush=True)
    return lines


def table(lines: list[dict[str, Any]]) -> str:
    """Means over the references of an object, then over objects, then over sets; deviations over seeds of that mean."""
    methods = list(dict.fromkeys(line["method"] for line in lines))
    figures = (*FIGURES, "time_secs")
    rows = [f"{'':28}" + "".join(f"{figure[:16]:>18}" for figure in figures)]
    for method in methods:
        cells = []
        for figure in figures:
            per_scene: dict[str, list[float]] = {}
            for line in lines:
                if line["method"] == method and line["name"].endswith(f"/{figure}") and line["value"] is not None:
                    per_scene.setdefault(line["scene"], []).append(line["value"])
            sets: dict[str, list[float]] = {}
            for scene, values in per_scene.items():
                sets.setdefault(scene.partition("/")[0], []).append(float(np.mean(values)))
            mean = float(np.mean([np.mean(values) for values in sets.values()])) if sets else float("nan")
            spread = [np.std(values, ddof=1) for values in per_scene.values() if len(values) > 1]
            cells.append(f"{mean:10.3f} ±{float(np.mean(spread)) if spread else 0:6.3f}")
        rows.append(f"{method:28}" + "".join(cells))
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--set", nargs=3, action="append", required=True, metavar=("NAME", "WORKSPACE", "MASKS"), help="repeatable"
    )
    parser.add_argument("--object", action="append", default=[], help="only this one; repeatable")
    parser.add_argument("--seeds", type=int, default=5, help="most reference photos per object")
    parser.add_argument("--views", type=int, default=24, help="most masked photos per object")
    parser.add_argument("--sheets", default="", help="folder for a picture per object")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "selection.jsonl")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    print(table(run(options)))


if __name__ == "__main__":
    main()
