"""Learning rates: where they begin and end, and what short trainings and neutral steps change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backend.train.config import PRESETS
from backend.train.rates import MEANS_RATE, MEANS_RATE_END, ROW_RATES, SHORT_STEPS, row_rates, shared_rates

LONG = replace(PRESETS["standard"], steps=SHORT_STEPS)


def test_means_slow_down_geometrically_and_the_rest_does_not() -> None:
    first, middle, last = (row_rates(LONG, fraction, 2.0, colors_only=False) for fraction in (0.0, 0.5, 1.0))
    assert first["means"] == pytest.approx(2 * MEANS_RATE)
    assert last["means"] == pytest.approx(2 * MEANS_RATE_END)
    assert middle["means"] ** 2 == pytest.approx(first["means"] * last["means"])
    assert {**first, "means": 0} == {**last, "means": 0}
    assert first.items() >= ROW_RATES.items()


def test_short_trainings_hurry_with_what_has_to_go_far() -> None:
    short = row_rates(replace(LONG, steps=SHORT_STEPS // 4), 0.0, 1.0, colors_only=False)
    long = row_rates(LONG, 0.0, 1.0, colors_only=False)
    hurried = {name for name in long if short[name] == pytest.approx(2 * long[name])}
    assert hurried == {"means", "sh0", *LONG.appearance.row_rates}
    assert all(short[name] == long[name] for name in long.keys() - hurried)
    ends = [row_rates(replace(LONG, steps=steps), 1.0, 1.0, colors_only=False)["means"] for steps in (100, 100_000)]
    assert ends == pytest.approx([MEANS_RATE_END] * 2)


@pytest.mark.parametrize("steps", [400, SHORT_STEPS])
def test_neutral_steps_move_colours_alone_and_as_fast(steps: int) -> None:
    config = replace(LONG, steps=steps)
    lit, neutral = (row_rates(config, 0.5, 1.0, colors_only=colors_only) for colors_only in (False, True))
    assert neutral == {"sh0": lit["sh0"], "shN": lit["shN"]}


def test_what_photos_share_settles_if_asked_to() -> None:
    calm = replace(LONG, shared_end=0.25)
    assert shared_rates(calm, 0.0) == shared_rates(LONG, 0.0) == shared_rates(LONG, 1.0)
    assert all(
        rate == pytest.approx(shared_rates(LONG, 0.0)[name] / 2) for name, rate in shared_rates(calm, 0.5).items()
    )
