"""The benchmark's quick form: every row measured, every line complete, the yardstick right, the curves drawn."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from benchmarks import curves, scenes
from benchmarks.case import yardstick_errors
from benchmarks.rasterize import OPERATIONS, Options, main

FIELDS = {
    *("name", "value", "unit", "scene", "gaussians", "width", "height", "channels", "threads", "engine", "seed"),
    *("median", "repeats", "peak_memory_bytes", "load", "commit", "dirty", "date", "device", "cores", "versions"),
    "reason",
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A file like the garden's, with 300 points."""
    random = np.random.default_rng(0)
    Ks = np.array([[30.0, 0, 20], [0, 30, 15], [0, 0, 1]])
    np.savez(
        tmp_path / "place.npz",
        means3d=random.normal((0, 0, 3), 0.5, (300, 3)).astype(np.float32),
        colors=random.integers(0, 256, (300, 3)).astype(np.uint8),
        viewmats=np.eye(4, dtype=np.float32)[None],
        Ks=Ks[None],
        width=40,
        height=30,
    )
    return tmp_path / "place.npz"


def test_the_quick_form_measures_everything(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, plot = tmp_path / "lines.jsonl", tmp_path / "curves.svg"
    options = ["--quick", "--data", str(place), "--sizes", "200", "--resolutions", "40x30", "--repeats", "2"]
    assert main([*options, "--out", str(out), "--plot", str(plot)]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    timed = [line for line in lines if line["unit"] == "s"]
    assert [(line["engine"], line["name"], line["channels"]) for line in timed] == [
        (operation.engine, f"rasterize/{operation.name}", operation.channels) for operation in OPERATIONS
    ]
    for line in timed:
        assert line.keys() == FIELDS
        assert line["value"] is not None, line["reason"]
        assert 0 < line["value"] <= line["median"]
        assert (line["gaussians"], line["width"], line["height"], line["threads"]) == (200, 40, 30, 2)
    (equality,) = [line for line in lines if line["name"] == "rasterize/bit_equal"]
    assert equality["value"] is True
    assert "torch tiles / cpu" in capsys.readouterr().out
    assert ElementTree.parse(plot).getroot().tag.endswith("svg")


def test_memory_and_threads_are_measured(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    options = ["--data", str(place), "--sizes", "50", "--resolutions", "40x30", "--repeats", "1", "--engines"]
    assert main([*options, "torch-tiles", "--out", str(out), "--threads", "1"]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["name"] for line in lines] == ["rasterize/forward", "rasterize/forward_backward"]
    for line in lines:
        assert line["peak_memory_bytes"] is None or 0 <= line["peak_memory_bytes"] < 2**30


@pytest.mark.parametrize("seed", range(5))
def test_the_yardstick_is_right(seed: int) -> None:
    errors = yardstick_errors(seed)
    assert errors["pixels_off"] <= 1e-3
    assert errors["gradient"] < 1e-4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--engines", "gpu"], "--engines gpu: choose from cpu, torch-tiles"),
        (["--resolutions", "640"], "--resolutions 640: give WIDTHxHEIGHT"),
        (["--sizes", "0"], "need numbers above 0, not 0"),
        (["--plot", "curves.png"], "--plot writes .svg, not .png"),
        (["--data", "nowhere"], "neither a .npz file nor a folder"),
    ],
)
def test_bad_options_are_one_sentence(
    options: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "--out", str(tmp_path / "lines.jsonl")]) == 1
    assert sentence in capsys.readouterr().err


def test_more_gaussians_than_points_are_jittered_copies(place: Path) -> None:
    points = scenes.found_points(place)
    few, more = scenes.gaussians(points, 100, seed=0), scenes.gaussians(points, 900, seed=0)
    assert len(few["means"]) == 100
    assert np.array_equal(more["means"][:300], points.positions)
    assert len(np.unique(more["means"], axis=0)) == 900
    assert more["log_scales"].mean() < few["log_scales"].mean()
    assert np.array_equal(more["means"], scenes.gaussians(points, 900, seed=0)["means"])


def test_curves_of_one_line_and_of_none() -> None:
    line = {"name": "rasterize/forward", "engine": "cpu", "scene": "a<b", "value": 0.1, "unit": "s", "threads": 2}
    line |= {"gaussians": 1000, "width": 10, "height": 10, "channels": 3}
    for lines in ([line], []):
        drawn = curves.svg(curves.panels(lines))
        assert ElementTree.fromstring(drawn) is not None
    assert Options().checked().repeats >= 7
