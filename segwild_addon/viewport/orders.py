"""Orders of drawing, one for each layer and each view of it, kept until the view or the objects have turned."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .buffers import Layer, texture
from .sort import AT_ONCE, Part, Sorter, order_of

TURNED = np.cos(np.radians(1.0))  # less than this leaves an order good enough for a moving view
KEPT = 24  # orders of views; those of closed windows give way
_numbers = itertools.count()


@dataclass(frozen=True, eq=False)
class _Made:
    """For which layer and directions an order is right."""

    layout: int
    moved: int
    starts: tuple[int, ...]
    towards: np.ndarray  # (P, 3) float64
    offsets: np.ndarray  # (P,) relative to the first

    def serves(self, other: _Made) -> bool:
        """Whether the rows are still those: else the order would name wrong ones."""
        return self.layout == other.layout and self.starts == other.starts

    def agrees(self, other: _Made, *, exactly: bool) -> bool:
        """Whether sorting again would change little, or, `exactly`, nothing."""
        if self.moved != other.moved:
            return False
        if exactly:
            return np.allclose(self.towards, other.towards, rtol=0, atol=1e-6 * _size(self.towards)) and np.allclose(
                self.offsets, other.offsets, rtol=0, atol=1e-6 * (1 + _size(self.offsets))
            )
        dots = np.einsum("pi,pi->p", self.towards, other.towards)
        lengths = np.linalg.norm(self.towards, axis=1) * np.linalg.norm(other.towards, axis=1)
        return bool((dots >= TURNED * lengths).all()) and np.allclose(
            self.offsets, other.offsets, rtol=0, atol=1e-3 * (1 + _size(self.offsets))
        )


def _size(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0))


@dataclass(frozen=True, eq=False)
class Order:
    """Row numbers on the graphics card, farthest first."""

    texture: Any
    count: int
    made: _Made
    number: int = field(default_factory=lambda: next(_numbers))  # no two orders have the same


class Orders:
    """Finds an order for a view; sorts small layers at once and large ones in the background."""

    def __init__(self) -> None:
        self._orders: dict[Any, Order] = {}
        self._sorter = Sorter()

    def find(self, key: Any, layer: Layer, parts: Sequence[Part], *, moving: bool, patient: bool = True) -> Order:
        """The order to draw with now. `moving` accepts a slight error; so does `patient`, for a large layer.

        `key` names the layer and the view. A better order may be on its way: the view should be drawn again when
        `ready`, as long as any is `waiting`.
        """
        wanted = _Made(
            layer.layout,
            layer.moved,
            tuple(part.start for part in parts),
            np.array([part.towards for part in parts], np.float64).reshape(-1, 3),
            np.array([part.offset - parts[0].offset for part in parts]),
        )
        arrived = self._sorter.take(key)
        if arrived is not None:
            rows, made = arrived
            if made.serves(wanted):  # type: ignore[attr-defined]
                self._put(key, Order(texture(rows, "R32F", "order"), len(rows), made))  # type: ignore[arg-type]
        order = self._orders.get(key)
        if order is not None and order.made.serves(wanted):
            if order.made.agrees(wanted, exactly=not moving):
                self._orders[key] = self._orders.pop(key)  # the latest used lasts longest
                return order
            if patient and order.count > AT_ONCE:
                self._sorter.ask(key, layer.positions, parts, wanted)
                return order
        rows = order_of(layer.positions, parts)
        return self._put(key, Order(texture(rows, "R32F", "order"), len(rows), wanted))

    def _put(self, key: Any, order: Order) -> Order:
        self._orders.pop(key, None)
        self._orders[key] = order
        while len(self._orders) > KEPT:
            del self._orders[next(iter(self._orders))]
        return order

    def keep(self, wanted: Callable[[Any], bool]) -> None:
        """Wait for no order of other keys: nobody would take it."""
        self._sorter.keep(wanted)

    @property
    def waiting(self) -> bool:
        """Whether some view was drawn in an order that is not yet exact."""
        return self._sorter.asked

    @property
    def ready(self) -> bool:
        """Whether an order that was waited for is there."""
        return self._sorter.ready

    def forget(self, *, stop: bool = False) -> None:
        """Let go of all orders; `stop` ends the thread too."""
        self._orders.clear()
        if stop:
            self._sorter.stop()
