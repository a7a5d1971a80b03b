"""The list of a workspace's photos follows the workspace."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segwild_addon.client.link import Happened, Link
from segwild_addon.protocol.events import SceneChanged


@pytest.fixture
def photos(blender: Any, pump_until: Callable[..., Any]) -> Callable[[str], tuple[str, ...]]:
    """What is known of a workspace's photos once all that is under way is done."""
    from segwild_addon import session
    from segwild_addon.ui import thumbnails

    def known(workspace: str) -> tuple[str, ...]:
        thumbnails.photos(workspace)
        pump_until(lambda: not session._work)
        return thumbnails.photos(workspace)

    return known


def test_photos_that_come_later_are_listed_when_the_workspace_says_so(
    photos: Callable[[str], tuple[str, ...]], make_workspace: Any
) -> None:
    from segwild_addon import session
    from segwild_addon.ui import thumbnails

    root, _ = make_workspace(photos=2)
    assert len(photos(str(root))) == 2
    make_workspace(photos=3)
    for what, count in (("objects", 2), ("appearance", 3)):
        for listener in session.listeners:
            listener(Link(root), Happened(SceneChanged(what), None))
        assert len(thumbnails.photos(str(root))) == 2  # until the new ones are read the list does not flicker
        assert len(photos(str(root))) == count


def test_an_import_and_another_file_look_again(
    photos: Callable[[str], tuple[str, ...]], blender: Any, make_workspace: Any
) -> None:
    root, _ = make_workspace(photos=2)
    assert len(photos(str(root))) == 2
    make_workspace(photos=3)
    assert blender.ops.segwild.import_workspace(directory=str(root)) == {"FINISHED"}
    assert len(photos(str(root))) == 3
    make_workspace(photos=4)
    blender.ops.wm.read_homefile(use_empty=True)
    assert len(photos(str(root))) == 4


def test_a_folder_that_was_away_is_looked_for_again(
    photos: Callable[[str], tuple[str, ...]], make_workspace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segwild_addon import session
    from segwild_addon.ui import thumbnails

    root, _ = make_workspace(photos=2)
    away = root.rename(tmp_path / "away")
    assert photos(str(root)) == ()
    away.rename(root)
    assert photos(str(root)) == ()  # a moment later
    assert not session._work
    monkeypatch.setattr(thumbnails, "RETRY_SECS", 0.0)
    assert len(photos(str(root))) == 2


def test_a_disk_that_is_slow_keeps_nobody_waiting(
    blender: Any, make_workspace: Any, pump_until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from segwild_addon import session
    from segwild_addon.ui import thumbnails

    root, _ = make_workspace(photos=2)
    there, real = threading.Event(), thumbnails.Folder.open
    monkeypatch.setattr(thumbnails.Folder, "open", lambda path: there.wait(10) and real(path))
    assert thumbnails.photos(str(root)) == ()
    began = time.monotonic()
    session.pump()
    assert time.monotonic() - began < 5
    assert session._work
    there.set()
    pump_until(lambda: len(thumbnails.photos(str(root))) == 2)


def test_two_files_may_call_their_workspaces_alike(
    photos: Callable[[str], tuple[str, ...]], blender: Any, make_workspace: Any, tmp_path: Path
) -> None:
    root, _ = make_workspace(photos=2)
    for name, count in (("a", 2), ("b", 3)):
        make_workspace(photos=count)
        shutil.copytree(root, tmp_path / name / "x.segwild")
        blender.ops.wm.save_as_mainfile(filepath=str(tmp_path / name / "file.blend"))
        assert len(photos("//x.segwild")) == count
