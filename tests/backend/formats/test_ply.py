"""The .ply format: field by field, through plyfile, and against files that mean harm."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from plyfile import PlyData, PlyElement

from backend.formats import WRITERS, reader_of, writer_of
from backend.formats.ply import read_ply, write_ply
from backend.formats.rows import SOLID_LOGIT
from backend.progress import Quiet
from backend.scene.gaussians import FIELDS, Gaussians
from backend.scene.placement import transformed
from backend.scene.transforms import Similarity, matrices_from_quats
from segwild_addon.protocol.errors import InputError

TURNED = Similarity(2.5, matrices_from_quats(np.array([[0.3, -0.5, 0.7, 0.4]]))[0], np.array([1.0, -2.0, 3.0]))


def some_gaussians(count: int = 7, bases: int = 15, seed: int = 0) -> Gaussians:
    rng = np.random.default_rng(seed)
    shapes = {
        "means": (count, 3),
        "quats": (count, 4),
        "log_scales": (count, 3),
        "opacity_logits": (count,),
        "sh0": (count, 1, 3),
        "shN": (count, bases, 3),
    }
    return Gaussians(**{name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})


@st.composite
def all_gaussians(draw: st.DrawFn) -> Gaussians:
    count, bases = draw(st.integers(1, 6)), draw(st.sampled_from([0, 3, 8, 15]))
    numbers = st.floats(-(2.0**56), 2.0**56, width=32)
    shapes = {"means": (count, 3), "opacity_logits": (count,), "sh0": (count, 1, 3), "shN": (count, bases, 3)}
    fields = {name: draw(arrays(np.float32, shape, elements=numbers)) for name, shape in shapes.items()}
    fields["log_scales"] = draw(arrays(np.float32, (count, 3), elements=st.floats(-40, 40, width=32)))
    fields["quats"] = draw(arrays(np.float32, (count, 4), elements=st.floats(0.125, 8, width=32)))
    return Gaussians(**fields)


def assert_same(found: Gaussians, expected: Gaussians) -> None:
    for name in FIELDS:
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), name


def header_of(path: Path) -> bytes:
    content = path.read_bytes()
    return content[: content.index(b"end_header\n") + len(b"end_header\n")]


def refused(path: Path, content: bytes, code: str) -> str:
    path.write_bytes(content)
    with pytest.raises(InputError) as refusal:
        read_ply(path)
    assert refusal.value.code == code, refusal.value
    assert refusal.value.sentence.endswith(f"{path}.")
    return refusal.value.sentence


def rewritten(path: Path, source: Path, change, *, text: bool = False, byte_order: str = "<") -> Path:
    """The vertex table of a .ply after `change(table)`, written by plyfile."""
    table = change(PlyData.read(source, mmap=False)["vertex"].data)
    PlyData([PlyElement.describe(table, "vertex")], text=text, byte_order=byte_order).write(path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_ply(tmp_path / "scene.ply", some_gaussians())
    return tmp_path / "scene.ply"


# Layout


def test_the_header_is_the_one_every_viewer_expects(file: Path) -> None:
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    names += [f"f_rest_{k}" for k in range(45)]
    names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    lines = ["ply", "format binary_little_endian 1.0", "element vertex 7"]
    lines += [f"property float {name}" for name in names] + ["end_header", ""]
    assert header_of(file).decode() == "\n".join(lines)
    assert file.stat().st_size == len(header_of(file)) + 7 * 62 * 4


def test_every_field_holds_what_its_name_says(file: Path) -> None:
    gaussians, vertex = some_gaussians(), PlyData.read(file, mmap=False)["vertex"]
    for axis in range(3):
        assert np.array_equal(vertex["xyz"[axis]], gaussians.means[:, axis])
        assert not vertex["n" + "xyz"[axis]].any()
        assert np.array_equal(vertex[f"scale_{axis}"], gaussians.log_scales[:, axis])
    for part in range(4):
        assert np.array_equal(vertex[f"rot_{part}"], gaussians.quats[:, part])
    assert np.array_equal(vertex["opacity"], gaussians.opacity_logits)
    for channel in range(3):
        assert np.array_equal(vertex[f"f_dc_{channel}"], gaussians.sh0[:, 0, channel])
        for basis in range(15):
            assert np.array_equal(vertex[f"f_rest_{15 * channel + basis}"], gaussians.shN[:, basis, channel])


# Round trips


@settings(max_examples=60, deadline=None)
@given(gaussians=all_gaussians())
def test_what_is_written_is_read_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, gaussians: Gaussians) -> None:
    path = tmp_path_factory.mktemp("ply") / "scene.ply"
    progress = Quiet()
    write_ply(path, gaussians, progress=progress)
    assert_same(read_ply(path, progress), gaussians)
    assert progress.warnings == []


@pytest.mark.parametrize(("text", "byte_order"), [(True, "="), (False, "<"), (False, ">")])
def test_every_encoding_is_read_alike(tmp_path: Path, file: Path, text: bool, byte_order: str) -> None:
    other = rewritten(tmp_path / "other.ply", file, lambda table: table, text=text, byte_order=byte_order)
    for name in FIELDS:
        np.testing.assert_allclose(getattr(read_ply(other), name), getattr(some_gaussians(), name), rtol=1e-6)


def test_windows_line_ends_in_the_header(tmp_path: Path, file: Path) -> None:
    content, header = file.read_bytes(), header_of(file)
    (tmp_path / "crlf.ply").write_bytes(header.replace(b"\n", b"\r\n") + content[len(header) :])
    assert_same(read_ply(tmp_path / "crlf.ply"), some_gaussians())


def test_writing_undoes_the_normalisation(tmp_path: Path) -> None:
    gaussians = some_gaussians()
    write_ply(tmp_path / "world.ply", transformed(gaussians, TURNED), world_from_scene=TURNED.inverse())
    found = read_ply(tmp_path / "world.ply")
    for name in ("means", "log_scales", "opacity_logits", "sh0", "shN"):
        np.testing.assert_allclose(getattr(found, name), getattr(gaussians, name), atol=1e-5)
    np.testing.assert_allclose(matrices_from_quats(found.quats), matrices_from_quats(gaussians.quats), atol=1e-5)


def test_other_order_extra_columns_elements_and_types(tmp_path: Path, file: Path) -> None:
    table = PlyData.read(file, mmap=False)["vertex"].data
    names = [*reversed(table.dtype.names), "label"]
    shuffled = np.zeros(len(table), [(name, "<u1" if name == "label" else "<f8") for name in names])
    for name in table.dtype.names:
        shuffled[name] = table[name]
    before = PlyElement.describe(np.zeros(3, [("a", "<i2"), ("b", "u1")]), "camera")
    faces = np.empty(2, [("vertex_indices", object)])
    faces["vertex_indices"] = [np.array([0, 1, 2]), np.array([1, 2])]
    after = PlyElement.describe(faces, "face")
    vertex = PlyElement.describe(shuffled, "vertex")
    for text in (False, True):
        PlyData([before, vertex, after], text=text, byte_order="<", comments=["made elsewhere"]).write(
            tmp_path / "o.ply"
        )
        assert_same(read_ply(tmp_path / "o.ply"), some_gaussians())


# Rows that cannot be used


def test_rows_of_nan_infinity_and_absurd_size_are_left_out_with_a_count(tmp_path: Path, file: Path) -> None:
    def damage(table: np.ndarray) -> np.ndarray:
        table["x"][1] = np.nan
        table["f_rest_44"][2] = -np.inf
        table["scale_1"][3] = 50
        table["rot_2"][4] = 1e30
        return table

    progress = Quiet()
    found = read_ply(rewritten(tmp_path / "nan.ply", file, damage), progress)
    assert_same(found, some_gaussians().take(np.array([0, 5, 6])))
    (warning,) = progress.warnings
    assert warning.code == "rows-left-out"
    assert warning.sentence.startswith("4 of 7 splats")


def test_float64_beyond_float32_is_left_out_like_infinity(tmp_path: Path, file: Path) -> None:
    def widen(table: np.ndarray) -> np.ndarray:
        wide = table.astype([(name, "<f8") for name in table.dtype.names])
        wide["y"][0] = 1e300
        return wide

    assert len(read_ply(rewritten(tmp_path / "wide.ply", file, widen))) == 6


def test_infinities_that_mean_solid_and_flat_are_kept(tmp_path: Path, file: Path) -> None:
    def extreme(table: np.ndarray) -> np.ndarray:
        table["opacity"][0] = np.inf
        table["scale_2"][0] = -np.inf
        return table

    progress = Quiet()
    found = read_ply(rewritten(tmp_path / "solid.ply", file, extreme), progress)
    assert len(found) == 7
    assert found.opacity_logits[0] == SOLID_LOGIT
    assert found.finite_rows().all()
    assert progress.warnings == []


def test_quaternions_of_no_and_tiny_length(tmp_path: Path, file: Path) -> None:
    def shrink(table: np.ndarray) -> np.ndarray:
        for name, tiny in zip(("rot_0", "rot_1", "rot_2", "rot_3"), (3e-30, 0, 4e-30, 0), strict=True):
            table[name][0] = 0
            table[name][1] = tiny
        return table

    progress = Quiet()
    found = read_ply(rewritten(tmp_path / "zero.ply", file, shrink), progress)
    np.testing.assert_allclose(found.quats[:2], [[1, 0, 0, 0], [0.6, 0, 0.8, 0]], rtol=1e-6)
    assert [warning.code for warning in progress.warnings] == ["rotations-missing"]
    assert progress.warnings[0].sentence.startswith("1 splats")


def test_nothing_but_nan_is_refused(tmp_path: Path, file: Path) -> None:
    def damage(table: np.ndarray) -> np.ndarray:
        table["z"] = np.nan
        return table

    refused(tmp_path / "n.ply", rewritten(tmp_path / "nan.ply", file, damage).read_bytes(), "ply-empty")


def test_nan_is_never_written(tmp_path: Path) -> None:
    gaussians, progress = some_gaussians(), Quiet()
    gaussians.means[2, 1] = np.nan
    gaussians.shN[4, 3, 0] = np.inf
    write_ply(tmp_path / "scene.ply", gaussians, progress=progress)
    assert_same(read_ply(tmp_path / "scene.ply"), some_gaussians().take(np.array([0, 1, 3, 5, 6])))
    assert progress.warnings[0].sentence.startswith("2 of 7 Gaussians")

    gaussians.means[:] = np.nan
    before = (tmp_path / "scene.ply").read_bytes()
    with pytest.raises(InputError, match="no finite Gaussian"):
        write_ply(tmp_path / "scene.ply", gaussians)
    with pytest.raises(InputError, match="no finite Gaussian"):
        write_ply(tmp_path / "scene.ply", some_gaussians(0))
    assert (tmp_path / "scene.ply").read_bytes() == before


# Files that are wrong


@pytest.mark.parametrize("kept", [1.0, 0.5, 0.01])
def test_a_file_cut_short_is_refused(tmp_path: Path, file: Path, kept: float) -> None:
    content, header = file.read_bytes(), header_of(file)
    length = len(header) + int((len(content) - len(header)) * kept) - 1
    assert "should hold 7 splats" in refused(tmp_path / "cut.ply", content[:length], "ply-cut-short")


def test_a_header_cut_short_is_refused(tmp_path: Path, file: Path) -> None:
    for length in (0, 2, 3, 4, 60, len(header_of(file)) - 1):
        refused(tmp_path / "cut.ply", file.read_bytes()[:length], "ply-malformed")


@pytest.mark.parametrize("encoding", [b"binary_little_endian", b"binary_big_endian", b"ascii"])
@pytest.mark.parametrize("count", [b"1099511627776", b"9" * 300])
def test_more_vertices_than_the_file_can_hold(tmp_path: Path, file: Path, encoding: bytes, count: bytes) -> None:
    header = header_of(file).replace(b"binary_little_endian", encoding).replace(b"vertex 7", b"vertex " + count)
    refused(tmp_path / "huge.ply", header + bytes(1000), "ply-cut-short")


def test_rows_before_the_vertices_count_too(tmp_path: Path, file: Path) -> None:
    header = header_of(file).replace(b"element vertex", b"element lot 1099511627776\nproperty int a\nelement vertex")
    refused(tmp_path / "huge.ply", header + bytes(10000), "ply-cut-short")


def test_absurd_property_counts(tmp_path: Path, file: Path) -> None:
    header, rows = header_of(file), file.read_bytes()[len(header_of(file)) :]
    many = b"".join(b"property double p%d\n" % k for k in range(20_000))
    refused(tmp_path / "many.ply", header.replace(b"end_header", many + b"end_header") + rows, "ply-cut-short")
    endless = b"".join(b"property double p%d\n" % k for k in range(60_000))
    refused(tmp_path / "many.ply", header.replace(b"end_header", endless + b"end_header") + rows, "ply-malformed")
    refused(
        tmp_path / "long.ply",
        header.replace(b"end_header", b"comment " + b"x" * 5000 + b"\nend_header"),
        "ply-malformed",
    )


@pytest.mark.parametrize(
    "line",
    [
        b"element vertex -7",
        b"element vertex 1e9",
        b"element vertex",
        b"property quadruple x",
        b"property float opacity",
        b"format binary_little_endian 2.0",
        b"\xff\xfe\x00 nonsense",
    ],
)
def test_wrong_header_lines_are_quoted(tmp_path: Path, file: Path, line: bytes) -> None:
    content = file.read_bytes().replace(b"end_header", line + b"\nend_header", 1)
    assert "wrong line" in refused(tmp_path / "wrong.ply", content, "ply-malformed")


def test_a_header_without_format(tmp_path: Path, file: Path) -> None:
    content = file.read_bytes().replace(b"format binary_little_endian 1.0\n", b"", 1)
    refused(tmp_path / "formatless.ply", content, "ply-malformed")


def test_something_else_named_ply(tmp_path: Path) -> None:
    refused(tmp_path / "jpeg.ply", b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40, "ply-malformed")


def test_list_properties(tmp_path: Path, file: Path) -> None:
    content = file.read_bytes()
    in_vertex = content.replace(b"end_header", b"property list uint float tags\nend_header", 1)
    assert "tags" in refused(tmp_path / "list.ply", in_vertex, "ply-malformed")
    before = content.replace(b"element vertex", b"element face 1\nproperty list uint float i\nelement vertex", 1)
    refused(tmp_path / "list.ply", before, "ply-malformed")


def test_missing_fields_are_named(tmp_path: Path, file: Path) -> None:
    content = file.read_bytes().replace(b"property float rot_3\n", b"").replace(b"property float scale_2\n", b"")
    assert "lacks scale_2, rot_3:" in refused(tmp_path / "missing.ply", content, "ply-fields-missing")


@pytest.mark.parametrize("gone", [[44], [0], list(range(9, 45, 2))])
def test_other_numbers_of_harmonics_are_refused(tmp_path: Path, file: Path, gone: list[int]) -> None:
    content = file.read_bytes()
    for k in gone:
        content = content.replace(b"property float f_rest_%d\n" % k, b"")
    assert f"{45 - len(gone)} f_rest" in refused(tmp_path / "rest.ply", content, "ply-harmonics")


def test_no_vertices_at_all(tmp_path: Path, file: Path) -> None:
    refused(tmp_path / "none.ply", header_of(file).replace(b"vertex 7", b"vertex 0"), "ply-empty")
    refused(tmp_path / "none.ply", b"ply\nformat ascii 1.0\nend_header\n", "ply-malformed")


def test_a_point_cloud_is_told_from_splats(tmp_path: Path) -> None:
    points = np.zeros(4, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")])
    PlyData([PlyElement.describe(points, "vertex")]).write(tmp_path / "p.ply")
    sentence = refused(tmp_path / "points.ply", (tmp_path / "p.ply").read_bytes(), "ply-no-splats")
    assert "point cloud" in sentence


def test_a_compressed_ply_is_told_from_splats(tmp_path: Path) -> None:
    chunk = PlyElement.describe(np.zeros(1, [("min_x", "f4")]), "chunk")
    packed = PlyElement.describe(np.zeros(4, [("packed_position", "u4")]), "vertex")
    PlyData([chunk, packed]).write(tmp_path / "p.ply")
    refused(tmp_path / "packed.ply", (tmp_path / "p.ply").read_bytes(), "ply-compressed")


def test_ascii_rows_that_are_wrong(tmp_path: Path, file: Path) -> None:
    content = rewritten(tmp_path / "text.ply", file, lambda table: table, text=True).read_bytes()
    header = header_of(tmp_path / "text.ply")
    rows = content[len(header) :]
    refused(tmp_path / "word.ply", header + b"spam " + rows.split(b" ", 1)[1], "ply-malformed")
    refused(tmp_path / "narrow.ply", header + rows.replace(b"\n", b" 1\n"), "ply-malformed")
    refused(tmp_path / "ragged.ply", header + rows.replace(b"\n", b" 1\n", 1), "ply-malformed")
    refused(tmp_path / "cut.ply", header + b"\n".join(rows.split(b"\n")[:5]) + b"\n" + b" " * 5000, "ply-cut-short")
    refused(tmp_path / "blank.ply", header + b" " * 5000, "ply-cut-short")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refusal:
        read_ply(tmp_path / "none.ply")
    assert refusal.value.code == "file-missing"
    with pytest.raises(InputError) as refusal:
        read_ply(tmp_path)
    assert refusal.value.code == "file-unreadable"


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 2000), junk=st.binary(min_size=1, max_size=12))
def test_any_damage_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, position: int, junk: bytes) -> None:
    folder = tmp_path_factory.mktemp("ply")
    write_ply(folder / "scene.ply", some_gaussians(3))
    content = bytearray((folder / "scene.ply").read_bytes())
    content[position : position + len(junk)] = junk
    (folder / "scene.ply").write_bytes(content)
    with contextlib.suppress(InputError):
        assert read_ply(folder / "scene.ply").finite_rows().all()


# The table of formats


def test_formats_are_found_by_suffix() -> None:
    assert reader_of(Path("a/Scene.PLY")) is read_ply
    assert writer_of(Path("scene.ply")) is write_ply
    for name in ("scene.fbx", "scene"):
        with pytest.raises(InputError) as refusal:
            writer_of(Path(name))
        assert refusal.value.code == "unknown-format"
        assert refusal.value.hint == f"Known formats: {', '.join(WRITERS)}."
