"""Presets: how large, how long and how many, from the word a person chooses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from backend.train.mlp import MlpAppearance
from backend.train.relighting import LinearAppearance
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Light, Preset, Train


@dataclass(frozen=True)
class Adaptive:
    """Density control by screen-space gradients: rows that pull hardest in many pixels are multiplied.

    Kerbl et al. 2023, with the absolute gradients of AbsGS (Ye et al. 2024). Growth takes the largest
    first and follows a schedule that reaches the cap as its window closes. On short budgets it leaves
    fewer translucent layers than a Monte-Carlo policy, and layers are what makes objects hard to cut.
    """

    cap: int  # more: finer detail, more memory and time
    grow_from: float = 0.08  # fraction of the steps
    grow_until: float = 0.60
    growth_max: float = 1.3  # largest factor per event; more: faster, less selective
    split_above: float = 0.01  # larger rows are split, smaller ones doubled; unit: what the sparse points span
    prune_below: float = 0.01  # opacity
    largest: float = 0.5  # rows wider than this are dropped; unit: scene extent
    reset_at: float = 0.45  # fraction of the steps at which all rows become nearly transparent; 0: never


@dataclass(frozen=True)
class Capped:
    """Density control by sampling: dead rows move onto living ones drawn by opacity (Kheradmand et al. 2024).

    At the same number of Gaussians it meets held-out photos better than `Adaptive`, with more translucent layers.
    """

    cap: int  # more: finer detail, more memory and time
    grow_from: float = 0.08  # fraction of the steps
    grow_until: float = 0.60
    growth_max: float = 1.3  # largest factor per event
    prune_below: float = 0.005  # opacity of a dead row
    largest: float = 0.5  # rows wider than this are dead too; unit: scene extent
    noise: float = 1.0  # more: wider exploration, slower settling


Density = Adaptive | Capped
AppearanceKind = LinearAppearance | MlpAppearance
LINEAR = LinearAppearance()
VISITS = 12  # of each photo: fewer hardly teach its light, and nothing of what it alone shows
OPACITY_PULL = 0.01  # `Capped` needs rows that explain nothing to die: weight of the mean opacity


@dataclass(frozen=True)
class Regularisers:
    """What is asked of Gaussians beyond explaining the photos. Zero switches a term off."""

    needle: float = 0.05  # more: fewer long needles, which make cut-outs ragged
    needle_ratio: float = 6.0  # largest over middle scale that is still free
    scale: float = 0.01  # more: smaller Gaussians
    sky: float = 0.15  # more: fewer Gaussians in front of plain sky, which no photo can place
    own_sky: float = 1e-4  # more: what photos' skies have in common explains them, not each its own
    response: float = 0.03  # more: what all rows share explains the light, not each row for itself
    opacity: float = 0.0  # more: rows that explain nothing die
    entropy: float = 0.05  # more: opacities pushed to 0 or 1, so that rows belong to one object


@dataclass(frozen=True)
class PoseRefinement:
    """Each photo's camera is learned too, as far as photos agree better on the scene then."""

    rate: float = 1.5e-3  # more: reaches farther, settles worse; radians, and shares of the photo's depth, per visit
    rate_end: float = 0.01  # share of the rate that is left at the end
    start: float = 0.05  # fraction of the steps before which cameras stand still: nothing is there to align to


@dataclass(frozen=True)
class Candidates:
    """Where a network saw what comes and goes, as part of a training."""

    network: str  # SHA-256 of its weights
    mode: Literal["gate", "union"] = "gate"  # gate: less must differ there to be transient; union: all of it is


@dataclass(frozen=True)
class TrainConfig:
    """Everything that shapes a training. Its JSON form is part of the checkpoint's identity."""

    long_side: int  # pixels of the training pictures
    steps: int
    density: Density
    sh_degree: int = 1  # more: shinier surfaces, and light that passes for view dependence
    appearance: AppearanceKind = LINEAR  # how photos' light acts on the Gaussians
    transients: bool = True
    candidates: Candidates | None = None  # for transients, besides what differs
    poses: PoseRefinement | None = None  # of the photos' cameras; None: they stay where the capture found them
    regularisers: Regularisers = Regularisers()
    ssim: float = 0.2  # share of the structural term in the loss
    solitary: bool = False  # whether pieces stay that one photo alone shows, see `solitary`
    dropout: float = 0.2  # share of rows left out of late steps, see `dropout`; more: less is known by heart
    sky_rate: float = 1e-2  # of learning; more: skies differ sooner, and each photo pulls those of all others along
    own_sky_rate: float = 1.5e-3  # of learning a photo's own sky; 0: it has none
    shared_end: float = 1.0  # share of the rates of embeddings, exposure and sky that is left at the end
    seed: int = 0


PRESETS: dict[Preset, TrainConfig] = {
    "quick": TrainConfig(long_side=480, steps=1_200, density=Adaptive(cap=20_000)),
    "standard": TrainConfig(long_side=640, steps=8_000, density=Adaptive(cap=90_000)),
    "full": TrainConfig(long_side=960, steps=16_000, density=Adaptive(cap=160_000)),
}
# Budgets from published times of gsplat on one card (a million rows, 30,000 steps: a quarter of an hour).
CUDA_PRESETS: dict[Preset, TrainConfig] = {
    "quick": TrainConfig(long_side=800, steps=5_000, density=Adaptive(cap=300_000)),
    "standard": TrainConfig(long_side=1_200, steps=30_000, density=Adaptive(cap=1_000_000)),
    "full": TrainConfig(long_side=1_600, steps=60_000, density=Adaptive(cap=2_000_000)),
}


def sampled(config: TrainConfig) -> TrainConfig:
    """The same with `Capped` density control of the same budget, and the pull on opacities that it needs."""
    return replace(
        config,
        density=Capped(cap=config.density.cap),
        regularisers=replace(config.regularisers, opacity=OPACITY_PULL),
    )


APPEARANCES: dict[Light, AppearanceKind] = {
    "linear": LINEAR,
    "mlp": MlpAppearance(),
    "none": LinearAppearance(rank=0),
}


def configured(request: Train, photos: int = 0, engine: Literal["cpu", "cuda"] = "cpu") -> TrainConfig:
    """The engine's preset with the person's own numbers in it. Raises InputError for options that make no sense.

    With many photos there are more steps, so that each is visited `VISITS` times.
    """
    config = (PRESETS if engine == "cpu" else CUDA_PRESETS)[request.preset]
    if request.density == "capped":
        config = sampled(config)
    for name, value, least in (
        ("iterations", request.iterations, 10),
        ("cap", request.cap, 100),
        ("long-side", request.long_side, 32),
    ):
        if value is not None and value < least:
            raise InputError("bad-option", f"--{name} is {value}.", f"Give at least {least}.")
    if request.people is not None and not request.transients:
        raise InputError(
            "bad-option", "--people helps to find passers-by, and --no-transients says not to.", "Give one of the two."
        )
    if request.masks is not None and not request.masks.is_dir():
        raise InputError(
            "file-missing",
            f"There is no such folder of masks: {request.masks}.",
            "Give a folder with a PHOTO.png for photos in which something is to be ignored, black where it is.",
        )
    if request.people is None and request.people_mode != "gate":
        raise InputError("bad-option", f"--people-mode {request.people_mode} lacks a network.", "Add --people FILE.")
    return replace(
        config,
        steps=request.iterations or max(config.steps, VISITS * photos),
        long_side=request.long_side or config.long_side,
        density=replace(config.density, cap=request.cap or config.density.cap),
        appearance=APPEARANCES[request.appearance],
        own_sky_rate=0.0 if request.appearance == "none" else config.own_sky_rate,
        transients=request.transients,
        poses=PoseRefinement() if request.refine_poses else None,
        seed=request.seed,
    )
