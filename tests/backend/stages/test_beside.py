"""A verb in a process beside this one does what it does here, and never outlives who asked."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.progress import Cancelled, Quiet
from backend.scene import Workspace
from backend.scene.gaussians import FIELDS
from backend.stages import train
from backend.stages.beside import Beside
from segwild_addon.protocol.errors import InputError, ResourceError
from segwild_addon.protocol.requests import Train


class Told(Quiet):
    """Remembers phases and how far they came; says stop when `stopping`."""

    def __init__(self) -> None:
        super().__init__()
        self.phases: dict[str, int] = {}
        self.stopping = False

    def phase(self, name: str, total: int | None = None) -> None:
        self.name = name
        self.phases[name] = 0

    def advance(self, steps: int = 1, note: str = "") -> None:
        if self.stopping:
            raise Cancelled
        self.phases[self.name] += steps


def asked(root: Path) -> Train:
    return Train(workspace=root, preset="quick", device="cpu", iterations=40, long_side=48, cap=400, appearance="none")


def test_two_trainings_at_once_are_those_one_after_the_other(photographed: Workspace, tmp_path: Path) -> None:
    twin = Workspace(tmp_path / "twin.segwild")
    shutil.copytree(photographed.root, twin.root)
    threads, told = torch.get_num_threads(), Told()
    with Beside("train", asked(twin.root), twin.root, told) as other:
        assert torch.get_num_threads() == max(1, threads // 2)
        result = train.run(asked(photographed.root), told)
        found = other.result()
        assert torch.get_num_threads() == threads
    assert found["gaussians"] == result["gaussians"]
    own, theirs = photographed.gaussians(), twin.gaussians()
    for name in FIELDS:
        # Not bit by bit: what earlier tests have loaded decides how many threads a library of this process sums with.
        np.testing.assert_allclose(getattr(own, name), getattr(theirs, name), rtol=1e-3, atol=1e-3, err_msg=name)
    assert "Training" in told.phases
    assert not list(twin.root.glob("*.log"))


def test_its_error_is_raised_here(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError), Beside("train", asked(tmp_path / "none"), tmp_path / "none", Quiet()) as other:
        other.result()
    assert torch.get_num_threads() == threads


def killed(other: Beside) -> None:
    os.kill(other.process, signal.SIGKILL)
    other.result()


def test_a_death_is_told_and_a_stop_leaves_no_process(photographed: Workspace) -> None:
    long = Train(workspace=photographed.root, device="cpu", iterations=100_000)
    with Beside("train", long, photographed.root, Quiet()) as other, pytest.raises(ResourceError, match="killed"):
        killed(other)
    told = Told()
    told.stopping = True
    with Beside("train", long, photographed.root, told) as other, pytest.raises(Cancelled):
        other.result()
    with pytest.raises(ProcessLookupError):
        os.kill(other.process, 0)
