"""No field of a request names a place outside the folders that the service may use."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.service.app import REMOTE_VERBS
from backend.service.inside import Inside
from backend.verbs import VERBS
from segwild_addon.protocol.errors import InputError

PATHS = [
    (verb, field.name)
    for verb in REMOTE_VERBS
    for field in dataclasses.fields(VERBS[verb][0])
    if typing.get_type_hints(VERBS[verb][0])[field.name] in (Path, Path | None)
]


def request(verb: str, scene: Path, **given: Any) -> Any:
    """The verb's request with something in every field that must be given."""
    kind = VERBS[verb][0]
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.metadata.get("scene"):
            values[field.name] = scene
        elif field.default is dataclasses.MISSING:
            values[field.name] = Path("inside") if hints[field.name] is Path else "name"
    return kind(**(values | given))


def test_every_path_of_every_request_is_known() -> None:
    """A path of another shape, such as a tuple of paths, would pass unchecked."""
    for verb in REMOTE_VERBS:
        for name, hint in typing.get_type_hints(VERBS[verb][0]).items():
            assert hint in (Path, Path | None) or "Path" not in str(hint), (verb, name)
    assert len(PATHS) > len(REMOTE_VERBS)


@pytest.mark.parametrize(("verb", "field"), PATHS)
@pytest.mark.parametrize(
    "path", ["/etc", "/etc/passwd", "..", "../x.ply", "a/../../x", "link", "link/x.ply", "/", "chain/x", "~", "~root/x"]
)
def test_a_path_outside_is_refused(tmp_path: Path, verb: str, field: str, path: str) -> None:
    workspace = tmp_path / "scene"
    workspace.mkdir()
    (workspace / "link").symlink_to(tmp_path)
    (workspace / "chain").symlink_to(workspace / "link" / "elsewhere")
    scene = VERBS[verb][0].__dataclass_fields__[field].metadata.get("scene")
    if path.startswith("~") and not scene:
        # A shell's word: here it is a plain folder name, and stays one.
        found = Inside(workspace).request(request(verb, workspace, **{field: Path(path)}))
        assert getattr(found, field) == workspace.resolve() / path
        return
    with pytest.raises(InputError) as refusal:
        Inside(workspace).request(request(verb, workspace, **{field: Path(path)}))
    assert refusal.value.code in ("path-not-allowed", "another-workspace")


@pytest.mark.parametrize(("verb", "field"), PATHS)
def test_a_job_with_a_path_outside_is_refused_by_the_service(shared: Any, verb: str, field: str) -> None:
    out = shared.workspace / "out"
    if not out.exists():
        out.symlink_to(shared.workspace.parent)
    given = request(verb, shared.workspace)
    wire = {
        name: str(value)
        for name, value in vars(given).items()
        if value != VERBS[verb][0].__dataclass_fields__[name].default
    }
    for path in ("/etc/passwd", "../x.ply", "out/x.ply", "a/../../x", str(shared.workspace.parent)):
        answer, told = shared.call("POST", "/v1/jobs", {"verb": verb, "request": wire | {field: path}})
        assert (answer, told["error"]) in ((422, "path-not-allowed"), (422, "another-workspace")), (path, told)
    assert shared.call("GET", "/v1/jobs") == (200, [])


@pytest.mark.parametrize(("verb", "field"), PATHS)
def test_a_path_inside_becomes_absolute(tmp_path: Path, verb: str, field: str) -> None:
    inside = Inside(tmp_path)
    if VERBS[verb][0].__dataclass_fields__[field].metadata.get("scene"):
        assert getattr(inside.request(request(verb, tmp_path)), field) == tmp_path.resolve()
    else:
        found = inside.request(request(verb, tmp_path, **{field: Path("a/../b.ply")}))
        assert getattr(found, field) == tmp_path.resolve() / "b.ply"


def test_allowed_folders_are_allowed(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    inside = Inside(tmp_path / "scene", (photos,))
    assert inside.path(photos / "a", "photos") == photos.resolve() / "a"
    with pytest.raises(InputError):
        inside.path(tmp_path / "photos-of-others", "photos")


@given(parts=st.lists(st.sampled_from(["..", ".", "a", "link", "up", "", "b.npy", "\0", "é", "x" * 300]), max_size=12))
def test_no_walk_leaves_the_workspace(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    root = tmp_path_factory.getbasetemp() / "walks"
    workspace = root / "scene"
    if not root.exists():
        (workspace / "a").mkdir(parents=True)
        (workspace / "link").symlink_to("/")
        (workspace / "a" / "up").symlink_to("..")
        (root / "b.npy").write_bytes(b"secret")
        (workspace / "b.npy").write_bytes(b"ours")
    inside = Inside(workspace)
    found = inside.array("/".join(parts))
    assert found is None or found.read_bytes() == b"ours"
    if "\0" not in "".join(parts):
        try:
            path = inside.path(Path("/".join(parts)), "out")
        except InputError:
            return
        assert path == workspace.resolve() or workspace.resolve() in path.parents
