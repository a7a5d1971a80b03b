"""Nothing may be left after any test; a small scene for the real backend."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# The client keeps our PYTHONPATH from the backend's own Python; here both are one checkout.
SEARCHED = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.fixture(autouse=True)
def _nothing_is_left(nothing_is_left: None) -> None:
    """The fixture of that name, for every test here."""


def blobs(root: Path) -> None:
    """The small scene of the backend's tests, as a workspace."""
    from backend.scene import Photo, Workspace

    spec = importlib.util.spec_from_file_location("blobs", ROOT / "tests" / "backend" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules["blobs"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    workspace = Workspace.create(root)
    module.blob_scene()[0].save(workspace.splats)
    cameras = enumerate(module.ring_of_cameras())
    workspace.write_photos([Photo(f"a{n}", f"a{n}.jpg", c.width * 2, c.height * 2, camera=c) for n, c in cameras])
