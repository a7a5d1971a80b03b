"""The built archive in a fresh Blender: installed, enabled, disabled, enabled again, removed without a trace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

from backend.packaging import extension

ROOT = Path(__file__).parents[2]
# In a process of its own: user folders are read when bpy is imported. The sources must not be found there.
PROGRAM = """
import gc, sys, threading
from pathlib import Path
import bpy

archive, workspace, user = sys.argv[1:]

def handlers():
    return [f.__module__ for name in dir(bpy.app.handlers) if isinstance(getattr(bpy.app.handlers, name), list)
            for f in getattr(bpy.app.handlers, name) if "segwild" in getattr(f, "__module__", "")]

def ours():
    types = [name for name in dir(bpy.types) if "segwild" in name.lower()]
    threads = [t.name for t in threading.enumerate() if t.name.startswith("segwild")]
    menus = [f.__module__ for name in dir(bpy.types) if hasattr(getattr(bpy.types, name), "draw")
             for f in getattr(getattr(bpy.types, name).draw, "_draw_funcs", ()) if "segwild" in f.__module__]
    properties = [t.__name__ for t in (bpy.types.Object, bpy.types.Collection, bpy.types.Scene, bpy.types.WindowManager)
                  if hasattr(t, "segwild")]
    return types + threads + menus + properties + handlers()

assert not ours(), ours()
assert "segwild_addon" not in sys.modules
bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
name = "bl_ext.user_default.segwild"
assert name in bpy.context.preferences.addons
assert hasattr(bpy.types.Object, "segwild")
assert bpy.ops.segwild.import_workspace(directory=workspace) == {"FINISHED"}
assert len([ob for ob in bpy.data.objects if ob.segwild.kind == "REST"]) == 1
assert bpy.ops.segwild.export_ply(filepath=user + "/out.ply", scope="ALL") == {"FINISHED"}
for _ in range(2):
    assert bpy.ops.preferences.addon_disable(module=name) == {"FINISHED"}
    assert not ours(), ours()
    assert bpy.ops.preferences.addon_enable(module=name) == {"FINISHED"}
    assert len([ob for ob in bpy.data.objects if ob.segwild.kind == "REST"]) == 1
installed = Path(sys.modules[name].__file__).parent
assert Path(user) in installed.parents
assert not [m for m in sys.modules if m.split(".")[0] in ("segwild_addon", "backend")]
# The same archive over the installed one, as an update does.
bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
assert hasattr(bpy.types.Object, "segwild")
repo = [r.module for r in bpy.context.preferences.extensions.repos].index("user_default")
bpy.ops.extensions.package_uninstall(repo_index=repo, pkg_id="segwild")
assert not installed.exists(), sorted(installed.rglob("*"))
assert not ours(), ours()
assert name not in bpy.context.preferences.addons
print("all is well")
"""


def test_the_archive_comes_and_goes(blender: object, make_workspace: object, tmp_path: Path) -> None:
    archive, validated = extension.build(tmp_path / "dist")
    assert validated
    workspace, _ = make_workspace(count=20)  # type: ignore[operator]
    user = tmp_path / "user"
    user.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(archive), str(workspace), str(user)],
        env=environment | {"BLENDER_USER_RESOURCES": str(user)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "all is well" in result.stdout, result.stdout[-2000:] + result.stderr[-3000:]
    assert result.returncode == 0
    left = [path for path in user.rglob("*segwild*") if ".cache" not in path.parts and path.name != "out.ply"]
    assert not left
