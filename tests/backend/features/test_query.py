"""Prototypes into rows that look like them: against the rule written out, and what must not change it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.features import Lifted
from backend.features.query import alike, other_looks, prototype
from segwild_addon.protocol.errors import InputError


def made_of(features: np.ndarray, unseen: tuple[int, ...] = ()) -> Lifted:
    count = len(features)
    gone = np.zeros(count, bool)
    gone[list(unseen)] = True
    certainty = np.where(gone, 0, np.linspace(0.5, 1, count)).astype(np.float32)
    return Lifted(
        np.where(gone[:, None], 0, features).astype(np.float16),
        certainty,
        np.where(gone, 0, 9).astype(np.float32),
        gone,
    )


def units(random: np.random.Generator, count: int, channels: int) -> np.ndarray:
    vectors = random.normal(size=(count, channels)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(seed=st.integers(0, 10_000), wanted=st.integers(1, 4), unwanted=st.integers(0, 4), margin=st.floats(-0.5, 0.5))
def test_the_rule_row_by_row(seed: int, wanted: int, unwanted: int, margin: float) -> None:
    random = np.random.default_rng(seed)
    lifted = made_of(random.normal(size=(30, 7)), unseen=(3, 29))
    plus, minus = units(random, wanted, 7), units(random, unwanted, 7)
    found = alike(lifted, plus, minus, margin)
    for row, feature in enumerate(lifted.features.astype(float)):
        if lifted.unseen[row]:
            assert not found.chosen[row]
            assert found.confidence[row] == 0
            continue
        direction = feature / np.linalg.norm(feature)
        lead = max(plus @ direction) - (max(minus @ direction) if unwanted else 0) - margin
        assert found.lead[row] == pytest.approx(lead, abs=1e-5)
        if abs(lead) > 1e-5:
            assert found.chosen[row] == (lead > 0)
        assert found.confidence[row] == pytest.approx(lifted.confidence[row] / (1 + np.exp(-abs(lead) / 0.1)), rel=1e-3)


@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 50))
def test_order_and_length_say_nothing_and_prompts_work_one_way(seed: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    features = random.normal(size=(40, 5))
    plus, minus, more = units(random, 3, 5), units(random, 3, 5), units(random, 1, 5)
    before = alike(made_of(features), plus, minus)
    again = alike(made_of(features * scale), plus[::-1], minus[::-1])
    assert again.lead == pytest.approx(before.lead, abs=5e-3)  # float16
    assert (alike(made_of(features), np.concatenate([plus, more]), minus).lead >= before.lead - 1e-6).all()
    assert (alike(made_of(features), plus, np.concatenate([minus, more])).lead <= before.lead + 1e-6).all()
    assert (alike(made_of(features), plus, minus, 0.1).chosen <= before.chosen).all()


def test_a_prototype_is_the_weighted_mean() -> None:
    lifted = made_of(np.array([[1.0, 0], [0, 1], [-1, 0], [0, 0]]), unseen=(3,))
    assert prototype(lifted, np.array([0, 1]), np.array([3.0, 4])) == pytest.approx([0.6, 0.8], abs=1e-3)
    assert prototype(lifted, np.array([3]), np.array([5.0])) is None
    assert prototype(lifted, np.array([0, 2]), np.array([1.0, 1])) is None  # they contradict each other
    assert prototype(lifted, np.array([], int), np.array([])) is None


def test_a_scene_has_other_looks_than_what_was_wanted() -> None:
    random = np.random.default_rng(0)
    looks = units(random, 3, 8)
    kinds = np.repeat([0, 1, 2], 200)
    features = looks[kinds] + random.normal(0, 0.03, (600, 8))
    lifted = made_of(features, unseen=(7,))
    found = alike(lifted, looks[:1], other_looks(lifted, looks[:1]))
    assert np.array_equal(found.chosen, (kinds == 0) & ~lifted.unseen)


def test_a_scene_of_one_look_has_no_other() -> None:
    lifted = made_of(np.ones((50, 3)))
    assert len(other_looks(lifted, units(np.random.default_rng(1), 1, 3))) == 0


def test_features_that_are_not_there(blobs) -> None:
    with pytest.raises(InputError, match="'sam' were not lifted yet"):
        Lifted.find(blobs.workspace, "sam")
    made_of(np.ones((len(blobs.scene), 3))).save(blobs.workspace, "file")
    assert len(Lifted.find(blobs.workspace, "file").unseen) == len(blobs.scene)
    for name in ("../features/file", "file.compression", ""):
        with pytest.raises(InputError) as caught:
            Lifted.find(blobs.workspace, name)
        assert "There is: file." in caught.value.hint
    blobs.scene.take(np.arange(500)).save(blobs.workspace.splats)
    with pytest.raises(InputError, match="lifted from other Gaussians"):
        Lifted.find(blobs.workspace, "file")
