"""The figures of a training as it went."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Course:
    """One entry in each list for every half percent of the steps."""

    steps: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)  # smoothed
    gaussians: list[int] = field(default_factory=list)
    turn_deg: list[float] = field(default_factory=list)  # median over cameras; empty if they stand still

    def note(self, step: int, loss: float, gaussians: int, turn_deg: float | None = None) -> None:
        self.steps.append(step)
        self.loss.append(round(loss, 5))
        self.gaussians.append(gaussians)
        if turn_deg is not None:
            self.turn_deg.append(round(turn_deg, 4))
