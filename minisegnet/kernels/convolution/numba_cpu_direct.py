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

from ...arrays import channels_first, channels_last
from ...shapes import Size, conv_output_size
from ..buffers import empty
from .numba_cpu_tile import COLUMNS, ROWS, multiply_tile

OPTIONS: Any = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
SERIAL: Any = OPTIONS | {"parallel": False}
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
    x = channels_last(image)
    _, height, width, total = x.shape
    outputs, kernel_width = steps[0], weight.shape[3]
    groups, blocks = out.shape[3] // outputs, -(-outputs // COLUMNS)
    flat_weight = np.ascontiguousarray(weight).reshape(-1)
    start = np.zeros((groups, blocks * COLUMNS), f32)
    start[:, :outputs] = bias.reshape(groups, outputs)
    for phase in working:
        places = np.array([ky * kernel_width + kx for ky, _ in phase.rows for kx, _ in phase.columns], np.int64)
        ys, xs = (np.array([offset for _, offset in axis]) for axis in (phase.rows, phase.columns))
        corner = int(ys.min()), int(xs.min())
        reach = [int(o.max()) - c + 1 for o, c in zip((ys, xs), corner, strict=True)]  # what one output pixel reads
        spans = [(n - 1) * r + k for n, r, k in zip(phase.size, read, reach, strict=True)]  # what all of them read
        inside = min(corner) >= 0 and corner[0] + spans[0] <= height and corner[1] + spans[1] <= width
        row = width if inside else spans[1]
        panels = empty((groups, blocks, len(places), total // groups, COLUMNS), f32)
        _pack(flat_weight, *steps, places, panels)
        if groups == 1 and (np.diff(xs) == 1).all():
            # neighbours under the kernel are neighbours in memory: one long run
            jumps = (ys - corner[0]) * row * total
            panels = panels.reshape(groups, blocks, len(ys), len(xs) * total, COLUMNS)
        else:
            jumps = (((ys - corner[0])[:, None] * row + xs - corner[1]) * total).reshape(-1)
        jumps = jumps.astype(np.int64)
        pointwise = len(places) == 1 and read == write == (1, 1) and (height, width) == phase.size == out.shape[1:3]
        if pointwise and inside:  # all pixels of all images are one long row
            pixels = len(x) * height * width
            source, target = x.reshape(1, 1, pixels, total), out.reshape(1, 1, pixels, -1)
            _multiply(source, panels, start, jumps, (0, 0), (1, pixels), read, write, (0, 0), (0, 0), PIXELS, target)
        else:
            around = (0, 0) if inside else (reach[0], spans[1])
            band = max(1, (PIXELS if inside else 4 * PIXELS) // phase.size[1])
            _multiply(x, panels, start, jumps, phase.start, phase.size, read, write, corner, around, band, out)


def _padded(x: np.ndarray, before: Size, after: list[int]) -> np.ndarray:
    """Return (N, H', W', C) with so many zeros around; the images' own memory where nothing is to be added."""
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


@njit(**SERIAL)
def _copy_band(flat_x, image, height, width, channels, first, corner, rows, columns, band):
    """Write ``rows`` x ``columns`` pixels into a band, from image row ``first`` + corner on, zeros beside the image."""
    left, right = max(-corner[1], 0), min(columns, width - corner[1])
    for r in range(rows):
        line = band[r * columns * channels : (r + 1) * columns * channels]
        y = first + corner[0] + r
        if y < 0 or y >= height or right <= left:
            line[:] = f32(0)
        else:
            line[: left * channels] = f32(0)
            begin = ((image * height + y) * width + left + corner[1]) * channels
            source, middle = flat_x[begin : begin + (right - left) * channels], line[left * channels :]
            for i in range(len(source)):
                middle[i] = source[i]
            line[right * channels :] = f32(0)


@njit(**OPTIONS)
def _multiply(x, panels, start, jumps, first, size, read, write, corner, around, amount, out):
    """Compute the pixels of one phase, in bands of ``amount`` rows, each against all packed weights.

    Where kernels reach over the border (``around``: the rows that one of them reads, and the columns that all read), a band is
    first copied, with zeros around it. A phase of a single row is cut into ``amount`` pixels at a time instead.
    """
    images, height, width, channels = x.shape
    groups, blocks, taps, depth = panels.shape[0], panels.shape[1], panels.shape[2], panels.shape[3]
    out_height, out_width, out_channels = out.shape[1], out.shape[2], out.shape[3]
    outputs, group_channels = out_channels // groups, channels // groups
    flat_x, flat_panels, flat_start, flat_out = x.reshape(-1), panels.reshape(-1), start.reshape(-1), out.reshape(-1)
    chunk, band = (amount, 1) if size[0] == 1 and around[0] == 0 else (size[1], amount)
    chunks, bands = (size[1] + chunk - 1) // chunk, (size[0] + band - 1) // band
    jobs = images * bands * chunks
    parts = 1 if jobs >= 16 else min(groups * blocks, (16 + jobs - 1) // jobs)
    for number in prange(jobs * parts):
        job = np.int64(number)
        part = job // jobs
        rest = job - part * jobs
        image = rest // (bands * chunks)
        rest -= image * bands * chunks
        top = rest // chunks * band
        left = (rest - rest // chunks * chunks) * chunk
        rows_here, count = min(band, size[0] - top), min(chunk, size[1] - left)
        tiles = (count + 5) // 6
        base, longer = count // tiles, count - count // tiles * tiles
        tile = np.empty(6 * 16, np.float32)
        if around[0] > 0:
            rows, row = (rows_here - 1) * read[0] + around[0], around[1]
            source, origin = np.empty(rows * row * channels, np.float32), 0
            _copy_band(flat_x, image, height, width, channels, top * read[0], corner, rows, row, source)
        else:
            row, source = width, flat_x
            origin = ((image * height + top * read[0] + corner[0]) * width + corner[1]) * channels
        for panel in range(part * groups * blocks // parts, (part + 1) * groups * blocks // parts):
            group = panel // blocks
            block = panel - group * blocks
            columns = min(16, outputs - block * 16)
            for m in range(rows_here):
                q = left
                target = (image * out_height + first[0] + (top + m) * write[0]) * out_width + first[1]
                for i in range(tiles):
                    rows = base + 1 if i < longer else base
                    a0 = origin + (m * read[0] * row + q * read[1]) * channels + group * group_channels
                    c0 = (target + q * write[1]) * out_channels + group * outputs + block * 16
                    if columns == 16:
                        multiply_tile(
                            rows, source, a0, read[1] * channels, 1, jumps, taps, depth, flat_panels,
                            panel * taps * depth * 16, flat_start, panel * 16, 0, flat_out, c0, write[1] * out_channels,
                        )  # fmt: skip
                    else:
                        multiply_tile(
                            rows, source, a0, read[1] * channels, 1, jumps, taps, depth, flat_panels,
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
    few = channels <= 2 * ROWS and groups == 1 and dilation[1] == 1
    joined = width if few else 1  # six rows of a tile run over (kx, c) then, which are neighbours in memory
    spans = [
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip((out_height, out_width), stride, dilation, kernel_size, strict=True)
    ]
    x = channels_last(input)
    if few:
        x = _padded(x, padding, [spans[axis] - padding[axis] - input.shape[2 + axis] for axis in (0, 1)])
    gy = channels_last(grad_output)
    blocks = -(-group_outputs // COLUMNS)
    pixel_bytes = 4 * (x.shape[3] * stride[0] * stride[1] + groups * blocks * COLUMNS)
    band = int(min(max(1, CHUNK // (pixel_bytes * max(out_width, 1))), max(out_height, 1)))
    sums = empty((groups, height, width // joined, joined * channels, blocks * COLUMNS), np.float64)  # a long sum
    sums[:] = 0
    if gy.size:
        steps = np.array([*stride, *dilation, band, spans[1], *padding], np.int64)
        row_tiles, span = -(-joined * channels // ROWS), (band - 1) * stride[0] + dilation[0] * (height - 1) + 1
        packed = empty((1 if few else groups * row_tiles * span * spans[1] * ROWS,), f32)
        factors = empty((groups * blocks, band * out_width, COLUMNS), f32)
        _sum_pixels(x, gy, steps, few, packed, factors, sums)
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
def _sum_pixels(x, gy, steps, straight, packed, factors, sums):
    """sums[g, ky, kx, c, o] += x[y s + d ky, x s + d kx, c] gy[y, x, o], one band of rows after the other."""
    images, x_height, x_width, channels = x.shape
    out_height, out_width, outputs = gy.shape[1], gy.shape[2], gy.shape[3]
    stride_y, stride_x, dilation_y, dilation_x, band, columns, before_y, before_x = steps
    row = x_width if straight else columns
    groups, height, width, rows_all, padded = sums.shape
    blocks, group_outputs, group_channels = padded // 16, outputs // groups, channels // groups
    row_tiles = (rows_all + 5) // 6
    flat_sums = sums.reshape(-1)
    zeros = np.zeros(16, np.float32)
    short = max(1, 512 // out_width)  # rows in one running sum: longer ones round worse
    span = (band - 1) * stride_y + dilation_y * (height - 1) + 1
    source = x.reshape(-1) if straight else packed
    flat_factors = factors.reshape(-1)
    jumps = np.empty(band, np.int64)
    pixel = channels if straight else 6
    for r in range(band):
        jumps[r] = r * stride_y * row * pixel
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
                place = (panel * span + y) * columns * 6
                from_y = top * stride_y + y - before_y
                for xx in range(columns):
                    from_x = xx - before_x
                    if 0 <= from_y < x_height and 0 <= from_x < x_width:
                        line = x[image, from_y, from_x]
                        for r in range(few):
                            source[place + xx * 6 + r] = line[c + r]
                    else:
                        for r in range(few):
                            source[place + xx * 6 + r] = f32(0)
        for job in prange(groups * height * width * row_tiles):
            row_tile = job % row_tiles
            rest = job // row_tiles
            kx = rest % width
            rest = rest // width
            ky = rest % height
            group = rest // height
            rows = min(6, rows_all - row_tile * 6)
            if straight:
                a0 = ((image * x_height + top * stride_y + ky * dilation_y) * x_width) * channels + row_tile * 6
            else:
                panel = group * row_tiles + row_tile
                a0 = ((panel * span + ky * dilation_y) * columns + kx * dilation_x) * 6
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
