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


def _put_py(values, indices, at, here, width, channels, plane, to, past):
    """Write eight values into their 2x2 window, zeros beside them; return how many indices point outside of it.

    ``at``: of the values and indices; ``here``: the number of the window's first pixel, ``to``: of its first number.
    """
    strays = 0
    for c in range(LANES):
        for step in (0, 1, width, width + 1):
            plane[to + step * channels + c] = values[at + c] if indices[at + c] == here + step else 0
        strays += indices[at + c] - here not in (0, 1, width, width + 1)
    return strays


def _pick_py(plane, to, here, width, channels, indices, at, values):
    """Read eight values from where their indices say, in their 2x2 window; return as ``_put_py``."""
    strays = 0
    for c in range(LANES):
        step = indices[at + c] - here
        inside = step in (0, 1, width, width + 1)
        values[at + c] = plane[to + step * channels + c] if inside else 0
        strays += not inside
    return strays


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

    def window(self, to: Any, width: Any, channels: Any) -> list[tuple[Any, Any]]:
        """Return for each pixel of a 2x2 window its distance in pixels, and the number at which it begins."""
        b, one = self.builder, self.index(1)
        steps = self.index(0), one, width, b.add(width, one)
        return [(step, b.add(to, b.mul(step, channels))) for step in steps]

    def count(self, flags: Any) -> Any:
        """Return how many of eight truth values are true."""
        return self.builder.zext(self.builder.ctpop(self.builder.bitcast(flags, self.ir.IntType(LANES))), self.index)

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


def _put_compiled() -> Any:
    """Return ``_put_py`` as a Numba intrinsic."""
    from numba import types
    from numba.extending import intrinsic

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = _Lanes(context, builder, signature, arguments)
        _, _, at, here, width, channels, _, to, past = arguments
        value, index = lanes.load(0, at), lanes.load(1, at)
        nothing, strays = (
            lanes.ir.Constant(value.type, None),
            lanes.ir.Constant(lanes.ir.VectorType(lanes.ir.IntType(1), LANES), [1] * LANES),
        )
        for step, place in lanes.window(to, width, channels):
            other = builder.icmp_signed("!=", index, lanes.spread(builder.add(here, step)))
            strays = builder.and_(strays, other)
            lanes.store(builder.select(other, nothing, value), 6, place, past)
        return lanes.count(strays)

    @intrinsic
    def put(typingctx, values, indices, at, here, width, channels, plane, to, past):
        n = types.int64
        return n(values, indices, n, n, n, n, plane, n, types.boolean), generate

    return put


def _pick_compiled() -> Any:
    """Return ``_pick_py`` as a Numba intrinsic."""
    from numba import types
    from numba.extending import intrinsic

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = _Lanes(context, builder, signature, arguments)
        _, to, here, width, channels, _, at, _ = arguments
        index, found, strays = lanes.load(5, at), None, None
        for step, place in lanes.window(to, width, channels):
            value, other = lanes.load(0, place), builder.icmp_signed("!=", index, lanes.spread(builder.add(here, step)))
            found = builder.select(other, lanes.ir.Constant(value.type, None) if found is None else found, value)
            strays = other if strays is None else builder.and_(strays, other)
        builder.store(found, lanes.place(7, at, lanes.number(7))).align = 4
        return lanes.count(strays)

    @intrinsic
    def pick(typingctx, plane, to, here, width, channels, indices, at, values):
        n = types.int64
        return n(plane, n, n, n, n, indices, n, values), generate

    return pick


def _choose(plain: Callable, compiled: Callable[[], Any]) -> Any:
    return plain if numba.config.DISABLE_JIT else compiled()  # type: ignore[attr-defined]


window_2x2 = _choose(_window_py(2), lambda: _window_compiled(2))
window_3x3 = _choose(_window_py(3), lambda: _window_compiled(3))
mix = _choose(_mix_py, _mix_compiled)
put = _choose(_put_py, _put_compiled)
pick = _choose(_pick_py, _pick_compiled)
