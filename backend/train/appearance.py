"""A photo's light into a change of the Gaussians' colours that any viewer can draw.

Photo j has an embedding e_j. Together with a per-Gaussian response it changes spherical harmonics,

    c_i(e) = (I + M(e))·c_i + m(e) + B_i·e,

where M (3×3) and the offset m are shared by all Gaussians and linear in e: exposure and white balance.
Everything is linear, so one setting bakes to plain harmonics exactly, up to the clamp at black; e = 0 is
neutral light. The sky, seen where no Gaussian is, is a degree-2 harmonic over directions: a neutral one, a
change that is linear in e, because noon has other skies than dusk, and one that belongs to the photo alone,
because clouds have no part in the light of a wall. A look is all of a photo's numbers: e, then its own sky's.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from backend.render import Light
from backend.render.harmonics import C0, higher_bases
from backend.scene import Camera, Gaussians, Workspace
from backend.scene.files import read_arrays, write_arrays
from segwild_addon.protocol.errors import InputError

SKY_BASES = 9
SKY_NUMBERS = 3 * SKY_BASES  # of a photo's own sky
SKY_STEP = 8  # the sky is evaluated on every 8th pixel and interpolated
STRENGTH_MAX = 2.0


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


def initial_response(rows: int, rank: int) -> Tensor:
    """B: (N, 3, R) zeros. Embeddings start random, else both would stay zero for good."""
    return torch.zeros(rows, 3, rank)


def initial_shared(photos: int, rank: int, seed: int, *, own_sky: bool = True) -> dict[str, Tensor]:
    """Parameters that all Gaussians share."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "embeddings": 0.1 * torch.randn(photos, rank, generator=generator),
        "skies": torch.zeros(photos, SKY_NUMBERS if own_sky else 0),
        "gain": torch.zeros(rank, 3, 3),  # M = sum_r e_r gain_r
        "offset": torch.zeros(rank, 3),  # b = sum_r e_r offset_r
        "sky": torch.zeros(SKY_BASES, 3),  # neutral sky, harmonics without the +0.5
        "sky_response": torch.zeros(rank, SKY_BASES, 3),
    }


def lit(
    sh0: Tensor,  # (N, 1, 3)
    shN: Tensor,  # (N, K-1, 3)
    response: Tensor,  # (N, 3, R)
    shared: Mapping[str, Tensor],
    look: Tensor | None,  # (R, ...); None: neutral
) -> tuple[Tensor, Tensor]:
    """The harmonics in the light of a look; differentiable in everything."""
    embedding = _light_numbers(look, shared)
    if embedding is None:
        return sh0, shN
    change = torch.tensordot(embedding, shared["gain"], 1)  # M
    full = torch.eye(3, device=change.device) + change
    # Colours are SH + 0.5: the gain acts on the 0.5 too, which moves into the constant basis.
    offset = (embedding @ shared["offset"] + 0.5 * change.sum(1)) / C0
    lit0 = sh0[:, 0] @ full.T + offset + response @ embedding
    return lit0[:, None], shN @ full.T if shN.shape[1] else shN


def light(response: Tensor, shared: Mapping[str, Tensor], look: Tensor | None) -> Light | None:
    """What `lit` does, left to the renderer: only colours that a view shows are changed. None: neutral."""
    embedding = _light_numbers(look, shared)
    if embedding is None:
        return None
    gain = torch.eye(3, device=embedding.device) + torch.tensordot(embedding, shared["gain"], 1)
    return Light(gain, embedding @ shared["offset"], response, C0 * embedding)


def _light_numbers(look: Tensor | None, shared: Mapping[str, Tensor]) -> Tensor | None:
    """(R,), those of a look that change Gaussians; None: nothing does."""
    if look is None or not len(look) or not len(shared["gain"]):
        return None
    return look[: len(shared["gain"])]


def coarse_sky(camera: Camera, shared: Mapping[str, Tensor], look: Tensor | None) -> Tensor:
    """The sky behind everything in cells of about SKY_STEP pixels: (rows, columns, 3), about 0..1, differentiable."""
    coefficients = shared["sky"]
    basis = _sky_basis(camera, str(coefficients.device))
    embedding = _light_numbers(look, shared)
    if embedding is not None:
        coefficients = coefficients + torch.tensordot(embedding, shared["sky_response"], 1)
    own = None if look is None else look[len(shared["gain"]) :]
    if own is not None and len(own):
        coefficients = coefficients + own.reshape(SKY_BASES, 3)
    # Not clamped: a sky that has become too bright must feel the gradient that darkens it.
    return basis @ coefficients + 0.5


@functools.lru_cache(maxsize=64)  # a training asks for the same cameras again and again
def _sky_basis(camera: Camera, device: str) -> Tensor:
    """(rows, columns, SKY_BASES): the harmonics in the directions of the coarse sky's cells."""
    columns = max(2, -(-camera.width // SKY_STEP) + 1)
    rows = max(2, -(-camera.height // SKY_STEP) + 1)
    x, y = np.meshgrid(np.linspace(0, camera.width, columns), np.linspace(0, camera.height, rows))
    directions = torch.from_numpy(camera.rays(np.stack([x, y], -1)).astype(np.float32)).reshape(-1, 3).to(device)
    basis = torch.cat([torch.full_like(directions[:, :1], C0), higher_bases(directions, SKY_BASES - 1)], 1)
    return basis.reshape(rows, columns, SKY_BASES)


def sky_picture(camera: Camera, shared: Mapping[str, Tensor], look: Tensor | None) -> Tensor:
    """The sky behind everything: (H, W, 3), about 0..1, differentiable."""
    coarse = coarse_sky(camera, shared, look).permute(2, 0, 1)[None]
    full = torch.nn.functional.interpolate(coarse, (camera.height, camera.width), mode="bilinear", align_corners=False)
    return full[0].permute(1, 2, 0)


@dataclass(frozen=True, eq=False)
class Appearance:
    """The trained looks of a workspace."""

    names: tuple[str, ...]  # photo of each embedding
    shared: Mapping[str, Tensor]
    response: Tensor  # (N, 3, R), rows of splats/base

    @classmethod
    def of(cls, photos: Sequence[str], shared: Mapping[str, Tensor], response: Tensor) -> Appearance:
        """What a training learned of these photos. What all their own skies have in common is the neutral sky's."""
        skies = shared["skies"]
        if not skies.shape[1]:
            return cls(tuple(photos) if shared["embeddings"].shape[1] else (), shared, response)
        common = skies.mean(0)
        moved = {"sky": shared["sky"] + common.reshape(SKY_BASES, 3), "skies": skies - common}
        return cls(tuple(photos), {**shared, **moved}, response)

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
        lit0, litN = lit(sh0[chosen], shN[chosen], self.response[chosen], self.shared, embedding)
        sh0[chosen], shN[chosen] = lit0, litN
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
        arrays["response"] = self.response.numpy()
        write_arrays(workspace.appearance, arrays, {"photos": json.dumps(self.names)})

    @classmethod
    def load(cls, workspace: Workspace) -> Appearance | None:
        """None if the workspace has no looks (an imported splat). Raises InputError if they are damaged."""
        if not workspace.appearance.exists():
            return None
        arrays, metadata = read_arrays(workspace.appearance)
        try:
            names = tuple(json.loads(metadata["photos"]))
            response = torch.from_numpy(arrays.pop("response"))
            shared = {name.removeprefix("shared."): torch.from_numpy(array) for name, array in arrays.items()}
            shared["gain"], shared["sky"]
            # Workspaces of before photos had skies of their own have none.
            shared.setdefault("skies", torch.zeros(len(shared["embeddings"]), 0))
        except (KeyError, ValueError) as error:
            raise InputError(
                "file-damaged", f"The looks are damaged: {workspace.appearance}.", "Run segwild train again."
            ) from error
        return cls(names, shared, response)
