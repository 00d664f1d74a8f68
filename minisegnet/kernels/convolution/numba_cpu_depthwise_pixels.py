"""The innermost loops of depthwise 3x3 convolutions over channels-last memory: nothing is copied, nothing is turned round.

A row of an image is a long line of numbers, and what stands under a place of the kernel is the same line, some pixels further
on. ``slide`` walks along four rows of the output at once: a number that was loaded meets every row whose window it is in, so of
the nine numbers of a window few are loaded for it alone. ``spread`` is the gradient of the input at stride 2: four numbers of
``grad_output`` make a square of four pixels. ``meet`` is the gradient of the weight, several pixels at a time, so that the nine
sums of a channel are seldom fetched and put back.

Where a window reaches over the border, nothing is multiplied: a row that is not there is a line of zeros (the caller's), and the
first and the last pixel of a row have loops of their own without the column that is missing.

Numba would ask of each pair of rows whether they overlap. So the loops are written in the compiler's own language (LLVM), and
below as ``_py`` in plain Python, which is what runs with the JIT off. A vector is as many channels as a register holds; where
the channels are no multiple of it, the last vector overlaps the one before, and writes the same numbers twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np

from .numba_cpu_depthwise_vectors import AT_ONCE, MANY, VECTORS, Writer, chosen

COLUMNS = ((0, 2), (1, 2), (0, 1), (1, 1))  # of a kernel that lie in the image: first and last


def _slide_py(lanes, rows, stride, columns, count, channels, flat, lines, zeros, x0, factors, floor, out, o0, o_row):
    """Write ``count`` pixels of some rows of the output; all arrays are flat.

    Parameters
    ----------
    rows, stride : of the output, and of the image under one step of it
    columns : which of COLUMNS
    lines : where the image's rows begin in ``flat``, from the one under the kernel's first row; below 0: it is ``zeros``
    x0 : the pixel under the kernel's first column, counted from the beginning of a line
    factors : (vectors, 10, lanes): for each vector of channels its nine weights, and where the sum begins
    out, o0, o_row : out[o0 + r * o_row + i * C + c] = max(sum, floor)
    """
    first, last = COLUMNS[columns]
    for k, c in _vectors(channels, lanes):
        weights = factors[k * 10 * lanes : (k + 1) * 10 * lanes].reshape(10, lanes)
        for r in range(rows):
            for i in range(count):
                total = weights[9].copy()
                for ky in range(3):
                    for kx in range(first, last + 1):
                        read = (x0 + i * stride + kx) * channels + c
                        total += weights[3 * ky + kx] * _line(lanes, flat, zeros, lines[r * stride + ky], read)
                at = o0 + r * o_row + i * channels + c
                out[at : at + lanes] = np.where(total <= floor, floor, total)


def _spread_py(lanes, right, second, count, channels, flat, lines, zeros, x0, factors, out, o0, o1):
    """Write squares of 2 x 2 pixels of the gradient of the input at stride 2, padding 1, from two rows of ``grad_output``.

    right : whether there is a pixel of ``grad_output`` to the right (0 in a row's last square)
    second : whether a square has its second column (0 in the last square of an odd width)
    lines, x0, factors : as in ``_slide_py``, of ``grad_output``
    out, o0, o1 : a square's upper pixels go to out[o0 + 2 i C + c], its lower ones to out[o1 + 2 i C + c]
    """
    for k, c in _vectors(channels, lanes):
        w = factors[k * 10 * lanes : (k + 1) * 10 * lanes].reshape(10, lanes)
        for i in range(count):
            at = (x0 + i) * channels + c
            (g00, g01), (g10, g11) = (
                [_line(lanes, flat, zeros, line, at + dx * channels) if dx <= right else np.float32(0) for dx in (0, 1)]
                for line in lines[:2]
            )
            upper = w[4] * g00, w[5] * g00 + w[3] * g01
            lower = w[7] * g00 + w[1] * g10, w[8] * g00 + w[6] * g01 + w[2] * g10 + w[0] * g11
            for o, pair in ((o0, upper), (o1, lower)):
                for dx in range(1 + second):
                    out[o + (2 * i + dx) * channels + c :][:lanes] = pair[dx]


def _meet_py(lanes, rows, pixels, stride, columns, count, channels, flat, lines, zeros, x0, grads, g0, g_row, sums):
    """Add the products of ``count`` times ``pixels`` pixels of some rows of gradients with what each place reads.

    grads, g0, g_row : grads[g0 + r * g_row + i C + c]; sums : (vectors, 9, lanes). Other names: as in ``_slide_py``.
    """
    first, last = COLUMNS[columns]
    for k, c in _vectors(channels, lanes):
        for ky in range(3):
            for kx in range(first, last + 1):
                total = sums[(k * 9 + 3 * ky + kx) * lanes :][:lanes]
                for r, i in np.ndindex(rows, count * pixels):
                    value = _line(lanes, flat, zeros, lines[r * stride + ky], (x0 + i * stride + kx) * channels + c)
                    total += grads[g0 + r * g_row + i * channels + c :][:lanes] * value


def _vectors(channels, lanes):
    """Return the number and the first channel of each vector; the last may overlap the one before."""
    return enumerate([*range(0, channels - lanes, lanes), channels - lanes])


def _line(lanes, flat, zeros, line, at):
    """Return a vector of a line, or of zeros."""
    return flat[line + at :][:lanes] if line >= 0 else zeros[at:][:lanes]


def _over(
    write: Writer, count: Any, channels: Any, steps: Sequence[Any], packed: int, body: Callable[..., None]
) -> None:
    """Call ``body(k, *places)`` for every pixel and vector: k counts by ``packed`` vectors; places move by ``steps`` a pixel."""
    b, zero, lanes = write.builder, write.index(0), write.index(write.lanes)
    last = b.sub(channels, lanes)
    entry = b.block
    over_pixels, over_vectors, next_pixel, done = (write.block(name) for name in ("pixel", "vector", "next", "done"))
    b.cbranch(b.icmp_signed(">", count, zero), over_pixels, done)
    b.position_at_end(over_pixels)
    pixel, *places = (write.phi(zero, entry) for _ in range(1 + len(steps)))
    b.branch(over_vectors)
    b.position_at_end(over_vectors)
    c, k = write.phi(zero, over_pixels), write.phi(zero, over_pixels)
    body(k, *(b.add(place, c) for place in places))
    following = b.add(c, lanes)
    c.add_incoming(b.select(b.icmp_signed(">", following, last), last, following), b.block)
    k.add_incoming(b.add(k, write.index(packed * write.lanes)), b.block)
    b.cbranch(b.icmp_signed("<", c, last), over_vectors, next_pixel)
    b.position_at_end(next_pixel)
    pixel_next = b.add(pixel, write.index(1))
    pixel.add_incoming(pixel_next, next_pixel)
    for place, step in zip(places, steps, strict=True):
        place.add_incoming(b.add(place, step), next_pixel)
    b.cbranch(b.icmp_signed("<", pixel_next, count), over_pixels, done)
    b.position_at_end(done)
    b.ret_void()


def _pixels(write: Writer, start: Any, channels: Any, count: int) -> list[Any]:
    """Return the places of so many pixels, one after the other."""
    made = [start]
    for _ in range(count - 1):
        made.append(write.builder.add(made[-1], channels))
    return made


def _write_slide(module: Any, name: str, lanes: int, rows: int, stride: int, columns: tuple[int, int]) -> Any:
    """Return the LLVM function of ``_slide_py``."""
    write = Writer(module, name, lanes, "nnnplppfpn")
    count, channels, step, flat, lines, zeros, factors, floor, out, o_row = write.function.args
    used, b = (rows - 1) * stride + 3, write.builder
    sources, least = write.lines(flat, lines, used, zeros), write.spread(floor)
    targets = write.rows(out, o_row, rows)

    def body(k: Any, read: Any, written: Any) -> None:
        own = write.at(factors, k)
        begin = write.load(write.at(own, 9 * lanes))
        # Of several rows, sums do not wait for each other. One row has three sums, one for each row of the kernel.
        totals: list[list[Any]] = [[begin] if rows > 1 else [begin, None, None] for _ in range(rows)]
        places = _pixels(write, read, channels, 3)
        for kx in range(columns[0], columns[1] + 1):
            weights = [write.load(write.at(own, (3 * ky + kx) * lanes)) for ky in range(3)]
            for line in range(used):
                value = write.load(write.at(sources[line], places[kx]))
                for r in range(rows):
                    ky = line - r * stride
                    if 0 <= ky < 3:
                        part = ky % len(totals[r])
                        totals[r][part] = write.plus(totals[r][part], value, weights[ky])
        for parts, target in zip(totals, targets, strict=True):
            total = parts[0]
            for part in parts[1:]:
                total = b.fadd(total, part)
            write.store(write.least(total, least), write.at(target, written))

    _over(write, count, channels, [step, channels], 10, body)
    return write.function


def _write_spread(module: Any, name: str, lanes: int, right: int, second: int) -> Any:
    """Return the LLVM function of ``_spread_py``."""
    write = Writer(module, name, lanes, "nnplpppp")
    b = write.builder
    count, channels, flat, lines, zeros, factors, upper, lower = write.function.args
    sources = write.lines(flat, lines, 2, zeros)
    # Of a square's pixels: where they go, and which places of the kernel meet which of the four gradients (row, column).
    square = [(upper, 0, [(4, 0, 0)]), (upper, 1, [(5, 0, 0), (3, 0, 1)]), (lower, 0, [(7, 0, 0), (1, 1, 0)])]
    square.append((lower, 1, [(8, 0, 0), (6, 0, 1), (2, 1, 0), (0, 1, 1)]))

    def body(k: Any, read: Any, written: Any) -> None:
        own, places, pixels = (
            write.at(factors, k),
            _pixels(write, read, channels, 2),
            _pixels(write, written, channels, 2),
        )
        grads = {(dy, dx): write.load(write.at(sources[dy], places[dx])) for dy in (0, 1) for dx in range(1 + right)}
        for target, column, products in square:
            if column <= second:
                total = None
                for t, dy, dx in products:
                    if dx <= right:
                        total = write.plus(total, grads[dy, dx], write.load(write.at(own, t * lanes)))
                write.store(total, write.at(target, pixels[column]))

    _over(write, count, channels, [channels, b.mul(channels, write.index(2))], 10, body)
    return write.function


def _write_meet(
    module: Any, name: str, lanes: int, rows: int, pixels: int, stride: int, columns: tuple[int, int]
) -> Any:
    """Return the LLVM function of ``_meet_py``."""
    write = Writer(module, name, lanes, "nnnplppnp")
    count, channels, step, flat, lines, zeros, grads, g_row, sums = write.function.args
    sources = write.lines(flat, lines, (rows - 1) * stride + 3, zeros)
    targets = write.rows(grads, g_row, rows)
    kernel_columns = range(columns[0], columns[1] + 1)

    def body(k: Any, read: Any, grad: Any) -> None:
        own = write.at(sums, k)
        places = _pixels(write, grad, channels, pixels)
        values = [[write.load(write.at(target, place)) for place in places] for target in targets]
        kept = {(ky, kx): write.at(own, (3 * ky + kx) * lanes) for ky in range(3) for kx in kernel_columns}
        totals = {t: write.load(place) for t, place in kept.items()}
        for x, place in enumerate(_pixels(write, read, channels, (pixels - 1) * stride + 3)):
            across = [(kx, i) for kx in kernel_columns for i in range(pixels) if i * stride + kx == x]
            for y, source in enumerate(sources):
                down = [(ky, r) for ky in range(3) for r in range(rows) if r * stride + ky == y]
                if across and down:
                    value = write.load(write.at(source, place))
                    for (ky, r), (kx, i) in itertools.product(down, across):
                        totals[ky, kx] = write.plus(totals[ky, kx], value, values[r][i])
        for t, place in kept.items():
            write.store(totals[t], place)

    _over(write, count, channels, [step, write.builder.mul(channels, write.index(pixels))], 9, body)
    return write.function


def _compiled() -> tuple[Any, Any, Any]:
    """Return the three loops as Numba functions: their first arguments choose one of the functions written for them."""
    from numba import njit, types
    from numba.extending import intrinsic

    # At the ends of a row, and of few channels, one row at a time will do: fewer functions, fewer seconds to compile them.
    slides, meets = {}, {}
    for lanes, edge in itertools.product(VECTORS, range(4)):
        number = 10000 * lanes + 1010 + edge
        slides[number], meets[number + 100] = (
            (_write_slide, lanes, 1, 1, COLUMNS[edge]),
            (_write_meet, lanes, 1, 1, 1, COLUMNS[edge]),
        )
    for stride in (1, 2):
        number = 10000 * VECTORS[0] + 1000 * MANY + 10 * stride
        slides[number] = _write_slide, VECTORS[0], MANY, stride, COLUMNS[0]
        for pixels in AT_ONCE:
            meets[number + 100 * pixels] = _write_meet, VECTORS[0], MANY, pixels, stride, COLUMNS[0]
    squares = itertools.product(VECTORS, ((1, 1), (0, 1), (0, 0)))
    spreads = {10000 * n + 10 * right + second: (_write_spread, n, right, second) for n, (right, second) in squares}
    n = types.int64

    @intrinsic
    def slide_of(typingctx, number, count, channels, step, flat, x, lines, zeros, factors, floor, out, o0, o_row):
        generate = chosen(slides, "pixels_slide", [1, 2, 3, (4, 5), (6,), (7,), (8,), 9, (10, 11), 12])
        return types.void(n, n, n, n, flat, n, lines, zeros, factors, types.float32, out, n, n), generate

    @intrinsic
    def spread_of(typingctx, number, count, channels, flat, x, lines, zeros, factors, out, o0, o1):
        generate = chosen(spreads, "pixels_spread", [1, 2, (3, 4), (5,), (6,), (7,), (8, 9), (8, 10)])
        return types.void(n, n, n, flat, n, lines, zeros, factors, out, n, n), generate

    @intrinsic
    def meet_of(typingctx, number, count, channels, step, flat, x, lines, zeros, grads, g0, g_row, sums):
        generate = chosen(meets, "pixels_meet", [1, 2, 3, (4, 5), (6,), (7,), (8, 9), 10, (11,)])
        return types.void(n, n, n, n, flat, n, lines, zeros, grads, n, n, sums), generate

    call_slide: Any = slide_of
    call_spread: Any = spread_of
    call_meet: Any = meet_of

    def slide(lanes, rows, stride, columns, count, channels, flat, lines, zeros, x0, factors, floor, out, o0, o_row):
        number = 10000 * lanes + 1000 * rows + 10 * (stride if rows > 1 else 1) + columns
        call_slide(
            number,
            count,
            channels,
            stride * channels,
            flat,
            x0 * channels,
            lines,
            zeros,
            factors,
            floor,
            out,
            o0,
            o_row,
        )

    def spread(lanes, right, second, count, channels, flat, lines, zeros, x0, factors, out, o0, o1):
        number = 10000 * lanes + 10 * right + second
        call_spread(number, count, channels, flat, x0 * channels, lines, zeros, factors, out, o0, o1)

    def meet(lanes, rows, pixels, stride, columns, count, channels, flat, lines, zeros, x0, grads, g0, g_row, sums):
        number = 10000 * lanes + 1000 * rows + 100 * pixels + 10 * (stride if rows > 1 else 1) + columns
        step = pixels * stride * channels
        call_meet(number, count, channels, step, flat, x0 * channels, lines, zeros, grads, g0, g_row, sums)

    made = njit(nogil=True)
    return made(slide), made(spread), made(meet)


slide, spread, meet = (
    (_slide_py, _spread_py, _meet_py) if numba.config.DISABLE_JIT else _compiled()  # type: ignore[attr-defined]
)
