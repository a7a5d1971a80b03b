"""Workspaces with masks -> how well objects are selected, cut out and deleted, beside published rules.

    python -m benchmarks.selection --set kermit kermit.segwild masks/ --sheets sheets

One mask of one photo is the whole prompt, or two, or clicks; all other masked photos are scored. Rules get that mask
alone, or with the masks that SegWild carries to other photos. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from backend.capture.pictures import read_picture, resized, write_picture
from backend.features.colour import lab
from backend.render import Seen
from backend.segment import cuts, metrics
from backend.segment.cutter import MODES, Cut, Cutting, cut
from backend.segment.outline import Outline
from backend.segment.prompts import Mask
from backend.segment.scoring import covering, sampled
from backend.segment.selection import Selector
from backend.segment.shown import draw
from backend.segment.silhouettes import outlines_of
from backend.train.views import in_picture
from benchmarks.clicks import COUNTS, Viewed, clicked
from benchmarks.masked import LEAST, Scene, references
from benchmarks.rasterize import facts
from benchmarks.rules import RULES, Evidence

FIGURES = (
    "iou",
    "boundary_iou",
    "extracted_iou",
    "extracted_boundary_iou",
    "spill",
    "outside",
    "rim",
    "hidden",
    "remains",
)
PROTOCOL = {"id": "reference-mask", "version": 1}
REMAINS_LAB = 15.0  # a pixel of the object that changes less when it is deleted looks as if it were still there
RIM_PX = 2.0  # of what is outside: so close to a mask that its drawing and the blur of splats decide
SHEET_PX = 960  # long side that is drawn ...
TILE_PX = 280  # ... and the height of the part around the object that is shown


@dataclass(frozen=True, eq=False)
class Result:
    """What one way of selecting gave."""

    rows: np.ndarray  # (M,) int64
    made: Cut | None
    secs: float  # of its own; what is shared is not counted
    prompted: tuple[str, ...] = ()  # photos besides the reference that hold prompts: not scored


def ceiling(scene: Scene, masks: dict[str, np.ndarray]) -> Result:
    """What all masks together choose, those that are scored included: what the scene lets masks reach."""
    began = time.perf_counter()
    evidence = [
        Selector(scene.prepared, scene.workspace, scene.workspace.photo(name)).votes(Mask(mask))
        for name, mask in masks.items()
    ]
    chosen = scene.prepared.decided(evidence).chosen
    return Result(np.flatnonzero(chosen), None, time.perf_counter() - began)


def second(masks: dict[str, np.ndarray], reference: str) -> str:
    """The photo of the second mask: half of the way around the names from the first."""
    names = sorted(masks)
    return names[(names.index(reference) + len(names) // 2) % len(names)]


def by_clicks(
    scene: Scene, viewed: Viewed, masks: dict[str, np.ndarray], reference: str, random: np.random.Generator | None
) -> Iterator[tuple[str, Result]]:
    """After one, three and five simulated clicks, without weights."""
    began = time.perf_counter()
    for count, chosen in enumerate(clicked(scene, viewed, masks, reference, carried=True, random=random), 1):
        if count in COUNTS:
            yield f"segwild {count} clicks", Result(np.flatnonzero(chosen), None, time.perf_counter() - began)


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
    if len(masks) > 2:
        began, other = time.perf_counter(), second(masks, reference)
        more = Selector(scene.prepared, workspace, workspace.photo(other)).select(Mask(masks[other]))
        both = selector.carried(scene.prepared.decided([*first.evidence, *more.evidence]))
        yield "segwild two masks", Result(np.flatnonzero(both.chosen), None, time.perf_counter() - began, (other,))
    pixels = in_picture(masks[reference], workspace, selector.photo, selector.camera)
    drawn = Outline(reference, selector.camera, pixels, drawn=True)
    began = time.perf_counter()
    outlines = outlines_of(gaussians, chosen, scene.prepared.graph.spacing, photos, [drawn], Cutting())
    shared = time.perf_counter() - began
    for mode in MODES:
        began = time.perf_counter()
        made = cut(gaussians, chosen, outlines, Cutting(mode=mode))
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
                literal = cut(gaussians, held, [drawn], Cutting(mode="literal"))
                yield "sgc one-mask, cut literal", Result(found, literal, time.perf_counter() - began)


def scored(scene: Scene, result: Result, masks: dict[str, np.ndarray], reference: str) -> dict[str, float | None]:
    """Means over the masked photos but the reference."""
    count = len(scene.gaussians)
    whole, own = cuts.applied(scene.gaussians, result.rows, result.made)
    alone = cuts.part_of(count, only=(result.rows, result.made)).of(scene.gaussians)
    rest = cuts.part_of(count, without=(result.rows, result.made)).of(scene.gaussians)
    held = np.zeros((len(whole), 1), np.float32)
    held[own] = 1
    rows = []
    for name, mask in masks.items():
        if name == reference or name in result.prompted:
            continue
        camera, positions = covering(scene.workspace, scene.workspace.photo(name))
        seen = Seen(whole, camera)
        shown = sampled(seen.render_channels(held)[..., 0], camera, positions)
        before, after = (lab(each.picture(part)[0]) for each, part in ((seen, whole), (Seen(rest, camera), rest)))
        kept = sampled((np.linalg.norm(after - before, axis=-1) < REMAINS_LAB).astype(np.float32), camera, positions)
        alpha = sampled(Seen(alone, camera).alpha(), camera, positions)
        beyond = distance_transform_edt(~mask) > RIM_PX
        visible, extracted = shown > metrics.ALPHA_THRESHOLD, alpha > metrics.ALPHA_THRESHOLD
        rows.append(
            (
                metrics.iou(visible, mask),
                metrics.boundary_iou(visible, mask),
                metrics.iou(extracted, mask),
                metrics.boundary_iou(extracted, mask),
                metrics.spill(alpha, mask),
                float(alpha[~mask].sum() / mask.sum()),
                float(alpha[~mask & ~beyond].sum() / mask.sum()),
                float(np.maximum(alpha - shown, 0)[beyond].sum() / mask.sum()),
                float(kept[mask].mean()),
            )
        )
    return {
        figure: metrics.mean_over_views(column).value
        for figure, column in zip(FIGURES, zip(*rows, strict=True), strict=True)
    }


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

    def told(name: str, value: float | None, unit: str, about: dict[str, Any]) -> None:
        line = {"name": name, "value": value, "unit": unit, "reason": None if value is not None else "not defined"}
        lines.append({**line, **about})
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(lines[-1]) + "\n")

    for name, root, folder in options.set:
        scene = Scene.open(Path(root))
        once = {"gaussians": len(scene.gaussians), **facts(name, None)}
        for stage, secs in scene.secs.items():
            told(f"once/{stage}", round(secs, 3), "s", once)
        for item in sorted(path for path in Path(folder).iterdir() if path.is_dir()):
            if options.object and item.name not in options.object:
                continue
            masks = scene.masks(item, options.views)
            if len(masks) < 2:
                print(f"{name}/{item.name}: fewer than two masks fill {LEAST:.0%} of a photo, left out")
                continue
            viewed = Viewed(scene, list(masks))
            best = ceiling(scene, masks)
            prompts = references(masks, options.seeds)
            for seed in range(max(len(prompts), options.click_seeds)):
                reference = prompts[seed % len(prompts)]
                about = {"reference": reference, "protocol": PROTOCOL, "gaussians": len(scene.gaussians)}
                about |= facts(f"{name}/{item.name}", seed)
                found: dict[str, Result] = {}
                ways: list[Iterator[tuple[str, Result]]] = []
                if seed < len(prompts):
                    ways += [iter([("all masks", best)]), results(scene, masks, reference)]
                if seed < options.click_seeds:
                    # The first time around the photos clicks lie where masks are deepest, then anywhere well inside.
                    random = np.random.default_rng(seed) if seed >= len(prompts) else None
                    ways.append(by_clicks(scene, viewed, masks, reference, random))
                for method, result in itertools.chain(*ways):
                    found[method] = result
                    values = {**scored(scene, result, masks, reference), "time_secs": round(result.secs, 3)}
                    which = {"method": method, "n": len(masks) - 1 - len(result.prompted)}
                    for figure, value in values.items():
                        told(f"reference-mask/{figure}", value, "s" if figure == "time_secs" else "1", which | about)
                if options.sheets and seed == 0:
                    write_picture(
                        Path(options.sheets) / f"{name}-{item.name}.png", sheet(scene, masks, reference, found)
                    )
                print(f"{name}/{item.name} from {reference}: done", flush=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        told("peak_memory_bytes", peak, "bytes", once)  # of the process, all sets until now
    return lines


def table(lines: list[dict[str, Any]]) -> str:
    """One block per set: means over the references of an object, then over objects; deviations over references."""
    figures = (*FIGURES, "time_secs")
    scored_lines = [line for line in lines if "method" in line]
    blocks = []
    for name in dict.fromkeys(line["scene"].partition("/")[0] for line in scored_lines):
        here = [line for line in scored_lines if line["scene"].startswith(f"{name}/")]
        blocks.append(f"\n| {name} | " + " | ".join(figures) + " |\n|---|" + "---|" * len(figures))
        for method in dict.fromkeys(line["method"] for line in here):
            cells = []
            for figure in figures:
                objects: dict[str, list[float]] = {}
                for line in here:
                    if line["method"] == method and line["name"].endswith(f"/{figure}") and line["value"] is not None:
                        objects.setdefault(line["scene"], []).append(line["value"])
                means = [float(np.mean(values)) for values in objects.values()]
                spread = [np.std(values, ddof=1) for values in objects.values() if len(values) > 1]
                deviation = f" ± {np.mean(spread):.3f}" if spread and figure == "iou" else ""
                cells.append(f"{np.mean(means):.3f}{deviation}" if means else "–")
            blocks.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(blocks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--set", nargs=3, action="append", default=[], metavar=("NAME", "WORKSPACE", "MASKS"), help="repeatable"
    )
    parser.add_argument("--object", action="append", default=[], help="only this one; repeatable")
    parser.add_argument("--seeds", type=int, default=5, help="most reference photos per object")
    parser.add_argument("--click-seeds", type=int, default=5, help="simulated clickers per object; 0: none")
    parser.add_argument("--views", type=int, default=24, help="most masked photos per object")
    parser.add_argument("--sheets", default="", help="folder for a picture per object")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "selection.jsonl")
    parser.add_argument("--table", action="store_true", help="only print the table of what --out holds")
    options = parser.parse_args()
    if options.table:
        print(table([json.loads(line) for line in options.out.read_text(encoding="utf-8").splitlines()]))
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    print(table(run(options)))


if __name__ == "__main__":
    main()
