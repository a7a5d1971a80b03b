"""Which engine draws, and what a person is told when it is not the one that was hoped for."""

from __future__ import annotations

import builtins
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pretend_gsplat
import pytest
import torch
from pretend_device import AWAY, PretendDevice

from backend.progress import Quiet
from backend.render import chosen_engine, engine
from backend.stages import doctor
from segwild_addon.protocol.errors import SetupError
from segwild_addon.protocol.requests import Doctor


@pytest.fixture(autouse=True)
def _untried() -> Iterator[None]:
    engine.diagnosis.cache_clear()
    engine._warned.clear()
    yield
    engine.diagnosis.cache_clear()
    engine._warned.clear()


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose torch sees a CUDA device: the pretended one."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Pretended")
    smoke = engine.smoke
    monkeypatch.setattr(engine, "smoke", lambda _: smoke(str(AWAY)))
    monkeypatch.setitem(sys.modules, "gsplat", pretend_gsplat.module())
    with PretendDevice():
        yield


def told(wish: str = "cuda") -> str:
    """The sentence and hint of the refusal."""
    with pytest.raises(SetupError) as caught:
        chosen_engine(wish)
    assert caught.value.code == "no-cuda-engine"
    assert caught.value.hint
    return str(caught.value)


def test_the_cpu_is_taken_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "diagnosis", lambda: pytest.fail("nobody asked for CUDA"))
    assert chosen_engine("cpu") == "cpu"


def test_a_working_card_is_taken(card: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert chosen_engine("auto") == "cuda"
    assert not torch.backends.cudnn.allow_tf32  # or similarity is mostly rounding
    assert chosen_engine("cuda") == "cuda"


def test_torch_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    assert chosen_engine("auto") == "cpu"
    assert "torch is built without CUDA" in told()


def test_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_engine("auto") == "cpu"
    assert "no CUDA device" in told()


@pytest.mark.parametrize("name", ["gsplat", "packaging"])
def test_a_package_is_missing(card: None, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    find = engine.importlib.util.find_spec
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda asked: None if asked == name else find(asked))
    assert f"{name} is not installed" in told()
    assert "segwild[cuda]" in told()


def test_an_idle_card_is_told_once(card: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda _: None)
    progress = Quiet()
    for _ in range(3):
        assert chosen_engine("auto", progress) == "cpu"
    assert [warning.code for warning in progress.warnings] == ["cuda-not-used"]
    assert "gsplat is not installed" in progress.warnings[0].sentence


def test_without_a_card_nobody_is_bothered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(engine.shutil, "which", lambda _: None)
    progress = Quiet()
    assert chosen_engine("auto", progress) == "cpu"
    assert not progress.warnings


class _Raising(ModuleType):
    """A gsplat whose functions fail as a compiled one does that does not fit."""

    def __init__(self, error: Exception) -> None:
        super().__init__("gsplat")
        self._error = error
        self.__spec__ = pretend_gsplat.module().__spec__

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self._error


def tools(monkeypatch: pytest.MonkeyPatch, **places: str | None) -> None:
    """Only these programs are on the path; nvcc tells a release."""
    monkeypatch.setattr(engine.shutil, "which", lambda name: places.get(name))
    monkeypatch.setattr(engine.os.path, "isfile", lambda _: False)
    find = engine.importlib.util.find_spec
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda asked: None if asked == "ninja" else find(asked))


@pytest.mark.parametrize(
    ("places", "release", "piece", "words"),
    [
        ({}, "13.0", "ninja", "without ninja"),
        ({"ninja": "n"}, "13.0", "nvcc", "without nvcc"),
        ({"ninja": "n", "nvcc": "n"}, "13.0", "compiler", "without a C++ compiler"),
        ({"ninja": "n", "nvcc": "n", "c++": "c"}, "12.4", "match", "nvcc is of CUDA 12.4, torch of CUDA 13.0"),
        ({"ninja": "n", "nvcc": "n", "c++": "c"}, "13.1", "gsplat", "cannot load library"),
    ],
)
def test_the_missing_piece_is_named(
    card: None,
    monkeypatch: pytest.MonkeyPatch,
    places: dict[str, str],
    release: str,
    piece: str,
    words: str,
) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", _Raising(OSError("cannot load library")))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(engine.os, "name", "posix")
    tools(monkeypatch, **places)
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda *_, **__: subprocess.CompletedProcess([], 0, f"Cuda compilation tools, release {release}, V1"),
    )
    sentence = told()
    assert words in sentence
    assert "OSError" in sentence
    assert engine.diagnosis().piece == piece


def test_an_import_that_raises_anything_falls_back(card: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gsplat")
    find, real_import = engine.importlib.util.find_spec, builtins.__import__
    spec = pretend_gsplat.module().__spec__
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda asked: spec if asked == "gsplat" else find(asked))

    def failing(name: str, *args: object, **kwargs: object) -> ModuleType:
        if name == "gsplat":
            raise OSError("libcudart.so.12: cannot open shared object file")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", failing)
    assert chosen_engine("auto") == "cpu"
    assert "libcudart.so.12" in told()


def test_a_wrong_picture_falls_back(card: None, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["gsplat"]
    right = module.rasterize_to_pixels
    monkeypatch.setattr(module, "rasterize_to_pixels", lambda *a, **k: tuple(0.9 * part for part in right(*a, **k)))
    assert chosen_engine("auto") == "cpu"
    assert "draws something else" in told()
    monkeypatch.setattr(
        module, "rasterize_to_pixels", lambda *a, **k: tuple(part * torch.nan for part in right(*a, **k))
    )
    engine.diagnosis.cache_clear()
    assert "draws something else" in told()


def test_what_gsplat_prints_stays_out_of_results(
    card: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = sys.modules["gsplat"]
    right = module.isect_tiles

    def chatty(*args: object, **kwargs: object) -> object:
        print("gsplat: Setting up CUDA")
        return right(*args, **kwargs)

    monkeypatch.setattr(module, "isect_tiles", chatty)
    assert chosen_engine("cuda") == "cuda"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Setting up CUDA" in captured.err


def test_doctor_names_what_the_cuda_engine_lacks(card: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda _: None)
    facts = doctor.run(Doctor(), Quiet())
    assert "gsplat is not installed" in facts["cuda_engine"]
    assert any("segwild[cuda]" in line for line in facts["missing"])


def test_doctor_tells_of_a_working_engine(card: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DEVICE", str(AWAY))
    facts = doctor.run(Doctor(), Quiet())
    assert "works on Pretended" in facts["cuda_engine"]
    assert "0.999" in facts["cuda_engine"]
