"""The innermost loops of depthwise 3x3 convolutions over ordinary memory: a vector is so many neighbouring pixels of a plane.

What stands under the three columns of the kernel is the same row, read one pixel further on each time; at the ends of a row a
zero is shifted in instead. At stride 2 a row's even and odd pixels are parted in registers. As over pixels
(``numba_cpu_depthwise_pixels.py``, where names are explained) ``slide`` walks along four rows of the output at once, ``spread``
makes squares of four pixels, and ``meet`` sums up the nine gradients of a plane's weight, in nine registers.

The last vector of a row overlaps the one before: it writes the same numbers twice, and of sums only its new lanes count.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from .numba_cpu_depthwise_vectors import MANY, VECTORS, Writer, chosen


def _slide_py(lanes, rows, stride, width, flat, lines, zeros, factors, f0, floor, out, o0, o_row):
    """Write whole rows of the output, ``width`` pixels each.

    factors, f0 : the nine weights of the plane, and where the sum begins; out[o0 + r * o_row + x] = max(sum, floor)
    """
    for r in range(rows):
        total = np.full(width, factors[f0 + 9], np.float32)
        for ky in range(3):
            for kx in range(3):
                total += factors[f0 + 3 * ky + kx] * _under_py(flat, zeros, lines[r * stride + ky], width, stride, kx)
        out[o0 + r * o_row :][:width] = np.where(total <= floor, floor, total)


def _spread_py(lanes, width, flat, lines, zeros, factors, f0, out, o0, o1):
    """Write two rows of the gradient of the input at stride 2, from two rows of ``grad_output`` with ``width`` pixels."""
    w = factors[f0 : f0 + 9]
    (g00, g01), (g10, g11) = ([_under_py(flat, zeros, line, width, 1, kx) for kx in (1, 2)] for line in lines[:2])
    upper = w[4] * g00, w[5] * g00 + w[3] * g01
    lower = w[7] * g00 + w[1] * g10, w[8] * g00 + w[6] * g01 + w[2] * g10 + w[0] * g11
    for o, pair in ((o0, upper), (o1, lower)):
        for dx in (0, 1):
            out[o + dx : o + 2 * width : 2] = pair[dx]


def _meet_py(lanes, rows, stride, width, flat, lines, zeros, grads, g0, g_row, sums):
    """Add to the nine sums (9, lanes) the products of some rows of gradients with what each place reads."""
    for t in range(9):
        for r in range(rows):
            products = grads[g0 + r * g_row :][:width] * _under_py(
                flat, zeros, lines[r * stride + t // 3], width, stride, t % 3
            )
            for x in range(width):
                sums[t * lanes + x % lanes] += products[x]


def _under_py(flat, zeros, line, width, stride, kx):
    """Return what stands under column kx of the kernel, for ``width`` pixels of the output."""
    source = zeros if line < 0 else flat[line:]
    padded = np.concatenate([np.zeros(1, np.float32), source[: width * stride], np.zeros(1, np.float32)])
    return padded[kx : kx + (width - 1) * stride + 1 : stride]


def _under(write: Writer, line: Any, x: Any, stride: int, left: bool, right: bool) -> list[Any]:
    """Return what stands under the kernel's three columns in a line, from pixel x of the output on.

    ``left``: it is the row's first vector, ``right``: its last.
    """
    n = write.lanes
    if stride == 1:
        here = write.at(line, x)
        middle = write.load(here)
        before = write.mixed(middle, write.zero, [n, *range(n - 1)]) if left else write.load(write.at(here, -1))
        after = write.mixed(middle, write.zero, range(1, n + 1)) if right else write.load(write.at(here, 1))
        return [before, middle, after]
    here = write.at(line, x, x)
    one, two = write.load(here), write.load(write.at(here, n))
    even, odd = (write.mixed(one, two, range(k, 2 * n, 2)) for k in (0, 1))
    begin = write.zero if left else write.first(write.builder.load(write.at(here, -1)))
    return [write.mixed(odd, begin, [n, *range(n - 1)]), even, odd]


def _along(write: Writer, width: Any, values: list[Any], body: Callable[..., list[Any]]) -> list[Any]:
    """Call ``body(x, left, right, done, values)`` for a row's vectors; what it returns are the next values.

    ``done`` : how many pixels were served before; in the last vector it may be more than x.
    """
    b, n = write.builder, write.index(write.lanes)
    only, many, middle, last, end = (write.block(name) for name in ("only", "many", "middle", "last", "end"))
    zero, far = write.index(0), b.sub(width, n)
    b.cbranch(b.icmp_signed("==", far, zero), only, many)
    b.position_at_end(only)
    from_only = body(zero, True, True, zero, values)
    b.branch(end)
    b.position_at_end(many)
    from_many = body(zero, True, False, zero, values)
    b.cbranch(b.icmp_signed("<", n, far), middle, last)
    b.position_at_end(middle)
    x, carried = write.phi(n, many), [write.phi(value, many) for value in from_many]
    from_middle = body(x, False, False, x, carried)
    following = b.add(x, n)
    for phi, value in zip([x, *carried], [following, *from_middle], strict=True):
        phi.add_incoming(value, middle)
    b.cbranch(b.icmp_signed("<", following, far), middle, last)
    b.position_at_end(last)
    done, carried = write.phi(n, many), [write.phi(value, many) for value in from_many]
    for phi, value in zip([done, *carried], [following, *from_middle], strict=True):
        phi.add_incoming(value, middle)
    from_last = body(far, False, True, done, carried)
    b.branch(end)
    b.position_at_end(end)
    results = [write.phi(value, only) for value in from_only]
    for phi, value in zip(results, from_last, strict=True):
        phi.add_incoming(value, last)
    return results


def _write_slide(module: Any, name: str, lanes: int, rows: int, stride: int) -> Any:
    """Return the LLVM function of ``_slide_py``."""
    write = Writer(module, name, lanes, "nplppfpn")
    width, flat, lines, zeros, factors, floor, out, o_row = write.function.args
    sources, targets = write.lines(flat, lines, (rows - 1) * stride + 3, zeros), write.rows(out, o_row, rows)
    *weights, begin = [write.spread(write.builder.load(write.at(factors, t))) for t in range(10)]
    least = write.spread(floor)

    def body(x: Any, left: bool, right: bool, done: Any, values: list[Any]) -> list[Any]:
        totals: list[list[Any]] = [[begin] if rows > 1 else [begin, None, None] for _ in range(rows)]
        for y, source in enumerate(sources):
            for kx, value in enumerate(_under(write, source, x, stride, left, right)):
                for r in range(rows):
                    ky = y - r * stride
                    if 0 <= ky < 3:
                        part = ky % len(totals[r])
                        totals[r][part] = write.plus(totals[r][part], value, weights[3 * ky + kx])
        for parts, target in zip(totals, targets, strict=True):
            total = parts[0]
            for part in parts[1:]:
                total = write.builder.fadd(total, part)
            write.store(write.least(total, least), write.at(target, x))
        return []

    _along(write, width, [], body)
    write.builder.ret_void()
    return write.function


def _write_spread(module: Any, name: str, lanes: int) -> Any:
    """Return the LLVM function of ``_spread_py``."""
    write = Writer(module, name, lanes, "nplpppp")
    width, flat, lines, zeros, factors, upper, lower = write.function.args
    sources = write.lines(flat, lines, 2, zeros)
    w = [write.spread(write.builder.load(write.at(factors, t))) for t in range(9)]

    def body(x: Any, left: bool, right: bool, done: Any, values: list[Any]) -> list[Any]:
        (_, g00, g01), (_, g10, g11) = (_under(write, source, x, 1, True, right) for source in sources)
        plus = write.plus
        odd = plus(plus(plus(plus(None, w[8], g00), w[6], g01), w[2], g10), w[0], g11)
        pairs = (upper, plus(None, w[4], g00), plus(plus(None, w[5], g00), w[3], g01)), (
            lower, plus(plus(None, w[7], g00), w[1], g10), odd,
        )  # fmt: skip
        for target, one, two in pairs:
            for half in (0, 1):
                order = [half * lanes // 2 + lane // 2 + lane % 2 * lanes for lane in range(lanes)]
                write.store(write.mixed(one, two, order), write.at(target, x, x, half * lanes))
        return []

    _along(write, width, [], body)
    write.builder.ret_void()
    return write.function


def _write_meet(module: Any, name: str, lanes: int, rows: int, stride: int) -> Any:
    """Return the LLVM function of ``_meet_py``."""
    write = Writer(module, name, lanes, "nplppnp")
    width, flat, lines, zeros, grads, g_row, sums = write.function.args
    b, ir = write.builder, write.ir
    sources, targets = write.lines(flat, lines, (rows - 1) * stride + 3, zeros), write.rows(grads, g_row, rows)
    numbers = ir.VectorType(write.index, lanes)

    def body(x: Any, left: bool, right: bool, done: Any, values: list[Any]) -> list[Any]:
        values = list(values)
        met = [write.load(write.at(target, x)) for target in targets]
        if right and not left:
            old = b.sub(done, x)  # lanes that the vector before had
            new = b.icmp_signed(">=", ir.Constant(numbers, list(range(lanes))), write.spread(old, numbers))
            met = [b.select(new, value, write.zero) for value in met]
        for y, source in enumerate(sources):
            under = _under(write, source, x, stride, left, right)
            for r in range(rows):
                ky = y - r * stride
                if 0 <= ky < 3:
                    for kx, value in enumerate(under):
                        values[3 * ky + kx] = write.plus(values[3 * ky + kx], value, met[r])
        return values

    places = [write.at(sums, t * lanes) for t in range(9)]
    results = _along(write, width, [write.load(place) for place in places], body)
    for value, place in zip(results, places, strict=True):
        write.store(value, place)
    b.ret_void()
    return write.function


def _compiled() -> tuple[Any, Any, Any]:
    """Return the three loops as Numba functions."""
    from numba import njit, types
    from numba.extending import intrinsic

    slides, meets = {}, {}
    for lanes, rows, stride in itertools.product(VECTORS, (MANY, 1), (1, 2)):
        number = 10000 * lanes + 1000 * rows + 10 * stride
        slides[number] = _write_slide, lanes, rows, stride
        meets[number] = _write_meet, lanes, rows, stride
    spreads = {10000 * lanes: (_write_spread, lanes) for lanes in VECTORS}
    n = types.int64

    @intrinsic
    def slide_of(typingctx, number, width, flat, lines, zeros, factors, f0, floor, out, o0, o_row):
        generate = chosen(slides, "planes_slide", [1, (2,), (3,), (4,), (5, 6), 7, (8, 9), 10])
        return types.void(n, n, flat, lines, zeros, factors, n, types.float32, out, n, n), generate

    @intrinsic
    def spread_of(typingctx, number, width, flat, lines, zeros, factors, f0, out, o0, o1):
        generate = chosen(spreads, "planes_spread", [1, (2,), (3,), (4,), (5, 6), (7, 8), (7, 9)])
        return types.void(n, n, flat, lines, zeros, factors, n, out, n, n), generate

    @intrinsic
    def meet_of(typingctx, number, width, flat, lines, zeros, grads, g0, g_row, sums):
        generate = chosen(meets, "planes_meet", [1, (2,), (3,), (4,), (5, 6), 7, (8,)])
        return types.void(n, n, flat, lines, zeros, grads, n, n, sums), generate

    call_slide: Any = slide_of
    call_spread: Any = spread_of
    call_meet: Any = meet_of

    def slide(lanes, rows, stride, width, flat, lines, zeros, factors, f0, floor, out, o0, o_row):
        number = 10000 * lanes + 1000 * rows + 10 * stride
        call_slide(number, width, flat, lines, zeros, factors, f0, floor, out, o0, o_row)

    def spread(lanes, width, flat, lines, zeros, factors, f0, out, o0, o1):
        call_spread(10000 * lanes, width, flat, lines, zeros, factors, f0, out, o0, o1)

    def meet(lanes, rows, stride, width, flat, lines, zeros, grads, g0, g_row, sums):
        call_meet(10000 * lanes + 1000 * rows + 10 * stride, width, flat, lines, zeros, grads, g0, g_row, sums)

    made = njit(nogil=True)
    return made(slide), made(spread), made(meet)


slide, spread, meet = (
    (_slide_py, _spread_py, _meet_py) if numba.config.DISABLE_JIT else _compiled()  # type: ignore[attr-defined]
)
