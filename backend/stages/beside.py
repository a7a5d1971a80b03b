"""A verb's request into its result, by a process beside this one: each works with its share of the cores.

Training steps are made of many short pieces that two cores share badly. Two trainings with a core each get
further than one after the other with both.
"""

from __future__ import annotations

import queue
from pathlib import Path
from typing import Any

import torch

from backend.children import Child
from backend.progress import Progress
from segwild_addon.protocol import codec

_WORKER = "backend.jobs.worker"  # known by name alone: how it is spoken to, its first lines say
_TICK_SECS = 0.1


class Beside:
    """`with Beside(...) as other:` begins it; the block does its own work, and asks for `other.result()`.

    Both keep to half of the cores until then, also when one ends sooner: sums depend in their last bit on how many
    threads made them, and a result must not depend on who was faster. The process does not outlive the block, however
    that ends; what its verb keeps as it goes is there next time.
    """

    def __init__(self, verb: str, request: Any, workspace: Path, progress: Progress) -> None:
        self._verb, self._request, self._workspace = verb, request, workspace
        self._log = workspace / f"{verb}-beside.log"
        self._progress = progress
        self._all = torch.get_num_threads()

    def __enter__(self) -> Beside:
        half = max(1, self._all // 2)
        torch.set_num_threads(half)
        try:
            self._child = Child(_WORKER, self._log, threads=half)
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
        progress, done = self._progress, 0
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
