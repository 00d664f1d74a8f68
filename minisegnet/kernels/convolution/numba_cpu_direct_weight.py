"""The gradient of a convolution's weight as small matrix products: the sum over pixels takes the place of that over channels.

    grad_weight[t, c, o] = sum over pixels y, x of padded[y s + dy[t], x s + dx[t], c] * grad_output[y, x, o]

A band of rows is laid out in panels of sixteen channels, which stay in the cache, so that the numbers of consecutive pixels lie
side by side; then ``multiply_rows`` adds up: its rows are input channels, its columns output channels. Sums in float32 are
short (about 512 pixels), what they give is added up in float64. Pieces of the images have sums of their own, which are added in
order in the end: the same bits with any number of threads.

Ordinary memory (channels first) is not turned round before, only a band of it on its way into the cache: ``grad_output`` in
squares of registers, and the input not at all, since the numbers that meet one of its channels may lie side by side as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from ...shapes import Size
from ..buffers import empty
from ..numba_cpu_layout import SIDE, channels_last
from .numba_cpu_band import are_planes, copy_band, turn
from .numba_cpu_linear_map import linear_map
from .numba_cpu_tile import COLUMNS, LANES, multiply_rows

OPTIONS: Any = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
FEW = 8  # output channels of a pointwise convolution that can better be the rows of the product
PIXELS = 512  # about how many pixels a sum in float32 has
RUN = 512  # of them, so many at a time: each sum of a register block begins and ends once for them
TASKS = 16  # at least so many pieces of work, where there are enough
STRAIGHT = 64  # up to so many channels, pixels are close enough together in memory to be read where they lie
SUMS = 2**22  # bytes of sums that the pieces may have together
f32 = np.float32
copy_pixels = linear_map(((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)))  # four of them


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
    outputs, channels = grad_output.shape[1], input.shape[1]
    if kernel_size == stride == (1, 1) and padding == (0, 0) and groups == 1 and outputs < channels and outputs <= FEW:
        # a sum of products of two images: the one with more channels makes the columns, which need not be copied
        turned = _gradient(input, grad_output, kernel_size, stride, padding, dilation, groups)
        return np.ascontiguousarray(turned.transpose(1, 0, 2, 3))
    return _gradient(grad_output, input, kernel_size, stride, padding, dilation, groups)


def _gradient(grad_output, input, kernel_size, stride, padding, dilation, groups):
    (height, width), (outputs, out_height, out_width) = kernel_size, grad_output.shape[1:]
    channels, group_outputs = input.shape[1] // groups, outputs // groups
    # few channels: a row of places under the kernel is one run of numbers
    joined = width if groups == 1 and channels <= COLUMNS and dilation[1] == 1 else 1
    # few channels are soon turned, and a square of registers would be partly empty
    x_planes = joined == 1 and channels >= SIDE and are_planes(input)
    gy_planes = group_outputs >= SIDE and are_planes(grad_output)
    x = input.transpose(0, 2, 3, 1) if x_planes else channels_last(input)
    gy = grad_output.transpose(0, 2, 3, 1) if gy_planes else channels_last(grad_output)
    grad_weight = empty((outputs, channels, height, width), f32)
    if gy.size == 0:
        grad_weight[:] = 0
        return grad_weight
    rows = joined * channels if joined > 1 else min(COLUMNS, channels)  # of a product
    blocks = groups * -(-channels // COLUMNS)
    tail = LANES if (group_outputs - 1) % COLUMNS < LANES else COLUMNS
    padded = -(-group_outputs // tail) * tail
    band = max(1, min(out_height, PIXELS // out_width))
    units = len(x) * -(-out_height // band)
    numbers = blocks * height * (width // joined) * rows * padded
    pieces = max(1, min(TASKS, units // 2, SUMS // (8 * numbers)))
    parts = min(blocks, -(-TASKS // pieces))
    sums = empty((pieces, blocks, height * (width // joined), rows, padded), np.float64)
    geometry = np.array(
        [*kernel_size, *stride, *padding, *dilation, joined, groups, band, parts, x_planes, gy_planes], np.int64
    )
    flat_x, flat_gy = (
        (image.transpose(0, 3, 1, 2) if planes else image).reshape(-1)  # memory in its own order: a view
        for image, planes in ((x, x_planes), (gy, gy_planes))
    )
    _sum_pixels(flat_x, x.shape, flat_gy, gy.shape, geometry, sums)
    _unpack(sums, joined, grad_weight.reshape(groups, group_outputs, channels, -1))
    return grad_weight


@njit(**OPTIONS)
def _sum_pixels(flat_x, x_shape, flat_gy, gy_shape, geometry, sums):
    """sums[piece, c block, t, c, o] = sum over the piece's pixels of x[y s + dy[t], x s + dx[t], c] gy[y, x, o]."""
    height, width, stride_y, stride_x, before_y, before_x, dilation_y, dilation_x, joined, groups, band, parts = (
        geometry[0], geometry[1], geometry[2], geometry[3], geometry[4], geometry[5], geometry[6], geometry[7], geometry[8],
        geometry[9], geometry[10], geometry[11],
    )  # fmt: skip
    x_planes, gy_planes = geometry[12] > 0, geometry[13] > 0
    images, x_height, x_width, channels = x_shape
    out_height, out_width, outputs = gy_shape[1], gy_shape[2], gy_shape[3]
    pieces, blocks, places, rows_all, padded = sums.shape
    group_channels, group_outputs, group_blocks = channels // groups, outputs // groups, blocks // groups
    across, columns = width // joined, (out_width - 1) * stride_x + dilation_x * (width - 1) + 1
    no_border = before_y == before_x == 0
    close = not x_planes and groups == 1 and (channels <= 16 or (channels <= STRAIGHT and places == 1 and no_border))
    pixel = channels if close else 1 if x_planes else 16  # numbers from one pixel to the next
    span, run = (band - 1) * stride_y + dilation_y * (height - 1) + 1, min(max(1, RUN // out_width), band)
    bands, plane = (out_height + band - 1) // band, span * columns + 16  # not a power of two apart
    next_channel = plane if x_planes else 1
    straight = (
        not gy_planes and groups == 1 and outputs == padded and outputs <= STRAIGHT
    )  # the gradient is read where it lies
    inside = close and no_border and columns <= x_width  # images are read where they lie
    row = x_width if inside else columns
    jumps = np.empty(run, np.int64)
    for t in range(run):
        jumps[t] = t * stride_y * row * pixel
    for job in prange(pieces * parts):
        piece = np.int64(job) // parts
        part = np.int64(job) - piece * parts
        first, last = part * blocks // parts, (part + 1) * blocks // parts
        copies, some_sums = (
            np.empty(0 if inside else 16 * plane if x_planes else span * columns * pixel, np.float32),
            np.empty(places * rows_all * padded, np.float32),
        )
        factors = np.zeros(0 if straight else padded * band * out_width, np.float32)
        sums[piece, first:last] = 0
        for unit in range(piece * images * bands // pieces, (piece + 1) * images * bands // pieces):
            image = unit // bands
            top = (unit - image * bands) * band
            count = min(band, out_height - top)
            for panel in range(first, last):
                group = panel // group_blocks
                c = group * group_channels + (panel - group * group_blocks) * 16
                if (panel == first or panel == group * group_blocks) and not straight:
                    for block in range(0, group_outputs, 16):
                        wide, lanes = min(16, padded - block), min(16, group_outputs - block)
                        first_output, to = group * group_outputs + block, block * band * out_width
                        if gy_planes:
                            place = ((image * outputs + first_output) * out_height + top) * out_width
                            turn(flat_gy, place, out_height * out_width, count * out_width, lanes, factors, to, wide)
                        else:
                            place = (image * out_height + top) * out_width * outputs + first_output
                            _pack(flat_gy, place, outputs, count * out_width, lanes, wide, factors, to)
                y, rows = top * stride_y - before_y, (count - 1) * stride_y + dilation_y * (height - 1) + 1
                lanes = min(16, (group + 1) * group_channels - c)
                pixels, origin = copies, 0
                if inside:
                    pixels, origin = flat_x, (image * x_height + y) * x_width * channels + c
                elif x_planes:
                    for lane in range(lanes):
                        one = copies[lane * plane : (lane + 1) * plane]
                        copy_band(
                            flat_x, image * channels + c + lane, x_height, x_width, 1, y, -before_x, rows, columns, one
                        )
                elif close:
                    copy_band(flat_x, image, x_height, x_width, channels, y, -before_x, rows, columns, copies)
                else:
                    left, right = min(before_x, columns), max(min(columns, x_width + before_x), 0)
                    for r in range(rows):
                        line = copies[r * columns * 16 : (r + 1) * columns * 16]
                        if y + r < 0 or y + r >= x_height or right <= left:
                            line[:] = f32(0)
                        else:
                            line[: left * 16] = f32(0)
                            place = ((image * x_height + y + r) * x_width + left - before_x) * channels + c
                            _pack(flat_x, place, channels, right - left, lanes, 16, copies, (r * columns + left) * 16)
                            line[right * 16 :] = f32(0)
                if rows_all < 16 or joined > 1:
                    lanes = rows_all
                some_sums[:] = f32(0)
                for m in range(0, count, run):
                    for t in range(places):
                        ky = t // across
                        a0 = origin + ((m * stride_y + ky * dilation_y) * row + (t - ky * across) * dilation_x) * pixel
                        for block in range(0, group_outputs, 16):
                            wide = min(16, padded - block)
                            if straight:
                                b, b0, b_step = (
                                    flat_gy,
                                    (image * out_height + top + m) * out_width * outputs + block,
                                    outputs,
                                )
                            else:
                                b, b0, b_step = factors, block * band * out_width + m * out_width * wide, wide
                            c0 = t * rows_all * padded + block
                            multiply_rows(
                                lanes, wide, pixels, a0, next_channel, stride_x * pixel, jumps, 0, min(run, count - m),
                                out_width, b, b0, b_step, some_sums, c0, padded, some_sums, c0, padded,
                            )  # fmt: skip
                total = sums[piece, panel].reshape(-1)
                for i in range(len(some_sums)):
                    total[i] += some_sums[i]


@njit(cache=True, nogil=True)
def _pack(source, place, step, count, lanes, wide, target, target0):
    """Copy ``lanes`` numbers of ``count`` pixels, ``step`` apart, to where pixels are ``wide`` numbers apart."""
    fours = count // 4 * 4
    for i in range(0, fours, 4):
        copy_pixels(lanes, source, place + i * step, step, target, target0 + i * wide, wide)
    for i in range(fours, count):
        for j in range(lanes):
            target[target0 + i * wide + j] = source[place + i * step + j]


@njit(**OPTIONS)
def _unpack(sums, joined, grad_weight):
    """Add up the pieces, and bring (C blocks, t, c, o) into (groups, O, C, KH KW)."""
    groups, outputs, channels = grad_weight.shape[:3]
    pieces, blocks, places, rows = sums.shape[:4]
    group_blocks = blocks // groups
    for job in prange(blocks):
        group = np.int64(job) // group_blocks
        c0 = (np.int64(job) - group * group_blocks) * 16
        total = sums[0, job].reshape(-1)
        for piece in range(1, pieces):
            more = sums[piece, job].reshape(-1)
            for i in range(len(total)):
                total[i] += more[i]
        for block in range(0, outputs, 16):
            for o in range(block, min(block + 16, outputs)):
                for t in range(places):
                    for r in range(rows):
                        if joined > 1:
                            grad_weight[group, o, r % channels, t * joined + r // channels] = sums[0, job, t, r, o]
                        elif c0 + r < channels:
                            grad_weight[group, o, c0 + r, t] = sums[0, job, t, r, o]
