"""The figures of a training as it went."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Course:
    """One entry in each list for every half percent of the steps."""

    steps: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)  # smoothed
    gaussians: list[int] = field(default_factory=list)

    def note(self, step: int, loss: float, gaussians: int) -> None:
        self.steps.append(step)
        self.loss.append(round(loss, 5))
        self.gaussians.append(gaussians)
