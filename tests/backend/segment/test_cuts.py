"""Cuts kept beside objects: shown, void when the rows change, gone without a trace."""

from __future__ import annotations

import numpy as np
import pytest

from backend.render import Seen
from backend.scene import Gaussians
from backend.scene.gaussians import FIELDS
from backend.segment import cuts, objects
from backend.segment.cutter import OBJECT, REST, Cut
from backend.segment.shown import Shown
from backend.segment.split import Moments, halves
from segwild_addon.protocol.errors import InputError


def divided(scene: Gaussians, rows: np.ndarray, given: np.ndarray) -> Cut:
    """Each row halved by the plane x = its middle; the half towards +x is inside."""
    whole = Moments.of(scene, rows)
    inner, outer, _ = halves(whole, np.tile([1.0, 0, 0], (len(rows), 1)), whole.means[:, 0])
    parts = [half.colored_like(scene, rows) for half in (inner, outer)]
    fields = {name: np.concatenate([getattr(part, name) for part in parts]) for name in FIELDS}
    return Cut(
        "exact",
        Gaussians(**fields),
        np.tile(rows, 2),
        np.repeat([OBJECT, REST], len(rows)).astype(np.uint8),
        given,
        rows[:0],
    )


@pytest.fixture
def red(blobs) -> objects.Object:
    return objects.save(blobs.workspace, "red", blobs.labels == blobs.red, np.ones(len(blobs.labels)))


def files(blobs) -> dict[str, bytes]:
    return {
        str(path.relative_to(blobs.workspace.root)): path.read_bytes()
        for path in sorted(blobs.workspace.root.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def test_a_cut_comes_back_and_goes_without_a_trace(blobs, red) -> None:
    before = files(blobs)
    made = divided(blobs.scene, red.rows[:5], red.rows[5:7])
    cuts.keep(blobs.workspace, red, made)
    found = cuts.load(blobs.workspace, red)
    assert found.mode == "exact"
    for name in FIELDS:
        assert np.array_equal(getattr(found.parts, name), getattr(made.parts, name))
    assert np.array_equal(found.parents, made.parents)
    assert np.array_equal(found.sides, made.sides)
    assert np.array_equal(found.given, made.given)
    assert cuts.revert(blobs.workspace, red)
    assert not cuts.revert(blobs.workspace, red)
    assert cuts.load(blobs.workspace, red) is None
    assert files(blobs) == before


def test_other_rows_make_a_cut_void(blobs, red) -> None:
    path = objects.cut_file(blobs.workspace, red.id)
    cuts.keep(blobs.workspace, red, divided(blobs.scene, red.rows[:5], red.rows[:0]))
    kept = path.read_bytes()
    again = objects.save(blobs.workspace, "red", red.rows[:100], np.ones(len(blobs.labels)))
    assert not path.exists()
    path.write_bytes(kept)  # as after a kill between the two
    assert cuts.load(blobs.workspace, again) is None
    objects.delete(blobs.workspace, "red")
    assert not path.exists()


def test_a_damaged_cut_is_an_error_and_reverts(blobs, red) -> None:
    cuts.keep(blobs.workspace, red, divided(blobs.scene, red.rows[:5], red.rows[:0]))
    path = objects.cut_file(blobs.workspace, red.id)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError) as caught:
        cuts.load(blobs.workspace, red)
    assert caught.value.code == "file-damaged"
    assert cuts.revert(blobs.workspace, red)


def test_the_object_and_the_rest_share_what_was_divided(blobs, red) -> None:
    made = divided(blobs.scene, red.rows[:5], red.rows[5:7])
    count, whole = len(blobs.scene), red.rows[7:]
    mine = cuts.part_of(count, only=(red.rows, made))
    rest = cuts.part_of(count, without=(red.rows, made))
    assert np.array_equal(np.flatnonzero(mine.kept), whole)
    assert sorted(mine.parents) == sorted(rest.parents) == red.rows[:5].tolist()
    assert set(np.flatnonzero(rest.kept)) == set(range(count)) - set(whole) - set(red.rows[:5])
    assert np.array_equal(mine.sources, np.concatenate([whole, mine.parents]))
    inner, outer = mine.of(blobs.scene).means[-5:], rest.of(blobs.scene).means[-5:]
    assert (inner[:, 0] > outer[:, 0]).all()
    applied, rows = cuts.applied(blobs.scene, red.rows, made)
    assert len(applied) == count + 5
    assert len(rows) == len(mine.sources)
    camera = blobs.cameras[0]
    pictures = [Seen(item, camera).picture(item)[0] for item in (blobs.scene, applied)]
    assert np.abs(pictures[0] - pictures[1]).mean() < 2e-3


def test_two_cuts_of_the_same_row_do_not_show_it_twice(blobs, red) -> None:
    made = divided(blobs.scene, red.rows[:5], red.rows[:0])
    other = divided(blobs.scene, red.rows[3:8], red.rows[:0])
    part = cuts.part_of(len(blobs.scene), only=(red.rows, made), without=(red.rows[3:8], other))
    shown = part.sources
    assert len(np.unique(shown)) == len(shown)
    assert not part.kept[red.rows[:8]].any()


def test_without_a_cut_it_is_as_before(blobs, red) -> None:
    shown = Shown.open(blobs.workspace)
    part = shown.part(only="red")
    assert np.array_equal(part.kept, shown.rows(only="red"))
    assert np.array_equal(shown.of(part).means, shown.baked().take(shown.rows(only="red")).means)


def test_drawn_masks_are_kept_with_the_object(blobs) -> None:
    mask = blobs.mask(blobs.red)
    objects.save(blobs.workspace, "red", np.array([1]), np.ones(len(blobs.labels)), (), {"a0": mask})
    found = objects.find(blobs.workspace, "red").masks
    assert list(found) == ["a0"]
    assert np.array_equal(found["a0"], mask)
    objects.save(blobs.workspace, "red", np.array([1]), np.ones(len(blobs.labels)))
    assert not objects.find(blobs.workspace, "red").masks
