"""One process at a time: a lock that the system lets go of when its holder dies."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_RETRY_SECS = 0.02


class Locked(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, *, wait_secs: float = 0.0) -> Iterator[None]:
    """Hold the lock file at `path` for the length of the block.

    Raises Locked if another process still holds it after `wait_secs`, OSError if the file cannot be made.
    """
    deadline = time.monotonic() + wait_secs
    while True:
        with path.open("a+b") as file:
            while not _taken(file.fileno()):
                if time.monotonic() >= deadline:
                    raise Locked(str(path))
                time.sleep(_RETRY_SECS)
            try:
                if _is_still(path, file.fileno()):
                    yield
                    return
            finally:
                _release(file.fileno())


def _is_still(path: Path, number: int) -> bool:
    """Whether the open file is the one that others find: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(number), path.stat())
    except FileNotFoundError:
        return False


def _taken(number: int) -> bool:
    try:
        _take(number)
    except OSError as error:
        # Other errors, such as a network disk without locks, are no proof of another holder.
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return False
        raise
    return True


if os.name == "nt":
    import msvcrt

    def _take(number: int) -> None:
        os.lseek(number, 0, os.SEEK_SET)
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)

    def _release(number: int) -> None:
        os.lseek(number, 0, os.SEEK_SET)
        msvcrt.locking(number, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _take(number: int) -> None:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _release(number: int) -> None:
        fcntl.flock(number, fcntl.LOCK_UN)
