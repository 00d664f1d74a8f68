"""Any convolution as matrix products that never build their matrix: implicit GEMM (Chetlur et al., 2014, section 3).

Under channels-last memory, the C numbers of a pixel lie side by side. So do, for each place under the kernel, the numbers
that six neighbouring output pixels read: six rows, a fixed distance (the stride) apart. Sixteen output channels of packed
weights make the other factor, and ``multiply_tile`` adds up products over all places and channels without leaving the
registers. A place under the kernel is only a *jump* in memory: size, stride and dilation change the jumps, not the loop.

    out[y, x, o] = bias[o] + sum over places t, channels c of padded[y s + dy[t], x s + dx[t], c] * weight[t, c, o]

The gradient of the input is the same with the roles exchanged: for a stride s, the input's pixels fall into s x s phases by
their remainders, and each phase meets its own subset of the places (no zeros are inserted, no products wasted). That is the
transposed convolution too. The gradient of the weight sums over pixels instead of channels: again the same small product.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from ...arrays import channels_first
from ...shapes import Size, conv_output_size
from ..buffers import empty
from .numba_cpu_tile import COLUMNS, ROWS, multiply_tile

OPTIONS: Any = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
PIXELS = 96  # about how many output pixels share one reading of the weights
CHUNK = 2**19  # bytes of images that the gradient of the weight works on at a time: they stay in the cache
f32 = np.float32


class Phase(NamedTuple):
    """Output pixels (y0 + step m, x0 + step q), m and q counting from 0 to ``size``, and the places they read."""

    start: Size
    size: Size
    rows: list[tuple[int, int]]  # (place under the kernel, offset in the image) along the height
    columns: list[tuple[int, int]]  # and along the width


def conv2d(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the convolution (N, O, OH, OW), float32."""
    outputs, channels, height, width = weight.shape
    size = conv_output_size(input.shape[2:], (height, width), stride, padding, dilation)
    start = np.zeros(outputs, f32) if bias is None else bias
    out = empty((len(input), *size, outputs), f32)
    phase = Phase(
        (0, 0),
        size,
        [(k, k * dilation[0] - padding[0]) for k in range(height)],
        [(k, k * dilation[1] - padding[1]) for k in range(width)],
    )
    taps = height * width
    steps = outputs // groups, outputs // groups * channels * taps, channels * taps, taps
    _run([phase], input, weight, steps, start, stride, (1, 1), out)
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
    out = empty((len(grad_output), *input_size, channels * groups), f32)

    def places(y0: int, axis: int, kernel: int) -> list[tuple[int, int]]:
        """Input pixel y0 + s m was read by output pixel m + (y0 + p - d k) / s at place k, where that is whole."""
        from_here = [(k, y0 + padding[axis] - dilation[axis] * k) for k in range(kernel)]
        return sorted(((k, n // stride[axis]) for k, n in from_here if n % stride[axis] == 0), key=lambda pair: pair[1])

    phases = [
        Phase(
            (y, x),
            (-(-(input_size[0] - y) // stride[0]), -(-(input_size[1] - x) // stride[1])),
            places(y, 0, height),
            places(x, 1, width),
        )
        for y in range(min(stride[0], input_size[0]))
        for x in range(min(stride[1], input_size[1]))
    ]
    taps = height * width
    steps = channels, outputs // groups * channels * taps, taps, channels * taps
    _run(phases, grad_output, weight, steps, np.zeros(channels * groups, f32), (1, 1), stride, out)
    return channels_first(out)


def _run(
    phases: list[Phase],
    image: np.ndarray,
    weight: np.ndarray,
    steps: tuple[int, int, int, int],
    bias: np.ndarray,
    read: Size,
    write: Size,
    out: np.ndarray,
) -> None:
    """Compute all phases of ``out`` (N, H, W, channels) from ``image`` (N, channels, ...).

    ``steps``: how many output channels a group has, and, in the weight's memory, how far it is from one group to the next, from
    one output channel to the next and from one input channel to the next. ``read`` and ``write``: from one pixel of a phase to
    the next, in the image and in the result.
    """
    working = [p for p in phases if p.rows and p.columns and min(p.size) > 0]
    if len(working) < len(phases):
        out[:] = 0  # pixels that no kernel meets, between stamps that are further apart than they are wide
    if not working or out.size == 0:
        return
    before, after = [0, 0], [0, 0]
    for axis in (0, 1):
        for phase in working:
            offsets = [offset for _, offset in (phase.rows, phase.columns)[axis]]
            last = (phase.size[axis] - 1) * read[axis] + max(offsets)
            before[axis] = max(before[axis], -min(offsets))
            after[axis] = max(after[axis], last + 1 - image.shape[2 + axis])
    x = _padded(image, before, after)
    outputs, total, width = steps[0], x.shape[3], weight.shape[3]
    groups, blocks = out.shape[3] // outputs, -(-outputs // COLUMNS)
    flat_weight = np.ascontiguousarray(weight).reshape(-1)
    for phase in working:
        rows, columns = phase.rows, phase.columns
        places = np.array([ky * width + kx for ky, _ in rows for kx, _ in columns], np.int64)
        ys, xs = np.array([o for _, o in rows]) + before[0], np.array([o for _, o in columns]) + before[1]
        panels = empty((groups, blocks, len(places), total // groups, COLUMNS), f32)
        _pack(flat_weight, *steps, places, panels)
        if (
            groups == 1 and (np.diff(xs) == 1).all()
        ):  # neighbours under the kernel are neighbours in memory: one long run
            jumps = (ys * x.shape[2] + xs[0]) * total
            panels = panels.reshape(groups, blocks, len(ys), len(xs) * total, COLUMNS)
        else:
            jumps = ((ys[:, None] * x.shape[2] + xs) * total).reshape(-1)
        start = np.zeros((groups, panels.shape[1] * COLUMNS), f32)
        start[:, :outputs] = bias.reshape(groups, outputs)
        flat = len(working) == 1 and x.shape[1:3] == out.shape[1:3] == phase.size and len(rows) == len(columns) == 1
        if flat and read == write == (1, 1):  # 1x1: all pixels of all images are one long row
            pixels = len(x) * phase.size[0] * phase.size[1]
            source, target = x.reshape(1, 1, pixels, total), out.reshape(1, 1, pixels, -1)
            _multiply(source, panels, start, jumps.astype(np.int64), (0, 0), (1, pixels), read, write, PIXELS, target)
        else:
            chunk = phase.size[1]
            _multiply(x, panels, start, jumps.astype(np.int64), phase.start, phase.size, read, write, chunk, out)


def _padded(image: np.ndarray, before: list[int], after: list[int]) -> np.ndarray:
    """Return (N, H', W', C) contiguous, with so many zeros around; the image's own memory where nothing is to be added."""
    x = np.ascontiguousarray(image.transpose(0, 2, 3, 1))
    if max(*before, *after) <= 0:
        return x
    images, height, width, channels = x.shape
    top, left = max(before[0], 0), max(before[1], 0)
    padded = empty((images, top + height + max(after[0], 0), left + width + max(after[1], 0), channels), f32)
    _pad(x, top, left, padded)
    return padded


@njit(**OPTIONS)
def _pack(flat, outputs, group_step, o_step, c_step, places, panels):
    """Write weights as (groups, O / 16, places, C, 16), zeros beyond O: what ``multiply_tile`` reads."""
    groups, blocks, taps, channels = panels.shape[0], panels.shape[1], panels.shape[2], panels.shape[3]
    parts = (channels + 15) // 16
    for job in prange(groups * blocks * parts):
        panel = np.int64(job) // parts
        group = panel // blocks
        block = panel - group * blocks
        first = (np.int64(job) - panel * parts) * 16
        last = min(first + 16, channels)
        lanes = min(16, outputs - block * 16)
        for t in range(taps):
            panels[group, block, t, first:last, lanes:] = f32(0)
        outer, inner = (last - first, lanes) if o_step < c_step else (lanes, last - first)  # read along the memory
        for i in range(outer):
            for j in range(inner):
                c, lane = (first + i, j) if o_step < c_step else (first + j, i)
                place = group * group_step + (block * 16 + lane) * o_step + c * c_step
                for t in range(taps):
                    panels[group, block, t, c, lane] = flat[place + places[t]]


@njit(**OPTIONS)
def _pad(x, top, left, padded):
    """Copy images into the middle of larger ones, zeros around."""
    images, height, width, channels = x.shape
    rows = padded.shape[1]
    row_length, length = padded.shape[2] * channels, width * channels
    flat, target = x.reshape(-1), padded.reshape(-1)
    for job in prange(images * rows):
        image = job // rows
        y = job - image * rows - top
        line = target[job * row_length : (job + 1) * row_length]
        if y < 0 or y >= height:
            line[:] = f32(0)
        else:
            line[: left * channels] = f32(0)
            source = flat[(image * height + y) * length : (image * height + y + 1) * length]
            middle = line[left * channels : left * channels + length]
            for i in range(length):
                middle[i] = source[i]
            line[left * channels + length :] = f32(0)


@njit(**OPTIONS)
def _multiply(x, panels, start, jumps, first, size, read, write, chunk, out):
    """Compute the pixels of one phase, in bands of rows (or chunks of one row), each against all packed weights."""
    images, height, width, channels = x.shape
    groups, blocks, taps, depth = panels.shape[0], panels.shape[1], panels.shape[2], panels.shape[3]
    out_height, out_width, out_channels = out.shape[1], out.shape[2], out.shape[3]
    outputs = out_channels // groups
    group_channels = channels // groups
    flat_x, flat_panels, flat_start, flat_out = x.reshape(-1), panels.reshape(-1), start.reshape(-1), out.reshape(-1)
    chunks = (size[1] + chunk - 1) // chunk
    band = max(1, 96 // max(size[1], 1))
    bands = (size[0] + band - 1) // band
    jobs = images * bands * chunks
    parts = 1 if jobs >= 16 else min(groups * blocks, (16 + jobs - 1) // jobs)
    for job in prange(jobs * parts):
        part = job // jobs
        rest = job - part * jobs
        image = rest // (bands * chunks)
        rest -= image * bands * chunks
        band_index = rest // chunks
        left = (rest - band_index * chunks) * chunk
        count = min(chunk, size[1] - left)
        tiles = (count + 5) // 6
        base, longer = count // tiles, count - count // tiles * tiles
        tile = np.empty(6 * 16, np.float32)
        for panel in range(part * groups * blocks // parts, (part + 1) * groups * blocks // parts):
            group = panel // blocks
            block = panel - group * blocks
            columns = min(16, outputs - block * 16)
            for m in range(band_index * band, min((band_index + 1) * band, size[0])):
                q = left
                row = (image * height + m * read[0]) * width
                target = (image * out_height + first[0] + m * write[0]) * out_width + first[1]
                for i in range(tiles):
                    rows = base + 1 if i < longer else base
                    a0 = (row + q * read[1]) * channels + group * group_channels
                    c0 = (target + q * write[1]) * out_channels + group * outputs + block * 16
                    if columns == 16:
                        multiply_tile(
                            rows, flat_x, a0, read[1] * channels, 1, jumps, taps, depth, flat_panels,
                            panel * taps * depth * 16, flat_start, panel * 16, 0, flat_out, c0, write[1] * out_channels,
                        )  # fmt: skip
                    else:
                        multiply_tile(
                            rows, flat_x, a0, read[1] * channels, 1, jumps, taps, depth, flat_panels,
                            panel * taps * depth * 16, flat_start, panel * 16, 0, tile, 0, 16,
                        )  # fmt: skip
                        for r in range(rows):
                            for j in range(columns):
                                flat_out[c0 + r * write[1] * out_channels + j] = tile[r * 16 + j]
                    q += rows


def conv2d_grad_weight(
    grad_output: np.ndarray,
    input: np.ndarray,
    kernel_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the gradient (O, C / groups, KH, KW) of the weight: sums over all output pixels."""
    (height, width), (outputs, out_height, out_width) = kernel_size, grad_output.shape[1:]
    channels, group_outputs = input.shape[1] // groups, outputs // groups
    span = [
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip((out_height, out_width), stride, dilation, kernel_size, strict=True)
    ]
    after = [span[axis] - padding[axis] - input.shape[2 + axis] for axis in (0, 1)]
    x = _padded(input, list(padding), after)
    gy = np.ascontiguousarray(grad_output.transpose(0, 2, 3, 1))
    blocks = -(-group_outputs // COLUMNS)
    joined = (
        width if channels * groups <= 2 * ROWS and groups == 1 and dilation[1] == 1 else 1
    )  # few channels: tiles over (kx, c)
    pixel_bytes = 4 * (x.shape[3] * stride[0] * stride[1] + groups * blocks * COLUMNS)
    band = int(min(max(1, CHUNK // (pixel_bytes * max(out_width, 1))), max(out_height, 1)))
    sums = empty((groups, height, width // joined, joined * channels, blocks * COLUMNS), np.float64)  # a long sum
    sums[:] = 0
    if gy.size:
        steps = np.array([*stride, *dilation, band, joined], np.int64)
        row_tiles, span = -(-joined * channels // ROWS), (band - 1) * stride[0] + dilation[0] * (height - 1) + 1
        packed = empty((1 if joined > 1 else groups * row_tiles * span * x.shape[2] * ROWS,), f32)
        factors = empty((groups * blocks, band * out_width, COLUMNS), f32)
        _sum_pixels(x, gy, steps, packed, factors, sums)
    grad_weight = empty((outputs, channels, height, width), f32)
    _unpack(
        sums.reshape(groups, height * width, channels, -1), grad_weight.reshape(groups, group_outputs, channels, -1)
    )
    return grad_weight


@njit(**OPTIONS)
def _unpack(sums, grad_weight):
    """(groups, KH KW, C, O rounded up) of float64 into (groups, O, C, KH KW)."""
    groups, outputs, channels, taps = grad_weight.shape
    for job in prange(groups * outputs):
        group = np.int64(job) // outputs
        o = np.int64(job) - group * outputs
        for c in range(channels):
            for t in range(taps):
                grad_weight[group, o, c, t] = sums[group, t, c, o]


@njit(**OPTIONS)
def _sum_pixels(x, gy, steps, packed, factors, sums):
    """sums[g, ky, kx, c, o] += x[y s + d ky, x s + d kx, c] gy[y, x, o], one band of rows after the other."""
    images, padded_height, padded_width, channels = x.shape
    out_height, out_width, outputs = gy.shape[1], gy.shape[2], gy.shape[3]
    stride_y, stride_x, dilation_y, dilation_x, band, joined = steps
    groups, height, width, rows_all, padded = sums.shape
    blocks, group_outputs, group_channels = padded // 16, outputs // groups, channels // groups
    row_tiles = (rows_all + 5) // 6
    flat_sums = sums.reshape(-1)
    zeros = np.zeros(16, np.float32)
    short = max(1, 512 // out_width)  # rows in one running sum: longer ones round worse
    straight = joined > 1  # rows are neighbours in memory already
    span = (band - 1) * stride_y + dilation_y * (height - 1) + 1
    source = x.reshape(-1) if straight else packed
    flat_factors = factors.reshape(-1)
    jumps = np.empty(band, np.int64)
    pixel = channels if straight else 6
    for r in range(band):
        jumps[r] = r * stride_y * padded_width * pixel
    bands = (out_height + band - 1) // band
    for part in range(images * bands):
        image = part // bands
        top = (part - image * bands) * band
        count = min(band, out_height - top)
        for job in prange(count * out_width):  # sixteen output channels of a pixel side by side
            line = gy[image, top + job // out_width, job - job // out_width * out_width]
            for group in range(groups):
                for block in range(blocks):
                    target = factors[group * blocks + block, job]
                    for lane in range(16):
                        o = block * 16 + lane
                        target[lane] = line[group * group_outputs + o] if o < group_outputs else f32(0)
        if not straight:
            rows_here = (count - 1) * stride_y + dilation_y * (height - 1) + 1
            for job in prange(groups * row_tiles * rows_here):  # and six input channels
                panel = job // rows_here
                y = job - panel * rows_here
                group = panel // row_tiles
                c = group * group_channels + (panel - group * row_tiles) * 6
                few = min(6, (group + 1) * group_channels - c)
                place = (panel * span + y) * padded_width * 6
                for xx in range(padded_width):
                    line = x[image, top * stride_y + y, xx]
                    for r in range(few):
                        source[place + xx * 6 + r] = line[c + r]
        for job in prange(groups * height * width * row_tiles):
            row_tile = job % row_tiles
            rest = job // row_tiles
            kx = rest % width
            rest = rest // width
            ky = rest % height
            group = rest // height
            rows = min(6, rows_all - row_tile * 6)
            if straight:
                a0 = (
                    (image * padded_height + top * stride_y + ky * dilation_y) * padded_width
                ) * channels + row_tile * 6
            else:
                panel = group * row_tiles + row_tile
                a0 = ((panel * span + ky * dilation_y) * padded_width + kx * dilation_x) * 6
            here = (((group * height + ky) * width + kx) * rows_all + row_tile * 6) * padded
            tile = np.empty(6 * 16, np.float32)
            for y in range(0, count, short):
                for block in range(blocks):
                    multiply_tile(
                        rows, source, a0 + jumps[y], 1, stride_x * pixel, jumps, min(short, count - y), out_width, flat_factors,
                        (((group * blocks + block) * band + y) * out_width) * 16, zeros, 0, 0, tile, 0, 16,
                    )  # fmt: skip
                    for r in range(rows):
                        place = here + r * padded + block * 16
                        for j in range(16):
                            flat_sums[place + j] += tile[r * 16 + j]
