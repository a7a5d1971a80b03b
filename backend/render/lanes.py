"""Eight float32 values in one vector register: the arithmetic that the compiled loops are written in.

numba turns scalar loops into vector code only when its optimiser sees fit. These types say it outright: a
`Lanes` holds eight neighbouring pixels, a `Mask` one truth value for each, and every operation below is
one machine instruction (two on machines with narrower registers). `a + b`, `a < b` and so on work between
lanes, and between lanes and a float32, which is spread. Products are fused with sums (`fma`) on machines
that can, so rounding may differ between machines but never between runs.

With NUMBA_BOUNDSCHECK=1 a load or store beyond its array ends the process.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
import numba
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

WIDTH = 8

_FLOATS = ir.VectorType(ir.FloatType(), WIDTH)
_TRUTHS = ir.VectorType(ir.IntType(1), WIDTH)
_INT = ir.IntType(32)
_ONE = ir.VectorType(ir.FloatType(), 1)


class Lanes(types.Type):
    """Eight float32 values."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


class Mask(types.Type):
    """Eight truth values."""

    def __init__(self) -> None:
        super().__init__(name="Mask")


_lanes, _mask = Lanes(), Mask()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, _FLOATS)


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Mask) -> None:
        super().__init__(manager, kind, _TRUTHS)


def _operation(result: types.Type, arguments: tuple[types.Type, ...], emit: Callable) -> tuple[Any, Callable]:
    """What an intrinsic returns; `emit(builder, *values)` makes the instruction."""
    return result(*arguments), lambda context, builder, signature, values: emit(builder, *values)


# Making lanes and reading them.


@intrinsic
def spread(typing, value):
    """The same float32 in all lanes."""

    def emit(builder, value):
        first = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), value, ir.Constant(_INT, 0))
        everywhere = ir.Constant(ir.VectorType(_INT, WIDTH), [0] * WIDTH)
        return builder.shuffle_vector(first, ir.Constant(_FLOATS, ir.Undefined), everywhere)

    return _operation(_lanes, (types.float32,), emit)


@intrinsic
def ramp(typing):
    """0, 1, 2, ... 7."""
    return _operation(_lanes, (), lambda builder: ir.Constant(_FLOATS, [float(i) for i in range(WIDTH)]))


def address_of(context, builder, array_type, array, place, vector):
    """Pointer to a vector that starts at `place` of a flat array: for the intrinsics here and in `wide`."""
    array = context.make_array(array_type)(context, builder, array)
    if numba.config.BOUNDSCHECK:
        end = builder.add(place, ir.Constant(place.type, vector.count))
        outside = builder.or_(
            builder.icmp_signed("<", place, ir.Constant(place.type, 0)),
            builder.icmp_signed(">", end, array.nitems),
        )
        with builder.if_then(outside, likely=False):
            trap = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, trap, "llvm.trap"), [])
    return builder.bitcast(builder.gep(array.data, [place]), vector.as_pointer())


@intrinsic
def load(typing, array, place):
    """Eight values of a flat float32 array from `place` on."""

    def emit(context, builder, signature, values):
        loaded = builder.load(address_of(context, builder, signature.args[0], *values, _FLOATS))
        loaded.align = 4
        return loaded

    return _lanes(array, types.intp), emit


@intrinsic
def store(typing, array, place, value):
    """Write eight values into a flat float32 array from `place` on."""

    def emit(context, builder, signature, values):
        array, place, value = values
        builder.store(value, address_of(context, builder, signature.args[0], array, place, _FLOATS)).align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, _lanes), emit


@intrinsic
def spread_lanes(typing, array, place):
    """The value of a flat float32 array at `place`, in all lanes."""

    def emit(context, builder, signature, values):
        one = builder.load(address_of(context, builder, signature.args[0], *values, _ONE))
        one.align = 4
        everywhere = ir.Constant(ir.VectorType(_INT, WIDTH), [0] * WIDTH)
        return builder.shuffle_vector(one, ir.Constant(_ONE, ir.Undefined), everywhere)

    return _lanes(array, types.intp), emit


@intrinsic
def lane(typing, value, index):
    """One of the eight, as float32."""
    return _operation(types.float32, (_lanes, types.int64), lambda builder, v, i: builder.extract_element(v, i))


@intrinsic
def total(typing, value):
    """The sum of all lanes, added by halves: a fixed order."""

    def emit(builder, value):
        count = WIDTH
        while count > 1:
            count //= 2
            undefined = ir.Constant(value.type, ir.Undefined)
            low, high = (
                builder.shuffle_vector(
                    value,
                    undefined,
                    ir.Constant(ir.VectorType(_INT, count), list(range(first, first + count))),
                )
                for first in (0, count)
            )
            value = builder.fadd(low, high)
        return builder.extract_element(value, ir.Constant(_INT, 0))

    return _operation(types.float32, (_lanes,), emit)


@intrinsic
def transpose(typing, source, start, step, target, place):
    """Eight rows of eight values, `step` apart, of a flat float32 array, as the columns of 64 values of another."""

    def emit(context, builder, signature, values):
        source, start, step, target, place = values
        rows = []
        for i in range(WIDTH):
            at = builder.add(start, builder.mul(step, ir.Constant(step.type, i)))
            row = builder.load(address_of(context, builder, signature.args[0], source, at, _FLOATS))
            row.align = 4
            rows.append(row)
        # Row i and row i + 4 into one, element by element in turn: after three times rows are columns.
        half = WIDTH // 2
        mixes = [[k // 2 + first + k % 2 * WIDTH for k in range(WIDTH)] for first in (0, half)]
        for _ in range(3):
            rows = [
                builder.shuffle_vector(rows[i], rows[i + half], ir.Constant(ir.VectorType(_INT, WIDTH), mix))
                for i in range(half)
                for mix in mixes
            ]
        for i, row in enumerate(rows):
            at = builder.add(place, ir.Constant(place.type, i * WIDTH))
            builder.store(row, address_of(context, builder, signature.args[3], target, at, _FLOATS)).align = 4
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, target, types.intp), emit


# Arithmetic.


def _overloaded(operation: Callable, function: Callable) -> None:
    """Give an operator to lanes, and to lanes with a float32."""

    def choose(x, y):
        if isinstance(x, Lanes) and isinstance(y, Lanes):
            return lambda x, y: function(x, y)
        if isinstance(x, Lanes) and y == types.float32:
            return lambda x, y: function(x, spread(y))
        if x == types.float32 and isinstance(y, Lanes):
            return lambda x, y: function(spread(x), y)
        return None

    overload(operation, inline="always")(choose)


def _arithmetic(instruction: str) -> Callable:
    @intrinsic
    def function(typing, x, y):
        return _operation(_lanes, (_lanes, _lanes), lambda builder, x, y: getattr(builder, instruction)(x, y))

    return function


def _comparison(sign: str) -> Callable:
    @intrinsic
    def function(typing, x, y):
        return _operation(_mask, (_lanes, _lanes), lambda builder, x, y: builder.fcmp_ordered(sign, x, y))

    return function


for _operator, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _overloaded(_operator, _arithmetic(_instruction))
for _operator, _sign in ((operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">=")):
    _overloaded(_operator, _comparison(_sign))


def _vector_call(builder, name, values):
    signature = ir.FunctionType(_FLOATS, [_FLOATS] * len(values))
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, f"{name}.v{WIDTH}f32"), values)


@intrinsic
def fma(typing, x, y, z):
    """x·y + z, rounded once where the machine can."""
    return _operation(
        _lanes, (_lanes,) * 3, lambda builder, *values: _vector_call(builder, "llvm.fmuladd", list(values))
    )


@intrinsic
def absolute(typing, x):
    """|x|."""
    return _operation(_lanes, (_lanes,), lambda builder, x: _vector_call(builder, "llvm.fabs", [x]))


@intrinsic
def lesser(typing, x, y):
    """The smaller of both, y where one is NaN."""
    return _operation(
        _lanes, (_lanes, _lanes), lambda builder, x, y: builder.select(builder.fcmp_ordered("<", x, y), x, y)
    )


# Masks.


@intrinsic
def both(typing, x, y):
    """x and y."""
    return _operation(_mask, (_mask, _mask), lambda builder, x, y: builder.and_(x, y))


@intrinsic
def but_not(typing, x, y):
    """x and not y."""
    return _operation(_mask, (_mask, _mask), lambda builder, x, y: builder.and_(x, builder.not_(y)))


@intrinsic
def select(typing, mask, x, y):
    """x where the mask is true, y elsewhere."""
    return _operation(_lanes, (_mask, _lanes, _lanes), lambda builder, mask, x, y: builder.select(mask, x, y))


def _bits(builder, mask):
    return builder.bitcast(mask, ir.IntType(WIDTH))


@intrinsic
def anywhere(typing, mask):
    """Whether any is true."""
    nothing = ir.Constant(ir.IntType(WIDTH), 0)
    return _operation(
        types.boolean, (_mask,), lambda builder, mask: builder.icmp_unsigned("!=", _bits(builder, mask), nothing)
    )


@intrinsic
def count(typing, mask):
    """How many are true, int64."""
    return _operation(
        types.int64, (_mask,), lambda builder, mask: builder.zext(builder.ctpop(_bits(builder, mask)), ir.IntType(64))
    )


@intrinsic
def bits(typing, mask):
    """One bit for each, the first lane lowest, int64. See `lowest` for walking over them."""
    return _operation(types.int64, (_mask,), lambda builder, mask: builder.zext(_bits(builder, mask), ir.IntType(64)))


@intrinsic
def lowest(typing, number):
    """Place of the lowest 1 of an int64 that is not 0."""
    return _operation(
        types.int64, (types.int64,), lambda builder, number: builder.cttz(number, ir.Constant(ir.IntType(1), 1))
    )
