"""The import rules hold: layers, the protocol's purity, what the add-on may know."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_import_contracts() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    result = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]


def test_the_backend_imports_nothing_of_the_addon_but_the_protocol() -> None:
    imported = {
        name
        for path in (ROOT / "backend").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [f"{node.module}.{alias.name}" for alias in node.names]
            if isinstance(node, ast.ImportFrom) and node.module
            else []
        )
        if name.startswith("segwild_addon")
    }
    assert imported
    assert all(name.startswith("segwild_addon.protocol") for name in imported)


def test_the_command_starts_without_torch() -> None:
    """`segwild --help` answers at once: stages are imported only when their verb is called."""
    probe = "import sys, backend.cli; sys.exit('torch' in sys.modules or 'numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], cwd=ROOT, timeout=60).returncode == 0


def test_modules_stay_small() -> None:
    """A file beyond 400 lines has two nouns in it."""
    large = [
        f"{path.relative_to(ROOT)} {lines}"
        for folder in ("backend", "segwild_addon")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if (lines := path.read_text().count("\n")) > 400
    ]
    assert not large
