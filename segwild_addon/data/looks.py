"""A photo's light into a change of colours, in numpy.

The model is that of backend/train/relighting.py: photo j has an embedding e_j, and the colour of Gaussian i becomes

    colour_i(d) = (I + M(e))·(SH_i(d) + 0.5) + m(e) + Δ_i(e)(d),    M(e) = sum_r e_r gain_r,  m(e) = sum_r e_r offset_r

where Δ_i, harmonics too, follows from e in one of several ways (`relighting`). A mix of two looks is the look of the
mixed embeddings, and e = 0 is neutral light.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..protocol.errors import InputError
from .relighting import Linear, Network, kind_of
from .rows import Rows, by_coefficient
from .safetensors import mapped
from .workspace import Folder

C0 = 0.28209479177387814  # value of the constant spherical harmonic
_KEPT_RESPONSES = 8  # photos whose B·e stays in memory, 12 bytes per Gaussian each


@dataclass(frozen=True)
class Look:
    """The light something is shown in: that of photo A, of a mix of A and B, or (without A) neutral."""

    a: str = ""  # photo name
    b: str = ""
    mix: float = 0.0  # 0 is A, 1 is B
    strength: float = 1.0  # 0 is neutral, 1 the photo's look, 2 exaggerates it

    @property
    def neutral(self) -> bool:
        return not self.a or self.strength == 0

    def parts(self) -> list[tuple[str, float]]:
        """Photos and how much of each, in sum the strength."""
        if self.neutral:
            return []
        second = self.b or self.a
        shares = {self.a: (1 - self.mix) * self.strength}
        shares[second] = shares.get(second, 0.0) + self.mix * self.strength
        return [(name, share) for name, share in shares.items() if share]


@dataclass(frozen=True, eq=False)
class Light:
    """A change of colours: gain @ (SH(direction) + 0.5) + offset + per_row + higher(direction), then clamped at 0."""

    gain: np.ndarray  # (3, 3) float32
    offset: np.ndarray  # (3,) float32
    per_row: np.ndarray | None = None  # (N, 3) float32; None: zero
    higher: np.ndarray | None = None  # (N, K, 3) float32, coefficients from the first linear one on; None: zero

    @classmethod
    def none(cls) -> Light:
        return cls(np.eye(3, dtype=np.float32), np.zeros(3, np.float32))

    @property
    def changes_nothing(self) -> bool:
        none = self.per_row is None and self.higher is None
        return none and not self.offset.any() and np.array_equal(self.gain, np.eye(3))

    def then(self, matrix: np.ndarray) -> Light:
        """This light, then a further (3, 3) change of colours."""
        if np.array_equal(matrix, np.eye(3)):
            return self
        turned = matrix.T.astype(np.float32)
        per_row, higher = (None if own is None else own @ turned for own in (self.per_row, self.higher))
        gain, offset = (matrix @ self.gain).astype(np.float32), (matrix @ self.offset).astype(np.float32)
        return Light(gain, offset, per_row, higher)

    def baked(self, base_rgb: np.ndarray, sh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Raw SH constant term (N, 3) and coefficients (N, K-1, 3) with this light in them."""
        if self.changes_nothing:
            return base_rgb, sh
        # The gain acts on the 0.5 too, which moves into the constant term.
        shift = (self.offset + 0.5 * (self.gain.sum(axis=1) - 1)) / C0
        lit = base_rgb @ self.gain.T + shift.astype(np.float32)
        if self.per_row is not None:
            lit += self.per_row / np.float32(C0)
        if not sh.shape[1]:
            return lit, sh
        lit_sh = by_coefficient(sh) @ self.gain.T
        if self.higher is not None:  # what changes beyond the harmonics that rows have is left out
            own = by_coefficient(self.higher[:, : len(lit_sh)])
            lit_sh[: len(own)] += own
        return lit, lit_sh.swapaxes(0, 1)

    def on(self, rows: Rows) -> Rows:
        """Rows with this light in them."""
        base_rgb, sh = self.baked(rows.base[:, :3], rows.sh)
        return replace(rows, base=np.concatenate([base_rgb, rows.base[:, 3:]], axis=1), sh=sh)


class Looks:
    """The trained looks of a workspace."""

    def __init__(
        self,
        path: Path,
        names: tuple[str, ...],
        kind: Linear | Network,
        shared: dict[str, np.ndarray],
        count: int,
    ) -> None:
        self.path = path
        self.names = names  # photo of each embedding
        self.kind = kind
        self.count = count  # Gaussians of the workspace
        self._shared = shared
        self._responses: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()  # of the responses: an export asks from a thread of its own

    @classmethod
    def load(cls, folder: Folder) -> Looks | None:
        """None if the workspace has no looks. Raises InputError if they are damaged or of other Gaussians."""
        path = folder.root / "appearance.safetensors"
        if not path.exists():
            return None
        arrays, metadata = mapped(path)
        try:
            names = tuple(str(name) for name in json.loads(metadata.get("photos", "[]")))
            said = metadata.get("appearance")
            kind = kind_of(None if said is None else json.loads(said), arrays)
            rows, shapes = arrays[kind.rows], kind.shapes(len(names))
            if not names or not shapes["gain"][0]:
                return None
            shared = {name: np.array(arrays[f"shared.{name}"]) for name in shapes}
            wrong = [name for name, shape in shapes.items() if shared[name].shape != shape]
            if wrong or rows.shape[1:] != kind.row_shape() or rows.dtype != np.float32:
                raise ValueError(f"{', '.join(wrong) or kind.rows} of a wrong shape")
            if not all(np.isfinite(array).all() for array in shared.values()):
                raise ValueError("not finite")
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise InputError(
                "file-damaged", f"The looks are damaged ({error}): {path}.", "Train the scene again."
            ) from error
        return cls(path, names, kind, shared, len(rows))

    def light(self, look: Look, ids: np.ndarray) -> Light:
        """What the look does to the Gaussians `ids` (M,) int32, their rows + 1; 0 gets what all share.

        Raises InputError for a photo without a look, or ids the workspace does not have.
        """
        if look.neutral:
            return Light.none()
        if len(ids) and int(ids.max()) > self.count:
            raise InputError(
                "looks-stale",
                f"The looks were made for {self.count} Gaussians, the objects have more: {self.path}.",
                "Import the workspace again.",
            )
        embedding = sum(share * self.embedding(name) for name, share in look.parts())
        gain = np.eye(3) + np.tensordot(embedding, self._shared["gain"], 1)
        offset = embedding @ self._shared["offset"]
        known = ids > 0
        own = self._own(look, embedding, ids if known.all() else ids[known])
        if not known.all():
            every = np.zeros((len(ids), *own.shape[1:]), np.float32)
            every[known] = own
            own = every
        higher = own[:, 1:] if own.shape[1] > 1 else None
        return Light(gain.astype(np.float32), offset.astype(np.float32), np.float32(C0) * own[:, 0], higher)

    def _own(self, look: Look, embedding: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """What the look adds to these Gaussians (their rows + 1) of their own: (M, K, 3) float32."""
        if self.kind.adds:
            return sum(np.float32(share) * self._response(name)[ids - 1] for name, share in look.parts())
        return self.kind.change(self._rows()[ids - 1], self._shared, embedding.astype(np.float32))

    def baked(self, rows: Rows, ids: np.ndarray, look: Look) -> tuple[np.ndarray, np.ndarray]:
        """Raw SH constant term (N, 3) and coefficients (N, K-1, 3) float32 of neutral rows in a look."""
        return self.light(look, ids).baked(rows.base[:, :3], rows.sh)

    def embedding(self, name: str) -> np.ndarray:
        """(R,) float32. Raises InputError for a photo without a look."""
        if name not in self.names:
            raise InputError(
                "no-look",
                f"The photo {name!r} has no look of its own.",
                f"Choose one the scene was trained on, such as {', '.join(self.names[:3])}.",
            )
        return self._shared["embeddings"][self.names.index(name)]

    def _response(self, name: str) -> np.ndarray:
        """Δ(e) of every Gaussian for one photo, (N, K, 3) float32. Kept: dragging a mix needs no file."""
        with self._lock:
            if name in self._responses:
                self._responses.move_to_end(name)
                return self._responses[name]
        product = self.kind.change(self._rows(), self._shared, self.embedding(name))
        with self._lock:
            self._responses[name] = product
            while len(self._responses) > _KEPT_RESPONSES:
                self._responses.popitem(last=False)
        return product

    def _rows(self) -> np.ndarray:
        """What each Gaussian has, (N, ...) float32. Let go of soon: a mapped file cannot be replaced on Windows."""
        rows = mapped(self.path)[0][self.kind.rows]
        if len(rows) != self.count:
            raise InputError("looks-stale", f"The looks have changed: {self.path}.", "Import the workspace again.")
        return rows


_loaded: dict[Path, tuple[Any, Looks | None]] = {}  # by workspace: the file's size and time, its looks


def of_folder(folder: Folder) -> Looks | None:
    """`Looks.load`, once per state of the file."""
    path = folder.root / "appearance.safetensors"
    try:
        stamp: Any = (path.stat().st_size, path.stat().st_mtime_ns)
    except OSError:
        stamp = None
    known = _loaded.get(folder.root)
    if known is None or known[0] != stamp:
        known = (stamp, Looks.load(folder))
        _loaded.clear()  # a workspace at a time: responses are large
        _loaded[folder.root] = known
    return known[1]
