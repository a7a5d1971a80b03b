"""Capture + train + lift in one go; every stage picks up where it was stopped."""

from __future__ import annotations

import shlex
from typing import Any

from backend.progress import Progress
from backend.stages import capture, lift, train
from backend.train.config import configured
from segwild_addon.protocol.requests import Capture, Lift, Run, Train


def run(request: Run, progress: Progress) -> dict[str, Any]:
    """Run the three stages. A finished one returns at once.

    Raises InputError as they do; for options of the training that make no sense before cameras are looked for.
    """
    training = Train(
        workspace=request.out,
        preset=request.preset,
        device=request.device,
        iterations=request.iterations,
        cap=request.cap,
        long_side=request.long_side,
        density=request.density,
        appearance=request.appearance,
        transients=request.transients,
        people=request.people,
        people_mode=request.people_mode,
        refine_poses=request.refine_poses,
        masks=request.masks,
        seed=request.seed,
    )
    configured(training)
    captured = capture.run(
        Capture(
            photos=request.photos,
            out=request.out,
            preset=request.preset,
            hold_out=request.hold_out,
            test=request.test,
            time_limit_secs=request.time_limit_secs,
        ),
        progress,
    )
    trained = train.run(training, progress)
    lifted = lift.run(Lift(workspace=request.out), progress)
    return {
        "workspace": str(request.out),
        "next": f"segwild report {shlex.quote(str(request.out))} makes a page of it; import it in Blender to click",
        "photos": captured["photos"],
        "left_out": captured["left_out"],
        "gaussians": trained["gaussians"],
        "training_secs": trained["time_secs"],
        "capture": captured,
        "train": trained,
        "lift": lifted,
    }
