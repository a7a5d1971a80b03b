"""A photo's numbers into another light on the Gaussians: what all rows share, and what each adds of its own.

Photo j has an embedding e_j, and spherical harmonics c_i of Gaussian i become

    c_i(e) = (I + M(e))·c_i + m(e) + Δ_i(e).

M (3×3) and the offset m are shared by all rows and linear in e: exposure and white balance. Δ_i is what a row
differs in, and how it follows from e is a type: a product with numbers of the row's own here, a small network in
`mlp`. Δ_i(0) = 0, so that e = 0 is neutral light, and a setting of e bakes to plain harmonics, exactly up to the
clamp at black.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from backend.render import Light, Relight, picked
from backend.render.harmonics import C0

SPREAD = 0.1  # of embeddings at the start: with zeros there, nothing of a light would ever learn


class Relighting(ABC):
    """How the rows' own change follows from a photo's numbers. Parameters are kept by whoever trains or saves them.

    Those of a row are `(N, ...)` under the names of `row_rates`; they follow the rows wherever those come and go.
    Those that all rows share have the names of `initial_shared`.
    """

    kind: ClassVar[str]  # as files and the command line call it
    row_rates: ClassVar[Mapping[str, float]]  # of learning, by name of what each row has

    @property
    def shared_rates(self) -> dict[str, float]:
        """Rates of learning, by name of what rows share."""
        return {"embeddings": 1e-2, "gain": 3e-3, "offset": 3e-3}

    @property
    def network_rates(self) -> dict[str, float]:
        """And of what they share that, like what each row has, must go as far in few steps as in many."""
        return {}

    @property
    @abstractmethod
    def numbers(self) -> int:
        """Length of an embedding; 0: one light for all photos."""

    @abstractmethod
    def initial_rows(self, rows: int) -> dict[str, Tensor]:
        """What each row has, (N, ...): zeros, with which a row is lit as all others are."""

    def initial_shared(self, photos: int, seed: int) -> dict[str, Tensor]:
        """Embeddings (P, R), and the exposure that follows from them."""
        generator = torch.Generator().manual_seed(seed)
        return {
            "embeddings": SPREAD * torch.randn(photos, self.numbers, generator=generator),
            "gain": torch.zeros(self.numbers, 3, 3),  # M = sum_r e_r gain_r
            "offset": torch.zeros(self.numbers, 3),  # m = sum_r e_r offset_r
        }

    @abstractmethod
    def change(self, rows: Mapping[str, Tensor], shared: Mapping[str, Tensor], embedding: Tensor) -> Tensor:
        """Δ(e) of some rows: (N, K, 3), K harmonics from the constant one on; differentiable in everything."""

    def light(
        self, rows: Mapping[str, Tensor], shared: Mapping[str, Tensor], look: Tensor | None
    ) -> Light | Relight | None:
        """What `lit` does, left to the renderer: only rows that a view shows are changed. None: neutral."""
        if light_numbers(look, shared) is None:
            return None

        def relight(visible: Tensor, sh0: Tensor, shN: Tensor) -> tuple[Tensor, Tensor]:
            own = {name: picked(rows[name], visible) for name in self.row_rates}
            return self.lit(sh0, shN, own, shared, look)

        return relight

    def lit(
        self,
        sh0: Tensor,  # (N, 1, 3)
        shN: Tensor,  # (N, K-1, 3)
        rows: Mapping[str, Tensor],  # what each of these rows has
        shared: Mapping[str, Tensor],
        look: Tensor | None,  # (R, ...); None: neutral
    ) -> tuple[Tensor, Tensor]:
        """The harmonics in the light of a look, of the same shapes; differentiable in everything."""
        embedding = light_numbers(look, shared)
        if embedding is None:
            return sh0, shN
        more, offset = exposure(embedding, shared)
        gain = torch.eye(3, device=more.device) + more
        own = self.change(rows, shared, embedding)
        # Colours are SH + 0.5: the gain acts on the 0.5 too, which moves into the constant basis.
        lit0 = sh0[:, 0] @ gain.T + (offset + 0.5 * more.sum(1)) / C0 + own[:, 0]
        if not shN.shape[1]:
            return lit0[:, None], shN
        litN, higher = shN @ gain.T, own[:, 1 : shN.shape[1] + 1]
        if higher.shape[1]:
            litN = torch.cat([litN[:, : higher.shape[1]] + higher, litN[:, higher.shape[1] :]], 1)
        return lit0[:, None], litN

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind} | asdict(self)  # type: ignore[call-overload]  # subclasses are dataclasses

    def check(self, rows: Mapping[str, Tensor], shared: Mapping[str, Tensor]) -> None:
        """Raises KeyError or ValueError for parameters that are missing or of other shapes than this kind's."""
        wanted = self.initial_shared(len(shared["embeddings"]), 0)
        wrong = [name for name, value in wanted.items() if shared[name].shape != value.shape]
        wrong += [name for name, value in self.initial_rows(0).items() if rows[name].shape[1:] != value.shape[1:]]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} of a wrong shape")


@dataclass(frozen=True)
class LinearAppearance(Relighting):
    """Δ_i(e) = B_i·e: numbers of each row's own for each of a photo's. Cheap, and the same however much is mixed."""

    rank: int = 16  # numbers per photo, 0: one light for all; fewer: unphotographed lights are met worse
    degree: int = 0  # of the harmonics that change; more: light from a side is seen from where it shines back

    kind: ClassVar[str] = "linear"
    row_rates: ClassVar[Mapping[str, float]] = {"response": 1.25e-3}

    @property
    def numbers(self) -> int:
        return self.rank

    def initial_rows(self, rows: int) -> dict[str, Tensor]:
        """B: (N, 3·K, R), a channel's numbers of one harmonic after another."""
        return {"response": torch.zeros(rows, 3 * (self.degree + 1) ** 2, self.rank)}

    def change(self, rows: Mapping[str, Tensor], shared: Mapping[str, Tensor], embedding: Tensor) -> Tensor:
        return (rows["response"] @ embedding).unflatten(1, (-1, 3))

    def light(
        self, rows: Mapping[str, Tensor], shared: Mapping[str, Tensor], look: Tensor | None
    ) -> Light | Relight | None:
        embedding = light_numbers(look, shared)
        if embedding is None or self.degree:
            return super().light(rows, shared, look)
        more, offset = exposure(embedding, shared)
        return Light(torch.eye(3, device=more.device) + more, offset, rows["response"], C0 * embedding)


def light_numbers(look: Tensor | None, shared: Mapping[str, Tensor]) -> Tensor | None:
    """(R,), those of a look that change Gaussians; None: nothing does."""
    if look is None or not len(look) or not len(shared["gain"]):
        return None
    return look[: len(shared["gain"])]


def exposure(embedding: Tensor, shared: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """What a light does to all colours (0..1) alike: M (3, 3), by which the gain exceeds one, and the offset (3,)."""
    return torch.tensordot(embedding, shared["gain"], 1), embedding @ shared["offset"]
