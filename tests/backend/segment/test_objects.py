"""Named objects: kept, replaced, renamed, merged, deleted, and whole after a kill."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.features import splat_hash
from backend.scene import files
from backend.scene.lock import locked
from backend.segment import objects
from backend.segment.posterior import seed_votes
from segwild_addon.protocol.errors import InputError


def save(blobs, name: str, rows: list[int], sure: float = 0.8) -> objects.Object:
    return objects.save(blobs.workspace, name, np.array(rows), np.full(len(blobs.scene), sure))


def state(blobs) -> list[tuple[int, str, list[int]]]:
    return [(item.id, item.name, item.rows.tolist()) for item in objects.load(blobs.workspace)]


def test_an_object_comes_back_as_it_was_saved(blobs) -> None:
    evidence = [seed_votes(np.array([4, 7]), inside=True, view="a0")]
    probability = np.linspace(0, 1, len(blobs.scene))
    saved = objects.save(blobs.workspace, "frog", np.array([7, 4, 4]), probability, evidence)
    found = objects.find(blobs.workspace, "frog")
    assert (found.id, found.name, found.rows.tolist(), found.color) == (1, "frog", [4, 7], saved.color)
    assert found.probability == pytest.approx(probability[[4, 7]], rel=1e-6)
    assert objects.sources(blobs.workspace, found) == (("seed", "a0"),)


def test_what_is_saved_is_what_is_found(blobs) -> None:
    masks = {"a0": blobs.mask(blobs.red)}
    sure = np.linspace(-1, 2, len(blobs.scene))
    saved = objects.save(blobs.workspace, "frog", blobs.labels == blobs.red, sure, (), masks)
    found = objects.find(blobs.workspace, "frog")
    for name in ("rows", "probability"):
        assert np.array_equal(getattr(saved, name), getattr(found, name))
        assert getattr(saved, name).dtype == getattr(found, name).dtype
    assert list(saved.masks) == list(found.masks) == ["a0"]
    assert np.array_equal(found.masks["a0"], masks["a0"])
    assert (saved.id, saved.name, saved.color, saved.look) == (found.id, found.name, found.color, found.look)


def test_masks_remember_who_drew_them(blobs) -> None:
    masks = {"a0": blobs.mask(blobs.red), "a2": blobs.mask(blobs.blue)}
    rows, sure = np.array([4]), np.ones(len(blobs.scene))
    saved = objects.save(blobs.workspace, "frog", rows, sure, (), masks, guessed=("a2",))
    found = objects.find(blobs.workspace, "frog")
    assert saved.guessed == found.guessed == {"a2"}
    save(blobs, "book", [5])
    assert objects.merge(blobs.workspace, "frog", "book").guessed == set()


def test_rows_of_what_has_changed_meanwhile_are_refused(blobs) -> None:
    sure = np.ones(len(blobs.scene))
    frog = save(blobs, "frog", [1, 2, 3])
    part = np.array([1])
    objects.save(blobs.workspace, "part", part, sure, made_from=frog)
    objects.rename(blobs.workspace, "frog", "toad")
    with pytest.raises(InputError, match="changed or deleted meanwhile"):  # or there would be a second one
        objects.save(blobs.workspace, "frog", part, sure, made_from=frog)
    objects.save(blobs.workspace, "part", part, sure, made_from=frog)  # parts of it are what they were
    objects.save(blobs.workspace, "toad", part, sure)
    for change in (lambda: None, lambda: objects.delete(blobs.workspace, "toad")):
        change()
        before = state(blobs)
        with pytest.raises(InputError, match="changed or deleted meanwhile"):
            objects.save(blobs.workspace, "toad", np.array([2]), sure, made_from=frog)
        assert state(blobs) == before
    objects.delete(blobs.workspace, "part")
    before = splat_hash(blobs.workspace)
    objects.save(blobs.workspace, "frog", part, sure, splats=before)
    objects.delete(blobs.workspace, "frog")
    replace(blobs.scene, sh0=blobs.scene.sh0 * 0.5).save(blobs.workspace.splats)
    with pytest.raises(InputError, match="trained anew"):
        objects.save(blobs.workspace, "frog", part, sure, splats=before)
    assert state(blobs) == []


def test_others_may_change_the_scene_while_rows_are_packed(blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    real = np.savez_compressed

    def packing(file, **arrays) -> None:
        with locked(blobs.workspace.root / ".scene.lock"):
            real(file, **arrays)

    monkeypatch.setattr(objects.np, "savez_compressed", packing)
    assert save(blobs, "frog", [1]).id == 1


def test_the_same_name_gets_new_rows_and_keeps_the_rest(blobs) -> None:
    save(blobs, "frog", [1, 2])
    objects.set_look(blobs.workspace, "frog", {"a": "a0"})
    save(blobs, "book", [3])
    again = save(blobs, "frog", [8, 9])
    assert (again.id, again.look) == (1, {"a": "a0"})
    assert state(blobs) == [(1, "frog", [8, 9]), (2, "book", [3])]


def test_rename_delete_and_ids_that_do_not_return(blobs) -> None:
    for name in ("a", "b", "c"):
        save(blobs, name, [1])
    objects.rename(blobs.workspace, "b", "bee")
    objects.delete(blobs.workspace, "c", "a")
    assert state(blobs) == [(2, "bee", [1])]
    assert not objects.rows_file(blobs.workspace, 1).exists()
    assert save(blobs, "d", [2]).id == 4


def test_without_objects_there_is_no_list(blobs) -> None:
    save(blobs, "a", [1])
    objects.delete(blobs.workspace, "a")
    assert not blobs.workspace.segments.exists()
    assert objects.load(blobs.workspace) == []


def test_merging(blobs) -> None:
    save(blobs, "a", [1, 2], 0.6)
    save(blobs, "b", [2, 3], 0.9)
    merged = objects.merge(blobs.workspace, "a", "b")
    assert merged.rows.tolist() == [1, 2, 3]
    assert merged.probability == pytest.approx([0.6, 0.9, 0.9], rel=1e-6)
    assert state(blobs) == [(1, "a", [1, 2, 3])]


def test_parts_of_objects(blobs) -> None:
    for number, name in enumerate(("lamp", "globe", "bulb", "bench"), start=1):
        save(blobs, name, [number])
    objects.nest(blobs.workspace, "globe", "lamp")
    objects.nest(blobs.workspace, "bulb", "globe")
    assert objects.parents(blobs.workspace) == {1: 0, 2: 1, 3: 2, 4: 0}
    for name, parent, code in (
        ("lamp", "lamp", "bad-parent"),
        ("lamp", "bulb", "bad-parent"),
        ("lamp", "nobody", "unknown-object"),
        ("nobody", "lamp", "unknown-object"),
    ):
        with pytest.raises(InputError) as caught:
            objects.nest(blobs.workspace, name, parent)
        assert caught.value.code == code
    save(blobs, "globe", [2, 5])
    assert [item.parent for item in objects.load(blobs.workspace)] == [0, 1, 2, 0]
    objects.merge(blobs.workspace, "bench", "globe")
    assert objects.parents(blobs.workspace) == {1: 0, 3: 4, 4: 0}
    objects.nest(blobs.workspace, "bench", "lamp")
    assert objects.merge(blobs.workspace, "bench", "lamp").parent == 0
    assert objects.parents(blobs.workspace) == {3: 4, 4: 0}
    objects.nest(blobs.workspace, "bulb", "")
    assert objects.parents(blobs.workspace) == {3: 0, 4: 0}
    objects.nest(blobs.workspace, "bulb", "bench")
    objects.delete(blobs.workspace, "bench")
    assert objects.parents(blobs.workspace) == {3: 0}


def test_where_objects_overlap_the_more_probable_wins(blobs) -> None:
    save(blobs, "a", [0, 1], 0.9)
    save(blobs, "b", [1, 2], 0.7)
    assert objects.labels(objects.load(blobs.workspace), 4).tolist() == [1, 1, 2, 0]


@pytest.mark.parametrize("name", ["", " x", "a\nb", "x" * 101])
def test_names_nobody_could_read(blobs, name: str) -> None:
    with pytest.raises(InputError, match="cannot be called"):
        save(blobs, name, [1])


def test_wrong_names_change_nothing(blobs) -> None:
    save(blobs, "frog", [1])
    save(blobs, "book", [2])
    before = state(blobs)
    with pytest.raises(InputError) as caught:
        objects.find(blobs.workspace, "forg")
    assert "frog" in caught.value.hint
    for attempt in (
        lambda: objects.delete(blobs.workspace, "frog", "nothing"),
        lambda: objects.rename(blobs.workspace, "frog", "book"),
        lambda: objects.merge(blobs.workspace, "frog", "nothing"),
        lambda: objects.merge(blobs.workspace, "frog", "frog"),
        lambda: save(blobs, "empty", []),
    ):
        with pytest.raises(InputError):
            attempt()
    assert state(blobs) == before


def test_objects_of_other_gaussians_are_refused(blobs) -> None:
    save(blobs, "frog", [1])
    blobs.scene.take(np.arange(50)).save(blobs.workspace.splats)
    with pytest.raises(InputError, match="other Gaussians"):
        objects.load(blobs.workspace)


def test_damaged_files_are_named(blobs) -> None:
    save(blobs, "frog", [1])
    path = objects.rows_file(blobs.workspace, 1)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match="'frog' are damaged"):
        objects.load(blobs.workspace)
    path.unlink()
    with pytest.raises(InputError, match="'frog' are missing"):
        objects.find(blobs.workspace, "frog")
    blobs.workspace.segments.write_text('{"format": 1}')
    with pytest.raises(InputError, match="list of objects is damaged"):
        objects.names(blobs.workspace)


@pytest.mark.parametrize("change", ["new", "replace", "delete", "rename", "nest", "merge"])
def test_a_kill_at_any_write_leaves_the_objects_readable(blobs, monkeypatch, change: str) -> None:
    save(blobs, "frog", [1])
    save(blobs, "book", [2])
    actions = {
        "new": lambda: save(blobs, "fresh", [5]),
        "replace": lambda: save(blobs, "frog", [5]),
        "delete": lambda: objects.delete(blobs.workspace, "frog"),
        "rename": lambda: objects.rename(blobs.workspace, "frog", "toad"),
        "nest": lambda: objects.nest(blobs.workspace, "frog", "book"),
        "merge": lambda: objects.merge(blobs.workspace, "frog", "book"),
    }

    class Killed(BaseException):
        pass

    real, allowed = files.os.fsync, 0
    for allowed in range(4):
        left = allowed

        def dying(descriptor: int) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            real(descriptor)

        monkeypatch.setattr(files.os, "fsync", dying)
        try:
            actions[change]()
        except Killed:
            monkeypatch.setattr(files.os, "fsync", real)
            found = state(blobs)
            assert [name for _, name, _ in found] == ["frog", "book"]
            continue
        break
    else:
        pytest.fail("never finished")
    assert allowed > 0
