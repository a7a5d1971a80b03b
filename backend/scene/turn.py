"""Whose turn it is to write into a scene: one program's at a time, and the others are told in a sentence.

A service holds `OWNER` as long as it runs, a worker of it `WRITER` as long as a job. A command line holds `WRITER`,
and `OWNER` too if it replaces what a service and its views would go on working with.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from backend.scene.files import disk_trouble
from backend.scene.lock import Locked, locked
from segwild_addon.protocol.errors import InputError

# Hidden: a folder that holds nothing else still counts as empty.
OWNER, WRITER = ".owner.lock", ".writer.lock"


@contextmanager
def taken(root: Path, *, alone: bool) -> Iterator[None]:
    """Hold the scene in `root` for the length of the block; `alone` also keeps services away.

    A folder that the block was to make, and did not, is gone afterwards. Raises InputError if another program works
    on the scene, ResourceError if the folder cannot be written.
    """
    if not _is_for_a_scene(root):
        yield  # whoever writes there refuses it, and names the reason
        return
    fresh = not root.exists()
    with ExitStack() as stack:
        try:
            root.mkdir(parents=True, exist_ok=True)
            if alone:
                stack.enter_context(_told(OWNER, root))
            stack.enter_context(_told(WRITER, root))
        except OSError as error:
            raise disk_trouble(error, root) from error
        try:
            yield
        except BaseException:
            if fresh:
                _removed(root)  # still held: who waits for the locks finds them gone
            raise


@contextmanager
def _told(name: str, root: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(root / name))
        except Locked as error:
            if name == OWNER:
                raise InputError(
                    "scene-served",
                    f"A service or another command works on this scene: {root}.",
                    "Stop it first, or ask the service for this job.",
                ) from error
            raise InputError(
                "scene-busy", f"Another program is writing into this scene: {root}.", "Wait for it to end, or stop it."
            ) from error
        yield


def _is_for_a_scene(root: Path) -> bool:
    """Whether the folder is a scene, or may become one."""
    try:
        return (root / "scene.json").exists() or all(entry.name.startswith(".") for entry in root.iterdir())
    except FileNotFoundError:
        return True
    except OSError:  # a file, or a folder that nobody may look into
        return False


def _removed(root: Path) -> None:
    if {entry.name for entry in root.iterdir()} <= {OWNER, WRITER}:
        with suppress(OSError):  # Windows removes no file that is open: it stays, and harms nobody
            for name in (WRITER, OWNER):
                (root / name).unlink(missing_ok=True)
            root.rmdir()
