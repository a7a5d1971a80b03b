"""Paths as Blender writes them into paths as the system knows them."""

import os
from pathlib import Path

import bpy


def absolute(path: str | Path) -> str:
    """The path, in which a leading // is the folder of the .blend file, in full. The disk, which may be far away, is
    not looked at."""
    return os.path.abspath(bpy.path.abspath(str(path)))
