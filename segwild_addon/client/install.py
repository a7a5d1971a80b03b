"""The backend's environment, made in a folder of the user's choice, when the user asks for it.

A virtual environment of its own Python, so that nothing is ever installed into the Python that runs this.
Steps that are done are not done again, and downloads that were complete are kept, so that an installation
that failed goes on. One that was cut off in the middle of a step begins anew with what was downloaded.
`Installer.status` may be read at any time without waiting.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..protocol import codec
from ..protocol.errors import InputError, ProtocolError, ResourceError, SegWildError, SetupError
from .child import Child
from .status import STOPPED, Status

Build = Literal["cpu", "cuda"]
TORCH = ("torch==2.13.*", "torchvision==0.28.*")  # as in pyproject.toml; partners, of one index
INDEX = {"cpu": "https://download.pytorch.org/whl/cpu", "cuda": "https://download.pytorch.org/whl/cu130"}
NEEDED_BYTES = {"cpu": 4 << 30, "cuda": 14 << 30}  # with what pip unpacks on the way
SILENT_SECS = 900.0  # without a word: a step hangs
PYTHONS = ((3, 11), (3, 13))
MARK = "segwild-backend.json"
UNFINISHED = "unfinished"  # lies in the folder from a step's start to its end
# Runs a step for as long as whoever reads its output lives: an installer without a reader would go on by itself, and
# meet the next attempt in the same environment.
_GUARD = """
import os, signal, subprocess, sys, threading
step = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
def watch():
    while os.read(0, 4096):
        pass
    if os.name == "posix":
        os.killpg(0, signal.SIGKILL)
    subprocess.run(["taskkill", "/F", "/T", "/PID", str(step.pid)], capture_output=True)
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
os._exit(0 if step.wait() == 0 else 1)
"""
_PROBE = (
    "import importlib.util, json, sys\n"
    "info = {'version': list(sys.version_info[:2]), 'venv': sys.prefix != sys.base_prefix}\n"
    "info |= {'makes': bool(importlib.util.find_spec('venv') and importlib.util.find_spec('ensurepip'))}\n"
    "try:\n"
    "    import importlib.metadata as m; from segwild_addon.protocol import codec\n"
    "    import importlib.util as u; u.find_spec('backend') or 1 / 0\n"
    "    info |= {'segwild': m.version('segwild'), 'protocol': codec.VERSION}\n"
    "except Exception as error: info['missing'] = repr(error)\n"
    "print(json.dumps(info))"
)


@dataclass(frozen=True)
class Plan:
    """What to install, where, and from where."""

    folder: Path  # the environment and its log go here
    python: Path  # makes the environment; 3.11 to 3.13
    build: Build = "cpu"
    package: str = "segwild"  # or a wheel, or a source folder
    torch: tuple[str, ...] = TORCH
    wheels: Path | None = None  # a folder of wheels: nothing is downloaded
    others: tuple[Path, ...] = ()  # instead of `python`, where that does not work: the first that does

    @property
    def log(self) -> Path:
        return self.folder / "install.log"


@dataclass(frozen=True)
class Step:
    name: str
    command: tuple[str, ...]


def environment_python(folder: Path) -> Path:
    """The Python of the environment in `folder`, made or not."""
    return folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def steps(plan: Plan) -> list[Step]:
    """The commands of an installation, in order."""
    python = str(environment_python(plan.folder))
    # -I: no variables, no user folder, no current folder; pip also refuses to run outside an environment.
    pip = (python, "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "--require-virtualenv")
    install = (*pip, "install", "--cache-dir", str(plan.folder / "downloads"))
    made = Step("environment", (str(plan.python), "-I", "-m", "venv", "--clear", str(plan.folder / "venv")))
    if plan.wheels is not None:
        # Without an index torch's build is the one in the folder.
        offline = (*install, "--no-index", "--find-links", str(plan.wheels))
        return [made, Step("torch", (*offline, *plan.torch)), Step("segwild", (*offline, plan.package))]
    online = (*install, "--retries", "10", "--timeout", "60", "--progress-bar", "raw")
    package = plan.package if plan.build == "cpu" else f"{plan.package}[cuda]"
    return [
        made,
        Step("pip", (*install, "--upgrade", "pip>=25.1")),  # older ones cannot tell how far a download is
        Step("torch", (*online, "--index-url", INDEX[plan.build], *plan.torch)),
        Step("segwild", (*online, package)),
    ]


@dataclass(frozen=True)
class Installation:
    """An environment with a backend."""

    python: Path
    version: str


def installed(folder: Path) -> Installation | None:
    """The finished installation in `folder`; None if there is none. Reads one small file."""
    try:
        mark = json.loads((folder / MARK).read_text(encoding="utf-8"))
        version = mark["version"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    python = environment_python(folder)
    return Installation(python, str(version)) if python.is_file() else None


def inspected(python: Path, *, timeout_secs: float = 60.0) -> Installation:
    """The backend that this Python has. Raises SetupError if it has none, ProtocolError if it is of another version."""
    info = _probe(python, timeout_secs)
    if "missing" in info:
        raise SetupError("no-backend", f"This Python has no SegWild: {python}.", "Choose another, or install one.")
    if info["protocol"] != codec.VERSION:
        raise ProtocolError(
            "wrong-version",
            f"SegWild {info['segwild']} speaks version {info['protocol']} of the protocol, this program "
            f"version {codec.VERSION}: {python}.",
            "Update whichever is older.",
        )
    return Installation(python, str(info["segwild"]))


def _that_works(*pythons: Path) -> Path:
    """The first of these that can make the environment. Raises what is wrong with the first of all if none can."""
    wrong: SetupError | None = None
    for python in pythons:
        try:
            info = _probe(python)
        except SetupError as error:
            wrong = wrong or error
            continue
        version = tuple(info["version"])
        if not PYTHONS[0] <= version <= PYTHONS[1]:
            wrong = wrong or SetupError(
                "python-version",
                f"SegWild runs on Python 3.11 to 3.13, this is {version[0]}.{version[1]}: {python}.",
                "Choose another Python.",
            )
        elif not info.get("makes"):
            wrong = wrong or SetupError(
                "python-without-venv",
                f"This Python cannot make environments, it lacks venv or ensurepip: {python}.",
                "Install the package python3-venv of your system, or choose another Python.",
            )
        else:
            return python
    assert wrong is not None
    raise wrong


def _probe(python: Path, timeout_secs: float = 60.0) -> dict:
    """What a Python says of itself. Raises SetupError."""
    try:
        child = Child([str(python), "-I", "-c", _PROBE], environment={})
    except OSError as error:
        raise SetupError(
            "no-python", f"This is not a Python ({error.strerror}): {python}.", "Choose another."
        ) from error
    try:
        with contextlib.suppress(queue.Empty, ValueError, TypeError, KeyError):
            info = json.loads(child.lines.get(timeout=timeout_secs) or "")
            info["version"], info["venv"]
            return info
    finally:
        child.end()
    raise SetupError("no-python", f"This is not a Python that works: {python}.", "Choose another.")


class Installer:
    """Carries out one plan in a thread. `start` it only when the person asked for it."""

    def __init__(self, plan: Plan, *, online: bool, told: Callable[[Status], None] = lambda status: None) -> None:
        """`online`: the person allows downloads. `told` hears of every change, from the installing thread."""
        self.plan, self.online = plan, online
        self.status: Status = STOPPED
        self.result: Installation | None = None
        self.tail: deque[str] = deque(maxlen=8)  # the log's last lines
        self._told = told
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, or go on where an earlier attempt stopped. Returns at once."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._cancelled.clear()
        self._say(Status("installing", "Looking at what is there."))
        self._thread = threading.Thread(target=self._run, name="segwild-install", daemon=True)
        self._thread.start()

    def cancel(self, timeout_secs: float = 10.0) -> None:
        """Stop; what was downloaded stays. When this returns no process is left."""
        self._cancelled.set()
        self.wait(timeout_secs)

    def wait(self, timeout_secs: float) -> bool:
        """Whether it has ended within the time."""
        if self._thread is not None:
            self._thread.join(timeout_secs)
            return not self._thread.is_alive()
        return True

    def _say(self, status: Status) -> None:
        if status != self.status:
            self.status = status
            self._told(status)

    def _run(self) -> None:
        try:
            self.result = self._installed()
            self._say(STOPPED)
        except _Cancelled:
            self._say(Status("absent", "The installation was cancelled.", "Start it again: it goes on from there."))
        except SegWildError as error:
            self._say(Status.of("failed", error))
        except OSError as error:
            trouble = ResourceError(
                "folder-unwritable",
                f"The folder cannot be used ({error.strerror}): {self.plan.folder}.",
                "Choose another folder.",
            )
            self._say(Status.of("failed", trouble))

    def _installed(self) -> Installation:
        self._check()
        plan = self.plan
        todo = steps(plan)
        # Files of a package that was cut off while it was copied look like a package: all is copied anew.
        done = 0 if (plan.folder / UNFINISHED).exists() else self._done(todo)
        with plan.log.open("a", encoding="utf-8") as log:
            for number, step in enumerate(todo):
                if number < done:
                    continue
                (plan.folder / MARK).unlink(missing_ok=True)
                (plan.folder / UNFINISHED).touch()
                log.write(f"== {time.strftime('%Y-%m-%d %H:%M:%S')} {step.name}: {' '.join(step.command)}\n")
                log.flush()
                self._carry_out(step, number, len(todo), log)
                self._remember(todo[: number + 1])
        found = inspected(environment_python(plan.folder))
        mark = {"version": found.version, "build": plan.build}
        _write(plan.folder / MARK, mark)
        return found

    def _check(self) -> None:
        """Raises SegWildError for a plan that cannot or must not be carried out."""
        plan = self.plan
        folder = plan.folder.resolve()
        if plan.wheels is None and not self.online:
            raise SetupError(
                "online-off", "Downloads are not allowed.", "Allow online access, or choose a folder of wheels."
            )
        if plan.wheels is not None and not any(plan.wheels.glob("*.whl")):
            raise InputError("no-wheels", f"There are no wheels in this folder: {plan.wheels}.", "Choose another.")
        for own in (Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()):
            if folder == own or own in folder.parents:
                raise InputError(
                    "own-python",
                    f"The folder belongs to the Python that runs this: {folder}.",
                    "Choose another folder.",
                )
        strange = folder.is_dir() and any(folder.iterdir()) and not (folder / "install.log").exists()
        if strange:
            raise InputError("folder-not-empty", f"The folder holds other things: {folder}.", "Choose a new folder.")
        self.plan = plan = replace(plan, python=_that_works(plan.python, *plan.others))
        plan.folder.mkdir(parents=True, exist_ok=True)
        free, needed = shutil.disk_usage(plan.folder).free, NEEDED_BYTES[plan.build]
        if plan.wheels is None and free < needed:
            raise ResourceError(
                "disk-full",
                f"The installation needs {needed >> 30} GB, {free / 2**30:.1f} GB are free: {folder}.",
                "Free some space, or choose a folder on another disk.",
            )

    def _done(self, todo: list[Step]) -> int:
        """How many of these very steps an earlier attempt has finished."""
        try:
            finished = json.loads((self.plan.folder / "steps.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0
        wanted = [list(step.command) for step in todo]
        same = 0
        while same < len(wanted) and isinstance(finished, list) and finished[same : same + 1] == [wanted[same]]:
            same += 1
        return same if environment_python(self.plan.folder).exists() else 0

    def _remember(self, done: list[Step]) -> None:
        _write(self.plan.folder / "steps.json", [list(step.command) for step in done])

    def _carry_out(self, step: Step, number: int, of: int, log) -> None:
        sentence = f"Step {number + 1} of {of}: {step.name}."
        self._say(Status("installing", sentence, done=number, total=of))
        # The environment's own Python is not there yet in the first step.
        guarded = (str(self.plan.python), "-I", "-c", _GUARD, *step.command)
        child = Child(guarded, environment={"PIP_CONFIG_FILE": os.devnull} if self.plan.wheels else {})
        try:
            heard = time.monotonic()
            while True:
                if self._cancelled.is_set():
                    raise _Cancelled
                try:
                    line = child.lines.get(timeout=0.2)
                except queue.Empty:
                    if time.monotonic() - heard > SILENT_SECS:
                        raise ResourceError(
                            "install-silent",
                            f"The step {step.name} has not moved for {SILENT_SECS / 60:.0f} minutes.",
                            "Check the connection and try again: what is there is kept.",
                        ) from None
                    continue
                heard = time.monotonic()
                if line is None:
                    break
                progress = _PROGRESS.fullmatch(line)
                if progress:
                    done, total = (int(group) for group in progress.groups())
                    self._say(Status("installing", sentence, self.tail[-1] if self.tail else "", "", None, done, total))
                elif line.strip():
                    self.tail.append(line.strip())
                    log.write(line + "\n")
                    log.flush()
        finally:
            child.end(0.0 if self._cancelled.is_set() else 5.0)
        (self.plan.folder / UNFINISHED).unlink(missing_ok=True)  # it ended by itself: pip takes back what failed
        if child.exit_status() != 0:
            raise _told(step, list(self.tail), self.plan)


class _Cancelled(Exception):
    """The person cancelled."""


_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_CAUSES = (
    (r"No space left|Errno 28", "disk-full", "The disk is full.", "Free some space and try again."),
    (
        r"No matching distribution|Could not find a version",
        "no-distribution",
        "A package is not to be had for this Python and machine.",
        "Look into the log; with a folder of wheels, add the missing one.",
    ),
    (
        r"NewConnectionError|ConnectTimeout|Temporary failure|getaddrinfo|Max retries|ReadTimeout|ConnectionReset",
        "no-connection",
        "The connection to the package index failed.",
        "Check the connection and try again: what is there is kept.",
    ),
    (r"SSLError|CERTIFICATE_VERIFY", "no-trust", "The package index's certificate was refused.", "Check the proxy."),
    (
        r"Permission denied|Errno 13|WinError 5",
        "folder-unwritable",
        "A file cannot be written.",
        "Choose another folder.",
    ),
)


def _told(step: Step, tail: list[str], plan: Plan) -> SegWildError:
    """Why a step failed, out of its last lines."""
    text = "\n".join(tail)
    for pattern, code, sentence, hint in _CAUSES:
        if re.search(pattern, text):
            return SetupError(code, f"{sentence} (step {step.name}, log {plan.log})", hint)
    last = next((line for line in reversed(tail) if "error" in line.lower()), tail[-1] if tail else "no output")
    return SetupError("install-failed", f"The step {step.name} failed ({last[:200]}), see {plan.log}.", "Try again.")


def _write(path: Path, value: object) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value), encoding="utf-8")
    part.replace(path)
