"""Requests: one frozen dataclass per command. The command line and the wire form come from these fields.

Paths are strings on the wire and `Path` here. Photos are named by file stem; pixel positions are in the
full-size photo as it was taken, origin top left.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, Literal

from .values import Cause

Preset = Literal["quick", "standard", "full"]
Device = Literal["auto", "cpu", "cuda"]
Light = Literal["linear", "mlp", "none"]
NETWORK_WEIGHTS = (
    "Of sam and dino: file of weights; none: that of SEGWILD_SAM_CHECKPOINT or SEGWILD_DINO_CHECKPOINT, or one in the "
    "folder of checkpoints that segwild doctor names."
)


def option(help_text: str, default: Any = MISSING, *, positional: bool = False, scene: bool = False) -> Any:
    """A field with the sentence that `--help` shows. Without a default it must be given.

    `scene` marks the scene's folder, which the service fills in: it works on one.
    """
    return field(default=default, metadata={"help": help_text, "positional": positional, "scene": scene})


def workspace() -> Any:
    return option("The scene's folder.", positional=True, scene=True)


def new_workspace() -> Any:
    return option("The scene's folder, made if missing.", scene=True)


@dataclass(frozen=True)
class Capture:
    """Photo folder, COLMAP model or Photo Tourism layout -> workspace with cameras."""

    photos: Path = option("Folder of photos, or with sparse/ and images/, or a Photo Tourism scene.", positional=True)
    out: Path = new_workspace()
    preset: Preset = option("quick matches smaller pictures; standard and full take the time they need.", "standard")
    hold_out: int = option("Photos kept from training to score the scene; -1: every 8th of 16 or more.", -1)
    test: tuple[str, ...] = option("Name of a photo to keep from training; repeatable, replaces --hold-out.", ())
    time_limit_secs: int = option("Give up on finding cameras after so many seconds.", 3600)


@dataclass(frozen=True)
class Train:
    """Workspace -> Gaussians, appearance, transient masks. Resumes where it was stopped."""

    workspace: Path = workspace()
    preset: Preset = option("Picture size, steps and number of Gaussians.", "standard")
    device: Device = option("auto takes CUDA where it works.", "auto")
    iterations: int | None = option("Steps; none: the preset's, and 12 for each photo where that is more.", None)
    cap: int | None = option("Most Gaussians; none: the preset's.", None)
    long_side: int | None = option("Long side of the training pictures in pixels; none: the preset's.", None)
    density: Literal["adaptive", "capped"] = option(
        "How Gaussians multiply: where pictures pull hardest, or drawn by opacity.", "adaptive"
    )
    appearance: Light = option("How photos' light acts: linear, mlp (a small network) or none.", "linear")
    transients: bool = option("Find and ignore passers-by.", True)
    people: Path | None = option(
        "Weights of a network that sees people and vehicles, to find passers-by that differ less; see segwild doctor.",
        None,
    )
    people_mode: Literal["gate", "union"] = option(
        "Of people: gate asks for half the difference where it sees somebody; union ignores all that it sees.", "gate"
    )
    refine_poses: bool = option("Move photos' cameras a little where that fits the photos better.", False)
    masks: Path | None = option("Folder of <photo>.png masks, 0 = ignore.", None)
    seed: int = option("Same seed, same scene (on the CPU, with the same thread count).", 0)
    restart: bool = option("Forget an unfinished training and begin anew.", False)


@dataclass(frozen=True)
class Run:
    """Capture + train + lift in one go; resumable."""

    photos: Path = option("Folder of photos, or a scene with a COLMAP model.", positional=True)
    out: Path = new_workspace()
    preset: Preset = option("Picture size, steps and number of Gaussians.", "standard")
    device: Device = option("auto takes CUDA where it works.", "auto")
    iterations: int | None = option("Steps; none: the preset's, and 12 for each photo where that is more.", None)
    cap: int | None = option("Most Gaussians; none: the preset's.", None)
    long_side: int | None = option("Long side of the training pictures in pixels; none: the preset's.", None)
    density: Literal["adaptive", "capped"] = option(
        "How Gaussians multiply: where pictures pull hardest, or drawn by opacity.", "adaptive"
    )
    appearance: Light = option("How photos' light acts: linear, mlp (a small network) or none.", "linear")
    transients: bool = option("Find and ignore passers-by.", True)
    people: Path | None = option(
        "Weights of a network that sees people and vehicles, to find passers-by that differ less; see segwild doctor.",
        None,
    )
    people_mode: Literal["gate", "union"] = option(
        "Of people: gate asks for half the difference where it sees somebody; union ignores all that it sees.", "gate"
    )
    refine_poses: bool = option("Move photos' cameras a little where that fits the photos better.", False)
    masks: Path | None = option("Folder of <photo>.png masks, 0 = ignore.", None)
    hold_out: int = option("Photos kept from training to score the scene; -1: every 8th of 16 or more.", -1)
    test: tuple[str, ...] = option("Name of a photo to keep from training; repeatable, replaces --hold-out.", ())
    seed: int = option("Same seed, same scene (on the CPU, with the same thread count).", 0)
    time_limit_secs: int = option("Give up on finding cameras after so many seconds.", 3600)


@dataclass(frozen=True)
class Embed:
    """2D features per photo, kept for lifting."""

    workspace: Path = workspace()
    encoder: Literal["colour", "sam", "dino"] = option("What describes a pixel; sam and dino need weights.", "colour")
    input: Literal["neutral", "photo"] = option(
        "What is described: neutral renders, or the photos themselves.", "neutral"
    )
    checkpoint: Path | None = option(NETWORK_WEIGHTS, None)


@dataclass(frozen=True)
class Lift:
    """2D features -> per-Gaussian features by gradient-weighted back-projection."""

    workspace: Path = workspace()
    features: str = option("Encoder whose features are lifted: colour, sam, dino, labels, file.", "colour")
    input: Literal["neutral", "photo"] = option(
        "What is described: neutral renders, or the photos without what was judged transient.", "neutral"
    )
    checkpoint: Path | None = option(NETWORK_WEIGHTS, None)
    folder: Path | None = option("Of labels: folder of <photo>.png; of file: folder of <photo>.npy.", None)
    compress: int = option("Numbers per Gaussian after a linear compression, kept as <features>-<number>; 0: all.", 0)
    robust: bool = option("Lift twice: views that contradict the rest count less.", False)


@dataclass(frozen=True)
class Masks:
    """Masks of everything in each photo's pose, by a network; more points where things are far."""

    workspace: Path = workspace()
    segmenter: Literal["sam"] = option("What makes the masks.", "sam")
    checkpoint: Path | None = option("File of its weights; none: see segwild doctor.", None)
    lattice: Literal["scale", "literal", "uniform"] = option(
        "Points by relative depth, by depth in the scene's unit, or evenly.", "scale"
    )
    points: int = option(
        "Most points in a view, but for literal; more find smaller things and take longer.",
        256,
    )


@dataclass(frozen=True)
class Affinity:
    """Segment-anything's features -> a compact field over the Gaussians; proposals of objects."""

    workspace: Path = workspace()
    checkpoint: Path | None = option("File of its weights; none: see segwild doctor.", None)
    steps: int = option("Of the training; 0 only lifts.", 300)
    objects: int = option("Keep so many proposals, the largest, as objects.", 0)


@dataclass(frozen=True)
class Segment:
    """Clicks, a mask or a box in one photo -> a named object."""

    workspace: Path = workspace()
    name: str = option("Name of the object; an object of that name is replaced.")
    view: str = option("Photo the prompt refers to, by file stem.")
    click: tuple[str, ...] = option("X,Y,+ on the object or X,Y,- beside it; repeatable.", ())
    mask: Path | None = option("Picture of the photo's size, white = the object.", None)
    box: str | None = option("X0,Y0,X1,Y1 around the object.", None)
    segmenter: Literal["graph", "sam", "features"] = option(
        "What turns clicks or a box into an object: the scene alone; segment-anything with a checkpoint; or lifted "
        "features, for everything that looks like what was clicked.",
        "graph",
    )
    checkpoint: Path | None = option("Of sam: file of its weights; none: see segwild doctor.", None)
    scale: Literal["auto", "sub-part", "part", "whole"] = option(
        "Of sam: which of its three masks; auto takes the one it is surest of.", "auto"
    )
    orbit: int = option("Of sam: most views around the object that it is asked about afterwards.", 4)
    features: str = option("Of features: which; those that segwild lift or affinity made.", "colour")
    margin: float = option("Of features: cosine by which Gaussians must be nearer to what is meant; more: fewer.", 0.0)
    cut: Literal["none", "exact", "axis", "literal"] = option(
        "Divide Gaussians that stick out of the object at its edge; see segwild objects cut.", "none"
    )


@dataclass(frozen=True)
class Transfer:
    """A few labelled photos -> named objects: Gaussians get the label of what they look like."""

    workspace: Path = workspace()
    labels: Path = option(
        "Folder of <photo>.png, 8-bit numbers of the photo's size, 0 = nothing said; names.txt has lines `2 handle`."
    )
    features: str = option("What is compared: colour, or others that segwild lift or affinity made.", "colour")
    rest: bool = option("0 stands for what has none of the labels, instead of nothing said.", False)
    neighbours: int = option("Labelled patches that vote on each Gaussian.", 5)


@dataclass(frozen=True)
class Objects:
    """List, rename, nest, delete, merge, cut, grow, shrink or split the named objects; find more, and likely junk."""

    workspace: Path = workspace()
    action: Literal[
        "list", "rename", "parent", "delete", "merge", "cut", "revert", "grow", "shrink", "split", "find", "junk"
    ] = option("What to do.", "list", positional=True)
    names: tuple[str, ...] = option(
        "rename OLD NEW; parent NAME [PARENT that it is a part of; none: of nothing]; delete NAME ...; "
        "merge INTO NAME ...; cut, revert, grow, shrink, split NAME; "
        "find [NAME before the numbers of what stands apart, thing]; junk [NAME of an object to keep it as].",
        (),
        positional=True,
    )
    mode: Literal["exact", "axis", "literal"] = option("How cut divides: by a plane, or along the long axis.", "exact")
    steps: int = option("How many neighbours far grow and shrink reach.", 1)
    strength: float = option("Of junk: 0 finds the worst, 1 the most.", 0.5)
    causes: tuple[Cause, ...] = option(
        "Junk to look for: needle, floater, near-camera, unseen; none: all. (repeatable)", ()
    )
    within: str | None = option("Object in which junk is looked for; none: everywhere.", None)


@dataclass(frozen=True)
class Appearance:
    """Set the look of the scene or of one object: that of a photo, a mix of two, or neutral."""

    workspace: Path = workspace()
    object: str | None = option("Object to change; none: the scene.", None)
    from_: str | None = option("Photo A; none: neutral light.", None)
    to: str | None = option("Photo B, for a mix of two.", None)
    mix: float = option("0 is photo A, 1 is photo B.", 0.0)
    strength: float = option("0 is neutral, 1 the photo's look, up to 2 exaggerates it.", 1.0)
    learn: tuple[str, ...] = option("Photo that was held out of the training: find its look first. (repeatable)", ())
    device: Device = option("Where looks are learned: auto takes CUDA where it works.", "auto")


@dataclass(frozen=True)
class Render:
    """Pictures of photo poses or of a path around the scene."""

    workspace: Path = workspace()
    out: Path = option("Folder for the pictures.")
    view: tuple[str, ...] = option("Photos whose poses are rendered; none: all.", ())
    path: Literal["views", "interpolate", "orbit"] = option("views, or a path of cameras between or around.", "views")
    frames: int = option("Pictures along a path.", 60)
    only: str | None = option("Render one object alone.", None)
    without: str | None = option("Leave one object out.", None)
    look: str | None = option("neutral, own (each photo's), or a photo; none: as set by segwild appearance.", None)
    channels: str = option("Comma-separated: rgb, depth, alpha, object, features.", "rgb")
    features: str = option("Of the channel features: which; those that segwild lift or affinity made.", "colour")
    long_side: int = option("Long side in pixels.", 960)
    device: Device = option("auto takes CUDA where it works.", "auto")


@dataclass(frozen=True)
class Export:
    """The scene or one object -> a file other programs open, with its look baked in."""

    workspace: Path = workspace()
    out: Path = option("File to write; the suffix is the format: .ply, .splat, .spz.")
    object: str | None = option("Export one object; none: the whole scene.", None)
    look: str | None = option("neutral or a photo; none: as set by segwild appearance.", None)


@dataclass(frozen=True)
class Import:
    """A trained splat from elsewhere -> workspace."""

    file: Path = option(
        "A splat file of another program: .ply, .splat, .spz, or a gsplat checkpoint (.pt, .ckpt).", positional=True
    )
    out: Path = new_workspace()
    cameras: Path | None = option("COLMAP scene (sparse/ and images/) the splat was trained from.", None)


@dataclass(frozen=True)
class Evaluate:
    """PSNR and SSIM on held-out photos: fit the left half, score the right."""

    workspace: Path = workspace()
    protocol: Literal["left-half"] = option("How held-out photos are scored.", "left-half")
    device: Device = option("auto takes CUDA where it works.", "auto")


@dataclass(frozen=True)
class Report:
    """A page of the result: neutral light, six looks of one view, masks, the worst photos first."""

    workspace: Path = workspace()


@dataclass(frozen=True)
class EvaluateMasks:
    """IoU and boundary IoU of a rendered object against masks of photos."""

    workspace: Path = workspace()
    object: str = option("Name of the object.")
    masks: Path = option("Folder of <photo>.png masks, white = the object.")
    skip: tuple[str, ...] = option("Photos not to score, such as the one that was clicked.", ())
    least: float = option("Masks that cover a smaller share of their photo are not scored.", 0.0)


@dataclass(frozen=True)
class Demo:
    """The bundled sample collection through everything, with a report."""

    out: Path = option("Folder for the demo.", Path("segwild-demo"))
    quick: bool = option("Smaller pictures and fewer steps: minutes on two cores.", False)
    device: Device = option("auto takes CUDA where it works.", "auto")
    seed: int = option("Seed of the sample and of the training.", 0)


@dataclass(frozen=True)
class Sample:
    """Generate the sample collection: procedural photos with exact truth beside them."""

    out: Path = option("Folder for photos/ and truth/.", positional=True)
    photos: int = option("How many photos.", 36)
    long_side: int = option("Long side of the largest photos in pixels.", 640)
    seed: int = option("Other cameras, light and passers-by.", 0)


@dataclass(frozen=True)
class Doctor:
    """What this machine has, what is missing, and how to get it."""


@dataclass(frozen=True)
class Serve:
    """The backend process: works on one scene for a program that asks over HTTP.

    Prints one line of JSON with its port. Requests carry a token: SEGWILD_TOKEN of the environment, or a new one
    that is in that line.
    """

    workspace: Path = workspace()
    port: int = option("Port to listen on; 0: any free one.", 0)
    host: str = option("Address to listen on.", "127.0.0.1")
    allow: tuple[Path, ...] = option("Folder or file that requests may name besides the scene's, as of the photos.", ())
    log: Path | None = option("File for what workers print; none: worker.log in the scene's folder.", None)
    with_parent: bool = option("End when standard input closes, so that no process outlives who started it.", False)
    beyond_this_machine: bool = option("Allow a --host that other machines can reach.", False)


# What a program sends to a service.


@dataclass(frozen=True)
class Submit:
    """A job: a verb of the command line with its request. The scene's folder may be left out."""

    verb: str
    request: dict[str, Any]
    snapshot_secs: float = 0.0  # between snapshots while it trains, at least 1; 0: none
