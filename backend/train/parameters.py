"""Trainable arrays with their Adam moments, changed together when rows come and go."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from backend.render import Threads

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-15


@njit(parallel=True, fastmath=True, cache=True)
def _adam(values, gradient, first, second, rate, pull, correction_1, correction_2):
    """Kingma and Ba 2015, algorithm 1, in place on flat float32 arrays; `pull` times the values is more gradient."""
    for i in prange(values.size):
        g = gradient[i] + pull * values[i]
        m = np.float32(BETA_1) * first[i] + np.float32(1 - BETA_1) * g
        s = np.float32(BETA_2) * second[i] + np.float32(1 - BETA_2) * g * g
        first[i] = m
        second[i] = s
        values[i] -= rate * (m / correction_1) / (np.sqrt(s / correction_2) + np.float32(EPSILON))


class Parameters:
    """Named leaf tensors, each with two moments. `aligned` ones share their first axis: the rows."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self.values = {name: self._leaf(value) for name, value in values.items()}
        self.first = {name: torch.zeros_like(value) for name, value in values.items()}
        self.second = {name: torch.zeros_like(value) for name, value in values.items()}
        self.steps = 0

    @staticmethod
    def _leaf(value: Tensor) -> Tensor:
        return value.detach().to(torch.float32).contiguous().clone().requires_grad_()

    def __getitem__(self, name: str) -> Tensor:
        return self.values[name]

    def __len__(self) -> int:
        """Rows of the first array."""
        return len(next(iter(self.values.values())))

    def step(self, rates: Mapping[str, float], penalties: Mapping[str, float] | None = None) -> int:
        """One Adam step with a learning rate per name (missing: held still); gradients are consumed.

        A penalty of p adds the gradient of p·(sum of squares) for that name, without another array of its size.
        Rows with a non-finite gradient get none; returns how many there were.
        """
        penalties = penalties or {}
        self.steps += 1
        if not next(iter(self.values.values())).is_cpu:
            return self._step_on_device(rates, penalties)
        correction_1 = np.float32(1 - BETA_1**self.steps)
        correction_2 = np.float32(1 - BETA_2**self.steps)
        bad = 0
        for name, value in self.values.items():
            gradient = value.grad
            value.grad = None
            if gradient is None or name not in rates:
                continue
            if not torch.isfinite(gradient.sum()):
                sound = torch.isfinite(gradient.reshape(len(gradient), -1)).all(1)
                gradient = torch.where(
                    sound.reshape(-1, *[1] * (gradient.dim() - 1)), gradient, torch.zeros_like(gradient)
                )
                bad = max(bad, int((~sound).sum()))
            with Threads():
                _adam(
                    value.detach().numpy().reshape(-1),
                    gradient.contiguous().numpy().reshape(-1),
                    self.first[name].numpy().reshape(-1),
                    self.second[name].numpy().reshape(-1),
                    np.float32(rates[name]),
                    np.float32(2 * penalties.get(name, 0.0)),
                    correction_1,
                    correction_2,
                )
        return bad

    def _step_on_device(self, rates: Mapping[str, float], penalties: Mapping[str, float]) -> int:
        """The same in torch, with one wait for the device instead of one per array."""
        correction_1, correction_2 = 1 - BETA_1**self.steps, 1 - BETA_2**self.steps
        bad = []
        for name, value in self.values.items():
            gradient = value.grad
            value.grad = None
            if gradient is None or name not in rates:
                continue
            rows = gradient.reshape(len(gradient), -1)
            sound = torch.isfinite(rows).all(1)
            gradient = torch.where(sound[:, None], rows, 0.0).reshape(value.shape)
            if name in penalties:
                gradient = gradient.add(value.detach(), alpha=2 * penalties[name])
            first = self.first[name].mul_(BETA_1).add_(gradient, alpha=1 - BETA_1)
            second = self.second[name].mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
            value.detach().sub_(rates[name] * (first / correction_1) / ((second / correction_2).sqrt() + EPSILON))
            bad.append((~sound).sum())
        return int(torch.stack(bad).max()) if bad else 0

    # Mechanics of density control: rows of every array and both moments together.

    def take(self, rows: Tensor) -> None:
        """Keep only `rows`, in that order."""
        self.values = {name: self._leaf(value.detach()[rows]) for name, value in self.values.items()}
        self.first = {name: moment[rows].contiguous() for name, moment in self.first.items()}
        self.second = {name: moment[rows].contiguous() for name, moment in self.second.items()}

    def append(self, rows: Mapping[str, Tensor]) -> None:
        """Add rows at the end, with zero moments."""
        for name, added in rows.items():
            self.values[name] = self._leaf(torch.cat([self.values[name].detach(), added]))
            for moments in (self.first, self.second):
                moments[name] = torch.cat([moments[name], torch.zeros_like(added)])

    def forget(self, rows: Tensor | slice, *names: str) -> None:
        """Zero moments of some rows, of these arrays or all: they are no longer what the optimiser has watched."""
        for moments in (self.first, self.second):
            for name in names or moments:
                moments[name][rows] = 0

    # Checkpoints.

    def state(self, prefix: str) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {f"{prefix}.steps": np.array([self.steps], np.int64)}
        for kind, tensors in (("value", self.values), ("first", self.first), ("second", self.second)):
            arrays |= {f"{prefix}.{kind}.{name}": tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
        return arrays

    @classmethod
    def restored(cls, prefix: str, arrays: Mapping[str, np.ndarray], device: str = "cpu") -> Parameters:
        """The inverse of `state`, on a device. Raises KeyError if arrays are missing."""

        def part(kind: str) -> dict[str, Tensor]:
            start = f"{prefix}.{kind}."
            return {
                name[len(start) :]: torch.from_numpy(array.copy()).to(device)
                for name, array in arrays.items()
                if name.startswith(start)
            }

        restored = cls(part("value"))
        restored.first, restored.second = part("first"), part("second")
        restored.steps = int(arrays[f"{prefix}.steps"][0])
        return restored
