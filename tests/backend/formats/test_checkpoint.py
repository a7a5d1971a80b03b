"""gsplat checkpoints: what its trainers save, and files that mean harm."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backend.formats import reader_of, writer_of
from backend.formats.checkpoint import read_checkpoint
from backend.progress import Quiet
from backend.scene.gaussians import FIELDS
from segwild_addon.protocol.errors import InputError

NAMES = dict(zip(FIELDS, ("means", "quats", "scales", "opacities", "sh0", "shN"), strict=True))


def some_splats(count: int = 5, bases: int = 15) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    shapes = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": (), "sh0": (1, 3), "shN": (bases, 3)}
    return {name: torch.randn(count, *shape) for name, shape in shapes.items()}


def saved(path: Path, splats: object, **more: object) -> Path:
    torch.save({"step": 29999, "splats": splats, **more}, path)
    return path


def refused(path: Path, code: str) -> str:
    with pytest.raises(InputError) as refusal:
        read_checkpoint(path)
    assert refusal.value.code == code, refusal.value
    assert refusal.value.sentence.endswith(f"{path}.")
    assert "\n" not in refusal.value.sentence
    return refusal.value.sentence


# What trainers save


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_was_saved_is_read_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    count, bases = data.draw(st.integers(1, 5)), data.draw(st.sampled_from([0, 3, 8, 15]))
    numbers = st.floats(-30, 30, width=32).filter(lambda number: number != 0)
    splats = {
        name: torch.from_numpy(data.draw(arrays(np.float32, tuple(tensor.shape), elements=numbers)))
        for name, tensor in some_splats(count, bases).items()
    }
    splats["quats"] = splats["quats"].abs() + 1
    found = read_checkpoint(saved(tmp_path_factory.mktemp("pt") / "a.pt", splats))
    for field, name in NAMES.items():
        assert getattr(found, field).tobytes() == splats[name].numpy().tobytes(), name


def test_a_trainer_s_state_with_optimisers_beside_it(tmp_path: Path) -> None:
    parameters = torch.nn.ParameterDict({name: torch.nn.Parameter(value) for name, value in some_splats().items()})
    optimizer = torch.optim.Adam(parameters.values())
    sum(value.square().sum() for value in parameters.values()).backward()
    optimizer.step()
    path = saved(tmp_path / "ckpt_29999_rank0.pt", parameters.state_dict(), optimizer=optimizer.state_dict())
    assert read_checkpoint(path).means.tolist() == parameters["means"].tolist()
    saved(path, OrderedDict(parameters.items()))
    assert read_checkpoint(path).means.tolist() == parameters["means"].tolist()


def test_other_precisions_and_a_column_of_opacities(tmp_path: Path) -> None:
    splats = {name: value.double() for name, value in some_splats().items()}
    splats["sh0"] = splats["sh0"].bfloat16()
    splats["opacities"] = splats["opacities"][:, None].clone()
    found = read_checkpoint(saved(tmp_path / "a.ckpt", splats))
    assert found.opacity_logits.shape == (5,)
    np.testing.assert_allclose(found.sh0, some_splats()["sh0"], rtol=0.01)


def test_the_arrays_outlive_the_file(tmp_path: Path) -> None:
    found = read_checkpoint(saved(tmp_path / "a.pt", some_splats()))
    (tmp_path / "a.pt").write_bytes(b"")
    found.means[0] = 7
    assert found.finite_rows().all()


def test_rows_that_cannot_be_drawn_are_left_out_with_a_count(tmp_path: Path) -> None:
    splats, progress = some_splats(), Quiet()
    splats["shN"][1, 2, 0] = torch.nan
    splats["scales"][3, 1] = 60
    assert len(read_checkpoint(saved(tmp_path / "a.pt", splats), progress)) == 3
    assert progress.warnings[0].sentence.startswith("2 of 5 splats")
    splats["means"][:] = torch.inf
    refused(saved(tmp_path / "b.pt", splats), "pt-empty")


def test_the_suffixes_find_it() -> None:
    for name in ("a/B.PT", "b.ckpt", "b.pth"):
        assert reader_of(Path(name)) is read_checkpoint
    with pytest.raises(InputError) as refusal:
        writer_of(Path("b.pt"))
    assert refusal.value.hint == "Known formats: .ply, .splat, .spz."


# Splats of another kind


def test_checkpoints_without_such_splats(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"model": torch.zeros(3)}, path)
    refused(path, "checkpoint-no-splats")
    torch.save(torch.zeros(3), path)
    refused(path, "checkpoint-no-splats")
    refused(saved(path, [1, 2]), "checkpoint-no-splats")
    splats = some_splats()
    del splats["sh0"], splats["shN"]
    assert "lack sh0, shN:" in refused(
        saved(path, {**splats, "features": torch.zeros(5, 32)}), "checkpoint-fields-missing"
    )
    refused(saved(path, some_splats(0)), "checkpoint-empty")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("means", torch.zeros(4, 3)),
        ("means", torch.zeros(5, 2)),
        ("means", torch.zeros(5, 3, dtype=torch.int64)),
        ("opacities", torch.zeros(5, 2)),
        ("shN", torch.zeros(5, 24, 3)),
        ("shN", torch.zeros(5, 45)),
        ("quats", torch.zeros(())),
        ("quats", torch.zeros(5, 4, device="meta")),
        ("scales", [[0.0] * 3] * 5),
        ("scales", "12345"),
        ("scales", torch.eye(3).to_sparse()),
    ],
)
def test_fields_of_another_shape(tmp_path: Path, name: str, value: object) -> None:
    refused(saved(tmp_path / "a.pt", {**some_splats(), name: value}), "checkpoint-malformed")


# Files that mean harm


class _Blank:
    """What unpickles as an uninitialised tensor, of which nothing is in the file."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def __reduce__(self) -> tuple:
        return torch.Tensor, self.shape


@pytest.mark.parametrize("blank", [False, True])
def test_rows_that_are_not_in_the_file_are_not_made(tmp_path: Path, blank: bool) -> None:
    count = 1 << 24 if blank else 1 << 40  # a blank one takes address space, but no memory before it is read
    splats: dict[str, object] = {name: value.expand(count, *value.shape[1:]) for name, value in some_splats(1).items()}
    if blank:
        splats["means"] = _Blank(count, 3)
    path = saved(tmp_path / "a.pt", splats)
    assert path.stat().st_size < 10_000
    assert "claims more rows" in refused(path, "checkpoint-malformed")


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_no_code_of_the_file_runs(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {**some_splats(), "extra": _Touch(tmp_path / "made")})
    refused(path, "checkpoint-malformed")
    path.write_bytes(pickle.dumps(_Touch(tmp_path / "made")))
    refused(path, "checkpoint-malformed")
    assert not (tmp_path / "made").exists()


def test_packed_archives_and_other_files(tmp_path: Path) -> None:
    plain = saved(tmp_path / "plain.pt", some_splats())
    packed = tmp_path / "a.pt"
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
    assert "packed" in refused(packed, "checkpoint-malformed")
    with zipfile.ZipFile(packed, "w") as target:
        target.writestr("a/readme.txt", "nothing")
    refused(packed, "checkpoint-malformed")
    old = io.BytesIO()
    torch.save({"splats": some_splats()}, old, _use_new_zipfile_serialization=False)
    for content in (b"", b"ply\n", b"\x80\x02", struct.pack("<4f", 1, 2, 3, 4), old.getvalue()):
        packed.write_bytes(content)
        refused(packed, "checkpoint-malformed")
    with pytest.raises(InputError) as refusal:
        read_checkpoint(tmp_path / "none.pt")
    assert refusal.value.code == "file-missing"


def test_files_that_end_too_early(tmp_path: Path) -> None:
    content = saved(tmp_path / "a.pt", some_splats()).read_bytes()
    for length in (1, 30, 100, len(content) // 2, len(content) - 30, len(content) - 1):
        (tmp_path / "cut.pt").write_bytes(content[:length])
        refused(tmp_path / "cut.pt", "checkpoint-malformed")


@settings(max_examples=100, deadline=None)
@given(where=st.floats(0, 1), junk=st.binary(min_size=1, max_size=8))
def test_any_damage_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, where: float, junk: bytes) -> None:
    path = saved(tmp_path_factory.mktemp("pt") / "a.pt", some_splats(3, 3))
    content = bytearray(path.read_bytes())
    position = int(where * (len(content) - 1))
    content[position : position + len(junk)] = junk
    path.write_bytes(content)
    try:
        found = read_checkpoint(path)
    except InputError:
        return
    assert found.finite_rows().all()
