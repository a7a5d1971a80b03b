"""A backend that someone else started, on this machine or at the far end of a tunnel: watched, never started."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..protocol.errors import ResourceError, SegWildError
from .http import Address, Http
from .process import HEALTH_EVERY_SECS, check_health
from .restarts import FIRST_SECS, LONGEST_SECS
from .status import RUNNING, STOPPED, Status
from .watcher import Watcher


class Remote(Watcher):
    """Keeps an eye on one address from `start` to `stop`. `status` may be read at any time."""

    remote = True
    thread_name = "segwild-backend"

    def __init__(self, address: Address, told: Callable[[Status], None] = lambda status: None) -> None:
        """`told` hears of every change of state, from the watching thread."""
        super().__init__(told)
        self.address = address

    def start(self) -> None:
        """Look for the backend; again after `failed`. Returns at once."""
        self._begin(Status("starting", f"Looking for the backend at {self.address.host}:{self.address.port}."))

    def stop(self, timeout_secs: float = 3.0) -> None:
        """Let go of it. The backend goes on: it is not ours."""
        self._end(timeout_secs)

    def _run(self) -> None:
        self.http = http = Http(self.address)
        wait = FIRST_SECS
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                check_health(http)
                self._say(RUNNING)
                wait = FIRST_SECS
                pause = HEALTH_EVERY_SECS
            except ResourceError as error:
                if not self._stopping.is_set():
                    self._say(Status.of("lost", error, retry_secs=wait))
                pause, wait = wait, min(2 * wait, LONGEST_SECS)
            except SegWildError as error:  # a wrong token or version mends itself no more
                self._say(Status.of("failed", error))
                break
            self._stopping.wait(max(0.0, pause - (time.monotonic() - began)))
        self.http = None
        http.close()
        if self.status.state != "failed":
            self._say(STOPPED)
