"""Paths of a request, checked: what a client names lies where clients may look.

A job may read and write the workspace and the folders that the person who started the service allowed. A
file is handed out from the workspace alone. Both are decided after links are followed.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from pathlib import Path
from typing import Any

from segwild_addon.protocol.errors import InputError

ARRAY_SUFFIX = ".npy"


@functools.cache
def _paths_of(kind: type) -> tuple[dataclasses.Field[Any], ...]:
    """The fields of a request that name a place."""
    hints = typing.get_type_hints(kind)
    return tuple(field for field in dataclasses.fields(kind) if hints[field.name] in (Path, Path | None))


class Inside:
    """The folders of one service."""

    def __init__(self, workspace: Path, allowed: tuple[Path, ...] = ()) -> None:
        self.workspace = workspace.resolve()
        self.roots = (self.workspace, *(folder.resolve() for folder in allowed))

    def request(self, request: Any) -> Any:
        """The request with absolute paths, all of them allowed.

        Raises InputError that names the field.
        """
        changes: dict[str, Any] = {}
        for field in _paths_of(type(request)):
            value = getattr(request, field.name)
            if value is None:
                continue
            changes[field.name] = path = self.path(value, field.name)
            if field.metadata.get("scene") and path != self.workspace:
                raise InputError(
                    "another-workspace",
                    f"This service works on one scene: {self.workspace}.",
                    "Leave the field out, or start a service for the other scene.",
                )
        return dataclasses.replace(request, **changes)

    def path(self, path: Path, field: str) -> Path:
        """Absolute and resolved. A relative path counts from the workspace. Raises InputError."""
        try:
            resolved = (self.workspace / path).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError("bad-path", f"{field} is not a path that can be followed: {path}.") from error
        if not any(resolved == root or root in resolved.parents for root in self.roots):
            raise InputError(
                "path-not-allowed",
                f"{field} lies outside the folders this service may use: {path}.",
                "Start segwild serve with --allow and that folder.",
            )
        return resolved

    def array(self, name: str) -> Path | None:
        """The array file of the workspace that has this name; None if there is none to give."""
        if "\0" in name or not name.endswith(ARRAY_SUFFIX):
            return None
        try:
            resolved = (self.workspace / name).resolve()
            if self.workspace not in resolved.parents or not resolved.is_file():
                return None
        except (OSError, RuntimeError, ValueError):
            return None
        return resolved
