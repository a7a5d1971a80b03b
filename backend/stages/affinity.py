"""Segment-anything's features and masks of all views -> a compact field over the Gaussians; proposals of objects."""

from __future__ import annotations

import re
import time
from typing import Any

import numpy as np

from backend.features import Lifted, splat_hash
from backend.features.encoders import Described, Options, SegmentAnything, open_encoder
from backend.features.encoders import fitted as fitted_camera
from backend.progress import Progress
from backend.render import Seen
from backend.scene import Gaussians, Workspace
from backend.scene.files import write_arrays
from backend.segment import objects
from backend.segment.affinity import Part, Training, fitted, lifted_field
from backend.segment.graph import scene_graph
from backend.segment.masks import Masks, masks_file
from backend.segment.proposals import proposals
from backend.segment.shaping import LEAST_PART
from backend.segment.suppression import unpacked
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Affinity

NAME = "affinity"
LONG_SIDE = 128  # pixels of the views that are trained on
_MEMBERS_MAX = 128  # masks of a view, the best
_MEMBERS_BYTES = 64 << 20  # of all views' that are held, about 300 views'
_HELD_EVERY = 8
_PROPOSAL = re.compile(r"proposal [0-9]+")


def run(request: Affinity, progress: Progress) -> dict[str, Any]:
    """Lift, train, keep whichever is closer to views held out; then propose objects if asked.

    Returns `error_lifted` and `error_trained`, the mean absolute difference to the network's features in views held
    out, whether the `trained` one was kept, its `steps`, the number of `proposals`, and the `objects` made of them.
    Raises InputError for a scene with fewer than 2 photos.
    """
    workspace = Workspace.open(request.workspace)
    began = time.monotonic()
    if request.steps < 0 or request.objects < 0:
        raise InputError("bad-option", "--steps and --objects count from 0.", "Leave them out.")
    encoder = open_encoder(Options("sam", checkpoint=request.checkpoint), workspace)
    assert isinstance(encoder, SegmentAnything)
    splats, scene = splat_hash(workspace), workspace.gaussians()
    source = Seeing(Described(workspace, scene, encoder), encoder)
    if source.outdated:
        progress.warn(
            "masks-stale",
            f"Masks of {len(source.outdated)} photos are of other Gaussians and left out: run segwild masks again.",
            source.outdated,
        )
    held_out = source.held_out()
    used = [number for number in range(len(source.cameras)) if number not in held_out]
    if not used:
        raise InputError("too-few-photos", "An affinity field needs at least 2 photos.", "Capture more photos.")
    field = lifted_field(scene, Part(source, used), progress)
    result = fitted(scene, source, held_out, field, Training(steps=request.steps), progress)
    mass = _mass(source, scene)
    unseen = mass < 0.5
    lifted = Lifted(
        np.where(unseen[:, None], 0, result.field.values).astype(np.float16),
        np.where(unseen, 0, 1).astype(np.float32),
        mass.astype(np.float32),
        unseen,
    )
    lifted.save(workspace, NAME)
    decoder = {"matrix": result.field.matrix, "offset": result.field.offset}
    write_arrays(
        workspace.root / "features" / f"{NAME}.decoder.safetensors", decoder, {"splats": splat_hash(workspace)}
    )
    facts: dict[str, Any] = {
        "gaussians": len(scene),
        "unseen": int(unseen.sum()),
        "photos": len(source.cameras),
        "held_out": [source.names[number] for number in held_out],
        "masks": len(source.masked),
        "error_lifted": round(result.before, 6),
        "error_trained": round(result.after, 6),
        "trained": result.after < result.before,
        "steps": result.steps,
    }
    if request.objects:
        facts |= _proposed(workspace, lifted, request.objects, splats, progress)
    facts["time_secs"] = round(time.monotonic() - began, 2)
    workspace.record(NAME, result=facts)
    return facts


def _proposed(
    workspace: Workspace,
    lifted: Lifted,
    count: int,
    splats: str,  # `splat_hash` of the Gaussians that have these features
    progress: Progress,
) -> dict[str, Any]:
    """The largest proposals as objects `proposal 1` …, in place of an earlier run's. What objects have stays theirs."""
    progress.phase("Proposing objects")
    scene = workspace.gaussians()
    found = proposals(lifted.features.astype(np.float32), ~lifted.unseen, scene.means, scene_graph(scene))
    known = objects.load(workspace)
    earlier = {item.name for item in known if _PROPOSAL.fullmatch(item.name)}
    free = np.ones(len(scene), bool)
    for item in known:
        if item.name not in earlier:
            free[item.rows] = False
    made: list[str] = []
    for rows in (rows[free[rows]] for rows in found):
        if len(rows) >= LEAST_PART and len(made) < count:
            name = f"proposal {len(made) + 1}"
            made.append(objects.save(workspace, name, rows, np.ones(len(scene), np.float32), splats=splats).name)
    if surplus := earlier.difference(made):
        objects.delete(workspace, *sorted(surplus))
    return {"proposals": len(found), "objects": made}


def _mass(source: Seeing, scene: Gaussians) -> np.ndarray:
    mass = np.zeros(len(scene), np.float32)
    for camera in source.cameras:
        mass += Seen(scene, camera).mass()
    return mass


class Seeing:
    """A workspace's views, small, with the network's features and, where `segwild masks` was run, their masks."""

    def __init__(self, described: Described, encoder: SegmentAnything) -> None:
        self._described, self._encoder = described, encoder
        self.names = [photo.name for photo in described.photos]
        self.cameras = [fitted_camera(photo, LONG_SIDE) for photo in described.photos]
        self._stamp = {"splats": splat_hash(described.workspace)}
        self._members: dict[int, tuple[np.ndarray, int]] = {}  # packed, and how many there are
        self.masked: list[int] = []  # views that have masks of these Gaussians
        self.outdated: list[str] = []  # photos that have masks of others
        for number, name in enumerate(self.names):
            masks = Masks.load(described.workspace, "sam", name, self._stamp)
            if masks is not None and len(masks.scores):
                self.masked.append(number)
            elif masks is None and masks_file(described.workspace, "sam", name).exists():
                self.outdated.append(name)

    def held_out(self) -> list[int]:
        """Numbers of the photos that trained nothing; every 8th by name, at least one, where there are none."""
        tests = [number for number, photo in enumerate(self._described.photos) if photo.split == "test"]
        if tests and len(tests) < len(self.names):
            return tests
        order = sorted(range(len(self.names)), key=lambda number: self.names[number])
        return sorted(order[_HELD_EVERY // 2 :: _HELD_EVERY] or order[:1])

    def cells(self, number: int) -> tuple[np.ndarray, tuple[float, float]]:
        embedding = self._encoder.embedding(self._described, self._described.photos[number])
        return embedding.features, embedding.inner(self._encoder.network.side_px)

    def members(self, number: int) -> np.ndarray | None:
        if number not in self.masked:
            return None
        held = self._members.get(number)
        if held is None:
            found = self._found(number)
            held = np.packbits(found, axis=2), found.shape[2]
            if len(self._members) * held[0].nbytes < _MEMBERS_BYTES:  # beyond it, they are read again
                self._members[number] = held
        return np.unpackbits(held[0], axis=2, count=held[1]).astype(bool)

    def _found(self, number: int) -> np.ndarray:
        """(H, W, n) bool."""
        camera = self.cameras[number]
        masks = Masks.load(self._described.workspace, "sam", self.names[number], self._stamp)
        assert masks is not None  # it is one of `masked`
        height, width = masks.size.tolist()
        rows = ((np.arange(camera.height) + 0.5) / camera.height * height).astype(int)
        columns = ((np.arange(camera.width) + 0.5) / camera.width * width).astype(int)
        return unpacked(masks.masks[:_MEMBERS_MAX], height, width)[:, rows][:, :, columns].transpose(1, 2, 0)
