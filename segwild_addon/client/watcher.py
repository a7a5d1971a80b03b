"""A thread that looks after something, and in which state that is: the part all who do so share."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .http import Http
from .status import STOPPED, Status


class Watcher:
    """Runs `_run` in a thread of its own. `status` may be read at any time without waiting."""

    thread_name = "segwild-watcher"

    def __init__(self, told: Callable[[Status], None]) -> None:
        """`told` hears of every change of state, from the thread."""
        self.status: Status = STOPPED
        self.http: Http | None = None  # to what is looked after, while it runs
        self._told = told
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def _alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _begin(self, first: Status) -> None:
        """Start the thread with a first status. Does nothing while it runs."""
        if self._alive:
            return
        self._stopping.clear()
        self._say(first)
        self._thread = threading.Thread(target=self._run, name=self.thread_name, daemon=True)
        self._thread.start()

    def _end(self, timeout_secs: float) -> None:
        """Ask the thread to stop, break off what it waits for, and wait for it."""
        if self._thread is None:
            return
        self._stopping.set()
        if (http := self.http) is not None:
            http.close()
        self._thread.join(timeout_secs)
        self._thread = None

    def _say(self, status: Status) -> None:
        if status != self.status:
            self.status = status
            self._told(status)

    def _run(self) -> None:
        raise NotImplementedError
