"""Models that share no place with the largest one into their photos: parts of the place that are left out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


def other_parts(kept: Collection[str], models: Iterable[Collection[str]]) -> list[list[str]]:
    """The photos of each further model by name, the largest first.

    Models of one search may have photos in common: one of the kept model is in no other part, and each is in one.
    """
    taken, parts = set(kept), []
    for model in sorted(models, key=len, reverse=True):
        own = sorted(set(model) - taken)
        taken.update(own)
        if own:
            parts.append(own)
    return parts


def reasons(parts: Sequence[Sequence[str]]) -> dict[str, str]:
    """Why each of these photos, which have cameras among themselves, has none in the scene."""
    return {
        name: f"belongs to another part of the place ({len(part)} photo{'s' * (len(part) != 1)}), "
        "which could not be connected with this one"
        for part in parts
        for name in part
    }
