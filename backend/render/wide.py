"""As many channels of one pixel as the machine's largest vector register holds: arithmetic of matrix products.

`lanes` are eight neighbouring pixels, because ellipses are small. Channels lie densely in memory and there are as
many as one likes, so a `Wide` holds 16 where a register does (AVX-512) and 8 elsewhere. Every channel has a lane of
its own: sums do not depend on the width.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import llvmlite.ir as ir
import numba
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from backend.render.lanes import address_of


def _widest() -> int:
    # Whoever names another processor for numba to compile for gets what all have.
    if numba.config.CPU_NAME or numba.config.CPU_FEATURES:
        return 8
    return 16 if llvm.get_host_cpu_features().get("avx512f") else 8


WIDE = _widest()

_FLOATS = ir.VectorType(ir.FloatType(), WIDE)
_ONE = ir.VectorType(ir.FloatType(), 1)
_INT = ir.IntType(32)


class Wide(types.Type):
    """WIDE float32 values."""

    def __init__(self) -> None:
        super().__init__(name=f"Wide{WIDE}")


_wide = Wide()


@register_model(Wide)
class _WideModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Wide) -> None:
        super().__init__(manager, kind, _FLOATS)


@intrinsic
def nothing(typing):
    """Zero in every channel."""
    return _wide(), lambda context, builder, signature, values: ir.Constant(_FLOATS, [0.0] * WIDE)


@intrinsic
def load_wide(typing, array, place):
    """WIDE values of a flat float32 array from `place` on."""

    def emit(context, builder, signature, values):
        loaded = builder.load(address_of(context, builder, signature.args[0], *values, _FLOATS))
        loaded.align = 4
        return loaded

    return _wide(array, types.intp), emit


@intrinsic
def store_wide(typing, array, place, value):
    """Write WIDE values into a flat float32 array from `place` on."""

    def emit(context, builder, signature, values):
        array, place, value = values
        builder.store(value, address_of(context, builder, signature.args[0], array, place, _FLOATS)).align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, _wide), emit


@intrinsic
def spread_wide(typing, array, place):
    """The value of a flat float32 array at `place`, in every channel."""

    def emit(context, builder, signature, values):
        one = builder.load(address_of(context, builder, signature.args[0], *values, _ONE))
        one.align = 4
        return builder.shuffle_vector(
            one, ir.Constant(_ONE, ir.Undefined), ir.Constant(ir.VectorType(_INT, WIDE), [0] * WIDE)
        )

    return _wide(array, types.intp), emit


@intrinsic
def fma_wide(typing, x, y, z):
    """x·y + z, rounded once where the machine can."""

    def emit(context, builder, signature, values):
        kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{WIDE}f32"), values)

    return _wide(_wide, _wide, _wide), emit


@intrinsic
def sum_wide(typing, x, y):
    """x + y."""
    return _wide(_wide, _wide), lambda context, builder, signature, values: builder.fadd(*values)


@intrinsic
def channel(typing, value, index):
    """One of the values, as float32."""
    return types.float32(_wide, types.int64), lambda context, builder, signature, values: builder.extract_element(
        *values
    )


@intrinsic
def stream_wide(typing, array, place, value):
    """Write WIDE values past the caches: for what is written once and is larger than they are.

    The address must be a multiple of 4·WIDE bytes.
    """

    def emit(context, builder, signature, values):
        array, place, value = values
        written = builder.store(value, address_of(context, builder, signature.args[0], array, place, _FLOATS))
        written.align = 4 * WIDE
        written.set_metadata("nontemporal", builder.module.add_metadata([_INT(1)]))
        return context.get_dummy_value()

    return types.void(array, types.intp, _wide), emit


@intrinsic
def total_wide(typing, value):
    """The sum of all channels, added by halves: a fixed order."""

    def emit(context, builder, signature, values):
        (value,) = values
        count = WIDE
        while count > 1:
            count //= 2
            undefined = ir.Constant(value.type, ir.Undefined)
            low, high = (
                builder.shuffle_vector(
                    value, undefined, ir.Constant(ir.VectorType(_INT, count), list(range(first, first + count)))
                )
                for first in (0, count)
            )
            value = builder.fadd(low, high)
        return builder.extract_element(value, _INT(0))

    return types.float32(_wide), emit
