"""Child processes that speak JSON lines: started, written to, read from, and ended with all they started.

A child ends itself when its standard input does, so that nothing outlives the service.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess  # our own modules alone, never a shell  # nosec B404
import sys
import threading
from pathlib import Path
from typing import Any

from segwild_addon.protocol import errors
from segwild_addon.protocol.errors import SegWildError

_ROOT = Path(__file__).parents[1]
_END_SECS = 2.0  # for a process whose output has ended
_LOG_READ_BYTES = 8_000
# What Python, C++, torch, numpy, LLVM and the loader say when they get none.
_NO_MEMORY = (
    "MemoryError",
    "bad_alloc",
    "allocate memory",
    "llocation failed",
    "out of memory",
    "Unable to allocate",
    "failed to map segment",
)
LESS_MEMORY = "Use fewer Gaussians (--cap), smaller pictures (--long-side) or a smaller preset."


class Child:
    """`python -m MODULE`; its lines arrive in `lines`, None at the end."""

    def __init__(self, module: str, log: Path, *, yielding: bool = False, threads: int | None = None) -> None:
        """A `yielding` child leaves the cores to others that want them, and dies first if memory runs out.

        It calculates with at most so many `threads` (None: as many as there are cores).
        """
        self.log, self._log_from = log, log.stat().st_size if log.exists() else 0
        self.killed = False  # by us
        self.lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        # -P: a numpy.py in the current folder must not be taken for the library.
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {name: value for name, value in os.environ.items() if name != "SEGWILD_TOKEN"}
        if threads is not None:
            environment["OMP_NUM_THREADS"] = str(threads)  # torch follows, and ours follow torch
        with log.open("ab") as errors_to:
            self._process = subprocess.Popen(  # no shell, no word from outside  # nosec B603
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors_to,
                env=environment | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"},
                start_new_session=True,
                # Windows: no console window, and what elsewhere is niceness.
                creationflags=_flags("CREATE_NO_WINDOW", *(["BELOW_NORMAL_PRIORITY_CLASS"] if yielding else [])),
            )
        if yielding:
            _yield_cores(self._process.pid)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def send(self, message: Any) -> None:
        """One line to the child. If it has died, its lines end too, and that is noticed there."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # it has died, or was closed by another thread
            pass

    def kill(self) -> None:
        """End it with everything it may have started."""
        if self._process.returncode is not None:
            return  # its number may be somebody else's by now
        self.killed = True
        if hasattr(os, "killpg"):
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                self._process.kill()
        else:
            self._process.kill()

    def close(self) -> None:
        """`kill`, then collect what is left."""
        self.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                continue

    def failure(self, hint: str) -> errors.ResourceError:
        """What ended a child that was not asked to, in a sentence; `hint` unless memory ran out."""
        try:
            status = self._process.wait(_END_SECS)
        except subprocess.TimeoutExpired:
            status = None
        if status == -getattr(signal, "SIGKILL", 9):
            return errors.ResourceError(
                "worker-killed",
                "The worker was killed by the system, most likely because memory ran out.",
                f"{LESS_MEMORY} If memory was not the reason: {hint[0].lower()}{hint[1:]}",
            )
        words = self._last_words()
        if any(sign in line for sign in _NO_MEMORY for line in words):
            return errors.ResourceError("out-of-memory", "Memory ran out.", LESS_MEMORY)
        fatal = [line for line in words if line.startswith("Fatal Python error")]
        last = (fatal or words or [f"status {status}"])[-1]
        if status is None or status < 0:  # where memory is short, native code may crash in any manner
            hint = f"{hint} If memory was short: {LESS_MEMORY[0].lower()}{LESS_MEMORY[1:]}"
        return errors.ResourceError("worker-died", f"The worker ended unexpectedly ({last[:200]}).", hint)

    def _last_words(self) -> list[str]:
        """The end of what it wrote into the log: others may have written there before."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(self._log_from, self.log.stat().st_size - _LOG_READ_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return []
        return [line.strip() for line in lines if line.strip()]

    @staticmethod
    def error_in(line: dict[str, Any]) -> SegWildError:
        """The error of a line made by `told`."""
        return errors.kind_named(line["error"])(str(line["code"]), str(line["sentence"]), str(line["hint"]))

    def _read(self) -> None:
        for line in self._process.stdout or ():
            try:
                message = json.loads(line)
            except ValueError:
                continue  # a line cut off by the child's end
            if isinstance(message, dict):
                self.lines.put(message)
        self.lines.put(None)


def _flags(*names: str) -> int:
    """Windows' flags for a new process; none elsewhere."""
    return sum(getattr(subprocess, name, 0) for name in names)


def _yield_cores(process: int) -> None:
    """Niceness, of the process and of its session, and first place when the system must kill someone.

    Desktops weigh sessions before processes (sched_autogroup): there niceness alone would yield nothing.
    """
    if hasattr(os, "setpriority"):
        try:
            os.setpriority(os.PRIO_PROCESS, process, 10)
        except OSError:
            return  # it has ended already
    for file, value in (("autogroup", "10"), ("oom_score_adj", "500")):
        try:
            Path(f"/proc/{process}/{file}").write_text(value)
        except OSError:
            continue  # another system, or a kernel without it


def told(error: SegWildError) -> dict[str, Any]:
    """An error as a line."""
    return {"error": errors.kind_name(error), "code": error.code, "sentence": error.sentence, "hint": error.hint}
