"""Edits of drafts and objects, in any order, leave what the same state made from scratch has."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable

import numpy as np
import pytest

from backend.progress import Quiet
from backend.scene import Workspace
from backend.segment import cuts, objects
from backend.segment.cutter import MODES, Cut
from backend.segment.draft import Draft, Prompted
from backend.segment.posterior import posterior
from backend.segment.prepared import Prepared
from backend.segment.prompts import Clicks
from backend.segment.seeds import Seeds
from backend.segment.selection import Selector
from backend.stages.cutting import divided
from segwild_addon.protocol.errors import InputError

NAMES = ("a", "b", "c")


def places(blobs, prepared: Prepared, count: int = 12) -> list[Prompted]:
    """Clicks on both blobs and the ground, and two into nothing, each once on and once beside."""
    selector = Selector(prepared, blobs.workspace, blobs.photo())
    found = []
    for x in np.linspace(60, 340, count):
        for positive in (True, False):
            key = (float(x), positive)
            found.append(Prompted(key, positive, "a0", lambda x=x: selector._seeds_of(np.array([[x, 130.0]]))))
    nothing = Seeds(np.zeros(0, int), np.zeros(0))
    return [*found, Prompted("sky", True, "", lambda: nothing), Prompted("-sky", False, "", lambda: nothing)]


class Sequence:
    """One random run, beside a model of plain lists: what prompts there are, and which objects hold which rows."""

    def __init__(self, blobs, prepared: Prepared, clicks: list[Prompted], seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.blobs, self.prepared, self.clicks = blobs, prepared, clicks
        self.draft = Draft(prepared)
        self.workspace = blobs.workspace
        self.prompts: list[Prompted] = []
        self.size = 0
        self.past: list[tuple[list[Prompted], int]] = []
        self.future: list[tuple[list[Prompted], int]] = []
        self.kept: dict[str, np.ndarray] = {}
        self.cut_along: dict[str, Cut] = {}
        self.ids: dict[str, int] = {}

    def step(self) -> str:
        name = str(self.random.choice(STEPS, p=np.array(WEIGHTS) / sum(WEIGHTS)))
        getattr(self, name)()
        return name

    def name(self) -> str:
        return str(self.random.choice(NAMES))

    def edited(self, change: Callable[[], None], prompts: list[Prompted], size: int | None = None) -> None:
        before = self.state()
        if prompts and not solvable(self.prepared, prompts):
            with pytest.raises(InputError):
                change()
            assert self.state() == before
            return
        change()
        self.past.append((self.prompts, self.size))
        self.future.clear()
        self.prompts, self.size = prompts, (self.size if size is None else size) if prompts else 0

    def add(self) -> None:
        prompt = self.clicks[int(self.random.integers(len(self.clicks)))]
        self.edited(lambda: self.draft.add(prompt), [*self.prompts, prompt])

    def remove(self) -> None:
        if self.prompts:
            key = self.prompts[int(self.random.integers(len(self.prompts)))].key
            self.edited(lambda: self.draft.remove(key), [prompt for prompt in self.prompts if prompt.key != key])

    def become(self) -> None:
        chosen = [self.clicks[int(n)] for n in self.random.choice(len(self.clicks), 2, replace=False)]
        keys = [prompt.key for prompt in chosen]
        known = (
            [p.key for p in self.prompts],
            *([p.key for p in side[-1][0]] for side in (self.past, self.future) if side),
        )
        if keys not in known:
            self.edited(lambda: self.draft.become(chosen), chosen, 0)

    def resize(self) -> None:
        """As somebody does who turns the mouse wheel."""
        sizes = [int(size) for size in self.draft.levels()]
        known = (self.size, *(side[-1][1] for side in (self.past, self.future) if side))
        size = int(self.random.choice([0, *sizes]))
        if self.prompts and size not in known:
            self.edited(lambda: self.draft.become(self.prompts, size), self.prompts, size)

    def back(self) -> None:
        """As a program does that only sends prompts."""
        if self.past and told(*self.past[-1]) != told(self.prompts, self.size):
            self.draft.become(*self.past[-1])
            self.future.append((self.prompts, self.size))
            self.prompts, self.size = self.past.pop()

    def undo(self) -> None:
        assert self.draft.undo() == bool(self.past)
        if self.past:
            self.future.append((self.prompts, self.size))
            self.prompts, self.size = self.past.pop()

    def redo(self) -> None:
        assert self.draft.redo() == bool(self.future)
        if self.future:
            self.past.append((self.prompts, self.size))
            self.prompts, self.size = self.future.pop()

    def commit(self) -> None:
        name, chosen = self.name(), self.draft.chosen
        if not chosen.any():
            with pytest.raises(InputError):
                self.draft.commit(self.workspace, name)
            return
        item = self.draft.commit(self.workspace, name)
        assert self.ids.setdefault(name, item.id) == item.id
        self.kept[name] = np.flatnonzero(chosen)
        self.cut_along.pop(name, None)

    def merge(self) -> None:
        into, other = self.name(), self.name()
        if into == other or not {into, other} <= set(self.kept):
            with pytest.raises(InputError):
                objects.merge(self.workspace, into, other)
            return
        objects.merge(self.workspace, into, other)
        self.kept[into] = np.union1d(self.kept[into], self.kept.pop(other))
        for name in (into, other):
            self.cut_along.pop(name, None)
        del self.ids[other]

    def rename(self) -> None:
        old, new = self.name(), self.name()
        if old not in self.kept or (old != new and new in self.kept):
            with pytest.raises(InputError):
                objects.rename(self.workspace, old, new)
            return
        objects.rename(self.workspace, old, new)
        self.kept[new], self.ids[new] = self.kept.pop(old), self.ids.pop(old)
        if old in self.cut_along:
            self.cut_along[new] = self.cut_along.pop(old)

    def drop(self) -> None:
        name = self.name()
        if name not in self.kept:
            with pytest.raises(InputError):
                objects.delete(self.workspace, name)
            return
        objects.delete(self.workspace, name)
        del self.kept[name], self.ids[name]
        self.cut_along.pop(name, None)

    def cut(self) -> None:
        name, mode = self.name(), MODES[int(self.random.integers(len(MODES)))]
        if name not in self.kept:
            with pytest.raises(InputError):
                divided(self.workspace, name, mode, Quiet(), self.prepared)
            return
        with contextlib.suppress(InputError):  # no photo shows its edge
            _, self.cut_along[name], _ = divided(self.workspace, name, mode, Quiet(), self.prepared)

    def revert(self) -> None:
        name = self.name()
        if name in self.kept:
            assert cuts.revert(self.workspace, objects.find(self.workspace, name)) == (name in self.cut_along)
            self.cut_along.pop(name, None)

    def load(self) -> None:
        """Another program opens the workspace and goes on."""
        self.workspace = Workspace.open(self.blobs.workspace.root)

    def state(self) -> tuple:
        counts = self.counts(self.draft)
        return (self.draft.keys, self.draft.size, counts, self.draft.chosen.tobytes())

    def counts(self, draft: Draft) -> tuple[bytes, bytes]:
        counts = posterior(len(self.prepared.scene), draft.evidence)
        return counts.inside.tobytes(), counts.outside.tobytes()

    def check(self) -> None:
        scratch = Draft(self.prepared)
        if self.prompts:
            scratch.become(self.prompts, self.size)
            assert np.array_equal(self.draft.selection().chosen, self.draft.chosen)
        assert self.draft.keys == scratch.keys == tuple(prompt.key for prompt in self.prompts)
        assert self.counts(self.draft) == self.counts(scratch)
        assert np.array_equal(self.draft.chosen, scratch.chosen)
        found = objects.load(self.workspace)
        assert {item.name: item.rows.tolist() for item in found} == {n: r.tolist() for n, r in self.kept.items()}
        assert {item.name: item.id for item in found} == self.ids
        for item in found:
            here, made = cuts.load(self.workspace, item), self.cut_along.get(item.name)
            assert (here is None) == (made is None)
            if made is not None:
                assert here.mode == made.mode
                for part in ("parents", "sides", "given", "dropped"):
                    assert np.array_equal(getattr(here, part), getattr(made, part))


def told(prompts: list[Prompted], size: int) -> tuple:
    return [prompt.key for prompt in prompts], size


STEPS = ("add", "remove", "become", "resize", "back", "undo", "redo", "commit", "merge", "rename", "drop", "load")
STEPS += ("cut", "revert")
WEIGHTS = (8, 4, 2, 3, 2, 6, 4, 4, 2, 2, 2, 1, 3, 2)


def solvable(prepared: Prepared, prompts: list[Prompted]) -> bool:
    """Whether a solid row lies under a positive prompt, more than under negative ones."""
    weights = np.zeros((2, len(prepared.scene)))
    for prompt in prompts:
        seeds = prompt.seeds()
        weights[int(prompt.positive)][seeds.rows] += seeds.weights
    positive = np.where(weights[0] > weights[1], 0, weights[1])
    return bool(positive[prepared.walks.rows].sum() > 0)


@pytest.mark.parametrize("count", [pytest.param(25, id="some"), pytest.param(500, id="many", marks=pytest.mark.slow)])
def test_random_edits_leave_what_making_it_from_scratch_gives(blobs, count: int) -> None:
    prepared = Prepared.of(blobs.workspace)
    clicks = places(blobs, prepared)
    done: set[str] = set()
    for seed in range(count):
        run = Sequence(blobs, prepared, clicks, seed)
        for _ in range(12):
            done.add(run.step())
        run.check()
        if run.kept:
            objects.delete(run.workspace, *run.kept)
    assert done == set(STEPS)


def test_an_edit_that_finds_nothing_changes_nothing(blobs) -> None:
    prepared = Prepared.of(blobs.workspace)
    draft = Draft(prepared)
    sky = Prompted("sky", True, "", lambda: Seeds(np.zeros(0, int), np.zeros(0)))
    with pytest.raises(InputError, match="no surface"):
        draft.add(sky)
    assert not draft.keys
    assert not draft.undo()
    with pytest.raises(InputError, match="Nothing was selected"):
        draft.commit(blobs.workspace, "x")


def test_seeds_are_looked_up_once(blobs) -> None:
    prepared = Prepared.of(blobs.workspace)
    asked = []
    clicks = [
        Prompted(prompt.key, prompt.positive, "", lambda prompt=prompt: asked.append(prompt.key) or prompt.seeds())
        for prompt in places(blobs, prepared)
        if prompt.positive and prompt.key != "sky"
    ]
    draft = Draft(prepared)
    for prompt in (clicks[2], clicks[3], clicks[9]):
        draft.add(prompt)
    draft.remove(clicks[3].key)
    draft.undo()
    assert asked == [clicks[2].key, clicks[3].key, clicks[9].key]


def test_old_edits_are_given_up_where_memory_ends(blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = Prepared.of(blobs.workspace)
    draft = Draft(prepared)
    clicks = [prompt for prompt in places(blobs, prepared) if prompt.positive and prompt.key != "sky"]
    draft.become(clicks[2:3])
    one = draft._done[0].after.size_bytes
    monkeypatch.setattr("backend.segment.draft.HELD_BYTES", 4 * one)
    for prompt in clicks[3:9]:
        draft.add(prompt)
    assert 1 < len(draft._done) < 6
    while draft.undo():
        pass
    assert len(draft.keys) > 0


def test_a_draft_keeps_no_view_of_a_photo_and_does_the_same_without(blobs) -> None:
    """Views are tens of megabytes; which are kept is decided by who opens photos."""
    prepared = Prepared.of(blobs.workspace)

    def clicked(view: str) -> tuple[Selector, list[Prompted]]:
        selector = Selector(prepared, blobs.workspace, blobs.photo(view))
        points = np.array([blobs.pixel(blobs.red, view), blobs.pixel(blobs.blue, view)])
        return selector, selector.prompts(Clicks(points, np.array([True, False])))

    held, gone = Draft(prepared), Draft(prepared)
    kept = [clicked(view) for view in ("a0", "a2")]
    for _, prompts in kept:
        held.become(prompts)
    views = []
    for view in ("a0", "a2"):
        selector, prompts = clicked(view)
        gone.become(prompts)
        views.append(weakref.ref(selector))
        del selector, prompts
    assert [view() for view in views] == [None, None]
    for draft in (held, gone):
        draft.undo()
        draft.remove(kept[0][1][1].key)  # solved anew: the picture of a view that has gone is asked
    assert held.keys == gone.keys
    assert np.array_equal(held.chosen, gone.chosen)
    counts = [posterior(len(blobs.scene), draft.evidence) for draft in (held, gone)]
    assert np.array_equal(counts[0].inside, counts[1].inside)


def test_a_mark_deep_beside_says_that_a_part_is_meant(blobs) -> None:
    """Then nothing tells where it ends, and photos are worth asking."""
    prepared = Prepared.of(blobs.workspace)
    draft = Draft(prepared)
    x, y = blobs.pixel(blobs.red)
    row = np.flatnonzero(blobs.mask(blobs.red)[int(y)])
    on, deep, rim = ((at, y) for at in (row.min() + 0.25 * np.ptp(row), x, row.max() - 0.5))
    selector = Selector(prepared, blobs.workspace, blobs.photo())
    for places, signs, apart in (
        ([on], [True], True),
        ([on, rim], [True, False], True),
        ([on, deep], [True, False], False),
    ):
        draft.become(selector.prompts(Clicks(np.array(places), np.array(signs))))
        assert draft.apart is apart
    draft.become([])
    assert draft.apart
