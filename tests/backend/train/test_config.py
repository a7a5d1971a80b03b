"""Presets and a person's own numbers into what shapes a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from backend.train.config import PRESETS, configured
from backend.train.mlp import MlpAppearance
from backend.train.relighting import LinearAppearance
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Preset, Train
from tests.backend.train.test_loop import short


def test_options_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for options in ({"iterations": 3}, {"cap": 1}, {"long_side": 5}, {"masks": tmp_path / "misspelt"}):
        with pytest.raises(InputError):
            configured(short(**options))
    assert configured(Train(Path())) == configured(Train(Path()), 333) == PRESETS["standard"]
    assert configured(Train(Path()), 763).steps == 12 * 763  # thousands of photos are each visited often enough
    assert configured(Train(Path(), iterations=500), 763).steps == 500
    none = configured(replace(Train(Path()), appearance="none"))
    assert (none.appearance.numbers, none.own_sky_rate) == (0, 0)


@pytest.mark.parametrize("preset", ["quick", "standard", "full"])
def test_a_card_trains_more_and_the_same_in_every_other_way(preset: Preset) -> None:
    request = Train(Path(), preset=preset)
    here, there = configured(request), configured(request, engine="cuda")
    assert there.long_side > here.long_side
    assert there.steps > here.steps
    assert there.density.cap > here.density.cap
    same = {"long_side": there.long_side, "steps": there.steps, "density": there.density}
    assert replace(here, **same) == there
    own = replace(request, iterations=70, cap=500, long_side=64)
    assert configured(own) == configured(own, engine="cuda")


def test_the_word_for_a_light_is_the_same_on_every_engine() -> None:
    assert configured(Train(Path())).appearance == LinearAppearance()
    assert configured(replace(Train(Path()), appearance="linear")).appearance == LinearAppearance()
    assert configured(replace(Train(Path()), appearance="mlp")).appearance == MlpAppearance()
