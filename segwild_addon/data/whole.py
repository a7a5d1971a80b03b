"""A file that is written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..protocol.errors import ResourceError


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its place at the end of the block, if nothing is raised there.

    Raises ResourceError if it cannot be written.
    """
    temporary = path.with_name(f".{path.name[:40]}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise ResourceError(
            "write-failed",
            f"Writing failed ({error.strerror or error}): {path}.",
            "Free some space, or choose another folder.",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
