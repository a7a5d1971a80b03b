"""Pictures of photo poses or of a path around the scene."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from backend.capture.pictures import write_picture
from backend.features import principal_colors
from backend.progress import Progress
from backend.render import Seen, chosen_engine, seen_by
from backend.scene import Camera, Gaussians, Workspace
from backend.scene.paths import interpolated, looked_at, orbit
from backend.segment import objects
from backend.segment.cuts import Part
from backend.segment.shown import Shown, draw, look_of
from backend.train.appearance import NEUTRAL, Look
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Render

CHANNELS = ("rgb", "depth", "alpha", "object", "features")
_LOOKS_KEPT = 2  # of a frame: its own, and the neutral one that objects are shown over


@dataclass(frozen=True)
class Frame:
    """One picture to make."""

    name: str
    camera: Camera
    photo: str | None  # whose pose it is


def run(request: Render, progress: Progress) -> dict[str, Any]:
    """Write one PNG per frame and channel. Raises InputError for unknown photos, objects or channels."""
    workspace = Workspace.open(request.workspace)
    engine = chosen_engine(request.device, progress)
    channels = tuple(part.strip() for part in request.channels.split(",") if part.strip())
    unknown = [channel for channel in channels if channel not in CHANNELS]
    if unknown or not channels:
        raise InputError("bad-option", f"Unknown channel: {', '.join(unknown) or 'none'}.", f"Choose of {CHANNELS}.")
    if request.look == "own" and request.path != "views":
        raise InputError("bad-option", "Frames of a path have no look of their own.", "Use --look neutral or a photo.")
    shown = Shown.open(workspace)
    part = shown.part(only=request.only, without=request.without)
    frames = list(_frames(request, workspace, shown, part))
    lookless = [frame.name for frame in frames if _without_look(request, shown, frame)]
    if lookless and "rgb" in channels:
        progress.warn(
            "photos-without-look",
            f"{len(lookless)} of {len(frames)} photos have no look of their own and are rendered in neutral light.",
            lookless,
        )
    writer = _Writer(request, shown, part, engine)
    progress.phase("Rendering", len(frames))
    files = []
    for frame in frames:
        for channel in channels:
            suffix = "" if channel == "rgb" else f"_{channel}"
            file = request.out / f"{frame.name}{suffix}.png"
            write_picture(file, writer.pictures[channel](frame))
            files.append(str(file))
        progress.advance()
    return {"pictures": len(files), "folder": str(request.out), "files": files}


def _frames(request: Render, workspace: Workspace, shown: Shown, part: Part) -> Iterator[Frame]:
    if request.long_side < 16 or request.frames < 1:
        raise InputError("bad-option", "--long-side needs at least 16 and --frames at least 1.")
    photos = [workspace.photo(name) for name in request.view] or workspace.used_photos()
    cameras = [photo.camera for photo in photos if photo.camera is not None]
    if not cameras:
        raise InputError(
            "no-cameras", "The workspace has no photos whose poses could be rendered.", "Import it with --cameras."
        )
    if request.path == "views":
        for photo, camera in zip(photos, cameras, strict=True):
            yield Frame(photo.name, camera.fitted(request.long_side), photo.name)
        return
    if request.path == "interpolate":
        path = interpolated(cameras, request.frames)
    else:
        solid = part.sources[shown.gaussians.opacities[part.sources] > 0.5]
        points = shown.gaussians.means[solid if len(solid) else part.sources]
        if not len(points):
            raise InputError("nothing-left", "Nothing is left that an orbit could go around.", "Leave out less.")
        path = orbit(cameras, points if request.only else looked_at(cameras, points), request.frames)
    for index, camera in enumerate(path):
        yield Frame(f"{request.path}_{index:04d}", camera.fitted(request.long_side), None)


def _without_look(request: Render, shown: Shown, frame: Frame) -> bool:
    """Whether the frame was to have its photo's own look, and the photo was held out of the training."""
    return request.look == "own" and shown.appearance is not None and frame.photo not in shown.appearance.names


class _Writer:
    """Turns a frame into the picture of one channel."""

    def __init__(self, request: Render, shown: Shown, part: Part, engine: str = "cpu") -> None:
        self.request, self.shown, self.part, self.engine = request, shown, part, engine
        self._baked: OrderedDict[Look | None, Gaussians] = OrderedDict()
        self._last: tuple[Frame, Seen] | None = None
        self.pictures: dict[str, Callable[[Frame], np.ndarray]] = {
            "rgb": self.rgb,
            "alpha": self.alpha,
            "depth": self.depth,
            "object": self.object,
            "features": self.features,
        }

    def _scene(self, look: Look | None) -> Gaussians:
        if look not in self._baked:
            if len(self._baked) == _LOOKS_KEPT:
                self._baked.popitem(last=False)
            self._baked[look] = self.shown.of(self.part, look, only=self.request.only)
        self._baked.move_to_end(look)
        return self._baked[look]

    def rgb(self, frame: Frame) -> np.ndarray:
        """Over the sky; one object alone comes with transparency instead."""
        look = look_of(self.request.look, frame.photo)
        if _without_look(self.request, self.shown, frame):
            look = NEUTRAL
        if self.request.only is None:
            return draw(self._scene(look), frame.camera, self.shown.sky(frame.camera, look), self.engine)[0]
        picture, alpha = draw(self._scene(look), frame.camera, engine=self.engine)
        # PNG holds straight alpha; the picture is premultiplied.
        straight = np.clip(picture / np.maximum(alpha, 1e-3)[..., None], 0, 255)
        return np.dstack([straight, np.clip(alpha, 0, 1) * 255]).round().astype(np.uint8)

    @cached_property
    def _plain(self) -> Gaussians:
        return self.part.of(self.shown.gaussians)

    def _seen(self, frame: Frame) -> Seen:
        if self._last is None or self._last[0] is not frame:
            self._last = frame, seen_by(self.engine, self._plain, frame.camera)
        return self._last[1]

    def alpha(self, frame: Frame) -> np.ndarray:
        return np.round(np.clip(self._seen(frame).alpha(), 0, 1) * 255).astype(np.uint8)

    def depth(self, frame: Frame) -> np.ndarray:
        """Near is light, far is dark, empty is black: inverse depth between its 1 and 99 % quantiles."""
        depth = self._seen(frame).depth()
        known = np.isfinite(depth)
        if not known.any():
            return np.zeros(depth.shape, np.uint8)
        inverse = np.where(known, 1 / np.where(known, depth, 1), 0)
        low, high = np.quantile(inverse[known], [0.01, 0.99])
        scaled = np.clip((inverse - low) / max(high - low, 1e-9), 0, 1)
        return np.where(known, 30 + 225 * scaled, 0).astype(np.uint8)

    @cached_property
    def _tint(self) -> np.ndarray:
        """(M, 4) float32: the colour of the object that each row belongs to, and whether it belongs to one."""
        ids = objects.labels(self.shown.objects, len(self.shown.gaussians))
        palette = np.zeros((max([0, *(item.id for item in self.shown.objects)]) + 1, 3), np.float32)
        for item in self.shown.objects:
            palette[item.id] = item.color
        return np.concatenate([palette[ids], (ids > 0).astype(np.float32)[:, None]], 1)[self.part.sources]

    def object(self, frame: Frame) -> np.ndarray:
        """Every object in its colour over the darkened scene."""
        rendered = self._seen(frame).render_channels(self._tint)
        scene = draw(self._scene(look_of("neutral")), frame.camera, engine=self.engine)[0] / 255
        return np.round(
            255 * np.clip(scene * (1 - 0.6 * rendered[..., 3:]) * 0.8 + 0.6 * rendered[..., :3], 0, 1)
        ).astype(np.uint8)

    def features(self, frame: Frame) -> np.ndarray:
        """The lifted features' three principal components as colours; unseen rows grey."""
        return np.round(255 * np.clip(self._seen(frame).render_channels(self._principal), 0, 1)).astype(np.uint8)

    @cached_property
    def _principal(self) -> np.ndarray:
        return principal_colors(self.shown.workspace, self.request.features)[self.part.sources]
