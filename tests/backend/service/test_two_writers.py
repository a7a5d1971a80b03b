"""The command line beside a service on one scene: the second writer is refused in a sentence, readers are not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TRAIN = ("--preset", "quick", "--long-side", "64", "--cap", "1500")


def command(*words: str) -> tuple[int, dict[str, Any]]:
    """A command's exit status and what it answers."""
    done = subprocess.run(
        [sys.executable, "-m", "backend", *words, "--json"], capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def refused(*words: str) -> str:
    status, told = command(*words)
    assert status == 1, told
    assert told["hint"]
    return told["error"]


@pytest.mark.parametrize("verb", ["train", "run", "capture", "import"])
def test_what_a_service_works_with_is_not_replaced_beside_it(
    serve: Callable[..., Any], photographed: Any, tmp_path: Path, verb: str
) -> None:
    served = serve(photographed.root)
    root = str(photographed.root)
    words = ("train", root, *TRAIN) if verb == "train" else (verb, str(tmp_path), "--out", root)
    before = {path: path.read_bytes() for path in photographed.root.rglob("*.j*") if path.name != "jobs.sqlite"}
    assert refused(*words) == "scene-served"
    assert {path: path.read_bytes() for path in before} == before
    assert served.call("GET", "/v1/health")[0] == 200


def test_beside_a_running_job_who_reads_may_and_who_writes_waits(
    serve: Callable[..., Any], photographed: Any, long_request: dict[str, Any]
) -> None:
    served = serve(photographed.root)
    root = str(photographed.root)
    job = served.submit("train", **long_request)
    served.started(job)
    assert refused("segment", root, "--name", "it", "--view", "p0", "--click", "32,24,+") == "scene-busy"
    assert refused("objects", root, "rename", "a", "b") == "scene-busy"
    assert command("objects", root)[1] == {"objects": []}
    served.call("POST", f"/v1/jobs/{job}/cancel", {})
    served.wait(job, "cancelled")
    assert refused("objects", root, "rename", "a", "b") == "unknown-object"  # it is its turn now


def test_beside_a_training_of_the_command_line_nobody_else_writes(
    serve: Callable[..., Any], photographed: Any, waiting: Callable[..., Any]
) -> None:
    root = str(photographed.root)
    words = [sys.executable, "-m", "backend", "train", root, *TRAIN, "--iterations", "200000"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as first:
        assert first.stderr is not None
        while b"Training" not in (line := first.stderr.readline()):
            assert line, "it ended"
        assert refused("train", root, *TRAIN) == "scene-served"
        status, told = command("serve", root)
        assert (status, told["error"]) == (1, "already-served")
        os.kill(first.pid, signal.SIGKILL)
        first.stderr.read()
    served = serve(photographed.root)  # the locks died with their holder
    done = served.wait(served.submit("objects", action="delete", names=["none"]), "failed")
    assert done["error"]["code"] == "unknown-object"


def test_a_wrong_word_leaves_no_folder(tmp_path: Path) -> None:
    assert refused("capture", str(tmp_path / "none"), "--out", str(tmp_path / "scene")) == "folder-missing"
    assert not (tmp_path / "scene").exists()
