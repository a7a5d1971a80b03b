"""`segwild_addon/` and its manifest into `dist/segwild-<version>.zip`: `python -m backend.packaging.extension`.

Blender wants the manifest beside `__init__.py`, so both are staged in a clean folder. Stage and archive are checked
here, and by Blender's own tool where there is one: that of the installed `bpy`, or of the Blender in SEGWILD_BLENDER.
The same sources make the same bytes.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import os
import shlex
import shutil
import subprocess  # the Blender that the person names, never a shell  # nosec B404
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

from segwild_addon.protocol.errors import InputError, SegWildError, SetupError

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "segwild_addon"
MANIFEST = "blender_manifest.toml"
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
_LONGEST_SENTENCE = 64  # of tagline and reasons, what Blender accepts
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the zip format knows no earlier time
_FOREIGN = {"torch", "numba", "scipy", "PIL", "backend", "segwild_addon", "pip"}


def stage(folder: Path) -> None:
    """Everything that belongs into the archive, into an empty folder."""
    shutil.copytree(PACKAGE, folder, ignore=_LEFT_OUT, dirs_exist_ok=True)
    shutil.copyfile(ROOT / MANIFEST, folder / MANIFEST)
    shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")


def check(folder: Path) -> str:
    """The version of a staged extension. Raises InputError for what Blender, or its users, would refuse."""
    try:
        manifest = tomllib.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        version, sentences = manifest["version"], [manifest["tagline"], *manifest["permissions"].values()]
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise InputError("bad-manifest", f"The manifest cannot be read ({error!r}): {folder / MANIFEST}.") from error
    if version != project["version"]:
        raise InputError("bad-manifest", f"The manifest says {version}, pyproject.toml {project['version']}.")
    for sentence in sentences:
        if len(sentence) > _LONGEST_SENTENCE or not sentence[-1].isalnum():
            raise InputError("bad-manifest", f"Too long, or ends in a sign: {sentence!r}.")
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            # Installed it has another name: what names itself absolutely would not find itself.
            if foreign := {name.partition(".")[0] for name in names} & _FOREIGN:
                raise InputError("bad-import", f"The add-on imports {', '.join(foreign)}: {path.name}.")
    return version


def archive(folder: Path, path: Path) -> None:
    """A folder into a .zip that depends on names and contents only."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for entry in sorted(folder.rglob("*")):
            if entry.is_file():
                info = zipfile.ZipInfo(entry.relative_to(folder).as_posix(), _EARLIEST)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = 0o644 << 16
                file.writestr(info, entry.read_bytes())


def validator() -> list[str] | None:
    """The command of Blender's own tool, or None where there is no Blender."""
    if command := os.environ.get("SEGWILD_BLENDER"):
        return [*shlex.split(command), "blender", "--command", "extension"]
    spec = importlib.util.find_spec("bpy")  # found, not imported: that would start Blender
    for folder in spec.submodule_search_locations or [] if spec else []:
        for tool in sorted(Path(folder).glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")):
            return [sys.executable, str(tool)]
    return None


def build(out: Path) -> tuple[Path, bool]:
    """The archive in folder `out`, and whether Blender's own tool has seen it.

    Raises InputError if something in it is wrong, SetupError if Blender's tool cannot be run.
    """
    command = validator()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "segwild"
        stage(folder)
        version = check(folder)
        made = Path(scratch) / f"segwild-{version}.zip"
        archive(folder, made)
        if command is not None:
            _validate(command, folder)
            _validate(command, made)
        path = out / made.name
        part = path.with_suffix(".part")
        shutil.copyfile(made, part)
        part.replace(path)
    return path, command is not None


def _validate(command: list[str], path: Path) -> None:
    try:
        result = subprocess.run(
            [*command, "validate", str(path)], capture_output=True, text=True, timeout=300
        )  # no shell  # nosec B603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError("no-validator", f"Blender's extension tool does not run ({error}).") from error
    if result.returncode != 0:
        told = (result.stderr + result.stdout).strip()[-1000:]
        raise InputError("bad-extension", f"Blender refuses the extension: {told}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m backend.packaging.extension", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder of the archive (default: dist)")
    try:
        path, validated = build(parser.parse_args().out)
    except SegWildError as error:
        print(error, file=sys.stderr)
        return 1
    print(path)
    if not validated:
        print("Not seen by Blender's own tool: install bpy, or set SEGWILD_BLENDER.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
