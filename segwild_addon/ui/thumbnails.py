"""The photos of a workspace into icons, loaded a few at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import bpy.utils.previews
from bpy.app.handlers import persistent

from .. import session
from ..client.link import Happened, Link
from ..data.looks import of_folder
from ..data.places import absolute
from ..data.steps import Aside, Steps
from ..data.workspace import Folder
from ..protocol.errors import SegWildError
from ..protocol.events import SceneChanged

RETRY_SECS = 5.0  # between looks for a folder that is not there: its drive may come
CHANGES = ("cameras", "gaussians", "appearance")  # of a workspace, that may bring other photos

_icons: list[Any] = []  # one collection of Blender's, made when first needed
_photos: dict[str, tuple[str, ...]] = {}  # names of photos with a look, by absolute path of the workspace
_stale: set[str] = set()  # workspaces to be looked at again; what was known holds until then
_failed: dict[str, float] = {}  # workspaces that could not be read, and when
_items: dict[str, list[tuple[str, str, str, int, int]]] = {}  # Blender keeps no reference to what it shows
NEUTRAL = ("-neutral-", "Neutral", "Light without the mood of any photo", "LIGHT_SUN", 0)
NONE = ("-none-", "None", "No second photo", "X", 0)


def photos(workspace: str) -> tuple[str, ...]:
    """Names of the photos that have a look; empty until they are known. Never waits."""
    if not workspace:
        return ()
    key = absolute(workspace)
    again = key in _stale or time.monotonic() - _failed.get(key, math.inf) > RETRY_SECS
    if key not in _photos or again:
        _photos.setdefault(key, ())
        _stale.discard(key)
        _failed.pop(key, None)
        session.carry_out(f"photos of {key}", _reading(key), lambda found, error: None)
    return _photos[key]


def icon(workspace: str, name: str) -> int:
    """The icon of a photo; 0 until it is loaded."""
    found = _icons[0].get(f"{absolute(workspace)}|{name}") if _icons else None
    return found.icon_id if found is not None else 0


def items(workspace: str, first: tuple[str, str, str, str, int]) -> list[tuple[str, str, str, Any, int]]:
    """Of an EnumProperty: nothing, then every photo. The number of an item is its place."""
    names = photos(workspace)
    made = [first, *((name, name, "", icon(workspace, name), k + 1) for k, name in enumerate(names))]
    key = f"{workspace and absolute(workspace)}|{first[1]}"
    if _items.get(key) != made:
        _items[key] = made
    return _items[key]


def forget(workspace: str = "") -> None:
    """Look again at the photos of a workspace, or of all."""
    _stale.update([absolute(workspace)] if workspace else list(_photos))


def _reading(key: str) -> Iterator[Any]:
    """Names first, then one icon at a step."""
    listing = Aside(_listing(Path(key)), "photos")
    while not listing.ended:
        yield session.WAIT
    try:
        names, files = listing.result()
    except SegWildError:
        _failed[key] = time.monotonic()
        return  # the panel says it where it matters
    _photos[key] = names
    if not _icons:
        _icons.append(bpy.utils.previews.new())
    yield
    for name in names:
        icon_key = f"{key}|{name}"
        if icon_key not in _icons[0] and name in files:
            _icons[0].load(icon_key, str(files[name]), "IMAGE")
        yield


def _listing(path: Path) -> Steps[tuple[tuple[str, ...], dict[str, Path]]]:
    """The photos that have a look, and all pictures by name. Carried out in a thread: the disk may be far away."""
    folder = Folder.open(path)
    looks = of_folder(folder)
    yield 0.5
    files = {path.stem: path for path in sorted((folder.root / "photos").glob("*"))}
    return looks.names if looks is not None else (), files


def _heard(link: Link, item: Any) -> None:
    if isinstance(item, Happened) and isinstance(item.event, SceneChanged) and item.event.what in CHANGES:
        forget(str(link.workspace))


@persistent
def _loaded(*_: Any) -> None:
    forget()


def register() -> None:
    """Icons are made when they are needed."""
    session.listeners.append(_heard)
    bpy.app.handlers.load_post.append(_loaded)


def unregister() -> None:
    bpy.app.handlers.load_post.remove(_loaded)
    while _icons:
        bpy.utils.previews.remove(_icons.pop())
    _photos.clear()
    _stale.clear()
    _failed.clear()
    _items.clear()
