"""Collections of photos into scores with and without looks and masks, several seeds, one JSON line each.

    python -m benchmarks.reconstruction --scenes sample --preset quick --seeds 0,1,2 --plot psnr.svg
    python -m benchmarks.reconstruction --scenes statue,sacre_coeur,kermit --data FOLDER --variants all

Every training runs in a process of its own, one after the other. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from backend.capture.sample import generate
from backend.progress import Quiet
from backend.scene import Workspace
from backend.stages import capture
from backend.stages.demo import held_out
from benchmarks.course import write_course
from benchmarks.rasterize import ROOT, facts
from benchmarks.reconstructed import Case
from segwild_addon.protocol.requests import Capture

RESULTS = ROOT / "benchmarks" / "results" / "reconstruction.jsonl"
PROTOCOL = {
    "id": "left-half",
    "version": 1,
    "size": "full",  # of the render that is scored
    "fit_size": "training",
    "fit_steps": 128,
    "fit_mask": "frame",
}
VARIANTS: dict[str, dict[str, Any]] = {
    "none": {"appearance.rank": 0, "own_sky_rate": 0.0, "transients": False},  # one light, everything explained
    "masked": {"appearance.rank": 0, "own_sky_rate": 0.0},  # one light, passers-by ignored
    "skies": {"appearance.rank": 0},  # one light, a sky per photo
    "lights": {"own_sky_rate": 0.0},  # a light per photo, whose sky follows from it
    "unmasked": {"transients": False},  # looks, everything explained
    "all": {},
    "mlp": {"appearance": "mlp"},  # looks through a network that all rows share
    "refined": {"poses": "refined"},  # cameras learned too
    "unoccluded": {"photos": "unoccluded"},  # the sample as if nobody had walked by
    "sampled": {"policy": "capped"},
    "calm": {"shared_end": 0.03},  # what photos share settles: see docs/decisions/0010
}
SAMPLE_PHOTOS, SAMPLE_LONG_SIDE = 36, 480
OUR_SCENES = ("sample", "sacre_coeur", "statue", "kermit")
HELD = {"kermit": (("kermit002", "kermit006"),)}
LEFT_ONE_OUT = 3  # photos of sacre_coeur, each held out in a training of its own


@dataclass(frozen=True)
class Fold:
    """A captured workspace with some photos held out."""

    scene: str
    name: str  # of the fold, empty if it is the only one
    workspace: Path
    masks: dict[str, str] = field(default_factory=dict)
    sample: str | None = None


@dataclass(frozen=True)
class Options:
    """What is trained."""

    scenes: tuple[str, ...]
    data: Path | None
    work: Path  # captures are kept here and used again
    variants: dict[str, dict[str, Any]]
    preset: str = "quick"
    seeds: tuple[int, ...] = (0,)
    changes: dict[str, Any] = field(default_factory=dict)  # of the preset, for every variant
    threads: int = os.cpu_count() or 2
    device: str = "cpu"
    out: Path = RESULTS
    plot: Path | None = None
    keep: bool = False  # the trained workspaces


def folds(scene: str, data: Path | None, work: Path) -> Iterator[Fold]:
    """The scene's captured workspaces. Raises FileNotFoundError if its photos are not there."""
    if scene == "sample":
        sample = generate(work / "sample", photos=SAMPLE_PHOTOS, long_side=SAMPLE_LONG_SIDE)
        workspace = _captured(sample.photo_folder, work / "sample.segwild", tuple(held_out(sample)))
        masks = {item.name: str(sample.mask_folder(item.name, occluded=False)) for item in sample.objects}
        yield Fold(scene, "", workspace, masks, str(work / "sample"))
        return
    name, _, given = scene.partition("=")
    folder = Path(given) if given else (data or Path(os.environ.get("SEGWILD_TEST_DATA", "."))) / name
    if not folder.is_dir():
        raise FileNotFoundError(f"no photos of {name}: {folder}; give their parent with --data, or {name}=FOLDER")
    found = sorted((folder / "masks").iterdir()) if (folder / "masks").is_dir() else []
    masks = {path.name: str(path) for path in found if path.is_dir()}
    whole = _captured(folder, work / f"{name}.segwild", ())
    tests = HELD.get(name, ())
    if name == "sacre_coeur":
        names = sorted(photo.name for photo in Workspace.open(whole).used_photos())
        step = len(names) / LEFT_ONE_OUT
        tests = tuple((names[int((place + 0.5) * step)],) for place in range(LEFT_ONE_OUT))
    if not tests:
        yield Fold(name, "", whole, masks)
    for number, test in enumerate(tests):
        fold = f"{number}" if len(tests) > 1 else ""
        yield Fold(name, fold, _split(whole, work / f"{name}-{number}.segwild", test), masks)


def _captured(photos: Path, out: Path, test: tuple[str, ...]) -> Path:
    capture.run(Capture(photos=photos, out=out, preset="quick", test=test), Quiet())
    return out


def _split(whole: Path, out: Path, test: Sequence[str]) -> Path:
    """The same cameras with these photos held out: they are found once, as published splits have it."""
    copied(whole, out)
    workspace = Workspace.open(out)
    workspace.write_photos(
        [replace(photo, split="test" if photo.name in test else "train") for photo in workspace.photos()]
    )
    return out


def copied(source: Path, target: Path) -> None:
    """A capture without anything that was made of it."""
    shutil.rmtree(target, ignore_errors=True)
    (target / "splats").mkdir(parents=True)
    for part in ("photos", "cameras"):
        shutil.copytree(source / part, target / part)
    for part in ("photos.json", "scene.json"):
        shutil.copy(source / part, target / part)


def measured(options: Options) -> list[dict[str, Any]]:
    """All lines, printed and appended to `options.out` as they come. A training that fails is a line with a reason."""
    lines = []
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for scene in options.scenes:
        for fold in folds(scene, options.data, options.work):
            for seed in options.seeds:
                for variant, changes in options.variants.items():
                    line = _line(options, fold, variant, changes, seed)
                    with options.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(line) + "\n")
                    print(_told(line), flush=True)
                    lines.append(line)
    return lines


def _line(options: Options, fold: Fold, variant: str, changes: dict[str, Any], seed: int) -> dict[str, Any]:
    target = options.work / "trained" / "-".join(filter(None, (fold.scene, fold.name, variant, str(seed))))
    copied(fold.workspace, target)
    changed = {**options.changes, **changes, "seed": seed}
    case = Case(
        workspace=str(target),
        preset=options.preset,
        changes=changed,
        masks=fold.masks,
        sample=fold.sample,
        course=options.plot is not None,
        threads=options.threads,
        device=options.device,
    )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.reconstructed"],
        input=json.dumps(asdict(case)),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    line: dict[str, Any] = facts(fold.scene, seed) | {
        "name": "left-half/psnr",
        "value": None,
        "unit": "dB",
        "fold": fold.name,
        "variant": variant,
        "preset": options.preset,
        "changes": changed,
        "protocol": PROTOCOL,
        "engine": options.device,
        "threads": options.threads,
        "load": load,
        "reason": None,
    }
    if not options.keep:
        shutil.rmtree(target, ignore_errors=True)
    if done.returncode:
        return line | {"reason": (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1][:300]}
    answer = json.loads(done.stdout.splitlines()[-1])
    return line | {"value": answer.pop("psnr"), "n": len(answer["per_photo"])} | answer


def _told(line: dict[str, Any]) -> str:
    where = f"{line['scene']}{'/' + line['fold'] if line['fold'] else ''} {line['variant']} seed {line['seed']}"
    if line["value"] is None:
        return f"{where}: {line['reason'] or 'no photo is held out'}"
    sound = line["soundness"]
    parts = [
        f"{line['value']:.2f} dB  {line['ssim']:.3f}  own look {line['own_look']:.2f} dB",
        f"{line['gaussians']:,} Gaussians  {line['time_secs']:.0f} s  {line['peak_memory_bytes'] / 1e9:.2f} GB",
        f"opaque {sound['opaque']:.2f}  needles {sound['needles']:.3f}  near {sound['near_camera_worst']:.3f}",
    ]
    known = [value for value in line["ceiling"].values() if value is not None]
    if known:
        parts.append(f"ceiling {sum(known) / len(known):.3f}")
    if line.get("neutral") is not None:
        parts.append(f"neutral {line['neutral']:.2f} dB")
    if "transients" in line:
        found = line["transients"]
        parts.append(f"transients recall {found['recall']:.2f} precision {found['precision']:.2f}")
    return f"{where}: " + "  ".join(parts)


def variants(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Names of VARIANTS, or NAME:FIELD=VALUE;FIELD=VALUE with values in JSON. Raises ValueError for others."""
    chosen = {}
    for word in words:
        name, colon, rest = word.partition(":")
        if not colon and name not in VARIANTS:
            raise ValueError(f"--variants {name}: choose from {', '.join(VARIANTS)}, or NAME:FIELD=VALUE")
        chosen[name] = assigned(rest.split(";")) if colon else VARIANTS[name]
    return chosen


def assigned(words: Sequence[str]) -> dict[str, Any]:
    """FIELD=VALUE, values in JSON. Raises ValueError for anything else."""
    pairs = [word.partition("=") for word in words if word]
    if any(not equals for _, equals, _ in pairs):
        raise ValueError(f"expected FIELD=VALUE: {' '.join(words)}")
    return {name: json.loads(value) for name, _, value in pairs}


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="python -m benchmarks.reconstruction")
    parser.add_argument("--scenes", default="sample", help=f"{', '.join(OUR_SCENES)}, or NAME=FOLDER of photos")
    parser.add_argument("--data", type=Path, help="folder of the scenes' folders; none: SEGWILD_TEST_DATA")
    parser.add_argument("--work", type=Path, default=Path("segwild-reconstruction"), help="captures are kept here")
    parser.add_argument("--variants", default="none,unmasked,all", help=f"{', '.join(VARIANTS)}, or NAME:FIELD=VALUE")
    parser.add_argument("--preset", default="quick", choices=("quick", "standard", "full"))
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of the preset; repeatable")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--plot", type=Path, help="PSNR over time, .svg; measured on the way in small pictures")
    parser.add_argument("--keep", action="store_true", help="leave the trained workspaces in --work")
    given = parser.parse_args(words)
    try:
        options = Options(
            scenes=tuple(given.scenes.split(",")),
            data=given.data,
            work=given.work.absolute(),
            variants=variants(given.variants.split(",")),
            preset=given.preset,
            seeds=tuple(int(seed) for seed in given.seeds.split(",")),
            changes=assigned(given.set),
            threads=given.threads,
            device=given.device,
            out=given.out,
            plot=given.plot,
            keep=given.keep,
        )
        lines = measured(options)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    if options.plot is not None:
        write_course(lines, options.plot)
    return 0 if all(line["reason"] is None for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
