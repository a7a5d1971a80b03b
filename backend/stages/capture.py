"""Photo folder, COLMAP model or Photo Tourism scene -> workspace with pictures, cameras and points."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from backend.capture.folder import Offered, copy_name, vetted
from backend.capture.inputs import Input, recognised
from backend.capture.parts import reasons as reasons_of_parts
from backend.capture.pictures import read_with_clear, resized, write_picture
from backend.capture.sfm import Found, Search, export_model, find_cameras
from backend.capture.solution import Solution, read_solution
from backend.capture.undistort import undistorted
from backend.capture.world import extent, scene_from_capture
from backend.progress import Cancelled, Progress
from backend.scene.files import disk_trouble, read_json, write_json
from backend.scene.lenses import Lens
from backend.scene.photos import Photo, Split
from backend.scene.workspace import Workspace
from segwild_addon.protocol import requests
from segwild_addon.protocol.errors import InputError, ResourceError

QUICK_LONG_SIDE = 1000  # pixels at which `quick` looks for features
HELD_OUT_FROM = 16  # photos from which some are held out unasked ...
HELD_OUT_EVERY = 8  # ... namely every so many
EXPORT_LIMIT_SECS = 1800
_NO_OVERLAP = "no overlap with the others found"


def run(request: requests.Capture, progress: Progress) -> dict[str, Any]:
    """Fill the workspace `request.out`; returns at once if that was done before with the same input.

    Returns the number of used `photos`, those `left_out` with reasons, the number of `points` and the
    `mean_reprojection_error_px`. Work that was cut short continues. Raises InputError if the input
    offers too little, or if the workspace already holds Gaussians of other photos.
    """
    if request.hold_out < -1:
        raise InputError("hold-out", f"Cannot hold out {request.hold_out} photos.", "Give -1, 0 or a number of photos.")
    offered = recognised(request.photos, progress)
    _check_names(request, offered)
    search = Search(long_side=QUICK_LONG_SIDE) if request.preset == "quick" else Search()
    settings = {
        "photos": str(request.photos.expanduser().absolute()),
        "kind": offered.kind,
        "fingerprint": offered.fingerprint(),
        "hold_out": request.hold_out,
        "test": sorted(request.test),
        "long_side": 0 if offered.model else search.long_side,
    }
    workspace = Workspace.create(request.out)
    done = _finished(workspace, settings)
    if done is not None:
        shutil.rmtree(request.out / ".capture", ignore_errors=True)  # of one that was killed while it tidied up
        return done
    work = request.out / ".capture" / settings["fingerprint"] / str(settings["long_side"])
    _clear_but(work, request.out / ".capture")
    try:
        result = _captured(request, offered, search, workspace, work, progress)
    except (Cancelled, KeyboardInterrupt, MemoryError, ResourceError):
        raise  # what was found so far shortens the next run
    except OSError as error:
        raise disk_trouble(error, request.out) from error
    except BaseException as error:
        if not (isinstance(error, InputError) and error.code == "hold-out"):  # which needs no other search
            shutil.rmtree(request.out / ".capture", ignore_errors=True)
        raise
    workspace.record("capture", settings=settings, result=result)
    shutil.rmtree(request.out / ".capture", ignore_errors=True)
    return result


def _check_names(request: requests.Capture, offered: Input) -> None:
    """Raises InputError for a misspelt --test: before the work, not after."""
    unknown = sorted(set(request.test) - {photo.name for photo in offered.offered})
    if unknown and not offered.table:
        raise InputError(
            "hold-out", f"No photo is called {unknown[0]!r}.", "Give file stems of photos in the folder to --test."
        )


def _finished(workspace: Workspace, settings: dict[str, Any]) -> dict[str, Any] | None:
    made = workspace.made("capture")
    same = made is not None and made.get("settings") == settings
    if made is not None and workspace.splats.exists():
        # Cameras under finished Gaussians stay, even if another preset would search in finer pictures.
        same = same or made.get("settings") == settings | {"long_side": made.get("settings", {}).get("long_side")}
    if made is not None and same and (workspace.root / "photos.json").exists():
        return made["result"]
    if workspace.splats.exists() or workspace.checkpoint.exists():
        raise InputError(
            "workspace-taken",
            f"The workspace already holds Gaussians of other photos or another split: {workspace.root}.",
            "Choose a new folder for this scene.",
        )
    return None


def _captured(
    request: requests.Capture, offered: Input, search: Search, workspace: Workspace, work: Path, progress: Progress
) -> dict[str, Any]:
    copies = None if offered.model else work / "pictures"
    photos = vetted(offered.offered, progress, copies=copies)
    usable = [photo for photo in photos if not photo.excluded]
    if len(usable) < 2:
        raise InputError(
            "too-few-photos",
            f"A scene needs at least two photos, {len(usable)} of {len(photos)} can be used: {offered.folder}."
            + "".join(f" {photo.file}: {photo.excluded}." for photo in photos[:3] if photo.excluded),
            "Add photos of the same place from different positions.",
        )
    if offered.model:
        model, images, others = offered.model, {photo.name: photo.file for photo in usable}, []
    else:
        images = {photo.name: copy_name(row) for row, photo in enumerate(photos) if not photo.excluded}
        model, others = _found(
            list(images.values()), work, search, progress, float(request.time_limit_secs), offered.folder
        )
    table = [
        {
            "image": images[photo.name],
            "name": photo.name,
            "photo_size": [photo.width, photo.height],
            "working_size": list(photo.working_size),
        }
        for photo in usable
    ]
    report = export_model(model, table, work, progress, time_limit_secs=EXPORT_LIMIT_SECS, found=offered.model is None)
    if report["scaled"]:
        progress.warn(
            "cameras-scaled",
            "Photos have another size than their cameras in the COLMAP model; the cameras were scaled to fit.",
            report["scaled"],
        )
    missing = "the COLMAP model has no camera for it" if offered.model else _NO_OVERLAP
    elsewhere = reasons_of_parts(others)
    reasons = {
        name: elsewhere.get(images[name], missing) if reason == _NO_OVERLAP else reason
        for name, reason in report["left_out"].items()
    }
    apart = [photo.file for photo in usable if images[photo.name] in elsewhere]
    if apart:
        progress.warn(
            "other-parts",
            f"{len(apart)} of {len(photos)} photos show other parts of the place, and nothing connects these with the "
            "largest one, which is kept. Add photos that show both, or make a scene of each part.",
            apart,
        )
    return _filled(request, offered, photos, reasons, report, workspace, work, progress)


def _found(
    names: list[str], work: Path, search: Search, progress: Progress, time_limit_secs: float, folder: Path
) -> tuple[Path, list[list[str]]]:
    """The COLMAP model of the copies and the copies of each other part; what was found before a kill stays as it is."""
    finished = work / "found.json"
    if finished.exists():
        kept = read_json(finished)
        return Path(kept["model"]), kept.get("others", [])  # none in those of before parts were told apart
    found: Found = find_cameras(
        work / "pictures", names, work / "search", search, progress, time_limit_secs=time_limit_secs
    )
    if found.model is None or found.registered < 2:
        raise InputError(
            "no-overlap",
            f"No cameras could be found: {found.matched} of {len(names)} photos share details with another: {folder}.",
            "Add photos taken from nearby positions that show the same things.",
        )
    others = [list(part) for part in found.others]
    write_json(finished, {"model": str(found.model), "others": others})
    return found.model, others


def _filled(
    request: requests.Capture,
    offered: Input,
    photos: list[Offered],
    reasons: dict[str, str],
    report: dict[str, Any],
    workspace: Workspace,
    work: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Write everything the workspace holds of a capture but the record that it is finished."""
    solution = read_solution(work / "solution.npz")
    if len(solution.cameras) < 2:
        raise InputError(
            "too-few-cameras",
            f"Only {len(solution.cameras)} of {len(photos)} photos have a usable camera: {offered.folder}.",
            "Check that images/ holds the photos the COLMAP model was made from."
            if offered.model
            else "Add photos taken from nearby positions that show the same things.",
        )
    world = scene_from_capture(list(solution.cameras.values()))
    in_scene = solution.moved(world)
    splits = _splits(request, offered, {photo.name: photo.file for photo in photos}, solution)
    workspace.forget("capture")
    (workspace.root / "photos.json").unlink(missing_ok=True)
    lenses = _write_pictures(photos, solution, workspace, progress)
    rows = [
        Photo(
            name=photo.name,
            file=photo.file,
            width=photo.width,
            height=photo.height,
            split=splits.get(photo.name, "train"),
            camera=in_scene.cameras.get(photo.name),
            excluded=photo.excluded or reasons.get(photo.name, ""),
        )
        for photo in photos
    ]
    unplaced = [row.file for row in rows if not row.used and not photos[rows.index(row)].excluded]
    if unplaced:
        progress.warn(
            "photos-without-camera", f"{len(unplaced)} of {len(rows)} photos got no camera and are not used.", unplaced
        )
    _move_model(work / "cameras", workspace.root / "cameras")
    workspace.write_lenses(lenses)
    workspace.write_points(in_scene.points({row.name: number for number, row in enumerate(rows)}))
    workspace.update_scene(
        photo_folder=str(offered.folder),
        capture=offered.kind,
        scene_from_capture=world.to_json(),
        extent=extent(list(in_scene.cameras.values())),
    )
    workspace.write_photos(rows)
    return {
        "photos": len(solution.cameras),
        "held_out": sum(row.split == "test" for row in rows),
        "left_out": [{"file": row.file, "reason": row.excluded} for row in rows if not row.used],
        "points": len(solution.positions),
        "mean_reprojection_error_px": round(report["mean_reprojection_error_px"], 3),
    }


def _write_pictures(
    photos: list[Offered], solution: Solution, workspace: Workspace, progress: Progress
) -> dict[str, Lens]:
    """The undistorted pictures; pictures of an earlier capture go."""
    placed = [photo for photo in photos if photo.name in solution.cameras]
    progress.phase("Writing pictures", len(placed))
    lenses, kept = {}, set()
    for photo in placed:
        pixels, clear = read_with_clear(photo.path, upright=photo.upright)
        lens = solution.lens(photo.name, (photo.width, photo.height))
        if lens is not None:
            lenses[photo.name] = lens
        kept.add(workspace.picture_file(photo.name))
        write_picture(workspace.picture_file(photo.name), _straight(pixels, lens, photo.working_size))
        if clear is not None:
            shares = _straight(np.repeat(clear[..., None].astype(np.uint8) * 255, 3, 2), lens, photo.working_size)
            kept.add(workspace.clear_file(photo.name))
            write_picture(workspace.clear_file(photo.name), shares[..., 0] > 127)
        progress.advance()
    for path in (workspace.root / "photos").iterdir():
        if path not in kept:
            path.unlink()
    return lenses


def _straight(pixels: np.ndarray, lens: Lens | None, working_size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 as taken on the grid of the picture."""
    return resized(pixels, *working_size) if lens is None else undistorted(pixels, lens, working_size)


def _splits(request: requests.Capture, offered: Input, files: dict[str, str], solution: Solution) -> dict[str, Split]:
    names = sorted(solution.cameras)
    hold_out = request.hold_out
    if offered.table:
        return {name: offered.table.splits[files[name]] for name in names}
    if request.test:
        held = list(request.test)
    elif hold_out < 0:
        held = names[::HELD_OUT_EVERY] if len(names) >= HELD_OUT_FROM else []
    else:
        held = [names[int((place + 0.5) * len(names) / hold_out)] for place in range(hold_out)] if hold_out else []
    if len(set(names) - set(held)) < 2:
        raise InputError(
            "hold-out",
            f"Cannot hold out {len(held) or hold_out} of {len(names)} photos: at least two must stay for training.",
            "Hold out fewer with --hold-out.",
        )
    return {name: "test" if name in held else "train" for name in names}


def _move_model(source: Path, target: Path) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.iterdir()):
            path.replace(target / path.name)
    except OSError as error:
        raise disk_trouble(error, target) from error


def _clear_but(work: Path, hidden: Path) -> None:
    """Remove what unfinished captures of other photos or settings left."""
    for path in [*hidden.glob("*/*"), *hidden.glob("*")]:
        if path not in (work, work.parent):
            shutil.rmtree(path, ignore_errors=True)
