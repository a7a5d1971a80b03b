"""Density control with a fixed budget: rows are samples of the scene, and dead ones are drawn anew.

3D Gaussian Splatting as Markov Chain Monte Carlo (Kheradmand et al. 2024): rows that became transparent move onto
living ones drawn by opacity, the number of rows grows to the cap in the same way, and noise keeps translucent rows
exploring. `Parameters` carries it out; ids of other rows never change.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from backend.render.projection import rotation_matrices
from backend.train.config import Capped
from backend.train.density import event_interval
from backend.train.parameters import Parameters

COPIES_MAX = 51  # of a row in one event: the sum below loses digits beyond
NOISE = 5e5  # times the learning rate of the means
STEEP, TRANSLUCENT = 100.0, 0.005  # noise fades where opacity exceeds TRANSLUCENT, that fast


@cache
def _terms() -> np.ndarray:
    """(COPIES_MAX + 1, COPIES_MAX): by copies n, the factors of o^(k+1) in the sum of equation 9."""
    terms = np.zeros((COPIES_MAX + 1, COPIES_MAX))
    for n in range(1, COPIES_MAX + 1):
        for a in range(1, n + 1):
            for k in range(a):
                terms[n, k] += math.comb(a - 1, k) * (-1) ** k / math.sqrt(k + 1)
    return terms


def shared_out(
    opacities: Tensor,  # (M,) in 0..1
    copies: Tensor,  # (M,) int64 >= 1, what one row becomes
) -> tuple[Tensor, Tensor]:
    """Opacity of each copy and the factor of its scales, so that n copies in one place look like the one row.

    o' = 1 − (1 − o)^(1/n);  s' = s · o / Σ_{a=1..n} Σ_{k<a} C(a−1, k) (−1)^k o'^(k+1) / √(k+1). Both (M,).
    """
    n = copies.clamp(1, COPIES_MAX)
    old = opacities.double().clamp(1e-6, 1 - 1e-6)
    new = -torch.expm1(torch.log1p(-old) / n)
    terms = torch.from_numpy(_terms()).to(opacities.device)[n]  # in float64: large terms cancel
    powers = new[:, None] ** torch.arange(1, COPIES_MAX + 1, device=opacities.device)
    return new.float(), (old / (terms * powers).sum(1)).float()


def relocate(rows: Parameters, dead: Tensor, *, seed: int, step: int) -> int:
    """Rows of `dead` (N,) bool become copies of living ones, drawn by opacity; returns how many."""
    alive = (~dead).nonzero()[:, 0]
    targets = dead.nonzero()[:, 0]
    if not len(targets) or not len(alive):
        return 0
    sources = _drawn(rows, alive, len(targets), seed, step, 3)
    _share(rows, sources)
    with torch.no_grad():
        for value in rows.values.values():
            value[targets] = value[sources]
    rows.forget(torch.cat([sources, targets]))
    return len(targets)


def grow(rows: Parameters, policy: Capped, *, step: int, steps: int, seed: int) -> int:
    """More rows, on the schedule that reaches the cap, as copies of those drawn by opacity; returns how many."""
    count = len(rows)
    left = max(1, math.ceil((policy.grow_until * steps - step) / event_interval(steps)))
    factor = min(policy.growth_max, (policy.cap / count) ** (1 / left)) if count < policy.cap else 1.0
    wanted = min(round(count * (factor - 1)), policy.cap - count)
    if wanted <= 0:
        return 0
    everything = torch.arange(count, device=rows["opacity_logits"].device)
    sources = _drawn(rows, everything, wanted, seed, step, 4)
    _share(rows, sources)
    rows.append({name: value.detach()[sources].clone() for name, value in rows.values.items()})
    rows.forget(sources)
    return wanted


def explore(rows: Parameters, policy: Capped, rate: float, *, seed: int, step: int) -> None:
    """Move translucent rows at random within their own shape: equation 8, after each optimiser step."""
    with torch.no_grad():
        opacities = torch.sigmoid(rows["opacity_logits"])
        weight = torch.sigmoid(STEEP * (TRANSLUCENT - opacities))
        chosen = (weight > 1e-4).nonzero()[:, 0]  # of the others, none would move visibly
        if not len(chosen):
            return
        noise = torch.randn(len(chosen), 3, generator=_generator(seed, step, 5)).to(opacities.device)
        axes = rotation_matrices(rows["quats"][chosen]) * rows["log_scales"][chosen].exp()[:, None, :]
        spread = torch.einsum("nij,nj->ni", axes, torch.einsum("nji,nj->ni", axes, noise))  # Σ·noise
        rows["means"][chosen] += policy.noise * NOISE * rate * weight[chosen, None] * spread


def _drawn(rows: Parameters, among: Tensor, count: int, seed: int, step: int, purpose: int) -> Tensor:
    """Ids (count,) of rows `among` (M,), by opacity, with repetition; the same on every device."""
    weights = torch.sigmoid(rows["opacity_logits"].detach()[among]).double().cpu()
    found = torch.multinomial(weights, count, replacement=True, generator=_generator(seed, step, purpose))
    return among[found.to(among.device)]


def _share(rows: Parameters, sources: Tensor) -> None:
    """Rows that are about to be copied take the opacity and size that all their copies will have."""
    chosen, extra = sources.unique(return_counts=True)
    with torch.no_grad():
        opacities, factor = shared_out(torch.sigmoid(rows["opacity_logits"][chosen]), extra + 1)
        rows["opacity_logits"][chosen] = torch.logit(opacities.clamp(TRANSLUCENT, 1 - 1e-6))
        rows["log_scales"][chosen] += factor.log()[:, None]


def _generator(seed: int, step: int, purpose: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed * 1_000_003 + step) * 7 + purpose)
