"""The installable archive: what is in it, what is refused, and that the same sources make the same bytes."""

from __future__ import annotations

import importlib.util
import shutil
import zipfile
from pathlib import Path

import pytest

from backend.packaging import extension
from segwild_addon.protocol.errors import InputError


def test_the_archive_holds_the_addon_at_its_top_and_nothing_else(tmp_path: Path) -> None:
    path, validated = extension.build(tmp_path)
    assert validated == (extension.validator() is not None)
    names = set(zipfile.ZipFile(path).namelist())
    assert {"__init__.py", "blender_manifest.toml", "LICENSE", "protocol/errors.py", "data/splats.py"} <= names
    assert not [name for name in names if "__pycache__" in name or Path(name).name.startswith(".")]
    sources = {source.relative_to(extension.PACKAGE).as_posix() for source in extension.PACKAGE.rglob("*.py")}
    assert sources == {name for name in names if name.endswith(".py")}
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_same_sources_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extension, "validator", lambda: None)
    first, _ = extension.build(tmp_path / "a")
    second, _ = extension.build(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("file", "old", "new", "code"),
    [
        ("blender_manifest.toml", 'version = "0', 'version = "9', "bad-manifest"),
        ("blender_manifest.toml", 'tagline = "', 'tagline = "' + "x" * 60, "bad-manifest"),
        ("blender_manifest.toml", 'clicked"', 'clicked."', "bad-manifest"),
        ("blender_manifest.toml", "[permissions]", "[permission", "bad-manifest"),
        ("properties.py", "import bpy\n", "import bpy\nimport torch.nn\n", "bad-import"),
        ("properties.py", "import bpy\n", "import bpy\nfrom segwild_addon.data import rows\n", "bad-import"),
    ],
)
def test_what_is_wrong_is_refused(tmp_path: Path, file: str, old: str, new: str, code: str) -> None:
    extension.stage(tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        extension.check(tmp_path)
    assert caught.value.code == code


@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy is not installed")
def test_blenders_own_tool_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    extension.stage(tmp_path / "segwild")
    manifest = tmp_path / "segwild" / extension.MANIFEST
    manifest.write_text(manifest.read_text().replace('type = "add-on"', 'type = "pie"'))
    command = extension.validator()
    assert command is not None
    with pytest.raises(InputError, match="refuses"):
        extension._validate(command, tmp_path / "segwild")
    shutil.rmtree(tmp_path / "segwild")
