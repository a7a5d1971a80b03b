"""Workspaces with masks of objects, opened for selecting, and the photos that prompts are given in."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.capture.pictures import read_mask
from backend.features import Lifted, colour
from backend.progress import Quiet
from backend.scene import Gaussians, Workspace
from backend.segment.prepared import Prepared
from backend.stages import lift
from segwild_addon.protocol.requests import Lift

LEAST = 0.01  # of a photo that a mask fills; smaller ones are neither prompts nor scored


@dataclass(frozen=True, eq=False)
class Scene:
    """A workspace, opened once for all its objects."""

    workspace: Workspace
    prepared: Prepared
    features: np.ndarray
    secs: dict[str, float]  # what is made once per scene, and how long that took

    @classmethod
    def open(cls, root: Path) -> Scene:
        workspace = Workspace.open(root)
        began = time.perf_counter()
        lift.run(Lift(root), Quiet())
        lifted = Lifted.load(workspace, colour.NAME)
        assert lifted is not None  # just made
        secs = {"lift": time.perf_counter() - began}
        prepared = Prepared.of(workspace, lifted)
        for stage in ("graph", "walks", "followers"):  # once per scene: no object's time
            began = time.perf_counter()
            getattr(prepared, stage)
            secs[stage] = time.perf_counter() - began
        return cls(workspace, prepared, lifted.features, secs)

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


def references(masks: dict[str, np.ndarray], seeds: int) -> list[str]:
    """As many different prompts as there are, at most one per seed: photos in an order drawn once."""
    names = sorted(masks)
    return [names[place] for place in np.random.default_rng(0).permutation(len(names))[:seeds]]
