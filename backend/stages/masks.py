"""Workspace with Gaussians -> masks of everything in each photo's pose, from points as dense as things are far."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from backend.features import Neutral, splat_hash
from backend.features.sam import LONG_SIDE, find_checkpoint, open_network
from backend.progress import Progress
from backend.scene import Camera, Photo, Workspace
from backend.segment.masks import Masks
from backend.segment.sasm import Points, depth_map, distances, lattice, parents
from backend.segment.segmenters import Sam
from backend.segment.suppression import boxes_of_packed
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Masks as Request


def run(request: Request, progress: Progress) -> dict[str, Any]:
    """Photos whose masks are there, from the same Gaussians, checkpoint and points, are skipped; so are those that an
    earlier run finished before it was stopped.

    Returns the number of `photos`, of `masks` in all of them and of those `made` now.
    """
    workspace = Workspace.open(request.workspace)
    began = time.monotonic()
    if not 1 <= request.points <= 4096:
        raise InputError("bad-option", f"--points is {request.points}.", "Choose 1 to 4096; 256 suits a CPU.")
    points = Points(request.lattice, request.points)
    network = open_network(find_checkpoint(request.checkpoint))
    scene, photos = workspace.gaussians(), workspace.used_photos()
    sam = Sam(network, workspace)
    far = distances(*_depths(workspace, photos))
    stamp = {"splats": splat_hash(workspace), "network": network.digest, "points": f"{points.lattice} {points.most}"}
    made = total = 0
    progress.phase("Finding everything", len(photos))
    for photo in photos:
        known = _known(workspace, request.segmenter, photo.name, stamp)
        if known is None:
            assert photo.camera is not None  # used
            camera = photo.camera.fitted(LONG_SIDE)
            view = Neutral(scene, camera)
            places = lattice(depth_map(view.seen, camera, scene.means), view.alpha, far[photo.name], points)
            found = sam.generate(sam.embed(photo.name, view), places)
            boxes = boxes_of_packed(found.masks, found.height, found.width)
            known = Masks.of(found, parents(found.masks, boxes))
            known.save(workspace, request.segmenter, photo.name, stamp)
            made += 1
        total += len(known.scores)
        progress.advance(1, f"{photo.name}: {len(known.scores)}")
    result = {"photos": len(photos), "masks": total, "made": made, "time_secs": round(time.monotonic() - began, 2)}
    workspace.record(f"masks-{request.segmenter}", result=result)
    return result


def _known(workspace: Workspace, segmenter: str, photo: str, stamp: dict[str, str]) -> Masks | None:
    try:
        return Masks.load(workspace, segmenter, photo, stamp)
    except InputError:
        return None  # damaged: made again


def _depths(workspace: Workspace, photos: list[Photo]) -> tuple[dict[str, Camera], dict[str, float]]:
    """Cameras, and mean depths of the sparse points they see, by name; of all points where a photo has none."""
    cameras = {photo.name: photo.camera for photo in photos if photo.camera is not None}
    positions = np.zeros((0, 3))
    seen: dict[str, np.ndarray] = {}
    if (workspace.root / "cameras" / "points.safetensors").exists():
        points = workspace.points()
        positions = points.positions.astype(np.float64)
        seen = points.by_photo(workspace.photos())
    if not len(positions):
        positions = workspace.gaussians().means.astype(np.float64)
    depths = {}
    for name, camera in cameras.items():
        own = seen[name].astype(np.float64) if len(seen.get(name, ())) else positions
        ahead = camera.project(own)[1]
        depths[name] = float(ahead[ahead > 0].mean()) if (ahead > 0).any() else 0.0
    return cameras, depths
