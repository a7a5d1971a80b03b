"""The Gaussians of a scene: row-aligned arrays whose row order is frozen when training ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from backend.scene.files import read_arrays, write_arrays
from segwild_addon.protocol.errors import InputError

FIELDS = ("means", "quats", "log_scales", "opacity_logits", "sh0", "shN")
SH_COUNTS = {0: 0, 3: 1, 8: 2, 15: 3}  # number of bases beyond the constant one -> degree
_SIDECAR = "sidecar."


@dataclass(frozen=True, eq=False)
class Gaussians:
    """N anisotropic 3D Gaussians. A row's number is its id for good.

    Features, labels and selections refer to rows of this order. Deleting is a flag in a sidecar, splitting
    appends rows with a parent row, and only an export compacts.
    """

    means: np.ndarray  # (N, 3) float32, world units, world frame
    quats: np.ndarray  # (N, 4) float32, wxyz, any norm > 0
    log_scales: np.ndarray  # (N, 3) float32, natural log of world units
    opacity_logits: np.ndarray  # (N,) float32, opacity = sigmoid
    sh0: np.ndarray  # (N, 1, 3) float32, constant spherical harmonic, RGB
    shN: np.ndarray  # (N, K-1, 3) float32, K in {1, 4, 9, 16}
    sidecars: Mapping[str, np.ndarray] = field(default_factory=dict)  # name -> (N, ...)

    def __post_init__(self) -> None:
        """Raises InputError if shapes, dtypes or row counts disagree."""
        rows = self.means.shape[0] if self.means.ndim else 0
        shapes = {
            "means": (rows, 3),
            "quats": (rows, 4),
            "log_scales": (rows, 3),
            "opacity_logits": (rows,),
            "sh0": (rows, 1, 3),
            "shN": (rows, self.shN.shape[1] if self.shN.ndim == 3 else -1, 3),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != np.float32:
                raise InputError(
                    "gaussians-malformed", f"{name} is {array.dtype} {array.shape}, expected float32 {shape}."
                )
        if self.shN.shape[1] not in SH_COUNTS:
            raise InputError("gaussians-malformed", f"shN has {self.shN.shape[1]} bases, expected 0, 3, 8 or 15.")
        for name, array in self.sidecars.items():
            if array.shape[:1] != (rows,):
                raise InputError(
                    "gaussians-malformed", f"Sidecar {name} has shape {array.shape}, expected {rows} rows."
                )

    def __len__(self) -> int:
        return len(self.means)

    @property
    def sh_degree(self) -> int:
        return SH_COUNTS[self.shN.shape[1]]

    @property
    def opacities(self) -> np.ndarray:
        """(N,) float32 in 0..1."""
        return np.exp(-np.logaddexp(0, -self.opacity_logits))  # overflows for no logit

    @property
    def scales(self) -> np.ndarray:
        """(N, 3) float32, standard deviations in world units."""
        return np.exp(self.log_scales)

    def finite_rows(self) -> np.ndarray:
        """(N,) bool, rows whose every field is finite."""
        finite = [np.isfinite(getattr(self, name)) for name in FIELDS]
        return np.all([array.all(axis=tuple(range(1, array.ndim))) for array in finite], axis=0)

    def take(self, rows: np.ndarray) -> Gaussians:
        """The chosen rows (ids or a mask) as a compacted copy, for an export or a render of one object."""
        fields = {name: np.ascontiguousarray(getattr(self, name)[rows]) for name in FIELDS}
        return Gaussians(**fields, sidecars={name: array[rows] for name, array in self.sidecars.items()})

    def with_sidecar(self, name: str, array: np.ndarray) -> Gaussians:
        """The same rows carrying one more (or a replaced) sidecar (N, ...)."""
        return replace(self, sidecars={**self.sidecars, name: array})

    def save(self, path: Path) -> None:
        arrays = {name: getattr(self, name) for name in FIELDS}
        arrays |= {_SIDECAR + name: array for name, array in self.sidecars.items()}
        write_arrays(path, arrays, {"content": "gaussians"})

    @classmethod
    def load(cls, path: Path) -> Gaussians:
        """Raises InputError if the file is missing, damaged or holds something else."""
        arrays, _ = read_arrays(path)
        missing = [name for name in FIELDS if name not in arrays]
        if missing:
            raise InputError("file-damaged", f"Not a file of Gaussians ({', '.join(missing)} missing): {path}.")
        sidecars = {name[len(_SIDECAR) :]: array for name, array in arrays.items() if name.startswith(_SIDECAR)}
        try:
            return cls(**{name: arrays[name] for name in FIELDS}, sidecars=sidecars)
        except InputError as error:
            raise InputError(
                "file-damaged", f"A file of Gaussians is malformed ({error.sentence.rstrip('.')}): {path}."
            ) from error


def concatenate(parts: list[Gaussians]) -> Gaussians:
    """The rows of all parts, in order, without sidecars. The parts must share one SH degree."""
    return Gaussians(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in FIELDS})
