"""`--device` reaches what draws: pictures and scores of another device equal those of the CPU."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pretend_gsplat
import pytest
from pretend_device import AWAY, PretendDevice

from backend.capture.pictures import read_picture, write_picture
from backend.progress import Quiet
from backend.segment.shown import draw
from backend.stages import render
from backend.train import evaluate
from backend.train.appearance import Appearance, initial_response, initial_shared
from segwild_addon.protocol.requests import Render


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


def test_scores_of_another_device_are_the_same(blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", pretend_gsplat.module())
    monkeypatch.setattr(evaluate, "FIT_STEPS", 2)
    workspace = blobs.workspace
    scene = blobs.scene.take(np.arange(0, len(blobs.scene), 6))  # the stand-in blends every row in every tile
    scene.save(workspace.splats)
    shared = initial_shared(2, 4, 0)
    Appearance(("a1", "a2"), shared, initial_response(len(scene), 4)).save(workspace)
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
