"""Values inside messages that are more than a number or a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

DType = Literal["float32", "float16", "int32", "uint8"]
Cause = Literal["needle", "floater", "near-camera", "unseen"]  # why a Gaussian may be junk
CAUSES: tuple[Cause, ...] = ("needle", "floater", "near-camera", "unseen")
ITEM_BYTES: dict[str, int] = {"float32": 4, "float16": 2, "int32": 4, "uint8": 1}


@dataclass(frozen=True)
class ArrayRef:
    """A large array that lies in a `.npy` file (C order) of the workspace, named by its path inside."""

    path: str  # relative to the workspace, forward slashes
    dtype: DType
    shape: tuple[int, ...]
    blake2b: str  # of the whole file, 32 hexadecimal digits

    @property
    def data_bytes(self) -> int:
        size = ITEM_BYTES[self.dtype]
        for length in self.shape:
            size *= length
        return size


@dataclass(frozen=True)
class Snapshot:
    """A running training, thinned out: row i of every array is the same Gaussian. Scene frame."""

    gaussians: int  # rows of the training, of which the arrays hold a share
    means: ArrayRef  # (M, 3) float32
    colors: ArrayRef  # (M, 3) float32, RGB 0..1 in neutral light
    scales: ArrayRef  # (M, 3) float32, standard deviations
    quats: ArrayRef  # (M, 4) float32, wxyz, unit length
    opacities: ArrayRef  # (M,) float32, 0..1


@dataclass(frozen=True)
class Mark:
    """A click on a surface, from anywhere. Scene frame."""

    position: tuple[float, float, float]  # of the surface there
    eye: tuple[float, float, float]  # where it was seen from
    pixel: float  # scene units: size of a pixel at that distance, above 0
    positive: bool = True  # False: beside the object


@dataclass(frozen=True)
class Ready:
    """The answer to Prepare."""

    gaussians: int
    time_secs: float


@dataclass(frozen=True)
class Chosen:
    """The answer to Preview, Choose, Consult, Grow and Shrink: what would be selected; to Junk: what was found."""

    count: int
    gaussians: int  # of the scene
    rows: ArrayRef  # uint8, a bit per Gaussian, lowest first
    time_secs: float
    sizes: tuple[int, ...] = ()  # to Choose: what may be asked for, ascending, from part to whole
    size: int = 0  # which of those comes nearest to what is chosen; to Consult: of how many solid Gaussians that is
    apart: bool = True  # to Choose: what the marks mean stands apart in space; else photos may know better


@dataclass(frozen=True)
class Proposed:
    """The answer to Propose and Part: things that may be objects, the largest first."""

    count: int
    gaussians: int  # of the scene
    numbers: ArrayRef  # (gaussians,) uint8: the thing each Gaussian belongs to, from 1 on; 0: none
    time_secs: float


@dataclass(frozen=True)
class Kept:
    """The answer to Keep: an object as it is now."""

    id: int
    name: str
    count: int
    rows: ArrayRef  # as in Chosen
    time_secs: float


@dataclass(frozen=True)
class Named:
    """The answer to Drop, Rename, Nest and Revert: all objects there are afterwards, by id."""

    ids: tuple[int, ...]
    names: tuple[str, ...]
    time_secs: float
    parents: tuple[int, ...] = ()  # ids of what each is a part of, 0 for none


@dataclass(frozen=True)
class Divided:
    """The answer to Cut: row i of the first seven arrays is the same part of a Gaussian. Scene frame."""

    id: int
    name: str
    parents: ArrayRef  # (P,) int32, the Gaussian it is a part of, whose colours it has
    sides: ArrayRef  # (P,) uint8, whose it is: 0 the rest's, 1 the object's, 2 nobody's
    anchors: ArrayRef  # (P, 3) float32, where the parent is
    means: ArrayRef  # (P, 3) float32
    scales: ArrayRef  # (P, 3) float32, standard deviations
    quats: ArrayRef  # (P, 4) float32, wxyz, unit length
    opacities: ArrayRef  # (P,) float32, 0..1
    given: ArrayRef  # (G,) int32, Gaussians of the object that are the rest's as they are
    dropped: ArrayRef  # (D,) int32, such ones that are nobody's
    time_secs: float


@dataclass(frozen=True)
class Job:
    """One row of the job table."""

    id: str
    verb: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    request: dict[str, Any]  # the wire form of the request
    created: float  # seconds since 1970
    changed: float
    attempts: int
    snapshot_secs: float = 0.0  # between snapshots while it trains; 0: none
    result: dict[str, Any] | None = None
    error: Failure | None = None


@dataclass(frozen=True)
class Failure:
    """A SegWildError on the wire."""

    code: str
    sentence: str
    hint: str
