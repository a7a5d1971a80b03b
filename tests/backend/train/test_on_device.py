"""A training on another device than the CPU: one that is pretended, and a real one where there is one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pretend_gsplat
import pytest
import torch
from pretend_device import AWAY, PretendDevice

from backend.progress import Cancelled, Quiet
from backend.stages import train
from backend.train import loop
from backend.train.config import configured
from backend.train.loop import Training
from backend.train.views import Views
from tests.backend.train.test_loop import StopAt, short, workspace


@pytest.mark.parametrize("appearance", ["linear", "mlp"])
def test_a_training_on_another_device_goes_the_same_way(
    appearance: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every tensor is where it belongs: a mistake of device is an error on the pretended one too."""
    monkeypatch.setitem(sys.modules, "gsplat", pretend_gsplat.module())
    usual = loop.initial

    def one_is_faint(*arguments: Any, **options: Any) -> dict[str, torch.Tensor]:
        rows = usual(*arguments, **options)
        rows["opacity_logits"][0] = -9.0
        return rows

    monkeypatch.setattr(loop, "initial", one_is_faint)
    made = workspace(tmp_path / "w")
    config = configured(short(iterations=24, cap=120, appearance=appearance))
    views = Views(made, made.used_photos(), 64)
    here = Training(made, config, views, Quiet())
    expected = [here._one_step() for _ in range(3)]
    monkeypatch.setattr(loop, "CHECKPOINT_SECS", -1.0)
    with PretendDevice():
        there = Training(made, config, views, Quiet(), str(AWAY))
        assert there.rows["means"].device == AWAY
        for loss in expected:
            assert there._one_step() == pytest.approx(loss, rel=1e-3)
        with pytest.raises(Cancelled):
            Training(made, config, views, StopAt(14), str(AWAY)).run()
        resumed = Training(made, config, views, Quiet(), str(AWAY))
        resumed.run()
    assert resumed.step == 24
    assert np.isfinite(made.gaussians().means).all()
    assert len(made.gaussians()) < len(here.rows)  # it went on the device


@pytest.mark.gpu
def test_a_training_on_cuda_explains_the_photos(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    made, plain = workspace(tmp_path / "w"), workspace(tmp_path / "plain")
    result = train.run(short(workspace=made.root, device="cuda"), Quiet())
    expected = train.run(short(workspace=plain.root, device="cpu"), Quiet())
    assert result["loss"] == pytest.approx(expected["loss"], rel=0.1)
