"""Boxes and brushes take what is seen inside, and nothing else."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from segwild_addon.viewport.camera import View
from segwild_addon.viewport.strokes import Cloud, brushed, chosen, rectangle

WIDTH, HEIGHT = 200, 100


def view(orthographic: bool = False) -> View:
    focal = 20.0 if orthographic else 100.0
    return View(np.eye(4), focal, focal, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT, orthographic, 0.1, 100.0)


def cloud(positions: Any, opacities: Any = 0.9, ids: Any = None, matrix: Any = None, holder: str = "a") -> Cloud:
    points = np.asarray(positions, np.float32).reshape(-1, 3)
    numbers = np.arange(1, len(points) + 1) if ids is None else ids
    opaque = np.broadcast_to(np.float32(opacities), len(points))
    return Cloud(holder, points, opaque, np.asarray(numbers, np.int32), np.eye(4) if matrix is None else matrix)


def taken(*arguments: Any, **options: Any) -> list[int]:
    """The ids that are chosen, of all objects."""
    return sorted(int(id_) for ids in chosen(*arguments, **options).values() for id_ in ids)


@pytest.mark.parametrize("orthographic", [False, True])
@given(seed=st.integers(0, 1000))
def test_a_box_through_everything_takes_the_centres_inside(orthographic: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    points = random.uniform((-6, -3, -1), (6, 3, 9), (50, 3)).astype(np.float32)
    seen = view(orthographic)
    found = chosen(seen, [cloud(points)], rectangle(150, 80, 40, 20), through=True).get("a", np.zeros(0, np.int32))
    expected = []
    for number, (x, y, z) in enumerate(points.astype(float), start=1):
        if z <= 0.1 and not orthographic:
            continue
        scale = seen.fx if orthographic else seen.fx / z
        u, v = scale * x + seen.cx, scale * y + seen.cy
        if min(abs(u - 40), abs(u - 150), abs(v - 20), abs(v - 80)) < 1e-3:
            return  # on the edge, rounding decides
        if 40 <= u <= 150 and 20 <= v <= 80:
            expected.append(number)
    assert found.tolist() == expected
    assert found.dtype == np.int32


def test_what_is_hidden_is_left_out() -> None:
    wall = [(0, 0, 2), (0, 0, 2.01), (0, 0, 5)]  # two layers of a surface, and something behind
    everything = rectangle(0, 0, WIDTH, HEIGHT)
    assert taken(view(), [cloud(wall)], everything) == [1, 2]
    assert taken(view(), [cloud(wall)], everything, through=True) == [1, 2, 3]
    assert taken(view(), [cloud(wall, 0.2)], everything) == [1, 2, 3]  # thin: seen through
    behind = cloud([(0, 0, 5)], ids=[7], holder="b")
    assert taken(view(), [cloud([(0, 0, 2)]), behind], everything) == [1]  # also by another object


def test_of_two_objects_with_the_same_rows_the_one_inside_is_taken() -> None:
    left, right = (
        cloud([(-0.5, 0, 2)], ids=[7], holder="a"),
        cloud([(0.5, 0, 2), (0.5, 0, 2.01)], ids=[7, 9], holder="b"),
    )
    found = chosen(view(), [left, right], rectangle(WIDTH / 2, 0, WIDTH, HEIGHT))
    assert {holder: ids.tolist() for holder, ids in found.items()} == {"b": [7, 9]}
    found = chosen(view(), [left, right], rectangle(0, 0, WIDTH, HEIGHT))
    assert {holder: ids.tolist() for holder, ids in found.items()} == {"a": [7], "b": [7, 9]}


def test_faint_rows_and_rows_of_no_workspace_are_not_taken() -> None:
    everything = rectangle(0, 0, WIDTH, HEIGHT)
    rows = cloud([(0, 0, 2), (0.5, 0, 2), (-0.5, 0, 2)], [0.9, 0.001, 0.9], [3, 4, 0])
    assert taken(view(), [rows], everything) == [3]
    assert taken(view(), [], everything) == []
    assert taken(view(), [rows], rectangle(0, 0, 1, 1)) == []


def test_objects_are_taken_where_they_stand() -> None:
    moved = np.eye(4)
    moved[:3, 3] = (1, 0, 0)
    left, right = rectangle(0, 0, WIDTH / 2 - 1, HEIGHT), rectangle(WIDTH / 2 + 1, 0, WIDTH, HEIGHT)
    assert taken(view(), [cloud([(0, 0, 2)], matrix=moved)], right) == [1]
    assert taken(view(), [cloud([(0, 0, 2)], matrix=moved)], left) == []


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=6),
    st.floats(1, 30),
    st.tuples(st.floats(-20, 120), st.floats(-20, 120)),
)
def test_a_brush_takes_what_its_path_comes_near(path: Any, radius: float, point: tuple[float, float]) -> None:
    samples = [path[0]]
    for (x0, y0), (x1, y1) in itertools.pairwise(path):
        samples += [(x0 + t * (x1 - x0), y0 + t * (y1 - y0)) for t in np.linspace(0, 1, 400)]
    distance = float(np.min(np.hypot(*(np.array(samples) - point).T)))
    if abs(distance - radius) > 0.5:  # the samples are that coarse
        assert bool(brushed(path, radius)(np.array([point], np.float32))[0]) == (distance < radius)
