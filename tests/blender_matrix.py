"""The add-on's tests under every Blender at hand: `python -m tests.blender_matrix PYTHON ...`.

Each PYTHON has bpy, pytest and hypothesis, of one Blender version; without any, SEGWILD_BPY names them, separated as in
PATH. Words after `--` go to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "segwild_addon"
WITHOUT_BLENDER = ("client", "protocol")  # the same under every Python, and run there


def main(words: list[str]) -> int:
    split = words.index("--") if "--" in words else len(words)
    pythons = words[:split] or [part for part in os.environ.get("SEGWILD_BPY", "").split(os.pathsep) if part]
    if not pythons:
        print(__doc__, file=sys.stderr)
        return 2
    tests = [path for path in sorted(FOLDER.iterdir()) if path.name not in WITHOUT_BLENDER]
    tests = [path for path in tests if path.name.startswith("test_") or (path.is_dir() and any(path.glob("test_*.py")))]
    failed = []
    for python in pythons:
        version = subprocess.run(
            [python, "-c", "import bpy; print(bpy.app.version_string)"], capture_output=True, text=True
        )
        print(f"== {python}: Blender {version.stdout.strip() or 'is missing'}", flush=True)
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, tests), *words[split + 1 :]]
        result = version.returncode or subprocess.run(command, cwd=ROOT, timeout=1800).returncode
        if result:
            failed.append(python)
    for python in failed:
        print(f"failed: {python}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
