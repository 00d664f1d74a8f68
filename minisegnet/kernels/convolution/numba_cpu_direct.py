"""Any convolution as matrix products that never build their matrix: implicit GEMM (Chetlur et al., 2014, section 3).

Under channels-last memory, the C numbers of a pixel lie side by side. So do, for each place under the kernel, the numbers
that neighbouring output pixels read: rows of numbers, a fixed distance (the stride) apart. Sixteen output channels of packed
weights make the other factor, and ``multiply_rows`` adds up products over all places and channels without leaving the
registers. A place under the kernel is only a *jump* in memory: size, stride and dilation change the jumps, not the loop.

    out[y, x, o] = bias[o] + sum over places t, channels c of padded[y s + dy[t], x s + dx[t], c] * weight[t, c, o]

The gradient of the input is the same with the roles exchanged: for a stride s, the input's pixels fall into s x s phases by
their remainders, and each phase meets its own subset of the places (no zeros are inserted, no products wasted). That is the
transposed convolution too. The gradient of the weight is in ``numba_cpu_direct_weight.py``.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from ...arrays import channels_first, channels_last
from ...shapes import Size, conv_output_size
from ..buffers import empty
from .numba_cpu_band import copy_band
from .numba_cpu_direct_weight import conv2d_grad_weight as conv2d_grad_weight
from .numba_cpu_tile import COLUMNS, LANES, multiply_rows

OPTIONS: Any = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
PIXELS = 96  # about how many output pixels share one reading of the weights
DEPTH = 256  # about how many products follow one another: so much of the weights stays in the first-level cache
BAND = (
    2**16
)  # bytes of an image that a band has where it is copied, and of its results: they stay in the second-level cache
TASKS = 16  # at least so many pieces of work, where there are enough
f32 = np.float32


class Phase(NamedTuple):
    """Output pixels (y0 + step m, x0 + step q), m and q counting from 0 to ``size``, and the places they read."""

    start: Size
    size: Size
    rows: list[tuple[int, int]]  # (place under the kernel, offset in the image) along the height
    columns: list[tuple[int, int]]  # and along the width


class Weights(NamedTuple):
    """Where the numbers of a weight lie in memory."""

    groups: int
    columns: np.ndarray  # for each output channel of a group, where its numbers begin
    channel_step: int  # from one input channel to the next
    group_step: int


def conv2d(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
    floor: float = -math.inf,
) -> np.ndarray:
    """Return the convolution (N, O, OH, OW), float32; numbers below ``floor`` become it: 0 makes a ReLU. A NaN stays one."""
    outputs, channels, height, width = weight.shape
    size = conv_output_size(input.shape[2:], (height, width), stride, padding, dilation)
    phase = Phase(
        (0, 0),
        size,
        [(k, k * dilation[0] - padding[0]) for k in range(height)],
        [(k, k * dilation[1] - padding[1]) for k in range(width)],
    )
    out, taps = empty((len(input), *size, outputs), f32), height * width
    columns = np.arange(outputs // groups) * (channels * taps)
    layout = Weights(groups, columns, taps, outputs // groups * channels * taps)
    start = np.zeros(outputs, f32) if bias is None else bias
    _run([phase], input, weight, layout, start, stride, (1, 1), floor, out)
    return channels_first(out)


def conv2d_grad_input(
    grad_output: np.ndarray,
    weight: np.ndarray,
    input_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the gradient (N, C, H, W) of the input, which is the transposed convolution of ``grad_output``."""
    outputs, channels, height, width = weight.shape
    taps, total = height * width, channels * groups
    out = empty((len(grad_output), *input_size, total), f32)

    def places(y0: int, axis: int, kernel: int) -> list[tuple[int, int]]:
        """Input pixel y0 + s m was read by output pixel m + (y0 + p - d k) / s at place k, where that is whole."""
        from_here = [(k, y0 + padding[axis] - dilation[axis] * k) for k in range(kernel)]
        return sorted(((k, n // stride[axis]) for k, n in from_here if n % stride[axis] == 0), key=lambda pair: pair[1])

    def along(axis: int, kernel: int) -> list[tuple[int, int, list[tuple[int, int]]]]:
        n, s = input_size[axis], stride[axis]
        return [(y, -(-(n - y) // s), places(y, axis, kernel)) for y in range(min(s, n))]

    rows, columns = along(0, height), along(1, width)
    starts, write, view = np.arange(channels) * taps, stride, out
    alike = all([m for _, m in at] == [m for _, m in columns[0][2]] for _, _, at in columns)
    if groups == 1 and 1 < stride[1] == len(columns) and input_size[1] % stride[1] == 0 and alike and columns[0][2]:
        # neighbours along the width read the same pixels: they are so many more channels of one pixel, as in any 2x2 up-convolution
        starts = np.concatenate([starts + (at[0][0] - columns[0][2][0][0]) for _, _, at in columns])
        view = out.reshape(len(out), input_size[0], -1, total * stride[1])
        columns, write = columns[:1], (stride[0], 1)
    phases = [Phase((y, x), (m, q), ys, xs) for y, m, ys in rows for x, q, xs in columns]
    layout = Weights(groups, starts, channels * taps, outputs // groups * channels * taps)
    _run(phases, grad_output, weight, layout, np.zeros(view.shape[3], f32), (1, 1), write, -math.inf, view)
    return channels_first(out)


def _run(
    phases: list[Phase],
    image: np.ndarray,
    weight: np.ndarray,
    layout: Weights,
    bias: np.ndarray,
    read: Size,
    write: Size,
    floor: float,
    out: np.ndarray,
) -> None:
    """Compute all phases of ``out`` (N, H, W, channels) from ``image`` (N, channels, ...).

    ``read`` and ``write``: from one pixel of a phase to the next, in the image and in the result.
    """
    working = [p for p in phases if p.rows and p.columns and min(p.size) > 0]
    if len(working) < len(phases):
        out[:] = 0  # pixels that no kernel meets, between stamps that are further apart than they are wide
    if not working or out.size == 0:
        return
    x, groups, outputs = channels_last(image), layout.groups, len(layout.columns)
    _, height, width, total = x.shape
    channels = total // groups
    padded = -(-outputs // LANES) * LANES if (outputs - 1) % COLUMNS < LANES else -(-outputs // COLUMNS) * COLUMNS
    start = np.zeros((groups, padded), f32)
    start[:, :outputs] = bias.reshape(groups, outputs)

    offsets = [[np.array([m for _, m in axis]) for axis in (p.rows, p.columns)] for p in working]
    lowest, highest = ([int(f([f(o[axis]) for o in offsets])) for axis in (0, 1)] for f in (np.min, np.max))
    reach = [b - a + 1 for a, b in zip(lowest, highest, strict=True)]  # what one pixel of all phases reads
    most = [max(p.size[axis] for p in working) for axis in (0, 1)]
    spans = [(n - 1) * r + k for n, r, k in zip(most, read, reach, strict=True)]  # what all of them read
    inside = min(lowest) >= 0 and lowest[0] + spans[0] <= height and lowest[1] + spans[1] <= width
    row = width if inside else spans[1]

    places: list[int] = []
    jumps: list[np.ndarray] = []
    table: list[list[int]] = []
    for p, (ys, xs) in zip(working, offsets, strict=True):
        here = [ky * weight.shape[3] + kx for ky, _ in p.rows for kx, _ in p.columns]
        down, across, depth = (ys - lowest[0]) * row * total, (xs - lowest[1]) * total, channels
        if groups == 1 and total < 64 and (np.diff(xs) == 1).all():
            down, across, depth = (
                down + across[0],
                across[:1] * 0,
                len(xs) * total,
            )  # neighbours in memory: one long run
        elif depth > DEPTH and depth % DEPTH == 0:
            across, depth = (across[:, None] + np.arange(0, depth, DEPTH)).reshape(-1), DEPTH
        runs = (down[:, None] + across).reshape(-1)
        table.append([*p.start, *p.size, sum(len(j) for j in jumps), len(runs), depth, len(places), len(here)])
        places += here
        jumps.append(runs)
    panels = empty((groups * padded * len(places) * channels,), f32)
    phase_table = np.array(table, np.int64)
    _pack(
        np.ascontiguousarray(weight).reshape(-1), layout.columns, layout.channel_step, layout.group_step,
        np.array(places, np.int64), phase_table, channels, padded, panels.reshape(groups, -1),
    )  # fmt: skip

    around, size = (0, 0) if inside else (reach[0], spans[1]), tuple(most)
    if len(places) == 1 and read == write == (1, 1) and (height, width) == size == out.shape[1:3] and inside:
        x, out = (
            x.reshape(1, 1, -1, total),
            out.reshape(1, 1, -1, out.shape[3]),
        )  # all pixels of all images are one long row
        size = (1, x.shape[2])
        phase_table[0, 2:4] = size
    band, chunk = max(1, PIXELS // size[1]), size[1]
    if size[0] == 1 and inside:
        band, chunk = 1, PIXELS
    elif not inside:  # a band is copied: the rows around it are copied twice, so it had better be high
        fitting = BAND // (4 * max(read[0] * row * total, write[0] * out.shape[2] * out.shape[3]))
        band = max(1, 4 * PIXELS // size[1], min(fitting, len(x) * size[0] // TASKS))
    jobs = len(x) * -(-size[0] // band) * -(-size[1] // chunk)
    parts = 1 if jobs >= TASKS else min(len(table) * groups * -(-outputs // COLUMNS), -(-TASKS // jobs))
    _multiply(
        x, panels, start, np.concatenate(jumps).astype(np.int64), phase_table, read, write, (lowest[0], lowest[1]), around,
        (band, chunk), size, parts, f32(floor if parts == 1 else -math.inf), out,
    )  # fmt: skip
    if parts > 1 and floor > -math.inf:
        np.maximum(out, f32(floor), out=out)


@njit(**OPTIONS)
def _pack(flat, columns, channel_step, group_step, places, table, channels, padded, panels):
    """Write weights as (groups, phases, O / 16, places, C, 16), zeros beyond O: what ``multiply_rows`` reads.

    Up to eight columns that remain after the sixteens are eight wide.
    """
    groups, outputs = len(panels), len(columns)
    blocks, parts = (outputs + 15) // 16, (channels + 15) // 16
    for job in prange(groups * blocks * parts):
        panel = np.int64(job) // parts
        group = panel // blocks
        block = panel - group * blocks
        first = (np.int64(job) - panel * parts) * 16
        last = min(first + 16, channels)
        lanes, wide = min(16, outputs - block * 16), min(16, padded - block * 16)
        target = panels[group]
        for phase in range(len(table)):
            t0, taps = table[phase, 7], table[phase, 8]
            for t in range(taps):
                place = (t0 * padded + block * 16 * taps + t * wide) * channels
                for c in range(first, last):
                    source = group * group_step + c * channel_step + places[t0 + t]
                    for lane in range(lanes):
                        target[place + c * wide + lane] = flat[source + columns[block * 16 + lane]]
                    for lane in range(lanes, wide):
                        target[place + c * wide + lane] = f32(0)


@njit(**OPTIONS)
def _multiply(x, panels, start, jumps, table, read, write, corner, around, amount, size, parts, floor, out):
    """Compute the pixels of all phases, in bands of rows, each against all packed weights.

    Where kernels reach over the border (``around``: the rows that one pixel reads, and the columns that all read), a band is
    first copied, with zeros around it. ``amount``: how many rows and columns a band has.
    """
    images, height, width, channels = x.shape
    out_height, out_width, out_channels = out.shape[1], out.shape[2], out.shape[3]
    groups, padded = start.shape
    outputs, group_channels, blocks = out_channels // groups, channels // groups, (padded + 15) // 16
    flat_x, flat_start, flat_out = x.reshape(-1), start.reshape(-1), out.reshape(-1)
    group_panels = len(panels) // groups
    band, chunk = amount
    chunks, bands = (size[1] + chunk - 1) // chunk, (size[0] + band - 1) // band
    jobs, panels_all = images * bands * chunks, len(table) * groups * blocks
    for number in prange(jobs * parts):
        part = np.int64(number) // jobs
        job = np.int64(number) - part * jobs
        image = job // (bands * chunks)
        rest = job - image * bands * chunks
        top = rest // chunks * band
        left = (rest - rest // chunks * chunks) * chunk
        if around[0] > 0:
            rows, row = (min(band, size[0] - top) - 1) * read[0] + around[0], around[1]
            source, origin = np.empty(rows * row * channels, np.float32), 0
            copy_band(flat_x, image, height, width, channels, top * read[0] + corner[0], corner[1], rows, row, source)
        else:
            row, source = width, flat_x
            origin = ((image * height + top * read[0] + corner[0]) * width + corner[1]) * channels
        some_sums = np.empty(0 if outputs == padded else band * chunk * 16 + 16, np.float32)
        for panel in range(part * panels_all // parts, (part + 1) * panels_all // parts):
            phase = panel // (groups * blocks)
            group = (panel - phase * groups * blocks) // blocks
            block = panel - (phase * groups + group) * blocks
            y0, x0, down, across = table[phase, 0], table[phase, 1], table[phase, 2], table[phase, 3]
            j0, taps, depth = table[phase, 4], table[phase, 5], table[phase, 6]
            place, places = table[phase, 7], table[phase, 8]
            wide, lanes = min(16, padded - block * 16), min(16, outputs - block * 16)
            rows_here, count = min(band, down - top), min(chunk, across - left)
            first = group * group_panels + (place * padded + block * 16 * places) * group_channels
            at_once = max(1, 256 * 16 // (depth * wide)) if lanes == wide else taps
            if count > 0:
                for t in range(0, taps, at_once):
                    for m in range(rows_here):
                        a0 = origin + (m * read[0] * row + left * read[1]) * channels + group * group_channels
                        line = (image * out_height + y0 + (top + m) * write[0]) * out_width + x0 + left * write[1]
                        if lanes == wide:
                            c, c0, c_row = (
                                flat_out,
                                line * out_channels + group * outputs + block * 16,
                                write[1] * out_channels,
                            )
                        else:
                            # what is written beyond a pixel's last channel is the next pixel's, which is written afterwards
                            c, c0, c_row = some_sums, m * count * lanes, lanes
                        if t == 0:
                            s, s0, s_row = flat_start, group * padded + block * 16, 0
                        else:
                            s, s0, s_row = c, c0, c_row
                        multiply_rows(
                            count, wide, source, a0, read[1] * channels, 1, jumps, j0 + t, min(at_once, taps - t), depth,
                            panels, first + t * depth * wide, wide, s, s0, s_row, c, c0, c_row,
                        )  # fmt: skip
                if lanes < wide:
                    for m in range(rows_here):
                        line = (image * out_height + y0 + (top + m) * write[0]) * out_width + x0 + left * write[1]
                        values = some_sums[m * count * lanes : (m + 1) * count * lanes]
                        if lanes == out_channels and write[1] == 1:
                            pixels = flat_out[line * lanes : (line + count) * lanes]
                            for i in range(len(values)):
                                pixels[i] = values[i]
                        else:
                            for q in range(count):
                                c0 = (line + q * write[1]) * out_channels + group * outputs + block * 16
                                for j in range(lanes):
                                    flat_out[c0 + j] = values[q * lanes + j]
        if floor > -np.inf:
            for m in range(min(band, size[0] - top)):
                first = ((image * out_height + top + m) * out_width + left) * out_channels
                pixels = flat_out[first : first + min(chunk, size[1] - left) * out_channels]
                for i in range(len(pixels)):
                    value = pixels[i]
                    pixels[i] = floor if value <= floor else value
