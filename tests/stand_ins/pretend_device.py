"""A second device for machines that have none: mistakes of device become errors, as on a real one.

Tensors moved to `AWAY` report that device and refuse `.numpy()` and any operation together with a tensor
of the CPU, but are computed with on the CPU. It borrows torch's meta device, which autograd accepts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

AWAY = torch.device("meta")


class _Away(torch.Tensor):
    @staticmethod
    def __new__(cls, own: torch.Tensor) -> _Away:
        return torch.Tensor._make_wrapper_subclass(
            cls, own.shape, strides=own.stride(), storage_offset=own.storage_offset(), dtype=own.dtype, device=AWAY
        )

    def __init__(self, own: torch.Tensor) -> None:
        self.own = own

    def __repr__(self, *_: Any, **__: Any) -> str:
        return f"away({self.own})"

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _computed(function, args, kwargs or {})


class _Making(TorchFunctionMode):
    """torch.tensor makes what is on the meta device by itself, without data."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or "cpu") == AWAY:
            kwargs.pop("device")
            return function(*args, **kwargs).to(AWAY)
        return function(*args, **kwargs)


class PretendDevice(TorchDispatchMode):
    """While it is entered, `device="meta"` is a device that computes."""

    def __enter__(self):
        self._making = _Making()
        self._making.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._making.__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _computed(function, args, kwargs or {})


def _computed(function, args, kwargs):
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    away = [tensor for tensor in tensors if isinstance(tensor, _Away)]
    here = [tensor for tensor in tensors if not isinstance(tensor, _Away) and tensor.dim() > 0]
    name = function.__name__
    if away and here and not name.startswith(("_to_copy", "copy_")):
        shapes = [tuple(tensor.shape) for tensor in here]
        raise RuntimeError(f"{function} got tensors of two devices: those of shapes {shapes} are on the CPU")
    goes = bool(away)
    if kwargs.get("device") is not None:
        goes = torch.device(kwargs["device"]) == AWAY
        kwargs = {**kwargs, "device": torch.device("cpu")}
    own_args, own_kwargs = (tree_map(lambda v: v.own if isinstance(v, _Away) else v, part) for part in (args, kwargs))
    result = function(*own_args, **own_kwargs)
    if name.split(".")[0] in ("squeeze_", "unsqueeze_", "t_", "transpose_") and away:
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.Python)):
            return function(*args, **kwargs)  # the shape that is shown changes too
    if function._schema.is_mutable and args and isinstance(args[0], torch.Tensor) and not isinstance(result, tuple):
        return args[0]
    return tree_map(lambda v: _Away(v) if isinstance(v, torch.Tensor) else v, result) if goes else result
