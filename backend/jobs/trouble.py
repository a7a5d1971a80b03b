"""What the system refuses a stage, memory or disk, as an error with a sentence and a hint."""

from __future__ import annotations

import errno

from backend.children import LESS_MEMORY
from segwild_addon.protocol.errors import ResourceError

NO_MEMORY = ResourceError("out-of-memory", "Memory ran out.", LESS_MEMORY)


def as_ours(error: BaseException) -> ResourceError | None:
    """The error to tell; None if it is something else, such as a mistake of ours."""
    if isinstance(error, MemoryError):
        return NO_MEMORY
    if isinstance(error, RuntimeError):  # torch's
        return NO_MEMORY if any(sign in str(error) for sign in ("allocate memory", "out of memory")) else None
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.ENOMEM:
        return NO_MEMORY
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f": {error.filename}" if error.filename else ""
        return ResourceError("disk-full", f"The disk is full{where}.", "Free some space and start it again.")
    return None
