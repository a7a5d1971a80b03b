"""Centres and a viewing direction into the order of drawing, farthest first, off the main thread.

The key is the depth in 16 bits, for which numpy's stable sort is a radix sort. A photo collection's scene has rows
very far away that would leave the rest a few bins: the bins divide the inner 99 % of the rows, and the two ends are
sorted by their exact depths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

BINS = 1 << 16
SAMPLE = 4096  # rows whose depths tell where the inner ones lie
ENDS = 0.005  # share of the rows at either end
AT_ONCE = 150_000  # rows; up to here sorting costs about two milliseconds and is not left to the thread


@dataclass(frozen=True, eq=False)
class Part:
    """The rows start:stop of a scene, which one object draws."""

    start: int
    stop: int
    towards: np.ndarray  # (3,) float32, depth per unit of the object's axes
    offset: float  # depth of the object's origin


def depths(positions: np.ndarray, parts: Sequence[Part]) -> tuple[np.ndarray, np.ndarray | None]:
    """Depths (M,) float32 of all rows of all parts, and their row numbers; None if those are 0..M-1."""
    if len(parts) == 1 and (parts[0].start, parts[0].stop) == (0, len(positions)):
        return positions @ parts[0].towards + np.float32(parts[0].offset), None
    values, rows = [], []
    for part in parts:
        values.append(positions[part.start : part.stop] @ part.towards + np.float32(part.offset))
        rows.append(np.arange(part.start, part.stop, dtype=np.int32))
    if not values:
        return np.empty(0, np.float32), np.empty(0, np.int32)
    return np.concatenate(values), np.concatenate(rows)


def farthest_first(depth: np.ndarray) -> np.ndarray:
    """(M,) finite float32 into the row numbers (M,) int64 that sort it downwards.

    Of rows nearer to each other than a bin (1/65536 of the depth that 99 % of them span) the lower number counts as the
    nearer one, as in the backend's renderer.
    """
    return nearest_first(depth)[::-1]


def nearest_first(depth: np.ndarray) -> np.ndarray:
    """The same upwards."""
    if len(depth) < 2:
        return np.arange(len(depth))
    sample = np.sort(depth[:: max(1, len(depth) // SAMPLE)])
    low, high = sample[int(ENDS * len(sample))], sample[int((1 - ENDS) * (len(sample) - 1))]
    if high <= low:
        return np.argsort(depth, kind="stable")
    # float32 keeps this fast; its rounding moves rows by a bin at most.
    bins = (depth - low) * np.float32((BINS - 3) / (float(high) - float(low)))
    bins += 1
    np.clip(bins, 0, BINS - 1, out=bins)
    keys = bins.astype(np.uint16)
    order = np.argsort(keys, kind="stable")
    nearest, farthest = np.count_nonzero(keys == 0), np.count_nonzero(keys == BINS - 1)
    for end in (slice(0, nearest), slice(len(order) - farthest, len(order))):
        rows = order[end]
        order[end] = rows[np.argsort(depth[rows], kind="stable")]
    return order


def order_of(positions: np.ndarray, parts: Sequence[Part]) -> np.ndarray:
    """Rows (N, 3) of one scene and the parts to draw into row numbers (M,), farthest first."""
    depth, rows = depths(positions, parts)
    order = farthest_first(depth)
    return order if rows is None else rows[order]


class Sorter:
    """One worker thread; of several wishes for the same view the latest counts."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._pending: dict[object, Future[np.ndarray]] = {}
        self._notes: dict[object, object] = {}

    def ask(self, view: object, positions: np.ndarray, parts: Sequence[Part], note: object) -> bool:
        """Begin to sort for `view`; False if it is still busy with an earlier wish of that view."""
        if view in self._pending:
            return False
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "segwild-sort")
        self._pending[view] = self._pool.submit(order_of, positions, parts)
        self._notes[view] = note
        return True

    def take(self, view: object) -> tuple[np.ndarray, object] | None:
        """The order made since, with the note it was asked with, or None."""
        future = self._pending.get(view)
        if future is None or not future.done():
            return None
        del self._pending[view]
        return future.result(), self._notes.pop(view)

    def keep(self, wanted: Callable[[object], bool]) -> None:
        """Forget what was asked for other views."""
        for view in [view for view in self._pending if not wanted(view)]:
            self._pending.pop(view).cancel()
            del self._notes[view]

    @property
    def asked(self) -> bool:
        """Whether an order is being made, or waits to be taken."""
        return bool(self._pending)

    @property
    def ready(self) -> bool:
        """Whether an order waits to be taken."""
        return any(future.done() for future in self._pending.values())

    def stop(self) -> None:
        """Forget what was asked and end the thread; it may be asked again."""
        pool, self._pool = self._pool, None
        self._pending.clear()
        self._notes.clear()
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
