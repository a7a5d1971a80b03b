"""The photos of a workspace into icons, loaded a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import bpy.utils.previews

from .. import session
from ..data import scenes
from ..data.looks import of_folder
from ..protocol.errors import SegWildError

_icons: list[Any] = []  # one collection of Blender's, made when first needed
_photos: dict[str, tuple[str, ...]] = {}  # names of photos with a look, by workspace
_items: dict[str, list[tuple[str, str, str, int, int]]] = {}  # Blender keeps no reference to what it shows
NEUTRAL = ("-neutral-", "Neutral", "Light without the mood of any photo", "LIGHT_SUN", 0)
NONE = ("-none-", "None", "No second photo", "X", 0)


def photos(workspace: str) -> tuple[str, ...]:
    """Names of the photos that have a look; empty until they are known. Never waits."""
    if workspace and workspace not in _photos:
        _photos[workspace] = ()
        session.carry_out(f"photos of {workspace}", _reading(workspace), lambda found, error: None)
    return _photos.get(workspace, ())


def icon(workspace: str, name: str) -> int:
    """The icon of a photo; 0 until it is loaded."""
    found = _icons[0].get(f"{workspace}|{name}") if _icons else None
    return found.icon_id if found is not None else 0


def items(workspace: str, first: tuple[str, str, str, str, int]) -> list[tuple[str, str, str, Any, int]]:
    """Of an EnumProperty: nothing, then every photo. The number of an item is its place."""
    names = photos(workspace)
    made = [first, *((name, name, "", icon(workspace, name), k + 1) for k, name in enumerate(names))]
    key = f"{workspace}|{first[1]}"
    if _items.get(key) != made:
        _items[key] = made
    return _items[key]


def forget(workspace: str = "") -> None:
    """Look again at the photos of a workspace, or of all."""
    for known in [workspace] if workspace else list(_photos):
        _photos.pop(known, None)


def _reading(workspace: str) -> Iterator[None]:
    """Names first, then one icon at a step."""
    try:
        folder = scenes.Folder.open(Path(bpy.path.abspath(workspace)))
        looks = of_folder(folder)
    except SegWildError:
        return  # the panel says it where it matters
    _photos[workspace] = names = looks.names if looks is not None else ()
    if not _icons:
        _icons.append(bpy.utils.previews.new())
    files = {path.stem: path for path in sorted((folder.root / "photos").glob("*"))}
    yield
    for name in names:
        key = f"{workspace}|{name}"
        if key not in _icons[0] and name in files:
            _icons[0].load(key, str(files[name]), "IMAGE")
        yield


def register() -> None:
    """Nothing: icons are made when they are needed."""


def unregister() -> None:
    while _icons:
        bpy.utils.previews.remove(_icons.pop())
    _photos.clear()
    _items.clear()
