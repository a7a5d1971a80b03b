"""Operators that run for a while end whole, whatever goes wrong: nothing is left of timer, cursor and status bar."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon import session
from segwild_addon.data import export, scenes
from segwild_addon.data.steps import Aside, finished
from segwild_addon.operators import rendering
from segwild_addon.operators.exporting import SEGWILD_OT_export_ply
from segwild_addon.operators.importing import SEGWILD_OT_import_ply
from segwild_addon.operators.rendering import SEGWILD_OT_render
from segwild_addon.protocol.errors import InputError

TIMER = SimpleNamespace(type="TIMER")


class Running(SimpleNamespace):
    """An operator under way, of which only Blender can make a real one."""

    def __init__(self, kind: type, **facts: Any) -> None:
        super().__init__(kind=kind, reports=[], _timer="the timer", **facts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.kind, name).__get__(self)

    def report(self, kinds: set[str], sentence: str) -> None:
        self.reports.append((*kinds, sentence))


def broken(error: Exception) -> Any:
    """Steps of work that come to this."""
    raise error
    yield 0.0


def stopped(context: Any) -> bool:
    context.window_manager.event_timer_remove.assert_called_once_with("the timer")
    context.window_manager.progress_end.assert_called_once_with()
    return True


@pytest.mark.parametrize("error", [ZeroDivisionError(), MemoryError(), RuntimeError("no object mode")])
def test_an_import_ends_with_a_mistake_of_ours(blender: Any, error: Exception) -> None:
    operator, context = Running(SEGWILD_OT_import_ply, _work=broken(error), _warnings=[]), MagicMock(mode="OBJECT")
    assert operator.modal(context, TIMER) == {"CANCELLED"}
    assert stopped(context)
    assert type(error).__name__ in session.trouble()
    assert operator.reports == [("ERROR", session.trouble())]


@pytest.mark.parametrize("where", ["reading", "writing"])
@pytest.mark.parametrize(("error", "said"), [(ZeroDivisionError(), "Something went wrong"), (MemoryError(), "Memory")])
def test_an_export_ends_with_a_mistake_of_ours(blender: Any, where: str, error: Exception, said: str) -> None:
    aside = Aside(broken(error), "test") if where == "writing" else None
    operator = Running(SEGWILD_OT_export_ply, _taking=broken(error), _aside=aside, _path=MagicMock())
    context = MagicMock()
    while (result := operator.modal(context, TIMER)) != {"CANCELLED"}:
        assert result == {"PASS_THROUGH"}  # the thread has only begun
    assert stopped(context)
    assert context.workspace.status_text_set.call_args.args == (None,)
    assert said in operator.reports[0][1]


@pytest.mark.parametrize("form", ["PLY", "SPZ"])
def test_the_thread_of_an_export_asks_the_operator_nothing(
    blender: Any, make_workspace: Any, tmp_path: Path, form: str
) -> None:
    """Its settings are memory of Blender's."""
    scene = finished(scenes.importing(make_workspace()[0], [].append))
    taken = finished(export.taking(scenes.splat_objects(scene)))
    path = tmp_path / "out"
    operator = Running(SEGWILD_OT_export_ply, form=form, with_ids=False, _path=path, _taken=taken)
    writing = operator._writing()
    vars(operator).clear()
    operator.kind = None
    assert finished(writing) == 60
    assert path.read_bytes().startswith(b"ply" if form == "PLY" else b"\x1f\x8b")


def test_an_animation_ends_with_a_mistake_of_ours(blender: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "_render", lambda *_, **__: 1 // 0)
    painter, context = MagicMock(), MagicMock()
    operator = Running(SEGWILD_OT_render, _frames=iter([3]), _painter=painter, _first=1)
    assert operator.modal(context, TIMER) == {"CANCELLED"}
    assert stopped(context)
    context.scene.frame_set.assert_called_with(1)
    painter.free.assert_called_once_with()
    assert "ZeroDivisionError" in operator.reports[0][1]


def test_an_animation_ends_with_the_file(blender: Any) -> None:
    painter, context = MagicMock(), MagicMock()
    context.window_manager.event_timer_remove.side_effect = ReferenceError
    Running(SEGWILD_OT_render, _frames=iter([3]), _painter=painter, _first=1).cancel(context)
    context.window_manager.progress_end.assert_called_once_with()
    painter.free.assert_called_once_with()
    context.scene.frame_set.assert_not_called()  # the scene is another one by then


def test_a_render_that_blender_refuses_is_told(blender: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: Any) -> None:
        raise RuntimeError("Error: System is out of GPU memory\n")

    monkeypatch.setattr(blender.ops, "render", SimpleNamespace(render=refused), raising=False)
    with pytest.raises(InputError, match=r"made no render \(System is out of GPU memory\)"):
        rendering._rendered(blender.context.scene, SimpleNamespace(width=4, height=4))
