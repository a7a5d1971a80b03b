"""One process at a time: a lock that the system lets go of when its holder dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Locked(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at `path` for the length of the block. Raises Locked at once if it is taken."""
    with path.open("a+b") as file:
        try:
            _take(file.fileno())
        except OSError as error:
            raise Locked(str(path)) from error
        try:
            yield
        finally:
            _release(file.fileno())


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
