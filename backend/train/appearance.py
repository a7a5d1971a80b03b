"""A training's looks: what each photo's light and sky are, kept in the workspace and baked into any viewer's Gaussians.

A look is all of a photo's numbers: its embedding e, which `relighting` turns into another light, then those of its
own sky (`backdrop`). Looks mix number by number, and zeros are neutral light.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backend.scene import Camera, Gaussians, Workspace
from backend.scene.files import read_arrays, write_arrays
from backend.train.backdrop import SKY_BASES, initial_skies, sky_picture
from backend.train.mlp import MlpAppearance
from backend.train.relighting import LinearAppearance, Relighting
from segwild_addon.protocol.errors import InputError

STRENGTH_MAX = 2.0
KINDS: dict[str, type[LinearAppearance | MlpAppearance]] = {
    kind.kind: kind for kind in (LinearAppearance, MlpAppearance)
}


@dataclass(frozen=True)
class Look:
    """The light something is shown in: that of photo A, of a mix of A and B, or neutral."""

    a: str | None = None  # photo name; None: neutral
    b: str | None = None
    mix: float = 0.0  # 0 is A, 1 is B
    strength: float = 1.0  # 0 is neutral, 1 the photo's look, 2 exaggerates it

    def __post_init__(self) -> None:
        """Raises InputError for numbers out of range."""
        if not 0 <= self.mix <= 1:
            raise InputError("bad-option", f"--mix is {self.mix:g}.", "Give a number from 0 (photo A) to 1 (photo B).")
        if not 0 <= self.strength <= STRENGTH_MAX:
            raise InputError("bad-option", f"--strength is {self.strength:g}.", "Give a number from 0 to 2.")


NEUTRAL = Look()


def initial_shared(kind: Relighting, photos: int, seed: int, *, own_sky: bool = True) -> dict[str, Tensor]:
    """Parameters that all Gaussians share, of the light and of the sky."""
    return kind.initial_shared(photos, seed) | initial_skies(photos, kind.numbers, own_sky=own_sky)


@dataclass(frozen=True, eq=False)
class Appearance:
    """The trained looks of a workspace."""

    names: tuple[str, ...]  # photo of each embedding
    kind: Relighting
    shared: Mapping[str, Tensor]
    rows: Mapping[str, Tensor]  # (N, ...), what the kind has of each row of splats/base

    @classmethod
    def of(
        cls, photos: Sequence[str], kind: Relighting, shared: Mapping[str, Tensor], rows: Mapping[str, Tensor]
    ) -> Appearance:
        """What a training learned of these photos. What all their own skies have in common is the neutral sky's.

        `rows` may hold more than the kind asks for.
        """
        rows = {name: rows[name] for name in kind.row_rates}
        skies = shared["skies"]
        if not skies.shape[1]:
            return cls(tuple(photos) if kind.numbers else (), kind, shared, rows)
        common = skies.mean(0)
        moved = {"sky": shared["sky"] + common.reshape(SKY_BASES, 3), "skies": skies - common}
        return cls(tuple(photos), kind, {**shared, **moved}, rows)

    @property
    def numbers(self) -> int:
        """Length of a look: those of the light and of a sky of its own."""
        return self.shared["embeddings"].shape[1] + self.shared["skies"].shape[1]

    def embedding(self, look: Look) -> Tensor:
        """s·((1−t)·A + t·B) of the photos' numbers, (R + S,). Raises InputError for a photo without a look."""
        if look.a is None:
            return torch.zeros(self.numbers)
        first = self._own(look.a)
        second = self._own(look.b) if look.b is not None else first
        return look.strength * ((1 - look.mix) * first + look.mix * second)

    def _own(self, name: str) -> Tensor:
        if not self.names:
            raise InputError(
                "no-look",
                f"The scene has one light for all photos, and the photo {name!r} no look of its own.",
                "For a look per photo, train it with --appearance linear instead of none.",
            )
        if name not in self.names:
            raise InputError(
                "no-look",
                f"The photo {name!r} has no look of its own.",
                f"Choose one the scene was trained on, such as {', '.join(self.names[:3])}.",
            )
        row = self.names.index(name)
        return torch.cat([self.shared["embeddings"][row], self.shared["skies"][row]])

    def baked(self, gaussians: Gaussians, embedding: Tensor, rows: np.ndarray | None = None) -> Gaussians:
        """Gaussians of this workspace with the light of an embedding in `rows` (ids; None: all)."""
        chosen = slice(None) if rows is None else torch.from_numpy(np.asarray(rows))
        sh0, shN = torch.from_numpy(gaussians.sh0.copy()), torch.from_numpy(gaussians.shN.copy())
        own = {name: value[chosen] for name, value in self.rows.items()}
        with torch.no_grad():
            sh0[chosen], shN[chosen] = self.kind.lit(sh0[chosen], shN[chosen], own, self.shared, embedding)
        return replace(gaussians, sh0=sh0.numpy(), shN=shN.numpy())

    def sky(self, camera: Camera, embedding: Tensor) -> np.ndarray:
        """(H, W, 3) float32 in 0..1."""
        return sky_picture(camera, self.shared, embedding).clamp(0, 1).numpy()

    def with_look(self, name: str, embedding: Tensor) -> Appearance:
        """The same with one more photo's look, or another one for a photo that has one."""
        known, rank = name in self.names, self.shared["embeddings"].shape[1]
        parts = {}
        for part, numbers in (("embeddings", embedding[:rank]), ("skies", embedding[rank:])):
            parts[part] = self.shared[part].clone() if known else torch.cat([self.shared[part], numbers[None]])
            if known:
                parts[part][self.names.index(name)] = numbers
        names = self.names if known else (*self.names, name)
        return replace(self, names=names, shared={**self.shared, **parts})

    def save(self, workspace: Workspace) -> None:
        arrays = {f"shared.{name}": value.numpy() for name, value in self.shared.items()}
        arrays |= {name: value.numpy() for name, value in self.rows.items()}
        facts = {"photos": json.dumps(self.names), "appearance": json.dumps(self.kind.to_json())}
        write_arrays(workspace.appearance, arrays, facts)

    @classmethod
    def load(cls, workspace: Workspace) -> Appearance | None:
        """None if the workspace has no looks (an imported splat). Raises InputError if they are damaged."""
        if not workspace.appearance.exists():
            return None
        arrays, metadata = read_arrays(workspace.appearance)
        try:
            names = tuple(json.loads(metadata["photos"]))
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            shared = {
                name.removeprefix("shared."): value for name, value in tensors.items() if name.startswith("shared.")
            }
            rows = {name: value for name, value in tensors.items() if not name.startswith("shared.")}
            kind = _kind(metadata, rows)
            kind.check(rows, shared)
            # Workspaces of before photos had skies of their own have none.
            shared.setdefault("skies", torch.zeros(len(shared["embeddings"]), 0))
            if shared["sky"].shape != (SKY_BASES, 3):
                raise ValueError("sky of a wrong shape")
        except (KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
            raise InputError(
                "file-damaged", f"The looks are damaged: {workspace.appearance}.", "Run segwild train again."
            ) from error
        return cls(names, kind, shared, rows)


def _kind(metadata: Mapping[str, str], rows: Mapping[str, Tensor]) -> Relighting:
    """The kind that saved the looks; before there were several it was linear."""
    if "appearance" not in metadata:
        return LinearAppearance(rank=rows["response"].shape[2])
    facts: dict[str, Any] = json.loads(metadata["appearance"])
    kind = facts.pop("kind")
    if kind not in KINDS:
        raise InputError("newer-looks", f"The looks are of an unknown kind: {kind}.", "Update SegWild, or train again.")
    return KINDS[kind](**facts)
