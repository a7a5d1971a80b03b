"""A torchvision checkpoint into its segmentation network, told from the others by the names of its tensors.

All that torchvision publishes with the labels of Pascal VOC are known. Networks that find objects one by one (Mask
R-CNN) are not: they need torchvision's compiled operators, which do not load beside every build of torch.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from backend.features import weights
from backend.features.people.network import CLASSES, Network
from backend.features.vision import import_beside_torch
from segwild_addon.protocol.errors import InputError, SetupError

# Constructors of torchvision.models.segmentation, the smallest network first.
KINDS = {
    "lraspp_mobilenet_v3_large": "LR-ASPP with MobileNetV3",
    "deeplabv3_mobilenet_v3_large": "DeepLabV3 with MobileNetV3",
    "fcn_resnet50": "FCN with ResNet-50",
    "deeplabv3_resnet50": "DeepLabV3 with ResNet-50",
    "fcn_resnet101": "FCN with ResNet-101",
    "deeplabv3_resnet101": "DeepLabV3 with ResNet-101",
}
HINT = "segwild doctor says where to get them."
_COUNTER = "num_batches_tracked"  # of each normalisation: a whole number, used in its training alone
_AUXILIARY = "aux_classifier."  # a second head, used in the training alone; a file may lack it
# A layer that tells a backbone from those after it.
_LAYER_OF = {"mobilenet_v3_large": "0.0", "resnet101": "layer3.22.conv1", "resnet50": "layer3.5.conv1"}


def published() -> tuple[weights.Published, ...]:
    """What torchvision publishes, with the digits of SHA-256 in files' names. Raises SetupError as `_torchvision`."""
    models = _torchvision("torchvision.models")
    found = []
    for name, kind in KINDS.items():
        file = models.get_model_weights(name).COCO_WITH_VOC_LABELS_V1
        digits = file.url.rpartition("-")[2].partition(".")[0]  # as torch.hub checks downloads
        found.append(weights.Published(kind, file.url, round(file.meta["_file_size"] * 2**20), digits))
    return tuple(found)


def on_this_machine() -> list[str]:
    """A line for each published file, and for others like them in the checkpoints' folder: see `weights`."""
    try:
        files = published()
    except SetupError as error:
        return [f"{error.sentence} {error.hint}"]
    patterns = sorted({f"{name.partition('_')[0]}_*.pth" for name in KINDS})
    return weights.on_this_machine(
        files, [path for pattern in patterns for path in sorted(weights.folder().glob(pattern)) if path.is_file()]
    )


def open_network(path: Path) -> Network:
    """The network of a checkpoint. Raises InputError for a file that is none, SetupError as `_torchvision`."""
    tensors = weights.read_tensors(path, without=(_COUNTER,))
    name = kind_of(tensors)
    if name is None:
        raise InputError(
            "checkpoint-unknown",
            f"This is no checkpoint of a segmentation network of torchvision's: {path}.",
            f"Known are {', '.join(KINDS.values())}. {HINT}",
        )
    model = build(name, auxiliary=any(tensor.startswith(_AUXILIARY) for tensor in tensors))
    state = model.state_dict()
    expected = {key: value for key, value in state.items() if not key.endswith(_COUNTER)}
    weights.checked_against(tensors, expected, path, f"{KINDS[name]} for the {len(CLASSES)} labels of Pascal VOC")
    counters = {key: torch.zeros_like(value, device="cpu") for key, value in state.items() if key not in expected}
    model.load_state_dict(tensors | counters, assign=True)
    model.aux_classifier = None
    return Network(model.eval().requires_grad_(False), weights.digest(path))


def kind_of(names: Collection[str]) -> str | None:
    """The one of `KINDS` that tensors of these names belong to; None for other networks."""
    if "classifier.low_classifier.weight" in names:
        return "lraspp_mobilenet_v3_large"
    head = "deeplabv3" if "classifier.0.convs.0.0.weight" in names else "fcn"
    for backbone, layer in _LAYER_OF.items():
        if f"backbone.{layer}.weight" in names and "classifier.4.weight" in names:
            return f"{head}_{backbone}" if f"{head}_{backbone}" in KINDS else None
    return None


def build(name: str, *, auxiliary: bool = True) -> Any:
    """The network of that constructor, a `torch.nn.Module` without weights: all of it is on the meta device."""
    options = {} if name.startswith("lraspp") else {"aux_loss": auxiliary}
    constructor = getattr(_torchvision("torchvision.models.segmentation"), name)
    with torch.device("meta"):
        return constructor(weights=None, weights_backbone=None, num_classes=len(CLASSES), **options)


def _torchvision(module: str) -> Any:
    """Raises SetupError if torchvision is not installed."""
    try:
        return import_beside_torch(module)
    except ImportError as error:
        raise SetupError(
            "no-torchvision", "torchvision, whose networks are used, is not installed.", "Install it: pip install -e ."
        ) from error
