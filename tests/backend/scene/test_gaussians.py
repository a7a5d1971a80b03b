"""Rows of Gaussians: what is refused, what is kept, what comes back from disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backend.scene.files import write_arrays
from backend.scene.gaussians import FIELDS, Gaussians, concatenate
from segwild_addon.protocol.errors import InputError


def fields(count: int = 4, bases: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"means": (count, 3), "quats": (count, 4), "log_scales": (count, 3), "opacity_logits": (count,)}
    shapes |= {"sh0": (count, 1, 3), "shN": (count, bases, 3)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(("bases", "degree"), [(0, 0), (3, 1), (8, 2), (15, 3)])
def test_the_degree_follows_from_the_bases(bases: int, degree: int) -> None:
    assert Gaussians(**fields(bases=bases)).sh_degree == degree


@pytest.mark.parametrize("bases", [1, 2, 4, 16])
def test_other_numbers_of_bases_are_refused(bases: int) -> None:
    with pytest.raises(InputError, match=f"shN has {bases} bases"):
        Gaussians(**fields(bases=bases))


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("change", ["dtype", "rows", "columns", "dimensions"])
def test_a_malformed_field_is_named(name: str, change: str) -> None:
    values = fields()
    array = values[name]
    changed = {
        "dtype": array.astype(np.float64),
        "rows": array[:-1],
        "columns": np.concatenate([array, array], axis=-1),
        "dimensions": np.float32(1) + np.zeros((), np.float32),
    }
    with pytest.raises(InputError) as refusal:
        Gaussians(**(values | {name: np.asarray(changed[change])}))
    assert refusal.value.code == "gaussians-malformed"
    assert " is float" in refusal.value.sentence


@pytest.mark.parametrize("sidecar", [np.zeros(3), np.zeros((5, 2)), np.array(4)])
def test_a_sidecar_has_one_row_per_gaussian(sidecar: np.ndarray) -> None:
    with pytest.raises(InputError, match="Sidecar label"):
        Gaussians(**fields(), sidecars={"label": sidecar})


@settings(max_examples=60, deadline=None)
@given(logits=arrays(np.float32, 5, elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)))
def test_opacities_of_any_logit(logits: np.ndarray) -> None:
    opacities = Gaussians(**(fields(5) | {"opacity_logits": logits})).opacities
    assert opacities.dtype == np.float32
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(opacities, 1 / (1 + np.exp(-logits.astype(np.float64))), rtol=2e-6, atol=1e-37)


def test_scales_are_linear() -> None:
    np.testing.assert_allclose(Gaussians(**fields()).scales, np.exp(fields()["log_scales"]))


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_is_finite_in_all_its_fields(name: str, value: float) -> None:
    values = fields()
    values[name][2, ...] = np.where(np.arange(values[name][2].size).reshape(values[name][2].shape) == 0, value, 0)
    assert Gaussians(**values).finite_rows().tolist() == [True, True, False, True]


@pytest.mark.parametrize("bases", [0, 15])
def test_no_rows_at_all(tmp_path: Path, bases: int) -> None:
    none = Gaussians(**fields(0, bases))
    assert none.finite_rows().shape == none.opacities.shape == (0,)
    none.save(tmp_path / "none.safetensors")
    assert len(Gaussians.load(tmp_path / "none.safetensors")) == 0


def test_taking_rows_takes_their_sidecars() -> None:
    gaussians = Gaussians(**fields(), sidecars={"id": np.arange(4)})
    for rows in (np.array([3, 1]), np.array([False, True, False, True])):
        taken = gaussians.take(rows)
        assert np.array_equal(taken.means, gaussians.means[rows])
        assert np.array_equal(taken.sidecars["id"], np.arange(4)[rows])
    taken.means[:] = 0
    assert gaussians.means.all()


def test_a_sidecar_joins_without_changing_the_given() -> None:
    gaussians = Gaussians(**fields(), sidecars={"id": np.arange(4)})
    more = gaussians.with_sidecar("label", np.ones(4)).with_sidecar("id", np.zeros(4))
    assert sorted(more.sidecars) == ["id", "label"]
    assert not more.sidecars["id"].any()
    assert gaussians.sidecars["id"].tolist() == [0, 1, 2, 3]


def test_concatenated_rows_keep_their_order() -> None:
    a, b = Gaussians(**fields(2, seed=1)), Gaussians(**fields(3, seed=2))
    both = concatenate([a, b])
    assert np.array_equal(both.shN, np.concatenate([a.shN, b.shN]))
    assert len(both) == 5


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 5), bases=st.sampled_from([0, 3, 8, 15]), width=st.integers(1, 4))
def test_what_is_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, count: int, bases: int, width: int) -> None:
    path = tmp_path_factory.mktemp("gaussians") / "base.safetensors"
    sidecars = {"features": np.ones((count, width), np.float16), "sidecar.id": np.arange(count)}
    gaussians = Gaussians(**fields(count, bases), sidecars=sidecars)
    gaussians.save(path)
    found = Gaussians.load(path)
    for name in FIELDS:
        assert np.array_equal(getattr(found, name), getattr(gaussians, name)), name
    assert set(found.sidecars) == set(sidecars)
    for name, array in sidecars.items():
        assert np.array_equal(found.sidecars[name], array)


def test_another_file_is_not_gaussians(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_arrays(path, {name: array for name, array in fields().items() if name not in ("quats", "sh0")})
    with pytest.raises(InputError, match=r"quats, sh0 missing") as refusal:
        Gaussians.load(path)
    assert refusal.value.code == "file-damaged"
    write_arrays(path, fields() | {"quats": fields()["means"]})
    with pytest.raises(InputError, match=r"quats is float32") as refusal:
        Gaussians.load(path)
    assert refusal.value.sentence.endswith(f"{path}.")
