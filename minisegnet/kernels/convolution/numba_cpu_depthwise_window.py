"""The innermost loops of depthwise convolutions with a 3x3 kernel: vectors of eight along a line, weights in registers.

``slide`` moves a window over three lines (or the window's left upper 2x2 over two): its nine weights, as vectors, stay in
registers, and each output vector is nine products of numbers that the first cache holds. ``meet`` does the same for the
gradient of the weight, with nine sums in registers. Whether the eight lanes are neighbouring pixels or neighbouring channels
is the caller's affair: it says how far it is to the next vector, and to the next column under the kernel.

The compiler would not turn such loops into vectors by itself (ten places in memory that may overlap): they are written
in its own language (LLVM), and below as ``_py`` in plain Python, which is what runs with the JIT off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

LANES = 8


def _move_py(count, a, a0, a_step, b, b0, b_step):
    """Copy ``count`` vectors: b[b0 + i * b_step + lane] = a[a0 + i * a_step + lane]."""
    for i in range(count):
        b[b0 + i * b_step : b0 + i * b_step + LANES] = a[a0 + i * a_step : a0 + i * a_step + LANES]


def _split_py(count, a, a0, b, b0, b1):
    """b[b0 + j] = a[a0 + 2 j], b[b1 + j] = a[a0 + 2 j + 1] for j < 8 count."""
    for j in range(LANES * count):
        b[b0 + j], b[b1 + j] = a[a0 + 2 * j], a[a0 + 2 * j + 1]


def _join_py(count, a, a0, a1, b, b0):
    """b[b0 + 2 j] = a[a0 + j], b[b0 + 2 j + 1] = a[a1 + j] for j < 8 count."""
    for j in range(LANES * count):
        b[b0 + 2 * j], b[b0 + 2 * j + 1] = a[a0 + j], a[a1 + j]


def _slide_py(side, count, a, r0, r1, r2, d1, d2, step, weight, w0, start, s0, floor, out, o0, o_step):
    """out[o0 + i * o_step + lane] = max(start[s0 + lane] + the sum over the window's places, floor), i < count.

    Place (ky, kx) of the window, side x side, reads a[r(ky) + d(kx) + i * step + lane]; d(0) is 0. Its weights are
    weight[w0 + 8 (ky * side + kx) + lane].
    """
    rows, columns = (r0, r1, r2), (0, d1, d2)
    for i in range(count):
        for lane in range(LANES):
            total = start[s0 + lane]
            for ky in range(side):
                for kx in range(side):
                    at = rows[ky] + columns[kx] + i * step + lane
                    total += weight[w0 + LANES * (ky * side + kx) + lane] * a[at]
            out[o0 + i * o_step + lane] = floor if total <= floor else total


def _meet_py(count, a, r0, r1, r2, d1, d2, step, grads, g0, g_step, sums):
    """sums[8 (3 ky + kx) + lane] += the sum over i < count of grads[g0 + i * g_step + lane] * what the place reads."""
    rows, columns = (r0, r1, r2), (0, d1, d2)
    for i in range(count):
        for lane in range(LANES):
            for t in range(9):
                at = rows[t // 3] + columns[t % 3] + i * step + lane
                sums[LANES * t + lane] += grads[g0 + i * g_step + lane] * a[at]


class _Writer:
    """Writes one loop in LLVM: vectors in memory, and a loop over i < count that carries pointers and vectors along."""

    def __init__(self, context: Any, builder: Any):
        from llvmlite import ir

        self.ir, self.context, self.builder = ir, context, builder
        self.index, self.vector = ir.IntType(64), ir.VectorType(ir.FloatType(), LANES)

    def data(self, array: Any, kind: Any, place: Any) -> Any:
        from numba.core import cgutils

        return self.at(cgutils.create_struct_proxy(kind)(self.context, self.builder, value=array).data, place)

    def at(self, pointer: Any, place: Any) -> Any:
        return self.builder.gep(pointer, [self.ir.Constant(self.index, place) if isinstance(place, int) else place])

    def load(self, pointer: Any) -> Any:
        value = self.builder.load(self.builder.bitcast(pointer, self.vector.as_pointer()))
        value.align = 4
        return value

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, self.vector.as_pointer())).align = 4

    def spread(self, number: Any) -> Any:
        ir = self.ir
        nothing = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(first, nothing, everywhere)

    def mixed(self, one: Any, two: Any, lanes: list[int]) -> Any:
        kind = self.ir.VectorType(self.ir.IntType(32), LANES)
        return self.builder.shuffle_vector(one, two, self.ir.Constant(kind, lanes))

    def products(self, total: Any, ones: list[Any], others: list[Any]) -> Any:
        for a, b in zip(ones, others, strict=True):
            product = self.builder.fmul(a, b, flags=("contract",))
            total = product if total is None else self.builder.fadd(total, product, flags=("contract",))
        return total

    def loop(self, count: Any, pointers: list[Any], steps: list[Any], values: list[Any], body: Callable) -> list[Any]:
        """Write it; ``body(pointers, values)`` returns the next values, the pointers move by their steps."""
        builder, ir = self.builder, self.ir
        entry = builder.block
        head, inner, done = (builder.append_basic_block(name) for name in ("head", "inner", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        i = builder.phi(self.index)
        i.add_incoming(ir.Constant(self.index, 0), entry)
        carried = []
        for value in (*pointers, *values):
            carried.append(builder.phi(value.type))
            carried[-1].add_incoming(value, entry)
        builder.cbranch(builder.icmp_signed("<", i, count), inner, done)
        builder.position_at_end(inner)
        now = carried[: len(pointers)]
        # An instruction that does nothing hides from the compiler how pointers move: it would keep one for each place of the
        # window, more than there are registers for.
        kind = ir.FloatType().as_pointer()
        hidden = ir.InlineAsm(ir.FunctionType(kind, [kind]), "", "=r,0")
        following = [builder.call(hidden, [self.at(p, step)]) for p, step in zip(now, steps, strict=True)]
        following += body(now, carried[len(pointers) :])
        i.add_incoming(builder.add(i, ir.Constant(self.index, 1)), builder.block)
        for phi, value in zip(carried, following, strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(done)
        return carried[len(pointers) :]


def _compiled() -> tuple[Any, ...]:
    """Return the five loops as Numba intrinsics."""
    from numba import types
    from numba.extending import intrinsic

    number, void = types.int64, types.void

    @intrinsic
    def move(typingctx, count, a, a0, a_step, b, b0, b_step):
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            write, kinds = _Writer(context, builder), signature.args
            count, a, a0, a_step, b, b0, b_step = arguments

            def body(places: list[Any], values: list[Any]) -> list[Any]:
                write.store(write.load(places[0]), places[1])
                return []

            write.loop(count, [write.data(a, kinds[1], a0), write.data(b, kinds[4], b0)], [a_step, b_step], [], body)
            return context.get_dummy_value()

        return void(number, a, number, number, b, number, number), generate

    @intrinsic
    def split(typingctx, count, a, a0, b, b0, b1):
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            write, kinds = _Writer(context, builder), signature.args
            count, a, a0, b, b0, b1 = arguments

            def body(places: list[Any], values: list[Any]) -> list[Any]:
                one, two = write.load(places[0]), write.load(write.at(places[0], LANES))
                for odd in (0, 1):
                    write.store(write.mixed(one, two, [2 * lane + odd for lane in range(LANES)]), places[1 + odd])
                return []

            targets = [write.data(b, kinds[3], place) for place in (b0, b1)]
            write.loop(count, [write.data(a, kinds[1], a0), *targets], [2 * LANES, LANES, LANES], [], body)
            return context.get_dummy_value()

        return void(number, a, number, b, number, number), generate

    @intrinsic
    def join(typingctx, count, a, a0, a1, b, b0):
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            write, kinds = _Writer(context, builder), signature.args
            count, a, a0, a1, b, b0 = arguments

            def body(places: list[Any], values: list[Any]) -> list[Any]:
                even, odd = write.load(places[0]), write.load(places[1])
                for half in (0, 1):
                    lanes = [half * LANES // 2 + lane // 2 + lane % 2 * LANES for lane in range(LANES)]
                    write.store(write.mixed(even, odd, lanes), write.at(places[2], half * LANES))
                return []

            sources = [write.data(a, kinds[1], place) for place in (a0, a1)]
            write.loop(count, [*sources, write.data(b, kinds[4], b0)], [LANES, LANES, 2 * LANES], [], body)
            return context.get_dummy_value()

        return void(number, a, number, number, b, number), generate

    def slider(side: int) -> Any:
        @intrinsic
        def slide(typingctx, count, a, r0, r1, r2, d1, d2, step, weight, w0, start, s0, floor, out, o0, o_step):
            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                write, kinds = _Writer(context, builder), signature.args
                count, a, r0, r1, r2, d1, d2, step, weight, w0, start, s0, floor, out, o0, o_step = arguments
                first = write.data(weight, kinds[8], w0)
                weights = [write.load(write.at(first, LANES * t)) for t in range(side * side)]
                begin, least = write.load(write.data(start, kinds[10], s0)), write.spread(floor)

                def body(places: list[Any], values: list[Any]) -> list[Any]:
                    parts = []  # a sum for each row of the window: they do not wait for each other
                    for ky in range(side):
                        columns = [places[ky], write.at(places[ky], d1), write.at(places[ky], d2)][:side]
                        ones = weights[side * ky : side * ky + side]
                        parts.append(write.products(None if ky else begin, ones, [write.load(p) for p in columns]))
                    total = parts[0]
                    for part in parts[1:]:
                        total = builder.fadd(total, part)
                    below = builder.fcmp_ordered("<=", total, least)
                    write.store(builder.select(below, least, total), places[side])
                    return []

                places = [write.data(a, kinds[1], row) for row in (r0, r1, r2)[:side]]
                places.append(write.data(out, kinds[13], o0))
                write.loop(count, places, [step] * side + [o_step], [], body)
                return context.get_dummy_value()

            numbers = (number,) * 6
            return void(
                number, a, *numbers, weight, number, start, number, types.float32, out, number, number
            ), generate

        return slide

    @intrinsic
    def meet(typingctx, count, a, r0, r1, r2, d1, d2, step, grads, g0, g_step, sums):
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            write, kinds = _Writer(context, builder), signature.args
            count, a, r0, r1, r2, d1, d2, step, grads, g0, g_step, sums = arguments
            first = write.data(sums, kinds[11], 0)

            def body(places: list[Any], values: list[Any]) -> list[Any]:
                grad, reads = write.load(places[3]), []
                for row in places[:3]:
                    reads += [write.load(row), write.load(write.at(row, d1)), write.load(write.at(row, d2))]
                return [write.products(value, [grad], [read]) for value, read in zip(values, reads, strict=True)]

            places = [write.data(a, kinds[1], row) for row in (r0, r1, r2)] + [write.data(grads, kinds[8], g0)]
            values = [write.load(write.at(first, LANES * t)) for t in range(9)]
            values = write.loop(count, places, [step] * 3 + [g_step], values, body)
            for t, value in enumerate(values):
                write.store(value, write.at(first, LANES * t))
            return context.get_dummy_value()

        numbers = (number,) * 6
        return void(number, a, *numbers, grads, number, number, sums), generate

    return move, split, join, slider(3), slider(2), meet


def _slide_of(side: int) -> Callable[..., None]:
    """Return ``_slide_py`` with a window of this side."""
    return lambda *arguments: _slide_py(side, *arguments)


move, split, join, slide, slide_two, meet = (
    (_move_py, _split_py, _join_py, _slide_of(3), _slide_of(2), _meet_py)
    if numba.config.DISABLE_JIT  # type: ignore[attr-defined]
    else _compiled()
)
