"""A workspace as a person sees it: Gaussians with the looks of the scene and of each object baked in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from backend.render import seen_by
from backend.scene import Camera, Gaussians, Workspace
from backend.segment import cuts, objects
from backend.segment.cuts import Part
from backend.train.appearance import NEUTRAL, Appearance, Look
from segwild_addon.protocol.errors import InputError


@dataclass(frozen=True, eq=False)
class Shown:
    """Everything needed to draw or export a workspace."""

    workspace: Workspace
    gaussians: Gaussians  # in neutral light
    appearance: Appearance | None  # None: a splat from elsewhere, which has one light

    @classmethod
    def open(cls, workspace: Workspace) -> Shown:
        return cls(workspace, workspace.gaussians(), Appearance.load(workspace))

    @cached_property
    def objects(self) -> list[objects.Object]:
        return objects.load(self.workspace)

    def rows(self, *, only: str | None = None, without: str | None = None) -> np.ndarray:
        """(N,) bool, the rows of one object, or all but one's. Raises InputError for an unknown name."""
        mask = np.full(len(self.gaussians), only is None)
        if only is not None:
            mask[objects.find(self.workspace, only).rows] = True
        if without is not None:
            mask[objects.find(self.workspace, without).rows] = False
        return mask

    def part(self, *, only: str | None = None, without: str | None = None) -> Part:
        """The same as Gaussians: where an object was cut, it keeps the inner parts and the rest the outer ones."""

        def cut_of(name: str | None) -> tuple[np.ndarray, cuts.Cut | None] | None:
            if name is None:
                return None
            item = objects.find(self.workspace, name)
            return item.rows, cuts.load(self.workspace, item)

        return cuts.part_of(len(self.gaussians), only=cut_of(only), without=cut_of(without))

    def of(self, part: Part, look: Look | None = None, *, only: str | None = None) -> Gaussians:
        """A part's Gaussians in a look, as `baked`. With `only`, all have that object's look, whatever overlaps it."""
        if look is not None or only is None:
            return part.of(self.baked(look))
        ids = objects.labels(self.objects, len(self.gaussians))
        ids[part.sources] = objects.find(self.workspace, only).id
        return part.of(self.baked(ids=ids))

    def baked(self, look: Look | None = None, ids: np.ndarray | None = None) -> Gaussians:
        """All rows in one look, or (None) in the looks that were set for the scene and its objects.

        `ids` (N,) says whose each row is; none: as `objects.labels` has it.
        """
        if self.appearance is None:
            if look is not None and look.a is not None:
                raise InputError(
                    "no-looks",
                    "This scene has no photo looks: it was imported, or trained without appearance.",
                    "Use --look neutral.",
                )
            return self.gaussians
        if look is not None:
            return self.appearance.baked(self.gaussians, self.appearance.embedding(look))
        result = self.appearance.baked(self.gaussians, self.appearance.embedding(scene_look(self.workspace)))
        lit = [item for item in self.objects if item.look is not None]
        if lit and ids is None:
            ids = objects.labels(self.objects, len(self.gaussians))
        for item in lit:
            own = np.flatnonzero(ids == item.id)
            look = self.appearance.embedding(look_from_json(item.look))
            baked = self.appearance.baked(self.gaussians, look, own)
            sh0, shN = result.sh0.copy(), result.shN.copy()
            sh0[own], shN[own] = baked.sh0[own], baked.shN[own]
            result = replace(result, sh0=sh0, shN=shN)
        return result

    def sky(self, camera: Camera, look: Look | None = None) -> np.ndarray | None:
        """(H, W, 3) float32, or None where none was trained."""
        if self.appearance is None:
            return None
        chosen = look if look is not None else scene_look(self.workspace)
        return self.appearance.sky(camera, self.appearance.embedding(chosen))


def look_of(word: str | None, photo: str | None = None) -> Look | None:
    """The look a command's --look names: a photo, `neutral`, `own` (that of `photo`), or as set (None)."""
    if word is None:
        return None
    if word == "neutral":
        return NEUTRAL
    if word == "own":
        return Look(photo)
    return Look(word)


def scene_look(workspace: Workspace) -> Look:
    return look_from_json(workspace.scene().get("look"))


def look_from_json(value: Mapping[str, Any] | None) -> Look:
    """Raises InputError if the value is no look."""
    if not value:
        return NEUTRAL
    try:
        return Look(**value)
    except TypeError as error:
        raise InputError("file-damaged", f"Not a look: {value}.", "Set it again with segwild appearance.") from error


def look_to_json(look: Look) -> dict[str, Any]:
    return asdict(look)


def draw(
    gaussians: Gaussians,
    camera: Camera,
    background: np.ndarray | None = None,
    engine: str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Picture (H, W, 3) uint8 over a background (None: black), and alpha (H, W) float32."""
    with torch.no_grad():
        picture, alpha = seen_by(engine, gaussians, camera).picture(gaussians, background)
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8), alpha
