"""Which Python runs the backend, and the making of its environment: state for the panel, work in threads."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import bpy

from . import session
from .client.install import Build, Installation, Installer, Plan, inspected, installed
from .client.status import ABSENT, STOPPED, Status
from .protocol.errors import SegWildError

STOP_SECS = 2.0

_state: dict[str, Status] = {"status": ABSENT}
_found: list[Installation] = []  # at most one: what `status` speaks of
_installer: list[Installer] = []  # at most one: the last
_threads: list[threading.Thread] = []
_looks = [0]  # so far; only the answer of the last one counts


def default_folder() -> Path:
    """Where the environment goes unless the person chooses another folder."""
    try:
        return Path(bpy.utils.extension_path_user(__package__, path="backend"))
    except ValueError:  # not installed as an extension
        return Path(bpy.utils.user_resource("DATAFILES", path="segwild/backend"))


def status() -> Status:
    """absent, installing, stopped (there is one) or failed. Never waits."""
    return _state["status"]


def python() -> Path | None:
    """The Python of the backend, checked; None if there is none."""
    return _found[-1].python if _found and status().state == "stopped" else None


def version() -> str:
    """Of the backend that was found; empty if there is none."""
    return _found[-1].version if _found else ""


def tail() -> tuple[str, ...]:
    """The installation's last lines."""
    return tuple(_installer[-1].tail) if _installer else ()


def log() -> Path | None:
    return _installer[-1].plan.log if _installer else None


def online() -> bool:
    """Whether the person allows Blender to go online."""
    return bool(bpy.app.online_access)


def look(chosen: str, folder: Path) -> None:
    """Find out, in a thread, which backend there is: the Python `chosen` if any, else the one in `folder`, else one
    that the system finds by the name `segwild`."""
    if status().state == "installing":
        return
    _looks[0] += 1
    number = _looks[0]
    own = Path(bpy.path.abspath(chosen)) if chosen else None

    def found() -> Installation | None:
        if own is not None:
            return inspected(own)
        if (made := installed(folder)) is not None:
            return inspected(made.python)
        script = shutil.which("segwild")
        for candidate in _beside(Path(script)) if script else ():
            with contextlib.suppress(SegWildError):
                return inspected(candidate)
        return None

    def work() -> None:
        try:
            result, told = found(), STOPPED
        except SegWildError as error:
            result, told = None, Status.of("failed", error)
        if result is None and told is STOPPED:
            told = ABSENT
        session.post(lambda: _take(result, told) if number == _looks[0] else None)

    _in_thread(work)


def install(
    folder: Path, *, build: Build, base: str = "", package: str = "segwild", wheels: Path | None = None
) -> None:
    """Make the environment, or go on making it. Call it only when the person asked for it. Returns at once."""
    cancel()
    _looks[0] += 1  # what a look finds out now comes too late
    python, *others = [Path(base)] if base else base_pythons()
    plan = Plan(folder, python, build, package, wheels=wheels, others=tuple(others))
    one = Installer(plan, online=online(), told=lambda status: session.post(lambda: _told(one, status)))
    _installer[:] = [one]
    one.start()
    _state["status"] = one.status
    session.wake()


def cancel() -> None:
    """Stop the installation; what was downloaded stays. Returns at once."""
    if _installer and _state["status"].state == "installing":
        _in_thread(_installer[-1].cancel)


def base_pythons() -> list[Path]:
    """Pythons that may make the environment: Blender's own, where it has one, else the system's, the newest first.

    Not all that bear such a name work: some only say that another has to be chosen.
    """
    names = ("python3.13", "python3.12", "python3.11")
    own = Path(sys.executable)
    if own.name.lower().startswith("python") and (3, 11) <= sys.version_info[:2] <= (3, 13):
        return [own]
    return [Path(found) for found in map(shutil.which, names) if found] or [own]


def _beside(script: Path) -> list[Path]:
    """The Pythons that a console script may belong to."""
    folder = script.resolve().parent
    return [folder / name for name in ("python", "python3", "python.exe")]


def _told(one: Installer, status: Status) -> None:
    if not _installer or _installer[-1] is not one:
        return
    if status.state == "stopped" and one.result is not None:
        _take(one.result, STOPPED)
    elif status.state != "stopped":
        _state["status"] = status


def _take(result: Installation | None, status: Status) -> None:
    if _state["status"].state == "installing" and result is None:
        return
    _found[:] = [result] if result is not None else []
    _state["status"] = status


def _in_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work, name="segwild-environment", daemon=True)
    _threads[:] = [one for one in _threads if one.is_alive()]
    _threads.append(thread)
    thread.start()


def register() -> None:
    _state["status"] = ABSENT


def unregister() -> None:
    cancel()
    for thread in _threads:
        thread.join(STOP_SECS)
    _threads.clear()
    _installer.clear()
    _found.clear()
