"""`--device` reaches what draws: pictures and scores of another device equal those of the CPU."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pretend_gsplat
import pytest
from pretend_device import AWAY, PretendDevice

from backend.capture.pictures import read_picture, write_picture
from backend.progress import Quiet
from backend.scene import Workspace
from backend.segment.shown import draw
from backend.stages import demo, render
from backend.train import evaluate
from backend.train.appearance import Appearance, initial_shared
from backend.train.mlp import MlpAppearance
from backend.train.relighting import LinearAppearance, Relighting
from segwild_addon.protocol.requests import Demo, Evaluate, Render, Train


def test_pictures_of_another_device_are_the_same(blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def chosen(wish: str, *_: object) -> str:
        asked.append(wish)
        return str(AWAY) if wish == "cuda" else "cpu"

    monkeypatch.setattr(render, "chosen_engine", chosen)
    monkeypatch.setitem(sys.modules, "gsplat", pretend_gsplat.module())
    channels = ("rgb", "depth", "alpha", "object")
    for device in ("cpu", "cuda"):
        request = Render(
            blobs.workspace.root,
            tmp_path / device,
            view=("a0",),
            long_side=24,
            channels=",".join(channels),
            device=device,
        )
        with PretendDevice():
            render.run(request, Quiet())
    assert asked == ["cpu", "cuda"]
    for channel in channels:
        name = "a0.png" if channel == "rgb" else f"a0_{channel}.png"
        here, there = (read_picture(tmp_path / device / name).astype(int) for device in ("cpu", "cuda"))
        assert here.std() > 1
        assert (np.abs(here - there) > 2).mean() < 5e-3, channel


@pytest.mark.parametrize("kind", [LinearAppearance(4), MlpAppearance(4)], ids=str)
def test_scores_of_another_device_are_the_same(kind: Relighting, blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", pretend_gsplat.module())
    monkeypatch.setattr(evaluate, "FIT_STEPS", 2)
    workspace = blobs.workspace
    scene = blobs.scene.take(np.arange(0, len(blobs.scene), 6))  # the stand-in blends every row in every tile
    scene.save(workspace.splats)
    shared = {name: value + 0.1 for name, value in initial_shared(kind, 2, 0).items()}
    Appearance(("a1", "a2"), kind, shared, kind.initial_rows(len(scene))).save(workspace)
    photo = workspace.photo("a0")
    photo = replace(photo, camera=photo.camera.fitted(40))
    picture, _ = draw(scene, photo.camera)
    write_picture(workspace.picture_file("a0"), picture)
    scores = []
    for engine in ("cpu", str(AWAY)):
        with PretendDevice():
            scores += evaluate.left_half_scores(workspace, [photo], fit_long_side=24, progress=Quiet(), engine=engine)
    here, there = scores
    assert there.psnr == pytest.approx(here.psnr, abs=0.05)
    assert np.allclose(there.embedding, here.embedding, atol=2e-2)


def test_a_demo_scores_where_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stages are stand-ins: the real ones take minutes."""
    asked = []
    sample = SimpleNamespace(photo_folder=tmp_path, photos=[], objects=[])
    made = Workspace.create(tmp_path / "square.segwild")
    monkeypatch.setattr(demo, "generate", lambda *_, **__: sample)
    monkeypatch.setattr(demo, "_twin", lambda *_: made)
    monkeypatch.setattr(demo, "_beside", lambda *_: nullcontext())
    monkeypatch.setattr(demo.capture, "run", lambda *_: {})

    def noted(request: Train | Evaluate, *_: object) -> dict[str, float]:
        asked.append((type(request), request.device))
        return {}

    def reached(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(demo.train, "run", noted)
    monkeypatch.setattr(demo.evaluate, "run", noted)
    monkeypatch.setattr(demo.lift, "run", reached)  # as far as devices matter
    with pytest.raises(InterruptedError):
        demo.run(Demo(tmp_path, device="cpu"), Quiet())
    assert asked == [(Train, "cpu"), (Train, "cpu"), (Evaluate, "cpu"), (Evaluate, "cpu")]
