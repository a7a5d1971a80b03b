"""A process that ends with whoever started it, also while native code keeps Python from noticing.

Every child of ours reads its standard input in a thread and ends when that does. A thread needs Python's lock, which
a compiler or a solver may hold for minutes: there the kernel does it, where it can.
"""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_starter() -> None:
    """From now on the kernel kills this process when the thread that started it ends. On Linux; elsewhere nothing."""
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        except (OSError, AttributeError):  # a C library without it
            return
