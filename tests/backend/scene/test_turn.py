"""One program at a time writes into a scene; a folder that nothing was made in is gone again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.scene import Workspace
from backend.scene.lock import Locked, locked
from backend.scene.turn import OWNER, WRITER, taken
from segwild_addon.protocol.errors import InputError


def test_the_second_is_told_who_is_there(tmp_path: Path) -> None:
    root = Workspace.create(tmp_path / "scene").root
    with locked(root / OWNER):  # an idle service
        with pytest.raises(InputError) as refusal, taken(root, alone=True):
            pass
        assert refusal.value.code == "scene-served"
        assert str(root) in refusal.value.sentence
        with taken(root, alone=False):
            pass
    with locked(root / WRITER):  # a worker of it
        for alone in (True, False):
            with pytest.raises(InputError) as refusal, taken(root, alone=alone):
                pass
            assert refusal.value.code == "scene-busy"
    with taken(root, alone=True), pytest.raises(Locked), locked(root / OWNER):
        pass


def test_a_new_folder_is_made_and_stays_a_new_folder(tmp_path: Path) -> None:
    root = tmp_path / "some" / "scene"
    with taken(root, alone=True):
        Workspace.create(root)
    with taken(root, alone=True):
        assert Workspace.open(root)


def test_nothing_stays_of_a_folder_in_which_nothing_was_made(tmp_path: Path) -> None:
    root = tmp_path / "scene"

    def interrupted(make: Callable[[Path], object]) -> None:
        with taken(root, alone=True):
            make(root)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted(Path.is_dir)
    assert not root.exists()
    root.mkdir()
    with pytest.raises(KeyboardInterrupt):
        interrupted(Path.is_dir)
    assert root.is_dir()  # it was there before
    for path in root.iterdir():
        path.unlink()
    root.rmdir()
    with pytest.raises(KeyboardInterrupt):
        interrupted(Workspace.create)
    assert Workspace.open(root)


def test_no_lock_is_put_among_somebodys_letters(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear")
    with taken(tmp_path, alone=True):
        assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    with taken(tmp_path / "letter.txt", alone=True):
        assert (tmp_path / "letter.txt").is_file()


def test_who_waits_for_a_lock_that_is_removed_holds_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    held = threading.Event()
    done = threading.Event()

    def wait() -> None:
        with locked(path, wait_secs=10):
            held.set()
            done.wait(10)

    with locked(path):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not held.wait(0.1)
        path.unlink()
    assert held.wait(5)
    with pytest.raises(Locked), locked(path):
        pass
    done.set()
    waiting.join()
