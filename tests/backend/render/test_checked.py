"""Every argument that does not fit is named, with what was expected and what came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from backend.render import Light, Seen, accumulate, rasterize, render_channels, top_contributors
from backend.scene.cameras import Camera
from backend.scene.gaussians import Gaussians

N = 5


def harmonics(**changed: Any) -> dict[str, Any]:
    return {
        "means": torch.zeros(N, 3),
        "quats": torch.ones(N, 4),
        "log_scales": torch.zeros(N, 3),
        "opacity_logits": torch.zeros(N),
        "sh0": torch.zeros(N, 1, 3),
        "shN": torch.zeros(N, 3, 3),
    } | changed


def colored(**changed: Any) -> dict[str, Any]:
    kept = {name: value for name, value in harmonics().items() if not name.startswith("sh")}
    return kept | {"colors": torch.zeros(N, 7)} | changed


def light(rows: int = N, gain: tuple[int, ...] = (3, 3)) -> Light:
    return Light(torch.zeros(gain), torch.zeros(3), torch.zeros(rows, 3, 2), torch.zeros(2))


def view(**changed: Any) -> Camera:
    return replace(Camera(np.eye(4), 20.0, 20.0, 8.0, 6.0, 16, 12), **changed)


def scene() -> Gaussians:
    return Gaussians(**{name: value.numpy() for name, value in harmonics().items()})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (harmonics(means=torch.zeros(N)), r"means: expected \(N, 3\), got \(5,\)"),
        (harmonics(means=torch.zeros(N, 2)), r"means: expected \(5, 3\), got \(5, 2\)"),
        (harmonics(means=None), r"means: expected \(N, 3\), got NoneType"),
        (harmonics(quats=torch.ones(N, 3)), r"quats: expected \(5, 4\), got \(5, 3\)"),
        (harmonics(quats=torch.ones(N + 1, 4)), r"quats: expected \(5, 4\), got \(6, 4\)"),
        (harmonics(log_scales=torch.zeros(N)), r"log_scales: expected \(5, 3\), got \(5,\)"),
        (harmonics(opacity_logits=torch.zeros(N, 1)), r"opacity_logits: expected \(5,\), got \(5, 1\)"),
        (harmonics(sh0=torch.zeros(N, 3)), r"sh0: expected \(5, 1, 3\), got \(5, 3\)"),
        (harmonics(shN=torch.zeros(N, 4, 3)), r"shN: .*one of 0, 3, 8, 15, got \(5, 4, 3\)"),
        (harmonics(shN=torch.zeros(N - 1, 3, 3)), r"shN: expected \(5, 3, 3\), got \(4, 3, 3\)"),
        (harmonics(shN=None), r"shN: expected sh0 and shN, or colors, got None"),
        (harmonics(sh0=None, shN=None), r"sh0: expected sh0 and shN, or colors, got None"),
        (harmonics(colors=torch.zeros(N, 3)), r"colors: expected either .* got both"),
        (colored(light=light()), r"light: expected with harmonics only"),
        (harmonics(light=light(rows=N - 1)), r"light.response: expected \(5, 3, 2\), got \(4, 3, 2\)"),
        (harmonics(light=light(gain=(3,))), r"light.gain: expected \(3, 3\), got \(3,\)"),
        (harmonics(sh_degree=4), r"sh_degree: expected 0 to 3 or None, got 4"),
        (harmonics(sh_degree=-1), r"sh_degree: expected 0 to 3 or None, got -1"),
        (harmonics(background=torch.zeros(4)), r"background: expected \(3,\), got \(4,\)"),
        (colored(background=torch.zeros(3)), r"background: expected \(7,\), got \(3,\)"),
        (colored(background=torch.zeros(1, 7)), r"background: expected \(7,\), got \(1, 7\)"),
        (colored(colors=torch.zeros(N + 2, 7)), r"colors: expected \(5, 7\), got \(7, 7\)"),
        (colored(colors=torch.zeros(N, 0)), r"colors: expected \(5, D\) with D at least 1, got \(5, 0\)"),
        (colored(colors=torch.zeros(N)), r"colors: expected \(5, D\) with D at least 1, got \(5,\)"),
    ],
)
def test_wrong_shapes_are_named(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        rasterize(**arguments, view=view())


@pytest.mark.parametrize("name", ["means", "quats", "log_scales", "opacity_logits", "sh0", "shN"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64])
def test_wrong_dtypes_are_named(name: str, dtype: torch.dtype) -> None:
    arguments = harmonics()
    arguments[name] = arguments[name].to(dtype)
    with pytest.raises(TypeError, match=f"{name}: expected float32, got {str(dtype).removeprefix('torch.')}"):
        rasterize(**arguments, view=view())


def test_another_device_is_named() -> None:
    with pytest.raises(ValueError, match="quats: expected on cpu like means, got meta"):
        rasterize(**harmonics(quats=torch.ones(N, 4, device="meta")), view=view())


@pytest.mark.parametrize(
    ("changed", "kind", "sentence"),
    [
        ({"width": 0}, ValueError, "view.width: expected at least 1 pixel, got 0"),
        ({"height": -3}, ValueError, "view.height: expected at least 1 pixel, got -3"),
        ({"width": 16.5}, TypeError, "view.width: expected a whole number of pixels, got 16.5"),
        ({"fx": 0.0}, ValueError, "view.fx: expected a positive number of pixels, got 0.0"),
        ({"fy": -20.0}, ValueError, "view.fy: expected a positive number"),
        ({"cx": float("nan")}, ValueError, "view.cx: expected a number of pixels, got nan"),
        ({"cy": None}, TypeError, "view.cy: expected a number of pixels, got None"),
        ({"cam_from_world": np.eye(3)}, ValueError, r"view.cam_from_world: expected \(4, 4\), got \(3, 3\)"),
        ({"cam_from_world": np.full((4, 4), np.nan)}, ValueError, "view.cam_from_world: expected finite"),
    ],
)
def test_impossible_views_are_named(changed: dict[str, Any], kind: type[Exception], sentence: str) -> None:
    calls: list[Callable[[Camera], object]] = [
        lambda camera: rasterize(**harmonics(), view=camera),
        lambda camera: Seen(scene(), camera),
        lambda camera: top_contributors(scene(), camera, np.zeros((1, 2), int), 1),
    ]
    for call in calls:
        with pytest.raises(kind, match=sentence):
            call(view(**changed))


LABELS = np.zeros((12, 16), np.int32)


@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        ({"signal": np.zeros((12, 15, 2))}, ValueError, r"signal: expected \(12, 16, C\), got \(12, 15, 2\)"),
        ({"signal": np.zeros((12, 16))}, ValueError, r"signal: expected \(12, 16, C\), got \(12, 16\)"),
        ({"signal": np.zeros((12, 16, 2), complex)}, TypeError, "signal: expected real numbers, got complex128"),
        ({"weight": np.zeros((16, 12))}, ValueError, r"weight: expected \(12, 16\), got \(16, 12\)"),
        ({"weight": np.full((12, 16), -0.5)}, ValueError, "weight: expected numbers from 0 on, got -0.5"),
        ({"weight": np.full((12, 16), np.nan)}, ValueError, "weight: expected numbers from 0 on, got nan"),
        ({"signal": LABELS[:, :, None], "labels": 2}, ValueError, r"signal: expected labels \(12, 16\), got"),
        ({"signal": LABELS + 0.0, "labels": 2}, TypeError, "signal: expected integer labels, got float64"),
        ({"signal": LABELS + 2, "labels": 2}, ValueError, "signal: expected labels from -1 to 1, got 2"),
        ({"signal": LABELS - 2, "labels": 2}, ValueError, "signal: expected labels from -1 to 1, got -2"),
        ({"signal": LABELS.astype(np.int64) + 2**32, "labels": 2}, ValueError, "-1 to 1, got 4294967296"),
        ({"signal": LABELS, "labels": 0}, ValueError, "labels: expected at least 1, got 0"),
        ({"signal": LABELS, "labels": 2.0}, TypeError, "labels: expected a whole number, got 2.0"),
    ],
)
def test_signals_that_do_not_fit_are_named(arguments: dict[str, Any], kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        accumulate(scene(), view(), **{"signal": np.zeros((12, 16, 2), np.float32)} | arguments)


def test_features_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"features: expected \(5, C\), got \(4, 2\)"):
        render_channels(scene(), view(), np.zeros((4, 2), np.float32))
    with pytest.raises(ValueError, match=r"features: expected \(5, C\), got \(5,\)"):
        render_channels(scene(), view(), np.zeros(5, np.float32))
    with pytest.raises(TypeError, match="features: expected real numbers, got <U1"):
        render_channels(scene(), view(), np.full((5, 1), "a"))


@pytest.mark.parametrize("place", [(16, 0), (0, 12), (-1, 0), (0, -1), (10**9, 0)])
def test_pixels_outside_are_named(place: tuple[int, int]) -> None:
    pixels = np.array([(0, 0), (15, 11), place])
    with pytest.raises(ValueError, match=rf"pixels: expected x, y inside 16x12, got \({place[0]}, {place[1]}\)"):
        top_contributors(scene(), view(), pixels, 2)


def test_other_questions_about_pixels_are_named() -> None:
    with pytest.raises(ValueError, match=r"pixels: expected \(B, 2\), got \(3,\)"):
        top_contributors(scene(), view(), np.zeros(3, int), 2)
    with pytest.raises(TypeError, match="pixels: expected integers, got float64"):
        top_contributors(scene(), view(), np.zeros((3, 2)), 2)
    with pytest.raises(ValueError, match="k: expected at least 1, got 0"):
        top_contributors(scene(), view(), np.zeros((3, 2), int), 0)


def test_what_fits_is_drawn() -> None:
    """Integers, booleans and half precision are numbers too; nothing is refused without need."""
    assert rasterize(**harmonics(sh_degree=3, background=torch.zeros(3)), view=view()).image.shape == (12, 16, 3)
    assert rasterize(**colored(background=torch.zeros(7)), view=view()).image.shape == (12, 16, 7)
    for dtype in (np.float16, np.float64, np.uint8, bool):
        A, Z = accumulate(scene(), view(), np.ones((12, 16, 2), dtype), np.ones((12, 16), dtype))
        assert (A.shape, Z.shape) == ((N, 2), (N,))
    for dtype in (np.uint8, np.int64):
        assert accumulate(scene(), view(), LABELS.astype(dtype), labels=1)[0].shape == (N, 1)
