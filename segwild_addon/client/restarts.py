"""When a process that died may be started again: later each time, and not for ever."""

from __future__ import annotations

from collections import deque

FIRST_SECS = 1.0
LONGEST_SECS = 30.0
WINDOW_SECS = 60.0
IN_WINDOW = 3


class Restarts:
    """Counts starts by a clock that the caller reads."""

    def __init__(self) -> None:
        self._starts: deque[float] = deque(maxlen=IN_WINDOW + 1)  # the first start and its restarts
        self._in_a_row = 0

    def started(self, now: float) -> None:
        """A process was started at `now`, seconds of a clock that never goes back."""
        self._starts.append(now)

    def died(self, now: float) -> float | None:
        """Seconds to wait before the next start; None: the circuit is open, a person has to decide."""
        if self._starts and now - self._starts[-1] > WINDOW_SECS:
            self._in_a_row = 0  # it had run well for a while
        restarts = sum(1 for start in list(self._starts)[1:] if now - start < WINDOW_SECS)
        if restarts >= IN_WINDOW:
            return None
        self._in_a_row += 1
        return min(FIRST_SECS * 2 ** (self._in_a_row - 1), LONGEST_SECS)

    def forget(self) -> None:
        """A person asked for a start: everything counts from there."""
        self._starts.clear()
        self._in_a_row = 0
