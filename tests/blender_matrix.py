"""The add-on's tests under every Blender at hand: `python -m tests.blender_matrix [PYTHON ...]`.

Each PYTHON has bpy, pytest and hypothesis, of one Blender version, and no torch; without any, SEGWILD_BPY names them,
separated as in PATH. Without that too an environment is made for this once, with the Blender whose module this Python
can load. Words after `--` go to pytest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "segwild_addon"
PACKAGING = ROOT / "tests" / "backend" / "packaging" / "test_extension.py"
BLENDERS = {(3, 11): "4.5.15", (3, 13): "5.3.0"}  # the oldest that the extension runs in, and the newest
WITHOUT_BLENDER = ("client", "protocol")  # the same under every Python, and run there
LIMIT = 900  # seconds; the tests take a tenth of it
# Blender's module frees its memory when the interpreter ends, and now and then never comes back from that: the process
# ends before it, with what pytest found.
RUNNER = """
import os, sys, pytest
status = int(pytest.main(sys.argv[1:]))
sys.stdout.flush(), sys.stderr.flush()
os._exit(status)
"""


def main(words: list[str]) -> int:
    split = words.index("--") if "--" in words else len(words)
    pythons = words[:split] or [part for part in os.environ.get("SEGWILD_BPY", "").split(os.pathsep) if part]
    with tempfile.TemporaryDirectory() as scratch:
        if not pythons:
            version = BLENDERS.get(sys.version_info[:2])
            if version is None:
                print("The add-on's tests were not run: there is no Blender for this Python. 3.11 and 3.13 have one.")
                return 0
            pythons = [environment(Path(scratch), version)]
        failed = [python for python in pythons if not passed(python, words[split + 1 :])]
    for python in failed:
        print(f"failed: {python}", file=sys.stderr)
    return 1 if failed else 0


def environment(folder: Path, version: str) -> str:
    """The Python of a new environment with a Blender."""
    subprocess.run([sys.executable, "-m", "venv", str(folder / "blender")], check=True)
    python = folder / "blender" / ("Scripts" if os.name == "nt" else "bin") / "python"
    wanted = [f"bpy=={version}", "pytest>=9.2", "hypothesis>=6.170"]
    subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True)
    return str(python)


def passed(python: str, words: list[str]) -> bool:
    """Whether the tests pass there."""
    version = subprocess.run(
        [python, "-c", "import bpy; print(bpy.app.version_string)"], capture_output=True, text=True
    )
    print(f"== {python}: Blender {version.stdout.strip() or 'is missing'}", flush=True)
    if version.returncode:
        return False
    tests = [path for path in sorted(FOLDER.iterdir()) if path.name not in WITHOUT_BLENDER]
    tests = [path for path in tests if path.name.startswith("test_") or (path.is_dir() and any(path.glob("test_*.py")))]
    pytest = [python, "-c", RUNNER, "-q", "-p", "no:cacheprovider"]
    # The archive's tests are the backend's, but need nothing of it.
    return told([*pytest, *map(str, tests), *words]) and told([*pytest, "--noconftest", str(PACKAGING), *words])


def told(command: list[str]) -> bool:
    """Whether pytest succeeds. Where Blender itself crashes or hangs, which is said, it is run once more."""
    # An installed backend would be found and asked: the tests say themselves what there is.
    path = [part for part in os.get_exec_path() if shutil.which("segwild", path=part) is None]
    surroundings = os.environ | {"PATH": os.pathsep.join(path)}
    surroundings.pop("SEGWILD_BLENDER", None)  # a Blender that may not see this folder; each here has its own tools
    for _ in range(2):
        try:
            status = subprocess.run(command, cwd=ROOT, env=surroundings, timeout=LIMIT).returncode
        except subprocess.TimeoutExpired:
            status = None
            print(f"Blender did not end within {LIMIT} seconds.", file=sys.stderr, flush=True)
            continue
        if status >= 0:
            break
        print(f"Blender crashed (signal {-status}).", file=sys.stderr, flush=True)
    return status == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
