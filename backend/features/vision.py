"""torchvision beside any build of torch: imported, with the operators it misses declared where they are missing.

The wheel on PyPI is built for CUDA. Beside a CPU build of torch its compiled operators do not load, and the import
stops at the first that it describes. Declared, they are names without a body: whoever calls one gets an error, and
nothing here calls them.
"""

from __future__ import annotations

import importlib

import torch

_OPERATORS = ("nms", "qnms")  # those that importing asks for; with nms alone it stops at qnms
_declared: list[torch.library.Library] = []  # what is declared lasts as long as this reference


def import_beside_torch(name: str) -> object:
    """A module that imports torchvision. Raises ImportError if it or torchvision is not installed."""
    try:
        return importlib.import_module(name)
    except RuntimeError as error:
        if _declared or "torchvision::" not in str(error):
            raise
    library = torch.library.Library("torchvision", "DEF")
    _declared.append(library)
    for operator in _OPERATORS:
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module(name)
