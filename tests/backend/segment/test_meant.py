"""Clicks on a picture into the pixels they mean."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from backend.segment import meant
from backend.segment.meant import Click, Meant
from backend.segment.middles import middles
from backend.segment.prepared import Prepared
from backend.segment.prompts import Clicks
from backend.segment.region import Suggestions
from backend.segment.selection import Selector


@pytest.fixture
def selector(blobs) -> Selector:
    return Selector(Prepared.of(blobs.workspace), blobs.workspace, blobs.photo())


def clicks(selector: Selector, *given: tuple[float, float, bool]) -> list[Click]:
    prompts = selector.prompts(Clicks(np.array([each[:2] for each in given]), np.array([each[2] for each in given])))
    result = []
    for prompt in prompts:
        weights = np.zeros(len(selector.scene))
        seeds = prompt.seeds()
        weights[seeds.rows] = seeds.weights
        place = prompt.place(selector.meant)
        assert place is not None
        result.append(Click(*place, prompt.positive, weights))
    return result


class _Blended:
    """Walks of a scene in which nothing stands apart: they suggest nothing."""

    def __init__(self, walks) -> None:
        self.rows = walks.rows

    def suggested(self, positive) -> None:
        return None


@pytest.fixture
def pictured(selector) -> Meant:
    return Meant(selector.scene, _Blended(selector.prepared.walks), selector.camera)


def fit(blobs, meant: Meant, mask: np.ndarray, label: int) -> float:
    truth = blobs.mask(label)
    rows = (np.arange(mask.shape[0]) + 0.5) * truth.shape[0] / mask.shape[0]
    columns = (np.arange(mask.shape[1]) + 0.5) * truth.shape[1] / mask.shape[1]
    truth = truth[np.ix_(rows.astype(int), columns.astype(int))]
    return float((mask & truth).sum() / (mask | truth).sum())


def test_what_stands_apart_needs_no_picture(blobs, selector) -> None:
    answer = selector.meant.answer(clicks(selector, (*blobs.pixel(blobs.red), True)))
    assert answer is not None
    assert answer.region is not None
    assert blobs.iou(selector.prepared.walks.rows[answer.region], blobs.red) > 0.9
    assert fit(blobs, selector.meant, answer.mask, blobs.red) > 0.8


def test_the_picture_tells_what_walks_do_not(blobs, selector, pictured) -> None:
    answer = pictured.answer(clicks(selector, (*blobs.pixel(blobs.red), True)))
    assert answer is not None
    assert answer.region is None
    assert fit(blobs, pictured, answer.mask, blobs.red) > 0.8


def test_regions_are_looked_at_in_one_layout(blobs, selector, pictured, monkeypatch: pytest.MonkeyPatch) -> None:
    """One region alone is laid out in rows by chance; code for another layout would be compiled by somebody's click."""
    layouts = []

    def recorded(*arguments: np.ndarray) -> np.ndarray:
        layouts.append([each.flags.c_contiguous for each in arguments])
        return middles(*arguments)

    monkeypatch.setattr(meant, "middles", recorded)
    x, y = blobs.pixel(blobs.red)
    assert pictured.answer(clicks(selector, (x, y, True), (x + 12, y, False))) is not None
    assert len(layouts) > 1
    assert np.all(layouts)


def test_negative_clicks_are_hard(blobs, selector, pictured) -> None:
    x, y = blobs.pixel(blobs.red)
    given = clicks(selector, (x, y, True), (x + 12, y, False), (x, y + 10, False))
    answer = pictured.answer(given)
    assert answer is not None
    for click in given:
        assert answer.mask[int(click.y), int(click.x)] == click.positive


def test_answers_do_not_depend_on_what_was_asked_before(blobs, selector, pictured) -> None:
    given = clicks(selector, (*blobs.pixel(blobs.red), True), (*blobs.pixel(blobs.blue), False))
    first = pictured.answer(given)
    fresh = Meant(selector.scene, _Blended(selector.prepared.walks), selector.camera)
    second = fresh.answer(given)
    assert first is not None
    assert second is not None
    assert np.array_equal(first.mask, second.mask)


class _Heaped:
    """Walks of a scene in which red and blue are one heap, which stands apart."""

    def __init__(self, walks, blobs) -> None:
        self.rows = walks.rows
        inside = np.isin(blobs.labels[walks.rows], (blobs.red, blobs.blue))
        rank = np.empty(len(inside), np.int64)
        rank[np.argsort(~inside, kind="stable")] = np.arange(len(inside))
        self.heap = Suggestions(rank, np.array([inside.sum()]), np.zeros(1), 1e-5)

    def suggested(self, positive) -> Suggestions:
        return self.heap


@pytest.fixture
def heaped(blobs, selector) -> Meant:
    return Meant(selector.scene, _Heaped(selector.prepared.walks, blobs), selector.camera)


def test_a_click_deep_beside_means_a_part_of_what_stands_apart(blobs, selector, heaped) -> None:
    on, beside = (*blobs.pixel(blobs.red), True), (*blobs.pixel(blobs.blue), False)
    heap = heaped.answer(clicks(selector, on))
    assert heap is not None
    assert heap.apart
    given = clicks(selector, on, beside)
    assert not heaped.of_part(given[:1])
    assert heaped.of_part(given)
    part = heaped.answer(given)
    assert part is not None
    assert not part.apart
    assert fit(blobs, heaped, part.mask, blobs.red) > 0.6
    # A photo that does not show the click beside is told.
    told = heaped.answer(given[:1], part=True)
    assert told is not None
    assert fit(blobs, heaped, told.mask, blobs.red) > 0.8


def test_a_click_beside_at_the_rim_corrects_what_stands_apart(blobs, selector, heaped) -> None:
    x, y = blobs.pixel(blobs.red)
    mask = blobs.mask(blobs.red)
    rim = int(np.flatnonzero(mask[int(y)]).max())
    given = clicks(selector, (x, y, True), (rim - 1.5, y, False))
    assert not heaped.of_part(given)
    answer = heaped.answer(given)
    assert answer is not None
    assert answer.apart
    assert fit(blobs, heaped, answer.mask, blobs.blue) > 0.3  # still all of the heap


def test_a_halo_before_the_sky_is_not_the_inside_of_what_stands_apart(blobs, selector) -> None:
    """Without a ground all that fills the sky is what the balls' rims leave there, so that its patches are theirs."""
    balls = selector.scene.take(np.flatnonzero(blobs.labels != 0))
    rows = np.arange(len(balls))
    walks = SimpleNamespace(rows=rows)
    walks.suggested = lambda positive: Suggestions(rows, np.array([len(rows)]), np.zeros(1), 1e-5)
    alone = Meant(balls, walks, selector.camera)
    red, blue = clicks(selector, (*blobs.pixel(blobs.red), True), (*blobs.pixel(blobs.blue), True))
    on = Click(red.x, red.y, True, np.ones(len(balls)))
    beyond = Click(20.5, 35.5, False, np.zeros(len(balls)))  # to the left of both
    assert not alone.of_part([on, beyond])
    assert alone.of_part([on, Click(blue.x, blue.y, False, np.zeros(len(balls)))])


class _Thin(_Heaped):
    """What stands apart is too thin for the patches of a picture."""

    def __init__(self, walks, blobs) -> None:
        super().__init__(walks, blobs)
        self.heap = Suggestions(self.heap.rank, np.array([3]), np.zeros(1), 1e-5)


def test_what_is_too_thin_for_a_patch_still_holds_its_click(blobs, selector) -> None:
    """Else only the whole picture would hold it and the next click."""
    meant = Meant(selector.scene, _Thin(selector.prepared.walks, blobs), selector.camera)
    given = clicks(selector, (*blobs.pixel(blobs.red), True), (*blobs.pixel(blobs.blue), True))
    answer = meant.answer(given)
    assert answer is not None
    assert answer.apart
    assert answer.mask[int(given[1].y), int(given[1].x)]
    assert answer.mask.mean() < 0.1
    beside = clicks(selector, (*blobs.pixel(blobs.red), True), (*blobs.pixel(blobs.blue), False))
    assert meant.answer(beside) is None
    assert not meant.of_part(beside)
