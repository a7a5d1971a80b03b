"""A Blender with its window, as a test sees it: run code inside, click, type, look.

SEGWILD_BLENDER is a command that runs another one on a virtual screen with `blender`, `xdotool`, `xwd`, `convert` and
`python3`. Where Blender is installed, `xvfb-run -a -s "-screen 0 1280x800x24"` is enough.
"""

from __future__ import annotations

import json
import os
import queue
import shlex
import subprocess
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
ANSWER_SECS = 60.0


def command() -> list[str]:
    return shlex.split(os.environ.get("SEGWILD_BLENDER", ""))


class BlenderError(RuntimeError):
    """What went wrong inside, with the end of its traceback."""


class Driver:
    """One Blender on one screen. Pixels of the screen count from its top-left corner."""

    def __init__(self, folder: Path) -> None:
        """`folder` takes pictures and the log; it must be visible to SEGWILD_BLENDER's command under its own path."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._number = 0
        self._done: queue.Queue[dict[str, Any]] = queue.Queue()
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        self.gone: int | None = None  # Blender's exit status
        self._errors = (folder / "stage.log").open("w")
        self._stage = subprocess.Popen(
            [*command(), "python3", str(HERE / "stage.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        self._wait(self._done, "the virtual screen", 60)

    def start(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """Start Blender without any settings of a user; returns its version."""
        resources = self.folder / "resources"
        resources.mkdir(exist_ok=True)
        self._order(
            start=["--factory-startup", "--offline-mode", *arguments, "--python", str(HERE / "inside.py")],
            env={"BLENDER_USER_RESOURCES": str(resources), **(env or {})},
            log=str(self.folder / "blender.log"),
        )
        return str(self._wait(self._said, "Blender's window", 120)["started"])

    def run(self, source: str, *, view: bool = True, secs: float = ANSWER_SECS) -> Any:
        """Execute Python in Blender; returns what it leaves in `result`. Raises BlenderError.

        The first 3D view is the context, unless not `view`: so files must be loaded.
        """
        self._number += 1
        self._order(tell={"id": self._number, "run": textwrap.dedent(source), "view": view})
        while True:
            answer = self._wait(self._said, "an answer of Blender", secs)
            if answer.get("id") == self._number:
                break
        if "error" in answer:
            raise BlenderError(answer["error"])
        return answer["result"]

    def until(self, source: str, *, view: bool = True, secs: float = ANSWER_SECS) -> Any:
        """Execute until `result` is true; returns it."""
        end = time.monotonic() + secs
        while True:
            result = self.run(source, view=view)
            if result:
                return result
            if time.monotonic() > end:
                raise AssertionError(f"not so after {secs} s: {source.strip()}\n{self.log()}")
            time.sleep(0.1)

    def shot(self, name: str) -> np.ndarray:
        """(H, W, 3) uint8, the screen as it is; kept as a file too."""
        file = self.folder / f"{name}.png"
        self._order(shot=str(file))
        with Image.open(file) as picture:
            return np.asarray(picture.convert("RGB"))

    def click(self, x: float, y: float, *held: str, button: int = 1) -> None:
        """Move there, then press and release; `held` are keys such as shift."""
        self.move(x, y)
        for key in held:
            self.x("keydown", key)
        self.x("click", str(button))
        for key in reversed(held):
            self.x("keyup", key)

    def move(self, x: float, y: float) -> None:
        self.drag_to(x + 3, y)  # a mouse that is there already would not move, and Blender forgets it with a file
        self.drag_to(x, y)
        time.sleep(0.2)  # Blender must see the move before the click

    def drag_to(self, x: float, y: float) -> None:
        """Move there at once; beside the screen is its rim, as for a hand."""
        self.x("mousemove", str(max(0, round(x))), str(max(0, round(y))))

    def key(self, *keys: str) -> None:
        """One after the other, for instance "ctrl+z"; they go where the mouse is."""
        for key in keys:
            self.x("key", key)
            time.sleep(0.1)

    def x(self, *words: str) -> None:
        self._order(x=list(words))

    def log(self) -> str:
        """The end of what Blender has printed."""
        file = self.folder / "blender.log"
        return file.read_text(errors="replace")[-3000:] if file.exists() else ""

    def close(self) -> None:
        try:
            if self._stage.poll() is None:
                self._order(end=True)
        finally:
            self._stage.stdin.close()
            try:
                self._stage.wait(30)
            except subprocess.TimeoutExpired:
                self._stage.kill()
                self._stage.wait()
            self._stage.stdout.close()
            self._errors.close()

    def _read(self) -> None:
        for line in self._stage.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                self._errors.write(line)
                continue
            if "said" in message:
                self._said.put(message["said"])
            elif "gone" in message:
                self.gone = message["gone"]
                self._said.put({"gone": message["gone"]})
            else:
                self._done.put(message)
        self._done.put({"failed": "the virtual screen has ended"})

    def _order(self, **order: Any) -> None:
        self._stage.stdin.write(json.dumps(order) + "\n")
        self._stage.stdin.flush()
        answer = self._wait(self._done, "the virtual screen", 60)
        if "failed" in answer:
            raise BlenderError(answer["failed"])

    def _wait(self, messages: queue.Queue[dict[str, Any]], what: str, secs: float) -> dict[str, Any]:
        try:
            message = messages.get(timeout=secs)
        except queue.Empty:
            raise BlenderError(f"{what} did not come within {secs} s.\n{self.log()}\n{self._stage_log()}") from None
        if "gone" in message or (what == "the virtual screen" and "failed" in message and not self._alive()):
            raise BlenderError(f"Blender ended ({message}).\n{self.log()}\n{self._stage_log()}")
        return message

    def _alive(self) -> bool:
        return self._stage.poll() is None

    def _stage_log(self) -> str:
        self._errors.flush()
        return (self.folder / "stage.log").read_text(errors="replace")[-1000:]
