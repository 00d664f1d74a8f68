"""Winograd's convolution for strides: a strided convolution is a sum of ordinary ones, with smaller kernels, on coarser grids.

Along an axis with stride 2, output m reads the pixels 2 m + k - p. Those of them with even numbers are an image of half the size,
a *phase*, and so are those with odd ones: of a 4-tap kernel each phase meets two taps, of a 3-tap kernel one and two. In two
dimensions an image has four phases, and the strided convolution is the sum of theirs; the gradient of its input (a transposed
convolution, or "up-convolution") writes each phase by a convolution of its own. Each of these has a kernel within 3x3, so
Winograd's F(4x4, 3x3) serves it (``numba_cpu_winograd.py``), and where a tap is missing so are products:

    taps of a phase, of the three that the matrices know      0 1 2    0 1    1 2     1
    points at which its transformed kernel is not zero          6       5      5      4

A 3x3 kernel with stride 2 takes (4 + 5)^2 = 81 products for sixteen outputs instead of 144, a 4x4 kernel 100 instead of 256.
Where no phase has a third tap, the tiles are 5x5 pixels and points, the larger matrices without a row and a column.

Nothing is taken apart in memory: as with dilated kernels, a tile's pixels are ``stride`` apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange

from ...arrays import channels_first
from ...shapes import Size, conv_output_size
from ..buffers import empty
from ..numba_cpu_layout import channels_last
from .numba_cpu_linear_map import square_map
from .numba_cpu_tile import COLUMNS
from .numba_cpu_winograd_phases import ADD, ZERO, Plan, plan
from .numba_cpu_winograd_product import BLOCK
from .numba_cpu_winograd_tiles import (
    INPUT,
    LINE,
    OUTPUT,
    gradient_tile,
    input_tile,
    multiply_panels,
    output_tile,
    pixels_of,
    place_of,
    starts,
    store_inside,
    transform_sums,
    transform_weights,
)

SERIAL: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
OPTIONS: dict[str, Any] = {"parallel": True, **SERIAL}
PART = 2**18  # bytes of transformed tiles that a thread works on at a time
SHARED = 2**21  # and that all threads share where sums over tiles are taken
f32 = np.float32


def conv2d(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
    floor: float = -np.inf,
) -> np.ndarray:
    """Return the convolution (N, O, OH, OW), not below ``floor``; dilation and groups 1, float32."""
    here = plan("conv2d", weight.shape[2:], stride, padding)
    size = conv_output_size(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    start = np.zeros(len(weight), f32) if bias is None else bias
    reads = _phases(stride) + np.multiply(here.begin, stride)
    return _convolve(input, weight, here, True, start, size, size, reads, stride, _phases((1, 1)), (1, 1), floor)


def conv2d_grad_input(
    grad_output: np.ndarray,
    weight: np.ndarray,
    input_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the gradient (N, C, H, W) of the input."""
    here = plan("conv2d_grad_input", weight.shape[2:], stride, padding)
    start, size = np.zeros(weight.shape[1], f32), (input_size[0], input_size[1])
    coarse = -(-size[0] // stride[0]), -(-size[1] // stride[1])
    reads = np.array([here.begin])
    return _convolve(grad_output, weight, here, False, start, size, coarse, reads, (1, 1), _phases(stride), stride)


def conv2d_grad_weight(
    grad_output: np.ndarray,
    input: np.ndarray,
    kernel_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the gradient (O, C, KH, KW) of the weight."""
    here = plan("conv2d_grad_weight", (kernel_size[0], kernel_size[1]), stride, padding)
    x, gy = channels_last(input), channels_last(grad_output)
    channels, outputs, phases = x.shape[3], gy.shape[3], len(here.used)
    # A product writes whole blocks of rows: beyond its last there must be none that another product adds to.
    padded, room = _room(outputs, COLUMNS), max(channels, BLOCK)
    grad_weight = empty((outputs, channels, *kernel_size), f32)
    grad_weight[:] = 0
    ys, xs = starts(gy.shape[1], 1), starts(gy.shape[2], 1)
    tiles, per_tile = len(x) * len(ys) * len(xs), len(here.points) * 4 * (phases * room + padded)
    if not tiles:
        return grad_weight
    at_once = min(tiles, max(SHARED // per_tile, BLOCK))
    v = empty((len(here.points) * (at_once * phases * room + LINE),), f32)
    u = empty((len(here.points) * (at_once * padded + LINE),), f32)
    if outputs % COLUMNS:
        u[:] = 0  # the columns beyond the last channel are multiplied as well
    if room > channels:
        v[:] = 0  # and so are the rows
    sums = empty((36, phases * room + BLOCK, padded), f32)
    sums[:] = 0
    reads = _phases(stride) + np.multiply(here.begin, stride)
    jobs = [
        (point, c, min(BLOCK, (first + many) * room - c))
        for point, first, many, what in here.runs
        if what != ZERO
        for c in range(first * room, (first + many) * room, BLOCK)
    ]
    _sum_tiles(
        x.reshape(-1), x.shape, gy.reshape(-1), gy.shape, here.kind, reads, stride, ys, xs,
        here.points, np.array(jobs), room, at_once, v, u, sums,
    )  # fmt: skip
    _weight_from_sums(sums, room, here.taps, grad_weight)
    return grad_weight


def _room(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _phases(stride: Size) -> np.ndarray:
    """Return where each phase begins: (phases, 2)."""
    return np.array([(a, b) for a in range(stride[0]) for b in range(stride[1])])


def _convolve(
    input: np.ndarray,
    weight: np.ndarray,
    here: Plan,
    forward: bool,
    start: np.ndarray,
    size: Size,
    coarse: Size,
    reads: np.ndarray,
    read_step: Size,
    writes: np.ndarray,
    write_step: Size,
    floor: float = -np.inf,
) -> np.ndarray:
    """Return (N, channels of start, *size): from every phase that is read to every one that is written, by tiles of ``coarse``."""
    x, given = channels_last(input), len(start)
    taken, block = x.shape[3], _room(given, COLUMNS)
    out = empty((len(x), *size, given), f32)
    ys, xs = starts(coarse[0], 1), starts(coarse[1], 1)
    tiles, depth, width = len(x) * len(ys) * len(xs), len(reads) * taken, len(writes) * block
    if not tiles:
        return channels_first(out)
    # the weights of all phases as those of one 3x3 kernel, (O, phases, C, 3, 3); then G w G^T of all
    channels = taken if forward else block
    spread = empty((weight.shape[0] * len(here.used) * channels * 9,), f32)
    _spread(np.ascontiguousarray(weight).reshape(-1), weight.shape[:2], weight[0, 0].size, here.taps, channels, spread)
    o_step, c_step = (depth * 9, 9) if forward else (9, width * 9)
    panels = empty((36 * (depth * width + LINE),), f32)
    transform_weights(spread, given if forward else width, depth, o_step, c_step, False, panels)
    per_tile = len(here.points) * 4 * (depth + width)
    at_once = _room(max(1, PART // per_tile - BLOCK // 2), BLOCK)
    groups = max(1, -(-tiles // (at_once * 4 * get_num_threads())))
    _convolve_tiles(
        x.reshape(-1), x.shape, out.reshape(-1), out.shape, here.kind, reads, read_step, writes, write_step,
        ys, xs, here.points, here.runs, panels, np.ascontiguousarray(start), f32(floor), block, at_once, groups,
    )  # fmt: skip
    return channels_first(out)


def _without(matrix: Any, rows: slice, columns: slice) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row[columns]) for row in matrix[rows])


FIRST, LAST, ALL = slice(0, 5), slice(1, 6), slice(None)
_input_first, _input_last = (square_map(_without(INPUT, points, points)) for points in (FIRST, LAST))
_output_first, _output_last = (square_map(_without(OUTPUT, ALL, points), finish=True) for points in (FIRST, LAST))
_gradient_first, _gradient_last = (
    square_map(tuple(zip(*_without(OUTPUT, ALL, points), strict=True))) for points in (FIRST, LAST)
)


@njit(**SERIAL)
def _read(kind, flat, shape, image, y, x, down, right, zeros, window, v, v0, step):
    """As ``input_tile``; of 5x5 pixels and points where ``kind`` says so."""
    if kind == 6:
        input_tile(flat, shape, image, y, x, down, right, zeros, window, v, v0, step)
        return
    channels, late = shape[3], 1 if kind == 4 else 0
    y, x = y + late * down, x + late * right
    first, row, column = pixels_of(flat, shape, image, y, x, down, right, 5, zeros, window)
    if late:
        if first >= 0:
            _input_last(channels, flat, first, row, column, v, v0, 5 * step, step)
        else:
            _input_last(channels, window, 0, row, column, v, v0, 5 * step, step)
    elif first >= 0:
        _input_first(channels, flat, first, row, column, v, v0, 5 * step, step)
    else:
        _input_first(channels, window, 0, row, column, v, v0, 5 * step, step)


@njit(**SERIAL)
def _write(kind, m, m0, step, bias, floor, window, flat, shape, image, y, x, down, right):
    """As ``output_tile``."""
    if kind == 6:
        output_tile(m, m0, step, bias, floor, window, flat, shape, image, y, x, down, right)
        return
    _, height, width, channels = shape
    place, row, column = ((image * height + y) * width + x) * channels, down * width * channels, right * channels
    if y + 3 * down < height and x + 3 * right < width:
        if kind == 4:
            _output_last(channels, m, m0, 5 * step, step, flat, place, row, column, bias, floor)
        else:
            _output_first(channels, m, m0, 5 * step, step, flat, place, row, column, bias, floor)
        return
    if kind == 4:
        _output_last(channels, m, m0, 5 * step, step, window, 0, 4 * channels, channels, bias, floor)
    else:
        _output_first(channels, m, m0, 5 * step, step, window, 0, 4 * channels, channels, bias, floor)
    store_inside(window, flat, shape, image, y, x, down, right)


@njit(**SERIAL)
def _read_gradient(kind, flat, shape, image, y, x, zeros, window, u, u0, block_step, step):
    """As ``gradient_tile``."""
    if kind == 6:
        gradient_tile(flat, shape, image, y, x, 1, 1, zeros, window, u, u0, block_step, step)
        return
    channels = shape[3]
    first, row, column = pixels_of(flat, shape, image, y, x, 1, 1, 4, zeros, window)
    for c in range(0, channels, 16):
        count, place = min(16, channels - c), u0 + c // 16 * block_step
        if kind == 4:
            if first >= 0:
                _gradient_last(count, flat, first + c, row, column, u, place, 5 * step, step)
            else:
                _gradient_last(count, window, c, row, column, u, place, 5 * step, step)
        elif first >= 0:
            _gradient_first(count, flat, first + c, row, column, u, place, 5 * step, step)
        else:
            _gradient_first(count, window, c, row, column, u, place, 5 * step, step)


@njit(**OPTIONS)
def _spread(weight, shape, taps_of_kernel, taps, channels, spread):
    """(O, C, KH, KW) into (O, phases, ``channels``, 3, 3), with zeros where a phase has no tap or there is no channel."""
    for output in prange(shape[0]):
        o = np.int64(output)
        for phase in range(len(taps)):
            for c in range(channels):
                source, target = (o * shape[1] + c) * taps_of_kernel, ((o * len(taps) + phase) * channels + c) * 9
                for k in range(9):
                    there = c < shape[1] and taps[phase, k] >= 0
                    spread[target + k] = weight[source + taps[phase, k]] if there else np.float32(0)


@njit(**OPTIONS)
def _convolve_tiles(
    x, x_shape, out, out_shape, kind, reads, read_step, writes, write_step,
    ys, xs, points, runs, panels, bias, floor, block, at_once, groups,
):  # fmt: skip
    """Transform, multiply and transform back, ``at_once`` tiles at a time, each thread its own ``groups`` of them.

    ``runs``: which products to take (``Plan``). ``block``: how many numbers a phase's outputs take.
    """
    channels, outputs, from_phases, to_phases = x_shape[3], out_shape[3], len(reads), len(writes)
    depth, width = from_phases * channels, to_phases * block
    tiles, v_row, m_row = x_shape[0] * len(ys) * len(xs), len(points) * depth + LINE, len(points) * width + LINE
    zeros, panel_step = np.zeros(channels, np.float32), depth * width + LINE
    for part in prange((tiles + at_once * groups - 1) // (at_once * groups)):
        begin = np.int64(part) * at_once * groups
        v, m = np.empty(at_once * v_row, np.float32), np.empty(at_once * m_row, np.float32)
        window = np.empty(36 * max(channels, outputs), np.float32)
        for first in range(begin, min(tiles, begin + at_once * groups), at_once):
            count = min(at_once, tiles - first)
            for t in range(count):
                image, y, xx = place_of(first + t, ys, xs)
                for p in range(from_phases):
                    yy, xxx, v0 = (
                        y * read_step[0] + reads[p, 0],
                        xx * read_step[1] + reads[p, 1],
                        t * v_row + p * channels,
                    )
                    _read(kind, x, x_shape, image, yy, xxx, read_step[0], read_step[1], zeros, window, v, v0, depth)
            for r in range(len(runs)):
                i, phase, many, what = runs[r, 0], runs[r, 1], runs[r, 2], runs[r, 3]
                p, q = (phase, 0) if from_phases > 1 else (0, phase)
                taken, given = (
                    (many * channels, outputs) if from_phases > 1 else (channels, (many - 1) * block + outputs)
                )
                m0, panel = i * width + q * block, points[i] * panel_step + q * block * depth + p * channels * 16
                if what == ZERO:
                    for t in range(count):
                        for c in range(m0 + t * m_row, m0 + t * m_row + given):
                            m[c] = np.float32(0)
                else:
                    multiply_panels(
                        what == ADD, count, v, i * depth + p * channels, v_row, 1, taken, given,
                        panels, panel, depth * 16, m, m0, m_row,
                    )  # fmt: skip
            for t in range(count):
                image, y, xx = place_of(first + t, ys, xs)
                for q in range(to_phases):
                    yy, xxx, m0 = (
                        y * write_step[0] + writes[q, 0],
                        xx * write_step[1] + writes[q, 1],
                        t * m_row + q * block,
                    )
                    _write(
                        kind, m, m0, width, bias, floor, window, out, out_shape, image, yy, xxx,
                        write_step[0], write_step[1],
                    )  # fmt: skip


@njit(**OPTIONS)
def _sum_tiles(
    x, x_shape, gy, gy_shape, kind, reads, read_step, ys, xs, points, jobs, room, at_once, v, u, sums
):  # fmt: skip
    """Add up (B^T d B) * (A dY A^T) over tiles: (36, phases x room, O). The threads share the transformed tiles.

    ``jobs``: number of a point, first row of ``sums`` there, rows. Rows of phases without products there may hold anything.
    """
    channels, outputs, padded = x_shape[3], gy_shape[3], sums.shape[2]
    depth, tiles = len(reads) * room, x_shape[0] * len(ys) * len(xs)
    v_step, u_step = at_once * depth + LINE, at_once * padded + LINE
    zeros = np.zeros(max(channels, outputs), np.float32)
    flat_sums = sums.reshape(-1)
    for first in range(0, tiles, at_once):
        count = min(at_once, tiles - first)
        for group in prange((count + 7) // 8):
            window = np.empty(36 * max(channels, outputs), np.float32)
            for t in range(np.int64(group) * 8, min(np.int64(group) * 8 + 8, count)):
                image, y, xx = place_of(first + t, ys, xs)
                for p in range(len(reads)):
                    yy, xxx, v0 = y * read_step[0] + reads[p, 0], xx * read_step[1] + reads[p, 1], t * depth + p * room
                    _read(kind, x, x_shape, image, yy, xxx, read_step[0], read_step[1], zeros, window, v, v0, v_step)
                _read_gradient(kind, gy, gy_shape, image, y, xx, zeros, window, u, t * 16, at_once * 16, u_step)
        for job in prange(len(jobs)):
            i, c, rows = jobs[job, 0], jobs[job, 1], jobs[job, 2]
            multiply_panels(
                True, rows, v, i * v_step + c, 1, depth, count, outputs,
                u, i * u_step, at_once * 16, flat_sums, (points[i] * sums.shape[1] + c) * padded, padded,
            )  # fmt: skip


@njit(**OPTIONS)
def _weight_from_sums(sums, room, taps, grad_weight):
    """G^T (.) G of each phase, whose taps go to their places under the kernel."""
    _, rows, padded = sums.shape
    outputs, channels, height, width = grad_weight.shape
    flat_sums, flat = sums.reshape(-1), grad_weight.reshape(-1)
    for channel in prange(channels):
        c, w = np.int64(channel), np.empty(9 * padded, np.float32)
        for p in range(len(taps)):
            source = (p * room + c) * padded
            transform_sums(padded, flat_sums, source, 6 * rows * padded, rows * padded, w, 0, 3 * padded, padded)
            for k in range(9):
                if taps[p, k] >= 0:
                    for o in range(outputs):
                        flat[(o * channels + c) * height * width + taps[p, k]] = w[k * padded + o]
