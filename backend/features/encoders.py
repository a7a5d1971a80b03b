"""Encoders by name: what describes the pixels of a workspace's photos, ready to be lifted.

    colour   20 numbers, no weights             labels   a channel per label of the user's masks
    sam      256, segment-anything's embedding  file     whatever the user has in <photo>.npy
    dino     384 to 1024, patches of DINO(v2)

What a network made of a picture is kept in embeddings/<encoder>/<photo>.safetensors, half a megabyte to a few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from backend.capture.pictures import read_picture, resized
from backend.features import colour, dino, sam
from backend.features.fingerprint import splat_hash
from backend.features.kept import kept
from backend.features.lift import Scaling
from backend.features.neutral import Neutral
from backend.features.pixels import Grid, Pixels, Whole
from backend.features.supplied import Files, Labels
from backend.render import Seen
from backend.scene import Camera, Gaussians, Photo, Workspace
from segwild_addon.protocol.errors import InputError

Input = Literal["neutral", "photo"]
NAMES = ("colour", "sam", "dino", "labels", "file")
COLOUR_LONG_SIDE = 320  # pixels; its features are smooth, so more only costs time
LONG_SIDE = 512  # of the pixels that networks' features are spread over
_WEIGHTS_BYTES = 64 << 20  # of all views' that are held; beyond it, they are made again


@dataclass(frozen=True)
class Options:
    """What to describe, and with what."""

    encoder: str = "colour"
    input: Input = "neutral"  # photo: the photos themselves, without what was judged transient
    checkpoint: Path | None = None  # of sam and dino; None: looked for
    folder: Path | None = None  # of labels and file


class Encoder(Protocol):
    """Describes the photos of one workspace. `Described` makes of it what `lift` goes through."""

    scaling: Scaling
    long_side: int
    made: str  # what else the features depend on but Gaussians and photos

    def names(self, photos: Sequence[Photo]) -> list[str]:
        """Of the photos that it can describe. Raises InputError if there are none."""

    def channels(self, views: Described) -> int:
        """How many numbers a pixel gets."""

    def pixels(self, views: Described, photo: Photo, camera: Camera) -> Pixels:
        """Those of one photo."""


@dataclass(eq=False)
class Described:
    """A workspace's photos as `Views` of an encoder."""

    workspace: Workspace
    scene: Gaussians
    encoder: Encoder
    input: Input = "neutral"
    photos: list[Photo] = field(init=False)
    cameras: list[Camera] = field(init=False)

    def __post_init__(self) -> None:
        used = self.workspace.used_photos()
        known = set(self.encoder.names(used))
        self.photos = [photo for photo in used if photo.name in known]
        self.cameras = [fitted(photo, self.encoder.long_side) for photo in self.photos]
        self._weights: dict[int, np.ndarray] = {}

    @cached_property
    def stamp(self) -> str:
        """What pictures depend on."""
        return splat_hash(self.workspace) if self.input == "neutral" else "photo"

    @cached_property
    def channels(self) -> int:
        return self.encoder.channels(self)

    def pixels(self, number: int) -> Pixels:
        return self.encoder.pixels(self, self.photos[number], self.cameras[number])

    def weight(self, number: int, seen: Seen) -> np.ndarray:
        """Of neutral renders what is covered, of photos what is no passer-by."""
        held = self._weights.get(number)
        if held is None:
            own = getattr(self.encoder, "weight", None)
            if own is not None:
                weight = own(self, self.photos[number], self.cameras[number])
            elif self.input == "photo":
                weight = self._static(self.photos[number], self.cameras[number])
            else:
                weight = seen.alpha()
            held = weight.astype(np.float16)
            if len(self._weights) * held.nbytes < _WEIGHTS_BYTES:  # views are gone through again for more channels
                self._weights[number] = held
        return held.astype(np.float32)

    def picture(self, photo: Photo, long_side: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB: the photo, or its pose in neutral light."""
        camera = fitted(photo, long_side)
        if self.input == "photo":
            return resized(read_picture(self.workspace.picture_file(photo.name)), camera.width, camera.height)
        return np.rint(Neutral(self.scene, camera).picture * 255).astype(np.uint8)

    def _static(self, photo: Photo, camera: Camera) -> np.ndarray:
        path = self.workspace.root / "transients" / f"{photo.name}.png"
        if not path.exists():
            return np.ones((camera.height, camera.width), np.float32)
        judged = resized(read_picture(path), camera.width, camera.height)[..., 0]
        return (judged < 128).astype(np.float32)


def open_encoder(options: Options, workspace: Workspace) -> Encoder:
    """Raises InputError for an unknown one or one that lacks its files, SetupError for one that lacks its weights."""
    if options.encoder not in NAMES:
        raise InputError(
            "unknown-features", f"There is no encoder called {options.encoder!r}.", f"Known: {', '.join(NAMES)}."
        )
    supplied = options.encoder in ("labels", "file")
    if supplied != (options.folder is not None):
        sentence = "needs a folder of files" if supplied else "takes no folder"
        raise InputError("bad-option", f"The encoder {options.encoder!r} {sentence}.", "See --folder.")
    if options.checkpoint is not None and options.encoder not in ("sam", "dino"):
        raise InputError("bad-option", f"The encoder {options.encoder!r} takes no checkpoint.", "Leave it out.")
    if options.encoder == "colour":
        return Colour()
    if options.encoder == "sam":
        return SegmentAnything(sam.open_network(sam.find_checkpoint(options.checkpoint)))
    if options.encoder == "dino":
        return DinoPatches(dino.open_network(dino.find_checkpoint(options.checkpoint)))
    assert options.folder is not None
    return (Labels if options.encoder == "labels" else Files)(options.folder, workspace, LONG_SIDE)


def fitted(photo: Photo, long_side: int) -> Camera:
    """A used photo's pose on a pixel grid."""
    assert photo.camera is not None
    return photo.camera.fitted(long_side)


class Colour:
    scaling: Scaling = "standard"
    long_side = COLOUR_LONG_SIDE
    made = ""

    def names(self, photos: Sequence[Photo]) -> list[str]:
        return [photo.name for photo in photos]

    def channels(self, views: Described) -> int:
        return colour.CHANNELS

    def pixels(self, views: Described, photo: Photo, camera: Camera) -> Pixels:
        def encoded() -> dict[str, np.ndarray]:
            if views.input == "photo":
                picture = views.picture(photo, self.long_side).astype(np.float32) / 255
            else:
                picture = Neutral(views.scene, camera).picture
            return {"features": colour.encode(picture).astype(np.float16)}

        folder = colour.NAME if views.input == "neutral" else f"{colour.NAME}-photo"
        return Whole(kept(views.workspace, folder, photo.name, {"splats": views.stamp}, encoded)["features"])


class SegmentAnything:
    scaling: Scaling = "unit"
    long_side = LONG_SIDE

    def __init__(self, network: sam.Network) -> None:
        self.network, self.made = network, network.digest

    def names(self, photos: Sequence[Photo]) -> list[str]:
        return [photo.name for photo in photos]

    def channels(self, views: Described) -> int:
        return 256

    def embedding(self, views: Described, photo: Photo) -> sam.Embedding:
        """Of the picture that segmenting sees, so that both share it."""
        camera = fitted(photo, sam.LONG_SIDE)
        folder = "" if views.input == "neutral" else "-photo"
        return sam.embedded(
            views.workspace,
            photo.name,
            lambda: views.picture(photo, sam.LONG_SIDE),
            (camera.height, camera.width),
            self.network,
            views.stamp,
            folder=f"sam{folder}",
        )

    def pixels(self, views: Described, photo: Photo, camera: Camera) -> Pixels:
        embedding = self.embedding(views, photo)
        return Grid(embedding.features, embedding.inner(self.network.side_px), camera.height, camera.width)


class DinoPatches:
    scaling: Scaling = "unit"
    long_side = LONG_SIDE

    def __init__(self, network: dino.Dino) -> None:
        self.network, self.made = network, network.digest

    def names(self, photos: Sequence[Photo]) -> list[str]:
        return [photo.name for photo in photos]

    def channels(self, views: Described) -> int:
        return self.network.channels

    def pixels(self, views: Described, photo: Photo, camera: Camera) -> Pixels:
        def encoded() -> dict[str, np.ndarray]:
            features, inner = self.network.patches(views.picture(photo, dino.LONG_SIDE))
            return {"features": features.astype(np.float16), "inner": np.array(inner, np.float32)}

        folder = "dino" if views.input == "neutral" else "dino-photo"
        stamp = {"splats": views.stamp, "network": self.made}
        arrays = kept(views.workspace, folder, photo.name, stamp, encoded)
        rows, columns = arrays["inner"].tolist()
        return Grid(arrays["features"], (rows, columns), camera.height, camera.width)
