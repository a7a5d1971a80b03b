"""What the interactive worker reads, without a process."""

from __future__ import annotations

import json
import queue
from typing import Any

from segwild_addon.protocol import codec


class Done(Exception):
    """Nobody asks any more."""


class Lines(queue.Queue):
    """Questions that come one after the other, and withdrawals; instead of waiting for more, Done."""

    def get(self, block: bool = True, timeout: float | None = None) -> str:
        try:
            return super().get(block=False)
        except queue.Empty:
            if block:
                raise Done from None
            raise

    def ask(self, number: int, question: Any) -> None:
        self.put(json.dumps({"id": number, "question": codec.to_wire(question)}))

    def withdraw(self, number: int) -> None:
        self.put(json.dumps({"id": number, "withdraw": True}))
