"""Clicks -> the rows they would select, at once and without keeping anything.

A `Previewer` holds what does not depend on the clicks, so that the second click on a photo costs a
fraction of a second.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from backend.features import Lifted, colour
from backend.progress import Quiet
from backend.scene import Workspace
from backend.scene.files import written_whole
from backend.segment.prompts import prompt_of
from backend.segment.selection import Selector
from backend.stages import lift
from segwild_addon.protocol import codec
from segwild_addon.protocol.requests import Lift, Prepare, Preview
from segwild_addon.protocol.values import ArrayRef

VIEWS_HELD = 4
PREVIEWS_KEPT = 8
FOLDER = "previews"


class Previewer:
    """Answers for one workspace."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._stamp: tuple[int, ...] = ()
        self._selectors: OrderedDict[str, Selector] = OrderedDict()
        self._number = 0

    def prepare(self, question: Prepare) -> dict[str, Any]:
        """Load the scene and project it into the photo. Returns `time_secs` and the number of `gaussians`."""
        began = time.monotonic()
        selector = self._selector(question.view)
        _ = selector.walks
        return {"gaussians": len(selector.scene), "time_secs": round(time.monotonic() - began, 3)}

    def preview(self, question: Preview) -> dict[str, Any]:
        """`count` rows of `gaussians`, their `rows` as an ArrayRef of packed bits (lowest first), `time_secs`.

        Raises InputError for clicks that make no sense.
        """
        began = time.monotonic()
        selector = self._selector(question.view)
        chosen = selector.select(prompt_of(selector.photo, question.click, None, None)).chosen
        return {
            "count": int(chosen.sum()),
            "gaussians": len(chosen),
            "rows": codec.to_wire(self._written(np.packbits(chosen, bitorder="little"))),
            "time_secs": round(time.monotonic() - began, 3),
        }

    def _selector(self, view: str) -> Selector:
        workspace = Workspace.open(self.root)
        # A training or a lift that has ended since makes everything held stale.
        stamp = tuple(path.stat().st_mtime_ns for path in (workspace.splats, workspace.appearance) if path.exists())
        if stamp != self._stamp:
            self._selectors.clear()
            self._stamp = stamp
        if view not in self._selectors:
            photo = workspace.photo(view)
            lift.run(Lift(workspace.root), Quiet())
            lifted = Lifted.load(workspace, colour.NAME)
            self._selectors[view] = Selector(workspace.gaussians(), workspace, photo, lifted=lifted)
            while len(self._selectors) > VIEWS_HELD:
                self._selectors.popitem(last=False)
        self._selectors.move_to_end(view)
        return self._selectors[view]

    def _written(self, array: np.ndarray) -> ArrayRef:
        self._number += 1
        name = f"{FOLDER}/{self._number % PREVIEWS_KEPT}.npy"
        path = self.root / name
        encoded = io.BytesIO()
        np.save(encoded, array)
        with written_whole(path) as file:
            file.write(encoded.getbuffer())
        digest = hashlib.blake2b(encoded.getbuffer(), digest_size=16).hexdigest()
        return ArrayRef(name, str(array.dtype), array.shape, digest)  # type: ignore[arg-type]
