"""A child process: its lines arrive in a queue, its standard input is its lifeline, and it can be ended for good."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess  # programs of our own or named by the person, never through a shell  # nosec B404
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

LINE_MAX = 1 << 16  # bytes; a longer one arrives in parts
LINES_MAX = 10_000  # waiting; what a talkative child says beyond is dropped
# Without them a console window opens on Windows, and Ctrl-C in ours would reach the child.
_WINDOWS_FLAGS = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
# What a program that embeds Python may have set for itself, and what would make pip install elsewhere.
_FOREIGN = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "PIP_TARGET", "PIP_PREFIX", "PIP_USER")


class Child:
    """`command`, running. `lines` receives its output line by line, then None."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], errors_to: IO[bytes] | None = None
    ) -> None:
        """`environment` joins ours, less what is meant for this Python alone. Standard error goes to the file
        `errors_to`, or among the lines. Raises OSError if the program cannot be started."""
        kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        self.lines: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(  # no shell; the command is ours or the person's choice  # nosec B603
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if errors_to is None else errors_to,
            env=kept | {"PYTHONUTF8": "1"} | dict(environment),
            start_new_session=os.name == "posix",
            creationflags=_WINDOWS_FLAGS,
        )
        self._reader = threading.Thread(target=self._read, name="segwild-child", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_status(self) -> int | None:
        """None while it lives; negative: the signal that ended it."""
        return self._process.poll()

    def let_go(self) -> None:
        """Close its lifeline: a well-behaved child ends by itself."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def end(self, grace_secs: float = 0.0) -> None:
        """End it, after `grace_secs` by force and with what it has started. Returns when nothing is left."""
        self.let_go()
        try:
            self._process.wait(grace_secs)
        except subprocess.TimeoutExpired:
            self._kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5.0)
        self._reader.join(1.0)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()

    def _kill(self) -> None:
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:  # its own children end with their standard input
            self._process.kill()

    def _read(self) -> None:
        output = self._process.stdout
        assert output is not None
        while line := output.readline(LINE_MAX):
            if self.lines.qsize() < LINES_MAX:
                self.lines.put(line.decode("utf-8", "replace").rstrip("\r\n"))
        self.lines.put(None)


def why_ended(status: int, log: Path | None) -> str:
    """A sentence on a child that was not asked to end: the signal, or the last line of its log."""
    if status < 0:
        name = signal.Signals(-status).name if -status in iter(signal.Signals) else str(-status)
        more = ", most likely because memory ran out" if name == "SIGKILL" else ""
        return f"The system ended the backend ({name}{more})."
    last = last_line(log)
    return f"The backend ended unexpectedly ({last or f'status {status}'})."


def last_line(log: Path | None) -> str:
    """The last line of a log, at most 200 characters; empty if there is none."""
    try:
        if log is None:
            return ""
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4000))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    filled = [line.strip() for line in lines if line.strip()]
    return filled[-1][:200] if filled else ""
