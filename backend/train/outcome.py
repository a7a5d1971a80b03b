"""What a training leaves in its workspace, put there beside an earlier one's until all of it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from backend.capture.pictures import write_picture
from backend.scene import Gaussians, Photo, Workspace
from backend.scene.files import disk_trouble, take_name
from backend.train.appearance import Appearance


@dataclass(frozen=True, eq=False)
class Outcome:
    """Everything that a training made."""

    gaussians: Gaussians
    looks: Appearance
    masks: Iterable[tuple[str, np.ndarray]]  # photo, (H, W) bool of what was left out of it; looked through once
    photos: list[Photo]  # with the cameras that the Gaussians were trained with

    def save(self, workspace: Workspace, refuse: Callable[[], None]) -> None:
        """`refuse` raises if the workspace must stay as it is; it is asked last when no object can be made meanwhile.

        Raises ResourceError if the disk is full, with what was there before intact.
        """
        made = Workspace(workspace.root / ".trained")
        shutil.rmtree(made.root, ignore_errors=True)  # of a finish that was killed
        try:
            self.looks.save(made)
            for name, mask in self.masks:
                write_picture(made.root / "transients" / f"{name}.png", mask)
            before = workspace.photos()
            if [photo.to_json() for photo in before] != [photo.to_json() for photo in self.photos]:
                made.write_photos(self.photos)
            self.gaussians.save(made.splats)
            with workspace.changing():  # no object can be made in between
                refuse()
                _take_over(workspace, made)
        finally:
            shutil.rmtree(made.root, ignore_errors=True)


def _take_over(workspace: Workspace, made: Workspace) -> None:
    """Give the artefacts their names, after taking back those of an earlier training; the Gaussians last.

    A kill in between leaves a scene without Gaussians and a checkpoint that ends at once, never looks of one
    training beside the Gaussians of another. Nothing but the note in scene.json needs room on the disk.
    """
    workspace.forget("train", "evaluate", within=True)
    files = [path.relative_to(made.root) for path in made.root.rglob("*") if path.is_file()]
    try:
        if workspace.splats.exists():
            take_name(workspace.splats, made.root / "before.safetensors")  # which waits for readers
        for path in list((workspace.root / "transients").glob("*.png")):
            path.unlink()
        for file in sorted(files, key=lambda file: made.root / file == made.splats):
            (workspace.root / file).parent.mkdir(parents=True, exist_ok=True)
            take_name(made.root / file, workspace.root / file)
    except OSError as error:
        raise disk_trouble(error, workspace.root) from error
