"""A workspace into what answers need, kept open: its scene, prepared once, and the photos last clicked on."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

from backend.features import Lifted, colour
from backend.progress import Progress, Quiet
from backend.scene import Workspace
from backend.segment.draft import Draft
from backend.segment.eyes import Eyes
from backend.segment.prepared import Prepared
from backend.segment.selection import Selector
from backend.segment.witnesses import Witnesses
from backend.stages import lift
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Lift

VIEWS_HELD = 4
HELD_BYTES = 3 << 30  # of this process; beyond it, one photo is held


class Opened:
    """One workspace. What it hands out is made anew when a training has ended since."""

    def __init__(self, root: Path, progress: Progress | None = None) -> None:
        """`progress` hears of a lift, which takes minutes for many photos."""
        self.root, self.progress = root, progress or Quiet()
        self._trained_at = 0  # nanoseconds
        self._prepared: Prepared | None = None
        self._draft: Draft | None = None
        self._eyes: Eyes | None = None
        self._witnesses: Witnesses | None = None
        self._selectors: OrderedDict[str, Selector] = OrderedDict()

    @property
    def workspace(self) -> Workspace:
        return Workspace.open(self.root)

    @property
    def prepared(self) -> Prepared:
        """Raises InputError if there are no Gaussians."""
        workspace = self.workspace
        # Looks may be learned meanwhile: pictures are asked in neutral light.
        trained_at = workspace.trained_at
        if self._prepared is None or trained_at != self._trained_at:
            self._selectors.clear()
            self._prepared = self._draft = self._eyes = self._witnesses = None
            self._prepared, self._trained_at = Prepared.of(workspace, _lifted(workspace, self.progress)), trained_at
        return self._prepared

    def refuse_changed(self, prepared: Prepared) -> None:
        """Raises InputError if the scene was trained anew since that was handed out."""
        if self._prepared is not prepared or self.workspace.trained_at != self._trained_at:
            raise InputError("scene-changed", "The scene has just been trained anew.", "Click again.")

    @property
    def draft(self) -> Draft:
        """What is being selected: one at a time, because one person clicks."""
        prepared = self.prepared
        if self._draft is None:
            self._draft = Draft(prepared)
        return self._draft

    @property
    def eyes(self) -> Eyes:
        """What somebody saw who clicks in space."""
        prepared = self.prepared
        if self._eyes is None:
            self._eyes = Eyes(prepared)
        return self._eyes

    @property
    def witnesses(self) -> Witnesses:
        """The photos, to be asked about clicks in space; none of a scene without photos."""
        prepared = self.prepared
        if self._witnesses is None:
            workspace = self.workspace
            photos = workspace.used_photos() if (workspace.root / "photos.json").exists() else []
            self._witnesses = Witnesses(prepared, photos)
        return self._witnesses

    def selector(self, view: str) -> Selector:
        """Raises InputError for a photo that is not there."""
        workspace = self.workspace
        photo = workspace.photo(view)
        prepared = self.prepared
        if view not in self._selectors:
            self._selectors[view] = Selector(prepared, workspace, photo)
            while len(self._selectors) > VIEWS_HELD or (len(self._selectors) > 1 and memory_used() > HELD_BYTES):
                self._selectors.popitem(last=False)
        self._selectors.move_to_end(view)
        return self._selectors[view]


def _lifted(workspace: Workspace, progress: Progress) -> Lifted | None:
    """None for a scene without photos, which has nothing to lift."""
    if not (workspace.root / "photos.json").exists():
        return None
    lift.run(Lift(workspace.root), progress)
    lifted = Lifted.load(workspace, colour.NAME)
    if lifted is None:
        raise InputError("scene-changed", "The scene has just been trained anew.", "Click again.")
    return lifted


def memory_used() -> int:
    """Bytes that this process holds; 0 where nobody tells."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0
