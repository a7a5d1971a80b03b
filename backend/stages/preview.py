"""Clicks -> the rows they would select, at once and without keeping anything.

A `Previewer` holds what does not depend on the clicks, so that the second click on a photo costs a
fraction of a second.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from backend.features import Lifted, colour
from backend.progress import Quiet
from backend.scene import Gaussians, Photo, Workspace
from backend.scene.arrays import handed_out
from backend.segment.prompts import prompt_of
from backend.segment.selection import Selector
from backend.stages import lift
from segwild_addon.protocol import codec
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Lift, Prepare, Preview

VIEWS_HELD = 4
HELD_BYTES = 3 << 30  # of this process; beyond it, one photo is held
PREVIEWS_KEPT = 16


class Previewer:
    """Answers for one workspace."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._stamp: tuple[int, ...] = ()
        self._opened: tuple[Gaussians, Lifted] | None = None
        self._selectors: OrderedDict[str, Selector] = OrderedDict()

    def prepare(self, question: Prepare) -> Iterator[dict[str, Any] | None]:
        """Load the scene and project it into the photo, a step at a time: None after each but the last.

        The last gives `time_secs` and the number of `gaussians`. What was done stays if nobody goes on.
        """
        began = time.monotonic()
        Workspace.open(self.root).photo(question.view)
        self._scene()
        yield None
        selector = self._selector(question.view)
        yield None
        _ = selector.walks
        yield None
        with suppress(InputError):  # the first click pays for what is compiled and kept: let it be this one
            selector.select(prompt_of(selector.photo, (_middle(selector.photo),), None, None))
        yield {"gaussians": len(selector.scene), "time_secs": round(time.monotonic() - began, 3)}

    def preview(self, question: Preview) -> dict[str, Any]:
        """`count` rows of `gaussians`, their `rows` as an ArrayRef of packed bits (lowest first), `time_secs`.

        Raises InputError for clicks that make no sense.
        """
        began = time.monotonic()
        selector = self._selector(question.view)
        chosen = selector.select(prompt_of(selector.photo, question.click, None, None)).chosen
        bits = np.packbits(chosen, bitorder="little")
        return {
            "count": int(chosen.sum()),
            "gaussians": len(chosen),
            "rows": codec.to_wire(handed_out(self.root, "rows", bits, kept=PREVIEWS_KEPT)),
            "time_secs": round(time.monotonic() - began, 3),
        }

    def _scene(self) -> tuple[Gaussians, Lifted]:
        workspace = Workspace.open(self.root)
        # A training or a lift that has ended since makes everything held stale.
        stamp = tuple(path.stat().st_mtime_ns for path in (workspace.splats, workspace.appearance) if path.exists())
        if self._opened is None or stamp != self._stamp:
            self._selectors.clear()
            self._opened = None
            lift.run(Lift(workspace.root), Quiet())
            lifted = Lifted.load(workspace, colour.NAME)
            if lifted is None:
                raise InputError("scene-changed", "The scene has just been trained anew.", "Click again.")
            self._opened, self._stamp = (workspace.gaussians(), lifted), stamp
        return self._opened

    def _selector(self, view: str) -> Selector:
        workspace = Workspace.open(self.root)
        photo = workspace.photo(view)
        scene, lifted = self._scene()
        if view not in self._selectors:
            self._selectors[view] = Selector(scene, workspace, photo, lifted=lifted)
            while len(self._selectors) > VIEWS_HELD or (len(self._selectors) > 1 and memory_used() > HELD_BYTES):
                self._selectors.popitem(last=False)
        self._selectors.move_to_end(view)
        return self._selectors[view]


def _middle(photo: Photo) -> str:
    return f"{photo.width // 2},{photo.height // 2},+"


def memory_used() -> int:
    """Bytes that this process holds; 0 where nobody tells."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0
