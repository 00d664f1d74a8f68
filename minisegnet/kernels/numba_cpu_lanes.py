"""Eight or sixteen channels at a time: what loops over a pixel's channels do, written out for the vector unit.

In channels-last memory a pixel is a short line of 16 or 32 numbers. A loop over it spends more on its start than on its
work: the compiler asks each time whether slices overlap, and counts references to them. Written in LLVM's own vectors there
is nothing to ask: ``lanes`` numbers are loaded from a flat array, computed with, and stored. Where channels are no multiple of
them, the last vector overlaps the one before, which writes the same numbers twice. ``lanes_for`` says how many there may be:
sixteen where the processor has such vectors (AVX-512) and there are so many channels.

Each function stands here in plain Python as well (``..._py``), which says what it computes and serves without a compiler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

from .numba_cpu_stream import WHOLE, past_the_cache
from .numba_cpu_vectors import WIDE

LANES = 8  # channels from which on these functions serve


def lanes_for(channels: int) -> int:
    """Return how many channels are served at a time."""
    return WIDE if channels >= WIDE else LANES


def _window_py(size):
    def window(lanes, image, at, channels, rows, columns, here, values, indices, to, past):
        """Write the maximum of size x size taps and its place; the first of equal ones wins, of NaNs the last.

        ``at`` is the first tap's number in ``image``, ``here`` its pixel; the other rows and columns of taps are so many
        pixels further on. ``past``: write past the cache (``numba_cpu_stream.py``).
        """
        for c in range(lanes):
            best, place = image[at + c], here
            for row in (0, *rows):
                for column in (0, *columns):
                    v = image[at + (row + column) * channels + c]
                    if v > best or v != v:
                        best, place = v, here + row + column
            values[to + c], indices[to + c] = best, place

    return window


def _blend_py(count, line, places, factors, output, to, past):
    """output[to + i] = the sum over places of factor * line[place + i], i < count >= 8; ``past`` the cache, or not."""
    for i in range(count):
        total = factors[0] * line[places[0] + i]
        for place, factor in zip(places[1:], factors[1:]):  # noqa: B905
            total += factor * line[place + i]
        output[to + i] = total


def _put_py(lanes, values, indices, at, here, width, channels, plane, to, past):
    """Write the values of ``lanes`` channels into their 2x2 window, zeros beside them; return how many indices point outside of it.

    ``at``: of the values and indices; ``here``: the number of the window's first pixel, ``to``: of its first number.
    """
    strays = 0
    for c in range(lanes):
        for step in (0, 1, width, width + 1):
            plane[to + step * channels + c] = values[at + c] if indices[at + c] == here + step else 0
        strays += indices[at + c] - here not in (0, 1, width, width + 1)
    return strays


def _pick_py(lanes, plane, to, here, width, channels, indices, at, values):
    """Read values from where their indices say, in their 2x2 window; return as ``_put_py``."""
    strays = 0
    for c in range(lanes):
        step = indices[at + c] - here
        inside = step in (0, 1, width, width + 1)
        values[at + c] = plane[to + step * channels + c] if inside else 0
        strays += not inside
    return strays


class _Lanes:
    """What the generated functions share: vectors of ``lanes`` numbers from flat arrays, and back."""

    def __init__(self, lanes: int, context: Any, builder: Any, signature: Any, arguments: Any):
        from llvmlite import ir

        self.lanes, self.context, self.builder = lanes, context, builder
        self.types, self.arguments = signature.args, arguments
        self.ir, self.index = ir, ir.IntType(64)

    def place(self, array: int, at: Any, of: Any) -> Any:
        """Return a pointer to numbers ``of`` an LLVM type, where argument number ``array`` has index ``at``."""
        from numba.core import cgutils

        kind = self.types[array]
        data = cgutils.create_struct_proxy(kind)(self.context, self.builder, value=self.arguments[array]).data
        return self.builder.bitcast(self.builder.gep(data, [at]), self.ir.VectorType(of, self.lanes).as_pointer())

    def number(self, array: int) -> Any:
        """Return the LLVM type of an array's numbers."""
        return self.context.get_data_type(self.types[array].dtype)

    def window(self, to: Any, width: Any, channels: Any) -> list[tuple[Any, Any]]:
        """Return for each pixel of a 2x2 window its distance in pixels, and the number at which it begins."""
        b, one = self.builder, self.index(1)
        steps = self.index(0), one, width, b.add(width, one)
        return [(step, b.add(to, b.mul(step, channels))) for step in steps]

    def count(self, flags: Any) -> Any:
        """Return how many of the truth values are true."""
        return self.builder.zext(
            self.builder.ctpop(self.builder.bitcast(flags, self.ir.IntType(self.lanes))), self.index
        )

    def load(self, array: int, at: Any) -> Any:
        """Return a vector."""
        value = self.builder.load(self.place(array, at, self.number(array)))
        value.align = 4
        return value

    def store(self, value: Any, array: int, at: Any, past: Any) -> None:
        """Write a vector, past the cache if ``past``: then its address is a multiple of its size, or of a line's."""
        place = self.place(array, at, self.number(array))
        size = min(self.lanes * self.context.get_abi_sizeof(value.type.element), WHOLE)
        with self.builder.if_else(past) as (then, otherwise):
            with then:
                past_the_cache(self.builder, self.builder.store(value, place), size)
            with otherwise:
                self.builder.store(value, place).align = 4

    def spread(self, value: Any) -> Any:
        """Return a number in all lanes."""
        kind, one = self.ir.VectorType(value.type, self.lanes), self.ir.IntType(32)
        first = self.builder.insert_element(self.ir.Constant(kind, self.ir.Undefined), value, one(0))
        order = self.ir.Constant(self.ir.VectorType(one, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, self.ir.Constant(kind, self.ir.Undefined), order)


def _either(write: Callable[[_Lanes], Any]) -> Callable[..., Any]:
    """Return code for an intrinsic whose argument 0 is how many numbers there are at least: ``write`` for eight lanes or WIDE."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = context, builder, signature, arguments
        if WIDE == LANES:
            result = write(_Lanes(LANES, *given))
            return context.get_dummy_value() if result is None else result
        wide = builder.icmp_signed(">=", arguments[0], arguments[0].type(WIDE))
        with builder.if_else(wide) as (then, otherwise):
            with then:
                result, block = write(_Lanes(WIDE, *given)), builder.block
            with otherwise:
                other, other_block = write(_Lanes(LANES, *given)), builder.block
        if result is None:
            return context.get_dummy_value()
        phi = builder.phi(result.type)
        phi.add_incoming(result, block)
        phi.add_incoming(other, other_block)
        return phi

    return generate


def _window_compiled(size: int) -> Any:
    """Return ``_window_py(size)`` as a Numba intrinsic."""
    from numba import types
    from numba.extending import intrinsic

    def write(lanes: _Lanes) -> None:
        builder = lanes.builder
        _, _, at, channels, rows, columns, here, _, _, to, past = lanes.arguments
        start = lanes.index(0)
        down = [start, *(builder.extract_value(rows, i) for i in range(size - 1))]
        along = [start, *(builder.extract_value(columns, i) for i in range(size - 1))]
        best, place = lanes.load(1, at), lanes.spread(lanes.ir.IntType(32)(0))
        for row, column in [(row, column) for row in down for column in along][1:]:
            pixels = builder.add(row, column)
            v = lanes.load(1, builder.add(at, builder.mul(pixels, channels)))
            further = builder.trunc(pixels, lanes.ir.IntType(32))
            wins = builder.or_(builder.fcmp_ordered(">", v, best), builder.fcmp_unordered("uno", v, v))
            best = builder.select(wins, v, best)
            place = builder.select(wins, lanes.spread(further), place)
        lanes.store(best, 7, to, past)
        wide = builder.sext(place, lanes.ir.VectorType(lanes.index, lanes.lanes))
        lanes.store(builder.add(wide, lanes.spread(here)), 8, to, past)

    @intrinsic
    def window(typingctx, lanes, image, at, channels, rows, columns, here, values, indices, to, past):
        n, steps = types.int64, types.UniTuple(types.int64, size - 1)
        return types.void(n, image, n, n, steps, steps, n, values, indices, n, types.boolean), _either(write)

    return window


def _blend_compiled(terms: int) -> Any:
    """Return ``_blend_py`` for so many places as a Numba intrinsic."""
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    def write(lanes: _Lanes) -> None:
        builder, step = lanes.builder, lanes.index(lanes.lanes)
        count, _, places, factors, _, to, past = lanes.arguments
        last = builder.sub(count, step)
        spread = [lanes.spread(builder.extract_value(factors, i)) for i in range(terms)]
        starts = [builder.extract_value(places, i) for i in range(terms)]
        vectors = builder.sdiv(builder.add(count, lanes.index(lanes.lanes - 1)), step)
        with cgutils.for_range(builder, vectors) as loop:
            at = builder.mul(loop.index, step)
            at = builder.select(builder.icmp_signed(">", at, last), last, at)
            total = None
            for start, factor in zip(starts, spread, strict=True):
                product = builder.fmul(factor, lanes.load(1, builder.add(start, at)), flags=("contract",))
                total = product if total is None else builder.fadd(total, product, flags=("contract",))
            lanes.store(total, 4, builder.add(to, at), past)

    @intrinsic
    def blend(typingctx, count, line, places, factors, output, to, past):
        n = types.int64
        sums = types.UniTuple(n, terms), types.UniTuple(line.dtype, terms)
        return types.void(n, line, *sums, output, n, types.boolean), _either(write)

    return blend


def _put_compiled() -> Any:
    """Return ``_put_py`` as a Numba intrinsic."""
    from numba import types
    from numba.extending import intrinsic

    def write(lanes: _Lanes) -> Any:
        builder = lanes.builder
        _, _, _, at, here, width, channels, _, to, past = lanes.arguments
        value, index = lanes.load(1, at), lanes.load(2, at)
        nothing, strays = (
            lanes.ir.Constant(value.type, None),
            lanes.ir.Constant(lanes.ir.VectorType(lanes.ir.IntType(1), lanes.lanes), [1] * lanes.lanes),
        )
        for step, place in lanes.window(to, width, channels):
            other = builder.icmp_signed("!=", index, lanes.spread(builder.add(here, step)))
            strays = builder.and_(strays, other)
            lanes.store(builder.select(other, nothing, value), 7, place, past)
        return lanes.count(strays)

    @intrinsic
    def put(typingctx, lanes, values, indices, at, here, width, channels, plane, to, past):
        n = types.int64
        return n(n, values, indices, n, n, n, n, plane, n, types.boolean), _either(write)

    return put


def _pick_compiled() -> Any:
    """Return ``_pick_py`` as a Numba intrinsic."""
    from numba import types
    from numba.extending import intrinsic

    def write(lanes: _Lanes) -> Any:
        builder = lanes.builder
        _, _, to, here, width, channels, _, at, _ = lanes.arguments
        index, found, strays = lanes.load(6, at), None, None
        for step, place in lanes.window(to, width, channels):
            value, other = lanes.load(1, place), builder.icmp_signed("!=", index, lanes.spread(builder.add(here, step)))
            found = builder.select(other, lanes.ir.Constant(value.type, None) if found is None else found, value)
            strays = other if strays is None else builder.and_(strays, other)
        builder.store(found, lanes.place(8, at, lanes.number(8))).align = 4
        return lanes.count(strays)

    @intrinsic
    def pick(typingctx, lanes, plane, to, here, width, channels, indices, at, values):
        n = types.int64
        return n(n, plane, n, n, n, n, indices, n, values), _either(write)

    return pick


def _choose(plain: Callable, compiled: Callable[[], Any]) -> Any:
    return plain if numba.config.DISABLE_JIT else compiled()  # type: ignore[attr-defined]


window_2x2 = _choose(_window_py(2), lambda: _window_compiled(2))
window_3x3 = _choose(_window_py(3), lambda: _window_compiled(3))
blend_two = _choose(_blend_py, lambda: _blend_compiled(2))
blend_four = _choose(_blend_py, lambda: _blend_compiled(4))
put = _choose(_put_py, _put_compiled)
pick = _choose(_pick_py, _pick_compiled)
