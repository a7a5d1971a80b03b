"""3DGS .ply files: round trips, other programs' manners, and hostile headers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segwild_addon.data import ply
from segwild_addon.data.encoded import Encoded, unit
from segwild_addon.data.rows import Rows
from segwild_addon.data.steps import finished
from segwild_addon.protocol.errors import InputError, ResourceError

ALL = slice(None)
FIELDS = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2"]
FIELDS += ["rot_0", "rot_1", "rot_2", "rot_3"]


def some(count: int, degree: int, seed: int = 0) -> Rows:
    random = np.random.default_rng(seed)
    shapes = ((count, 3), (count, 4), (count, 3), (count,), (count, 1, 3), (count, (degree + 1) ** 2 - 1, 3))
    encoded = Encoded(*(random.standard_normal(shape).astype(np.float32) for shape in shapes))
    return encoded.rows(ALL, np.arange(1, count + 1, dtype=np.int32))


def same(found: Rows, expected: Rows) -> None:
    np.testing.assert_array_equal(found.positions, expected.positions)
    np.testing.assert_array_equal(found.base[:, :3], expected.base[:, :3])
    np.testing.assert_array_equal(found.sh, expected.sh)
    np.testing.assert_allclose(found.scales, expected.scales, rtol=1e-6)
    np.testing.assert_allclose(found.base[:, 3], expected.base[:, 3], atol=1e-6)
    np.testing.assert_allclose(found.rotations, expected.rotations, atol=1e-6)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("with_ids", [False, True])
def test_rows_come_back(tmp_path: Path, degree: int, with_ids: bool) -> None:
    rows = some(70_000 if degree == 0 else 50, degree)  # more than one chunk
    path = tmp_path / "a.ply"
    assert finished(ply.writing(path, rows, with_ids=with_ids)) == len(rows)
    same(ply.read(path).rows(ALL), rows)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ply"]


def test_the_backend_reads_what_is_written_and_the_other_way_round(tmp_path: Path) -> None:
    backend = pytest.importorskip("backend.formats.ply", reason="the backend's libraries are not installed")
    rows = some(50, 3)
    finished(ply.writing(tmp_path / "a.ply", rows, with_ids=True))
    gaussians = backend.read_ply(tmp_path / "a.ply")
    np.testing.assert_array_equal(gaussians.means, rows.positions)
    np.testing.assert_array_equal(gaussians.shN, rows.sh)
    np.testing.assert_allclose(gaussians.opacities, rows.base[:, 3], atol=1e-6)
    backend.write_ply(tmp_path / "b.ply", gaussians)
    same(ply.read(tmp_path / "b.ply").rows(ALL), rows)


def text(fields: list[str], lines: list[str], *, count: int | None = None, head: str = "") -> bytes:
    properties = "".join(f"property double {name}\n" for name in fields)
    count = len(lines) if count is None else count
    header = f"ply\nformat ascii 1.0\n{head}element vertex {count}\n{properties}end_header\n"
    return (header + "\n".join(lines) + "\n").encode()


def test_other_orders_types_and_elements_are_understood(tmp_path: Path) -> None:
    rows = some(9, 1)
    finished(ply.writing(tmp_path / "a.ply", rows))
    encoded = ply.read(tmp_path / "a.ply")
    columns = {
        "opacity": encoded.opacity_logits,
        **{f"rot_{k}": encoded.quats[:, k] for k in range(4)},
        "extra": np.arange(9),
        **{f"f_rest_{8 - k}": encoded.shN.swapaxes(1, 2).reshape(9, 9)[:, 8 - k] for k in range(9)},
        **{f"scale_{k}": encoded.log_scales[:, k] for k in range(3)},
        **{f"f_dc_{k}": encoded.sh0[:, 0, k] for k in range(3)},
        **dict(zip("zyx", encoded.means.T[::-1], strict=True)),
    }
    lines = [" ".join(repr(float(column[row])) for column in columns.values()) for row in range(9)]
    head = "comment made elsewhere\nelement camera 1\nproperty float f\n"
    (tmp_path / "b.ply").write_bytes(text(list(columns), ["1.5", *lines], count=9, head=head))
    same(ply.read(tmp_path / "b.ply").rows(ALL), rows)

    table = np.empty(9, [(name, ">f8") for name in columns])
    for name, column in columns.items():
        table[name] = column
    header = text(list(columns), [], count=9).replace(b"ascii", b"binary_big_endian").rstrip(b"\n") + b"\n"
    (tmp_path / "c.ply").write_bytes(header + table.tobytes())
    same(ply.read(tmp_path / "c.ply").rows(ALL), rows)


def test_rows_that_cannot_be_shown_are_found(tmp_path: Path) -> None:
    good = "0 0 0 1 1 1 0 0 0 0 1 0 0 0"
    bad = [good.replace("0 0 0 1", "nan 0 0 1", 1), good.replace("0 0 0 1", "0 1e30 0 1", 1)]
    bad += ["0 0 0 1 1 1 0 99 0 0 1 0 0 0", "0 0 0 1 1 1 nan 0 0 0 1 0 0 0", "0 0 0 1 1 1 0 0 0 0 inf 0 0 0"]
    fine = [good, "0 0 0 1 1 1 inf -inf 0 0 0 0 0 0", "0 0 0 1 1 1 -inf 0 0 0 1e-30 0 0 0"]
    (tmp_path / "a.ply").write_bytes(text(FIELDS, [*bad, *fine]))
    encoded = ply.read(tmp_path / "a.ply")
    np.testing.assert_array_equal(encoded.usable(), [False] * len(bad) + [True] * len(fine))
    rows = encoded.rows(np.flatnonzero(encoded.usable()))
    assert np.isfinite(np.concatenate([rows.scales, rows.rotations, rows.base], axis=1)).all()
    np.testing.assert_allclose(rows.rotations, [[1, 0, 0, 0]] * 3)
    assert rows.base[1, 3] == pytest.approx(1)
    assert rows.base[2, 3] == pytest.approx(0)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "ply-malformed"),
        (b"obj\n", "ply-malformed"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\n", "ply-malformed"),
        (b"ply\n" + b"comment x\n" * 20_000, "ply-malformed"),
        (b"ply\n" + b"x" * 5000, "ply-malformed"),
        (b"ply\nelement vertex 0\nend_header\n", "ply-malformed"),
        (b"ply\nformat ascii 1.0\nelement face 1\nend_header\n", "ply-malformed"),
        (b"ply\nformat ascii 1.0\nelement vertex -1\nend_header\n", "ply-malformed"),
        (b"ply\nformat ascii 1.0\nelement vertex " + b"9" * 40 + b"\nend_header\n", "ply-malformed"),
        (b"ply\nformat ascii 1.0\nproperty float x\nend_header\n", "ply-malformed"),
        (text(["x", "x"], []), "ply-malformed"),
        (text(FIELDS, [], head="element chunk 1\nproperty float a\n"), "ply-compressed"),
        (text(["x", "y", "z", "red"], ["0 0 0 0"]), "ply-no-splats"),
        (text(FIELDS[:-1], []), "ply-fields-missing"),
        (text([*FIELDS, "f_rest_0"], []), "ply-harmonics"),
        (text([*FIELDS, *(f"f_rest_{k + 1}" for k in range(9))], []), "ply-harmonics"),
        (text(FIELDS, []), "ply-empty"),
        (text(FIELDS, [], count=10**15), "ply-too-large"),
        (text(FIELDS, [], count=10**8), "ply-cut-short"),
        (text(FIELDS, ["0 " * 14] * 3, count=4), "ply-cut-short"),
        (text(FIELDS, [], count=10**15).replace(b"ascii", b"binary_little_endian"), "ply-too-large"),
        (text(FIELDS, [], count=10**8).replace(b"ascii", b"binary_little_endian"), "ply-cut-short"),
        (text(FIELDS, ["0 " * 13]), "ply-malformed"),
        (text(FIELDS, ["0 " * 13 + "x"]), "ply-malformed"),
        (text(FIELDS, ["0 " * 14]).replace(b"double x", b"list uchar float x"), "ply-malformed"),
    ],
)
def test_each_broken_file_has_its_sentence(tmp_path: Path, data: bytes, code: str) -> None:
    (tmp_path / "a.ply").write_bytes(data)
    with pytest.raises(InputError) as caught:
        ply.read(tmp_path / "a.ply")
    assert caught.value.code == code
    assert caught.value.sentence.endswith(f"{tmp_path / 'a.ply'}.")


@given(st.data())
def test_any_damage_is_a_sentence_or_a_file(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("ply")
    finished(ply.writing(folder / "a.ply", some(3, 1)))
    content = bytearray((folder / "a.ply").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    (folder / "a.ply").write_bytes(content)
    try:
        encoded = ply.read(folder / "a.ply")
    except InputError:
        return
    rows = encoded.rows(np.flatnonzero(encoded.usable()))
    for array in (rows.positions, rows.scales, rows.rotations, rows.base, rows.sh):
        assert np.isfinite(array).all()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(b"old")
    rows = some(5, 0)
    broken = Rows(**vars(rows) | {"positions": np.full((5, 3), np.nan, np.float32)})
    with pytest.raises(InputError):
        finished(ply.writing(path, broken))
    work = ply.writing(path, some(70_000, 0))
    next(work)
    work.close()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ply"]
    with pytest.raises(ResourceError):
        finished(ply.writing(tmp_path / "missing" / "a.ply", rows))


def test_rows_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    rows = some(5, 1)
    rows.sh[2, 1, 1] = np.inf
    assert finished(ply.writing(tmp_path / "a.ply", rows)) == 4
    assert len(ply.read(tmp_path / "a.ply")) == 4


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=4, max_size=4))
def test_quaternions_of_any_norm_become_unit(quat: list[float]) -> None:
    assert np.linalg.norm(unit(np.array([quat], np.float32)), axis=1) == pytest.approx(1, abs=1e-5)
