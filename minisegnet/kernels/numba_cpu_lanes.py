"""Eight channels at a time: what loops over a pixel's channels do, written out for the vector unit.

In channels-last memory a pixel is a short line of 16 or 32 numbers. A loop over it spends more on its start than on its
work: the compiler asks each time whether slices overlap, and counts references to them. Written in LLVM's own vectors there
is nothing to ask: eight numbers are loaded from a flat array, computed with, and stored. Where channels are no multiple of
eight, the last eight overlap those before, which writes the same numbers twice.

Each function stands here in plain Python as well (``..._py``), which says what it computes and serves without a compiler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

from .numba_cpu_stream import past_the_cache

LANES = 8


def _window_py(size):
    def window(image, at, channels, rows, columns, here, values, indices, to, past):
        """Write the maximum of size x size taps and its place; the first of equal ones wins, of NaNs the last.

        ``at`` is the first tap's number in ``image``, ``here`` its pixel; the other rows and columns of taps are so many
        pixels further on. ``past``: write past the cache (``numba_cpu_stream.py``).
        """
        for c in range(LANES):
            best, place = image[at + c], here
            for row in (0, *rows):
                for column in (0, *columns):
                    v = image[at + (row + column) * channels + c]
                    if v > best or v != v:
                        best, place = v, here + row + column
            values[to + c], indices[to + c] = best, place

    return window


def _mix_py(line, one, other, of_one, of_other, output, to, past):
    """output[to + c] = of_one * line[one + c] + of_other * line[other + c] for eight c; ``past`` the cache, or not."""
    for c in range(LANES):
        output[to + c] = of_one * line[one + c] + of_other * line[other + c]


class _Lanes:
    """What the generated functions share: vectors of eight from flat arrays, and back."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any):
        from llvmlite import ir

        self.context, self.builder, self.types, self.arguments = context, builder, signature.args, arguments
        self.ir, self.index = ir, ir.IntType(64)

    def place(self, array: int, at: Any, of: Any) -> Any:
        """Return a pointer to eight numbers ``of`` an LLVM type, where argument number ``array`` has index ``at``."""
        from numba.core import cgutils

        kind = self.types[array]
        data = cgutils.create_struct_proxy(kind)(self.context, self.builder, value=self.arguments[array]).data
        return self.builder.bitcast(self.builder.gep(data, [at]), self.ir.VectorType(of, LANES).as_pointer())

    def number(self, array: int) -> Any:
        """Return the LLVM type of an array's numbers."""
        return self.context.get_data_type(self.types[array].dtype)

    def load(self, array: int, at: Any) -> Any:
        """Return eight numbers."""
        value = self.builder.load(self.place(array, at, self.number(array)))
        value.align = 4
        return value

    def store(self, value: Any, array: int, at: Any, past: Any) -> None:
        """Write eight numbers, past the cache if ``past``: then their address is a multiple of their size."""
        place, size = self.place(array, at, self.number(array)), LANES * self.context.get_abi_sizeof(value.type.element)
        with self.builder.if_else(past) as (then, otherwise):
            with then:
                past_the_cache(self.builder, self.builder.store(value, place), size)
            with otherwise:
                self.builder.store(value, place).align = 4

    def spread(self, value: Any) -> Any:
        """Return a number eight times."""
        kind, one = self.ir.VectorType(value.type, LANES), self.ir.IntType(32)
        first = self.builder.insert_element(self.ir.Constant(kind, self.ir.Undefined), value, one(0))
        order = self.ir.Constant(self.ir.VectorType(one, LANES), [0] * LANES)
        return self.builder.shuffle_vector(first, self.ir.Constant(kind, self.ir.Undefined), order)


def _window_compiled(size: int) -> Any:
    """Return ``_window_py(size)`` as a Numba intrinsic."""
    from numba import types
    from numba.extending import intrinsic

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = _Lanes(context, builder, signature, arguments)
        _, at, channels, rows, columns, here, _, _, to, past = arguments
        start = lanes.index(0)
        down = [start, *(builder.extract_value(rows, i) for i in range(size - 1))]
        along = [start, *(builder.extract_value(columns, i) for i in range(size - 1))]
        best, place = lanes.load(0, at), lanes.spread(lanes.ir.IntType(32)(0))
        for row, column in [(row, column) for row in down for column in along][1:]:
            pixels = builder.add(row, column)
            v = lanes.load(0, builder.add(at, builder.mul(pixels, channels)))
            further = builder.trunc(pixels, lanes.ir.IntType(32))
            wins = builder.or_(builder.fcmp_ordered(">", v, best), builder.fcmp_unordered("uno", v, v))
            best = builder.select(wins, v, best)
            place = builder.select(wins, lanes.spread(further), place)
        lanes.store(best, 6, to, past)
        wide = builder.sext(place, lanes.ir.VectorType(lanes.index, LANES))
        lanes.store(builder.add(wide, lanes.spread(here)), 7, to, past)
        return context.get_dummy_value()

    @intrinsic
    def window(typingctx, image, at, channels, rows, columns, here, values, indices, to, past):
        n, steps = types.int64, types.UniTuple(types.int64, size - 1)
        return types.void(image, n, n, steps, steps, n, values, indices, n, types.boolean), generate

    return window


def _mix_compiled() -> Any:
    """Return ``_mix_py`` as a Numba intrinsic."""
    from numba import types
    from numba.extending import intrinsic

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = _Lanes(context, builder, signature, arguments)
        _, one, other, of_one, of_other, _, to, past = arguments
        first = builder.fmul(lanes.spread(of_one), lanes.load(0, one), flags=("contract",))
        second = builder.fmul(lanes.spread(of_other), lanes.load(0, other), flags=("contract",))
        lanes.store(builder.fadd(first, second, flags=("contract",)), 5, to, past)
        return context.get_dummy_value()

    @intrinsic
    def mix(typingctx, line, one, other, of_one, of_other, output, to, past):
        n = types.int64
        return types.void(line, n, n, line.dtype, line.dtype, output, n, types.boolean), generate

    return mix


def _choose(plain: Callable, compiled: Callable[[], Any]) -> Any:
    return plain if numba.config.DISABLE_JIT else compiled()  # type: ignore[attr-defined]


window_2x2 = _choose(_window_py(2), lambda: _window_compiled(2))
window_3x3 = _choose(_window_py(3), lambda: _window_compiled(3))
mix = _choose(_mix_py, _mix_compiled)
