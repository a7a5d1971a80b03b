"""A verb's request into its result, by a process beside this one: each works with its share of the cores.

Training steps are made of many short pieces that two cores share badly. Two trainings with a core each get
further than one after the other with both.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from backend.children import Child
from backend.progress import Progress
from segwild_addon.protocol import codec

_WORKER = "backend.jobs.worker"  # known by name alone: how it is spoken to, its first lines say
_TICK_SECS = 0.1


class Beside:
    """`with Beside(...) as other:` begins it; the block uses `other.progress`, and asks for `other.result()`.

    The process does not outlive the block, however that ends; what its verb keeps as it goes is there next time.
    """

    def __init__(self, verb: str, request: Any, workspace: Path, progress: Progress) -> None:
        self._verb, self._request, self._workspace = verb, request, workspace
        self._log = workspace / f"{verb}-beside.log"
        self._own_progress = progress
        self.progress: Progress = _Sharing(progress, self._take_back)
        self._all = torch.get_num_threads()

    def __enter__(self) -> Beside:
        others = max(1, self._all // 2)
        torch.set_num_threads(max(1, self._all - others))
        try:
            self._child = Child(_WORKER, self._log, threads=others)
        except BaseException:
            torch.set_num_threads(self._all)
            raise
        request = {name: value for name, value in codec.to_wire(self._request).items() if name != "kind"}
        order = {"verb": self._verb, "request": request, "workspace": str(self._workspace), "snapshot_secs": 0.0}
        self._child.send(order)
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._all)
        self._child.close()
        self._log.unlink(missing_ok=True)

    @property
    def process(self) -> int:
        """Its number."""
        return self._child.pid

    def result(self) -> dict[str, Any]:
        """Wait for it, telling how far it is. Raises the verb's error, ResourceError if the process died."""
        progress, done = self._own_progress, 0
        torch.set_num_threads(self._all)
        while True:
            try:
                line = self._child.lines.get(timeout=_TICK_SECS)
            except queue.Empty:
                progress.advance(0)  # a chance to be cancelled
                continue
            if line is None:
                raise self._child.failure("Run it again: it goes on from its last checkpoint.")
            if "error" in line:
                raise self._child.error_in(line)
            if "result" in line:
                return line["result"]
            if "phase" in line:
                progress.phase(str(line["phase"]), line["total"])
                done = 0
            elif "done" in line:
                progress.advance(int(line["done"]) - done, str(line["note"]))
                done = int(line["done"])
            elif "warn" in line:
                progress.warn(str(line["warn"]), str(line["sentence"]), [str(item) for item in line["items"]])

    def _take_back(self) -> None:
        """All cores, as soon as the other process has ended. The results of ours do not depend on it."""
        if torch.get_num_threads() < self._all and self._child.ended:
            torch.set_num_threads(self._all)


class _Sharing:
    """A `Progress` that also looks, at every step, whether the other cores are free."""

    def __init__(self, progress: Progress, look: Callable[[], None]) -> None:
        self._progress, self._look = progress, look

    def phase(self, name: str, total: int | None = None) -> None:
        self._progress.phase(name, total)

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._look()
        self._progress.advance(steps, note)

    def warn(self, code: str, sentence: str, items: Sequence[str] = ()) -> None:
        self._progress.warn(code, sentence, items)

    def show(self, look: Callable[[], Mapping[str, Any]]) -> None:
        self._progress.show(look)
