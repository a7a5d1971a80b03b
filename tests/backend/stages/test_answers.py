"""Questions answered from an open scene, also one without photos."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numba
import numpy as np
import pytest

from backend.features import Lifted
from backend.progress import Quiet
from backend.render import sums
from backend.segment import cuts, eyes, junk, marks, meant, mincut, objects, patches, sweep
from backend.segment.junk import find_junk
from backend.segment.shaping import grown, shrunk
from backend.stages import answers as stage
from backend.stages.answers import Answers, rows_of
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.questions import (
    Choose,
    Consult,
    Cut,
    Grow,
    Junk,
    Keep,
    Part,
    Prepare,
    Preview,
    Propose,
    Revert,
    Shrink,
)
from segwild_addon.protocol.values import ArrayRef, Mark

ON_RED = Mark((-0.45, -0.27, 0.28), (-0.6, -2.5, 0.5), 0.01)


def opened(blobs, ref: ArrayRef) -> np.ndarray:
    bits = np.load(blobs.workspace.root / ref.path, allow_pickle=False)
    return np.flatnonzero(np.unpackbits(bits, bitorder="little", count=len(blobs.scene)))


@pytest.mark.parametrize("photos", [True, False])
def test_what_marks_choose_is_what_is_kept(blobs, photos: bool) -> None:
    if not photos:  # an import
        (blobs.workspace.root / "photos.json").unlink()
    answers = Answers(blobs.workspace.root)
    *_, ready = answers.prepare(Prepare())
    assert ready.gaussians == len(blobs.scene)
    chosen = answers.answer(Choose((ON_RED,)))
    rows = opened(blobs, chosen.rows)
    assert blobs.iou(rows, blobs.red) > 0.9
    kept = answers.answer(Keep("frog", marks=(ON_RED,)))
    assert np.array_equal(opened(blobs, kept.rows), rows)
    item = objects.find(blobs.workspace, "frog")
    assert np.array_equal(item.rows, rows)
    assert {kind for kind, _ in objects.sources(blobs.workspace, item)} == {"region", "seed"}


def test_photos_are_consulted_and_the_draft_stays(blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(blobs.workspace.root)
    assert answers.answer(Choose((ON_RED,))).apart
    monkeypatch.setattr("backend.segment.region.STANDS_APART", 0.0)
    other = replace(ON_RED, pixel=0.011)
    assert not answers.answer(Choose((other,))).apart
    *steps, heard = answers.steps(Consult((ON_RED,)))
    assert len(steps) > 2
    assert set(steps) == {None}
    assert blobs.iou(opened(blobs, heard.rows), blobs.red) > 0.9
    assert answers.opened.draft.keys == (other,)
    (blobs.workspace.root / "photos.json").unlink()
    alone = Answers(blobs.workspace.root)
    in_space = alone.answer(Choose((ON_RED,)))
    assert np.array_equal(opened(blobs, list(alone.steps(Consult((ON_RED,))))[-1].rows), opened(blobs, in_space.rows))


def test_marks_choose_a_part_or_the_whole(blobs) -> None:
    answers = Answers(blobs.workspace.root)
    usual = answers.answer(Choose((ON_RED,)))
    assert usual.size in usual.sizes
    place = usual.sizes.index(usual.size)
    assert 0 < place < len(usual.sizes) - 1
    counts = []
    for size in usual.sizes:
        chosen = answers.answer(Choose((ON_RED,), size))
        assert (chosen.size, chosen.sizes) == (size, usual.sizes)
        counts.append(chosen.count)
    assert counts[0] < usual.count < counts[-1]
    again = answers.answer(Choose((ON_RED,)))
    assert np.array_equal(opened(blobs, again.rows), opened(blobs, usual.rows))
    assert answers.opened.draft.undo()  # as it was before: the whole
    assert answers.opened.draft.size == usual.sizes[-1]
    with pytest.raises(InputError, match="size is -1"):
        answers.answer(Choose((ON_RED,), -1))


def test_things_are_proposed_with_all_their_rows(blobs) -> None:
    answers = Answers(blobs.workspace.root)
    proposed = answers.answer(Propose())
    numbers = np.load(blobs.workspace.root / proposed.numbers.path, allow_pickle=False)
    assert (numbers.dtype, numbers.shape) == (np.uint8, (len(blobs.scene),))
    assert proposed.gaussians == len(blobs.scene)
    assert set(numbers.tolist()) - {0} == set(range(1, proposed.count + 1))
    for label in (blobs.red, blobs.blue):
        best = max(blobs.iou(np.flatnonzero(numbers == number), label) for number in range(1, proposed.count + 1))
        assert best > 0.9
    assert not objects.load(blobs.workspace)


def test_where_the_ground_is_not_known_nothing_stands_apart_from_it(blobs) -> None:
    (blobs.workspace.root / "photos.json").unlink()  # an import
    proposed = Answers(blobs.workspace.root).answer(Propose())
    assert proposed.count == np.load(blobs.workspace.root / proposed.numbers.path, allow_pickle=False).max() == 0


def test_clusters_of_an_affinity_field_are_proposed_where_there_is_one(blobs) -> None:
    kinds = np.eye(3, dtype=np.float16)[np.where(blobs.labels == blobs.red, 1, 0)]
    count = len(blobs.scene)
    ones = np.ones(count, np.float32)
    Lifted(kinds, ones, ones, np.zeros(count, bool)).save(blobs.workspace, "affinity")
    answers = Answers(blobs.workspace.root)
    proposed = answers.answer(Propose())
    numbers = np.load(blobs.workspace.root / proposed.numbers.path, allow_pickle=False)
    assert max(blobs.iou(np.flatnonzero(numbers == number), blobs.red) for number in (1, 2)) == 1


class Heard(Quiet):
    """Remembers phases and counts steps."""

    def __init__(self) -> None:
        super().__init__()
        self.phases, self.steps = [], 0

    def phase(self, name: str, total: int | None = None) -> None:
        self.phases.append(name)

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.steps += steps


def test_the_steps_of_long_answers_are_heard(blobs) -> None:
    """A lift of a thousand photos takes minutes, and a cut a while."""
    heard = Heard()
    answers = Answers(blobs.workspace.root, heard)
    answers.answer(Keep("frog", marks=(ON_RED,)))
    assert heard.steps >= len(blobs.workspace.used_photos())
    heard.steps = 0
    answers.answer(Cut("frog"))
    assert "Cutting" in heard.phases
    assert heard.steps >= 2 * len(blobs.workspace.used_photos())  # each is looked at for an outline, and cut by it


def test_preparing_draws_what_the_first_click_would_compile(blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the first click in space waits for a compiler, for up to a minute where nothing is cached."""
    drawn: list[int] = []
    real = marks.contributors
    monkeypatch.setattr(marks, "contributors", lambda seen: drawn.append(1) or real(seen))
    answers = Answers(blobs.workspace.root)
    *_, ready = answers.prepare(Prepare())
    assert ready.gaussians == len(blobs.scene)
    assert drawn
    assert not answers.opened.draft.keys  # nobody has clicked


def test_what_a_mark_was_made_on_is_drawn_before_the_next_one(blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(blobs.workspace.root)
    for _ in answers.prepare(Prepare()):
        pass
    answers.answer(Choose((ON_RED,)))  # which stands apart, so that nobody looks
    drawn: list[int] = []
    real = eyes.Meant
    monkeypatch.setattr(eyes, "Meant", lambda *given: drawn.append(1) or real(*given))
    for _ in answers.prepare(Prepare(marks=(ON_RED,))):
        pass
    assert len(drawn) == 1
    with monkeypatch.context() as patched:  # no picture is going to be asked about what does not stand apart
        patched.setattr("backend.segment.region.STANDS_APART", 0.0)
        for _ in answers.prepare(Prepare(marks=(replace(ON_RED, pixel=0.02),))):
            pass
    assert len(drawn) == 1
    answers.answer(Choose((ON_RED, replace(ON_RED, positive=False, position=(0.4, -0.27, 0.28)))))
    assert len(drawn) == 1


@pytest.mark.parametrize("view", ["", "a0"])
def test_a_click_meets_no_code_that_was_not_compiled(blobs, view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled code is made for kinds of arguments, an array's layout among them: clicks bring none that are new."""
    met: set[tuple[str, tuple[str, ...]]] = set()

    def recorded(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            met.add((name, tuple(str(numba.typeof(each)) for each in arguments)))
            return real(*arguments)

        return called

    compiled = {
        mincut: ["_source_side"],
        sweep: ["_inner_ties", "_weakest_within"],
        meant: ["middles"],  # which is compiled with `inner_depth`, for the kinds that clicks bring it
        patches: ["_merged"],
        sums: ["accumulate_features"],
    }
    for module, names in compiled.items():
        for name in names:
            monkeypatch.setattr(module, name, recorded(name, getattr(module, name)))
    x, y = blobs.pixel(blobs.red)
    photo = blobs.photo()
    # One click on what stands apart, where preparing clicks too, needs no picture.
    monkeypatch.setattr(stage, "_PLACES", ((x / photo.width, y / photo.height), (0.9, 0.9)))
    answers = Answers(blobs.workspace.root)
    for _ in answers.prepare(Prepare(view)):
        pass
    prepared = set(met)
    assert {name for name, _ in prepared} >= {"_source_side", "_inner_ties", "_weakest_within"}
    words = (f"{x:.0f},{y:.0f},+", f"{x + 12:.0f},{y:.0f},-", f"{x:.0f},{y + 6:.0f},+", "5,5,-")
    beside = Mark((0.4, -0.27, 0.28), (0.6, -2.5, 0.5), 0.01, False)
    for question in (Choose((ON_RED,)), Choose((ON_RED, beside)), *(Preview(view, words[: n + 1]) for n in range(4))):
        if view or isinstance(question, Choose):
            assert answers.answer(question).count > 0
    assert met == prepared


def test_preparing_goes_on_until_a_picture_has_answered(blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs.pixel(blobs.red)
    photo, asked = blobs.photo(), []
    on = (x / photo.width, y / photo.height)
    monkeypatch.setattr(stage, "_PLACES", (on, (0.9, 0.9), on, (0.9, 0.9), on, (0.9, 0.9)))
    real = meant.Meant.answer

    def silent_at_first(self: meant.Meant, clicks: Any) -> Any:
        if len(clicks) == 2:
            asked.append(clicks)
        return real(self, clicks) if len(asked) > 1 else None

    monkeypatch.setattr(meant.Meant, "answer", silent_at_first)
    for _ in Answers(blobs.workspace.root).prepare(Prepare(photo.name)):
        pass
    assert 1 < len(asked) < 5


def test_rows_are_kept_exactly(blobs) -> None:
    answers = Answers(blobs.workspace.root)
    bits = np.random.default_rng(0).random(len(blobs.scene)) < 0.3
    text = base64.b64encode(np.packbits(bits, bitorder="little")).decode()
    kept = answers.answer(Keep("any", rows=text, marks=(ON_RED,)))
    item = objects.find(blobs.workspace, "any")
    assert np.array_equal(item.rows, np.flatnonzero(bits))
    assert np.array_equal(opened(blobs, kept.rows), item.rows)
    assert (item.probability == 1).all()


@pytest.mark.parametrize("count", [1, 7, 8, 9, 2500])
def test_bits_have_one_meaning(count: int) -> None:
    bits = np.random.default_rng(count).random(count) < 0.5
    packed = np.packbits(bits, bitorder="little")
    assert np.array_equal(rows_of(base64.b64encode(packed).decode(), count), bits)
    wrong = [b"", packed.tobytes() + b"\0"]
    if count % 8:
        wrong.append((packed | np.append(np.zeros(len(packed) - 1, np.uint8), 128)).astype(np.uint8).tobytes())
    for data in wrong:
        with pytest.raises(InputError, match="not those of this scene"):
            rows_of(base64.b64encode(data).decode(), count)
    with pytest.raises(InputError, match="not base64"):
        rows_of("ä", count)


def test_a_cut_is_told_as_it_is_kept_and_taken_back(blobs) -> None:
    needles = np.flatnonzero(blobs.labels == blobs.red)[::20]
    log_scales = blobs.scene.log_scales.copy()
    log_scales[needles] = np.log([0.5, 0.01, 0.01])
    scene = replace(blobs.scene, log_scales=log_scales)
    scene.save(blobs.workspace.splats)
    answers = Answers(blobs.workspace.root)
    bits = np.packbits(blobs.labels == blobs.red, bitorder="little")
    answers.answer(Keep("frog", rows=base64.b64encode(bits).decode()))
    told = answers.answer(Cut("frog"))
    made = cuts.load(blobs.workspace, objects.find(blobs.workspace, "frog"))

    def array(ref: ArrayRef) -> np.ndarray:
        return np.load(blobs.workspace.root / ref.path, allow_pickle=False)

    assert set(made.parents) & set(needles)
    assert np.array_equal(array(told.parents), made.parents)
    assert np.array_equal(array(told.sides), made.sides)
    assert np.array_equal(array(told.given), made.given)
    assert np.array_equal(array(told.dropped), made.dropped)
    np.testing.assert_array_equal(array(told.anchors), blobs.scene.means[made.parents])
    np.testing.assert_array_equal(array(told.means), made.parts.means)
    np.testing.assert_allclose(np.linalg.norm(array(told.quats), axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(array(told.scales), made.parts.scales)
    np.testing.assert_allclose(array(told.opacities), made.parts.opacities)
    assert answers.answer(Revert("frog")).names == ("frog",)
    assert cuts.load(blobs.workspace, objects.find(blobs.workspace, "frog")) is None
    for question in (Cut("nobody"), Revert("nobody")):
        with pytest.raises(InputError, match="nobody"):
            answers.answer(question)


def test_a_cut_needs_a_photo_that_shows_the_object(blobs) -> None:
    answers = Answers(blobs.workspace.root)
    answers.answer(Keep("frog", marks=(ON_RED,)))
    (blobs.workspace.root / "photos.json").unlink()
    with pytest.raises(InputError, match="No photo shows"):
        answers.answer(Cut("frog"))


def test_rows_are_parted_into_what_hangs_together(blobs) -> None:
    answers = Answers(blobs.workspace.root)
    chosen = blobs.labels > 0
    chosen[np.flatnonzero(blobs.labels == 0)[0]] = True  # a crumb
    rows = base64.b64encode(np.packbits(chosen, bitorder="little")).decode()
    told = answers.answer(Part(rows))
    numbers = np.load(blobs.workspace.root / told.numbers.path)
    assert (told.count, told.gaussians, numbers.max()) == (2, len(chosen), 2)
    sizes = np.bincount(numbers)[1:]
    assert sizes[0] >= sizes[1] >= 30
    assert {tuple(np.unique(blobs.labels[numbers == number])) for number in (1, 2)} == {(blobs.red,), (blobs.blue,)}
    assert not (numbers > 0)[~chosen].any()
    assert answers.answer(Part(rows, least=int(sizes[1]) + 1)).count == int(sizes[0] > sizes[1])
    with pytest.raises(InputError, match="least part"):
        answers.answer(Part(rows, least=0))
    assert not objects.names(blobs.workspace)


@pytest.mark.parametrize("photos", [True, False])
def test_junk_is_what_the_command_finds_and_measured_once(blobs, photos: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    log_scales = blobs.scene.log_scales.copy()
    log_scales[7] = np.log([0.4, 0.01, 0.01])
    scene = replace(blobs.scene, log_scales=log_scales)
    scene.save(blobs.workspace.splats)
    cameras = [photo.camera for photo in blobs.workspace.used_photos()] if photos else []
    if not photos:
        (blobs.workspace.root / "photos.json").unlink()
    measured: list[int] = []
    real = junk.needles
    answers = Answers(blobs.workspace.root, heard := Heard())
    graph = answers.opened.prepared.graph
    expected = {each: find_junk(scene, graph, cameras, strength=each).rows for each in (0.0, 0.5, 1.0)}
    needles = find_junk(scene, graph, cameras, strength=1.0, causes=("needle",)).rows
    heard.steps = 0
    monkeypatch.setattr(junk, "needles", lambda *each: measured.append(1) or real(*each))
    for strength, rows in expected.items():
        told = answers.answer(Junk(strength))
        assert np.array_equal(opened(blobs, told.rows), rows)
        assert (told.count, told.gaussians) == (len(rows), len(scene))
    assert 7 in expected[1.0]
    assert len(measured) == 1
    assert heard.phases[-1] == "Finding junk"
    assert heard.steps >= 2 * len(cameras)  # or a worker with many photos would be taken for one that hangs
    assert objects.names(blobs.workspace) == {}
    objects.save(blobs.workspace, "frog", np.arange(8), np.ones(len(scene)))
    objects.save(blobs.workspace, "toad", np.arange(7), np.ones(len(scene)))
    assert np.array_equal(opened(blobs, answers.answer(Junk(1.0, ("needle",))).rows), needles)
    assert opened(blobs, answers.answer(Junk(1.0, ("needle",), "frog")).rows).tolist() == [7]
    assert answers.answer(Junk(1.0, ("needle",), "toad")).count == 0
    with pytest.raises(InputError, match="nobody"):
        answers.answer(Junk(within="nobody"))
    assert len(measured) == 1


def test_junk_of_a_clean_scene_is_nothing_and_no_error(blobs) -> None:
    (blobs.workspace.root / "photos.json").unlink()
    told = Answers(blobs.workspace.root).answer(Junk(0.0))
    assert told.count == 0
    assert not len(opened(blobs, told.rows))


def test_a_strength_that_makes_no_sense_is_refused_before_the_scene_is_loaded(blobs) -> None:
    answers = Answers(blobs.workspace.root)
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="strength"):
            answers.answer(Junk(strength))
    assert answers.opened._prepared is None


def test_rows_are_grown_and_shrunk_along_the_graph_and_nothing_is_kept(blobs) -> None:
    answers = Answers(blobs.workspace.root)
    graph = answers.opened.prepared.graph
    red = blobs.labels == blobs.red
    half = red & (np.arange(len(red)) % 2 == 0)
    for kind, change, bits in ((Grow, grown, half), (Shrink, shrunk, red)):
        text = base64.b64encode(np.packbits(bits, bitorder="little")).decode()
        for steps in (1, 2):
            told = answers.answer(kind(text, steps))
            expected = np.flatnonzero(change(bits, graph, steps))
            assert np.array_equal(opened(blobs, told.rows), expected)
            assert told.count == len(expected) != bits.sum()
        for steps in (0, 101):
            with pytest.raises(InputError, match="steps"):
                answers.answer(kind(text, steps))
    assert objects.names(blobs.workspace) == {}
