"""The client is what an add-on can carry: no bpy, no absolute imports, nothing beyond numpy."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def test_it_works_under_the_name_of_an_installed_extension(tmp_path: Path) -> None:
    """Blender gives an extension another package name, and its Python sees nothing of ours."""
    shutil.copytree(ROOT / "segwild_addon", tmp_path / "bl_ext_segwild", ignore=shutil.ignore_patterns("__pycache__"))
    probe = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import bl_ext_segwild.client as client\n"
        "found = {name.partition('.')[0] for name in sys.modules}\n"
        "foreign = found & {'segwild_addon', 'backend', 'bpy', 'torch', 'numba', 'starlette', 'h11', 'requests'}\n"
        "assert not foreign, foreign\n"
        "assert client.Backend and client.ABSENT.state == 'absent'\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", probe], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("package", "more"), [("protocol", set()), ("client", {"numpy"})])
def test_it_imports_the_standard_library_and_what_stands_beside_it(package: str, more: set[str]) -> None:
    paths = sorted((ROOT / "segwild_addon" / package).glob("*.py"))
    assert paths
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").partition(".")[0]} if node.level == 0 else set()
                if node.level:
                    assert node.level == 1 or (node.module or "").startswith("protocol"), path
            else:
                continue
            assert names <= sys.stdlib_module_names | more, (path, names)
