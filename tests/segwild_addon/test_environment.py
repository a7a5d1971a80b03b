"""Which backend there is is found out without waiting, and an installation is told as it goes."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segwild_addon.protocol import codec


@pytest.fixture
def environment(nothing_is_left: None, blender: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    from segwild_addon import environment

    monkeypatch.setattr(environment.shutil, "which", lambda name: None)  # whatever this machine has
    return environment


def until(condition: Callable[[], Any]) -> Any:
    from segwild_addon import session

    end = time.monotonic() + 30
    while time.monotonic() < end:
        session.pump()
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def pretend_python(tmp_path: Path) -> Path:
    """A program that answers like the Python of an environment with SegWild."""
    info = {"version": [3, 11], "venv": True, "segwild": "1.2.3", "protocol": codec.VERSION}
    return script(tmp_path / "python", f"import json; print(json.dumps({info!r}))")


def test_there_is_none_at_first(environment: Any, tmp_path: Path) -> None:
    environment.look("", tmp_path / "nothing")
    until(lambda: not [one for one in environment._threads if one.is_alive()])
    assert environment.status().state == "absent"
    assert environment.python() is None


@pytest.mark.skipif(os.name != "posix", reason="a script stands in for Python")
def test_a_chosen_python_is_asked(environment: Any, pretend_python: Path, tmp_path: Path) -> None:
    environment.look(str(pretend_python), tmp_path)
    until(lambda: environment.status().state == "stopped")
    assert environment.python() == pretend_python
    assert environment.version() == "1.2.3"
    other = script(tmp_path / "other", "print('something else')")
    environment.look(str(other), tmp_path)
    until(lambda: environment.status().state == "failed")
    assert environment.python() is None
    assert environment.status().hint


@pytest.mark.skipif(os.name != "posix", reason="a script stands in for Python")
def test_an_earlier_look_that_ends_later_does_not_count(environment: Any, pretend_python: Path, tmp_path: Path) -> None:
    slow = script(tmp_path / "slow", "import time; time.sleep(1); print('something else')")
    environment.look(str(slow), tmp_path)
    environment.look(str(pretend_python), tmp_path)
    until(lambda: not [one for one in environment._threads if one.is_alive()])
    until(lambda: environment.status().state == "stopped")
    assert environment.python() == pretend_python


@pytest.mark.skipif(os.name != "posix", reason="a script stands in for Python")
def test_a_look_that_ends_during_an_installation_does_not_count(
    environment: Any, pretend_python: Path, tmp_path: Path
) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "any.whl").write_bytes(b"")
    slow = script(tmp_path / "slow", "import time; time.sleep(5)")
    late = script(tmp_path / "late", "import time; time.sleep(0.5)\n" + pretend_python.read_text().partition("\n")[2])
    environment.look(str(late), tmp_path)
    environment.install(tmp_path / "made", build="cpu", base=str(slow), wheels=tmp_path / "wheels")
    until(lambda: not environment._threads[0].is_alive())
    until(lambda: environment.session._posted.empty())
    assert environment.status().state == "installing"


@pytest.mark.skipif(os.name != "posix", reason="a script stands in for Python")
def test_one_on_the_path_is_found(
    environment: Any, pretend_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = script(tmp_path / "segwild", "")
    monkeypatch.setattr(environment.shutil, "which", lambda name: str(console))
    environment.look("", tmp_path / "nothing")
    until(lambda: environment.python() == pretend_python)


def test_a_python_that_hangs_holds_nobody_up(environment: Any, tmp_path: Path) -> None:
    began = time.monotonic()
    environment.look(str(script(tmp_path / "python", "import time; time.sleep(3)")), tmp_path)
    assert environment.status().state == "absent"
    assert time.monotonic() - began < 2
    until(lambda: environment.status().state == "failed")


def test_an_installation_that_cannot_be_is_told_and_can_be_tried_again(environment: Any, tmp_path: Path) -> None:
    for _ in range(2):
        environment.install(tmp_path / "environment", build="cpu", wheels=tmp_path)
        assert environment.status().state in ("installing", "failed")  # at once, if the thread was quick
        until(lambda: environment.status().state == "failed")
        assert environment.status().code == "no-wheels"
    assert environment.python() is None


@pytest.mark.skipif(os.name != "posix", reason="a script stands in for Python")
def test_an_installation_is_cancelled(environment: Any, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "any.whl").write_bytes(b"")
    slow = script(
        tmp_path / "slow",
        "import json, sys, time\n"
        "told = {'version': [3, 11], 'venv': False, 'makes': True}\n"
        "print(json.dumps(told), flush=True) if '-c' in sys.argv else time.sleep(60)",
    )
    environment.install(tmp_path / "environment", build="cpu", base=str(slow), wheels=wheels)
    until(lambda: "Step 1" in environment.status().sentence)
    environment.cancel()
    until(lambda: environment.status().state == "absent")
    assert "cancelled" in environment.status().sentence


def test_a_python_that_fits_makes_the_environment(environment: Any) -> None:
    assert all(python.name.lower().startswith("python") for python in environment.base_pythons())
    assert environment.base_pythons()
