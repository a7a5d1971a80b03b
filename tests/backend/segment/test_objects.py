"""Named objects: kept, replaced, renamed, merged, deleted, and whole after a kill."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

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
    (votes,) = objects.evidence(blobs.workspace, found)
    assert (votes.kind, votes.view, votes.mask_mass) == ("seed", "a0", 0.0)
    for name in ("rows", "inside", "outside", "mass"):
        assert np.array_equal(getattr(votes, name), getattr(evidence[0], name))
        assert getattr(votes, name).dtype == getattr(evidence[0], name).dtype


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


def test_votes_are_read_by_who_asks_for_them_alone(blobs) -> None:
    """Megabytes each: lists, pictures and exports do without."""
    votes = seed_votes(np.arange(2000), inside=True)
    objects.save(blobs.workspace, "frog", np.array([4]), np.ones(len(blobs.scene)), [votes])
    path = objects.rows_file(blobs.workspace, 1)
    with zipfile.ZipFile(path) as file:
        member = file.getinfo("votes0.rows.npy")
    damaged = bytearray(path.read_bytes())
    first, end = member.header_offset + 100, member.header_offset + member.compress_size
    damaged[first:end] = bytes(end - first)
    path.write_bytes(damaged)
    found = objects.find(blobs.workspace, "frog")
    assert found.rows.tolist() == [4]
    with pytest.raises(InputError, match="'frog' are damaged"):
        objects.evidence(blobs.workspace, found)


def test_others_may_change_the_scene_while_votes_are_packed(blobs, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize("change", ["new", "replace", "delete", "rename", "merge"])
def test_a_kill_at_any_write_leaves_the_objects_readable(blobs, monkeypatch, change: str) -> None:
    save(blobs, "frog", [1])
    save(blobs, "book", [2])
    actions = {
        "new": lambda: save(blobs, "fresh", [5]),
        "replace": lambda: save(blobs, "frog", [5]),
        "delete": lambda: objects.delete(blobs.workspace, "frog"),
        "rename": lambda: objects.rename(blobs.workspace, "frog", "toad"),
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
