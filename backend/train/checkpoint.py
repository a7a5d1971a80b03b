"""Everything a training is in the midst of into one file, and back, so that resuming equals not stopping."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backend.progress import Progress
from backend.scene.files import read_arrays, write_arrays
from backend.train.config import TrainConfig
from backend.train.course import Course
from backend.train.density import Statistics
from backend.train.parameters import Parameters
from backend.train.transients import Transients
from segwild_addon.protocol.errors import SegWildError


def identity(config: TrainConfig, names: Sequence[str], points: int, masks: str | None = None) -> str:
    """What a checkpoint must share with a training to continue it: settings, photos, number of sparse points, masks."""
    text = json.dumps([asdict(config), list(names), points, *filter(None, [masks])], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training after `step` steps."""

    identity: str
    step: int
    smooth_loss: float
    rows: Parameters
    shared: Parameters
    statistics: Statistics
    transients: Transients
    poses: Mapping[str, np.ndarray]  # what `Poses.state` gave; empty where cameras stand still
    course: Course

    def write(self, path: Path) -> None:
        arrays = self.rows.state("rows") | self.shared.state("shared") | self.transients.state() | dict(self.poses)
        arrays["statistics.pull"] = self.statistics.pull.cpu().numpy()
        arrays["statistics.visits"] = self.statistics.visits.cpu().numpy()
        facts = {
            "step": self.step,
            "identity": self.identity,
            "smooth_loss": self.smooth_loss,
            "course": asdict(self.course),
        }
        write_arrays(path, arrays, {"facts": json.dumps(facts)})

    @staticmethod
    def identity_in(path: Path) -> str | None:
        """Of the training that a checkpoint belongs to; None without one that can be read. Reads hardly any arrays."""
        try:
            return str(json.loads(read_arrays(path, "rows.steps")[1]["facts"])["identity"])
        except (SegWildError, KeyError, ValueError, TypeError):
            return None

    @classmethod
    def read(cls, path: Path, identity: str, device: str, progress: Progress) -> Checkpoint | None:
        """The one of that identity, on a device; None, with a warning, if it is another training's or damaged."""
        if not path.exists():
            return None
        try:
            arrays, metadata = read_arrays(path)
            facts: dict[str, Any] = json.loads(metadata["facts"])
            if facts["identity"] != identity:
                progress.warn(
                    "checkpoint-of-another-training", "The unfinished training had other settings; starting anew."
                )
                return None
            rows, shared = (Parameters.restored(prefix, arrays, device) for prefix in ("rows", "shared"))
            statistics = Statistics(
                torch.from_numpy(arrays["statistics.pull"].copy()).to(device),
                torch.from_numpy(arrays["statistics.visits"].copy()).to(device),
            )
            return cls(
                identity,
                int(facts["step"]),
                float(facts["smooth_loss"]),
                rows,
                shared,
                statistics,
                Transients.restored(arrays),
                {name: array for name, array in arrays.items() if name.startswith("poses.")},
                Course(**facts["course"]),
            )
        except (SegWildError, KeyError, ValueError, TypeError) as error:
            progress.warn("checkpoint-damaged", f"The checkpoint cannot be used ({error}); starting anew.")
            return None
