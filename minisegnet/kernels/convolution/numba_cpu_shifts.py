"""Any convolution as a weighted sum of shifted planes: one loop that the compiler turns into vector instructions.

Pack the padded image as planes, one a channel, each a run of numbers in memory, row after row. Seen from there, the
weight of channel c, row ky, column kx always meets the same numbers: the image, moved by a fixed *offset* in memory.

    output[o, p] = bias[o] + sum over k of weight[o, k] * planes[p + offset[k]]        k runs over (c, ky, kx)

p runs over rows and pitch (the width of a packed row), and the few p beyond the output's width are computed and
dropped: that is what it costs to have one long innermost loop, with no border checks, whatever the kernel's size or
dilation. A stride s packs s*s planes a channel, one for each remainder of row and column, and the offsets stay fixed.
The gradient of the input is the same sum over planes of ``grad_output``, once for each remainder of the *input's* rows
and columns (a "part" of the result); groups are parts as well. The gradient of the weight turns the sum around:

    grad_weight[o, k] = sum over p of grad_output[o, p] * planes[p + offset[k]]

Four output channels and three offsets go through the innermost loop together: each number loaded is used four times,
and the twelve weights (or sums) fill the vector registers.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from ...arrays import channels_first
from ...shapes import Size, conv_output_size

OPTIONS: Any = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
OUTPUTS, SHIFTS = 4, 3  # how many output channels and how many offsets the innermost loops take at a time
BAND = (
    512  # about how many positions p are worked on at a time: with 4 rows of sums, they stay in the first-level cache
)
SLACK = 32  # readable numbers after the last plane, so that the innermost loop may run in whole vectors
TASKS = 16  # at least so many pieces of work, where there are enough; fixed, so that results don't depend on threads


class Axis(NamedTuple):
    """How one axis (rows or columns) is packed, and what each part of the result reads there."""

    start: int  # where the planes begin in the image, in pixels; negative where there is padding
    step: int  # from one row of a plane to the next
    remainders: tuple[int, ...]  # the planes that are needed
    length: int  # of a plane
    parts: tuple[tuple[int, int, tuple[tuple[int, int, int], ...]], ...]  # (first, count, taps as (k, plane, row))
    part_step: int  # from one row of a part to the next


class Plan(NamedTuple):
    """What the loops need to know: all of it numbers, made once for a geometry."""

    vertical: Axis
    horizontal: Axis
    parts: np.ndarray  # (parts, 6): first row, first column, rows, columns, first channel, how many offsets
    offsets: np.ndarray  # (parts, K)
    plane_shape: Size  # (planes, numbers in a plane) of one image
    pitch: int


def _forward_axis(kernel: int, stride: int, padding: int, dilation: int, size: int) -> Axis:
    """Plan one axis of ``conv2d``: one part, which reads plane (k*dilation) % stride from row (k*dilation) // stride."""
    remainders = tuple(sorted({k * dilation % stride for k in range(kernel)}))
    taps = tuple((k, remainders.index(k * dilation % stride), k * dilation // stride) for k in range(kernel))
    return Axis(-padding, stride, remainders, size + taps[-1][2], ((0, size, taps),), 1)


def _backward_axis(kernel: int, stride: int, padding: int, dilation: int, size: int) -> Axis:
    """Plan one axis of ``conv2d_grad_input``: a part is what input rows of one remainder get from the output's rows.

    Row y met row oy of the output at tap k where y + padding = oy*stride + k*dilation.
    """
    parts = []
    for first in range(min(stride, size)):
        q, remainder = divmod(first + padding, stride)
        taps = [(k, 0, q - k * dilation // stride) for k in range(kernel) if k * dilation % stride == remainder]
        parts.append((first, (size - 1 - first) // stride + 1, taps))
    rows = [(row, row + count) for _, count, taps in parts for _, _, row in taps] or [(0, 1)]
    start, stop = min(r[0] for r in rows), max(r[1] for r in rows)
    moved = tuple((first, n, tuple((k, plane, row - start) for k, plane, row in taps)) for first, n, taps in parts)
    return Axis(start, 1, (0,), stop - start, moved, stride)


def _plan(vertical: Axis, horizontal: Axis, in_channels: int, out_channels: int, groups: int) -> Plan:
    """Join the two axes and the groups: list every part, and the offset of everything that it reads."""
    planes_per_channel = len(vertical.remainders) * len(horizontal.remainders)
    size, pitch = vertical.length * horizontal.length, horizontal.length
    parts, offsets = [], []
    for first_row, rows, row_taps in vertical.parts:
        for first_column, columns, column_taps in horizontal.parts:
            taps = [
                (a * len(horizontal.remainders) + b) * size + row * pitch + column
                for _, a, row in row_taps
                for _, b, column in column_taps
            ]
            for group in range(groups):
                first_channel = group * in_channels
                channels = range(first_channel, first_channel + in_channels)
                reads = [c * planes_per_channel * size + tap for c in channels for tap in taps]
                reads += reads[-1:] * (-len(reads) % SHIFTS)  # fill up; these will meet a weight of zero
                parts.append((first_row, first_column, rows, columns, group * out_channels, len(reads)))
                offsets.append(reads)
    table = np.zeros((len(parts), max(len(reads) for reads in offsets)), dtype=np.int64)
    for row_of_table, reads in zip(table, offsets, strict=True):
        row_of_table[: len(reads)] = reads
    plane_shape = groups * in_channels * planes_per_channel, size
    return Plan(vertical, horizontal, np.array(parts, dtype=np.int64), table, plane_shape, pitch)


@functools.lru_cache(maxsize=256)
def _plan_forward(size: Size, kernel: Size, stride: Size, padding: Size, dilation: Size, *channels: int) -> Plan:
    """Plan ``conv2d`` for an output of this size."""
    vertical, horizontal = map(_forward_axis, kernel, stride, padding, dilation, size)
    return _plan(vertical, horizontal, *channels)


@functools.lru_cache(maxsize=256)
def _plan_backward(size: Size, kernel: Size, stride: Size, padding: Size, dilation: Size, *channels: int) -> Plan:
    """Plan ``conv2d_grad_input`` for an input of this size."""
    vertical, horizontal = map(_backward_axis, kernel, stride, padding, dilation, size)
    return _plan(vertical, horizontal, *channels)


def conv2d(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the convolution (N, O, OH, OW)."""
    outputs, channels, kernel = *weight.shape[:2], weight.shape[2:]
    size = conv_output_size(input.shape[2:], kernel, stride, padding, dilation)
    plan = _plan_forward(size, kernel, stride, padding, dilation, channels, outputs // groups, groups)
    rows = weight.reshape(groups, outputs // groups, -1)  # (groups, O/groups, K)
    return _sum_planes(input, plan, [rows], bias, (len(input), *size, outputs))


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
    outputs, channels, kernel = *weight.shape[:2], weight.shape[2:]
    size = (input_size[0], input_size[1])
    plan = _plan_backward(size, kernel, stride, padding, dilation, outputs // groups, channels, groups)
    turned = weight.reshape(groups, -1, channels, *kernel).swapaxes(1, 2)  # (groups, C/groups, O/groups, KH, KW)
    rows = []
    for _, _, row_taps in plan.vertical.parts:
        for _, _, column_taps in plan.horizontal.parts:
            part = turned[..., [k for k, _, _ in row_taps], :][..., [k for k, _, _ in column_taps]]
            rows.append(part.reshape(groups, channels, math.prod(part.shape[2:])))  # (groups, C/groups, K)
    return _sum_planes(grad_output, plan, rows, None, (len(grad_output), *size, channels * groups))


def conv2d_grad_weight(
    grad_output: np.ndarray,
    input: np.ndarray,
    kernel_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the gradient (O, C/groups, KH, KW) of the weight; sums over pixels end in float64."""
    _, outputs, *size = grad_output.shape
    shape = outputs, input.shape[1] // groups, *kernel_size
    plan = _plan_forward(
        tuple(size), tuple(kernel_size), stride, padding, dilation, shape[1], outputs // groups, groups
    )
    planes = _pack(input, plan.vertical, plan.horizontal)
    rows, columns = (Axis(0, 1, (0,), n, (), 1) for n in (size[0], plan.pitch))  # zeros fill each row up to the pitch
    grads = _pack(grad_output, rows, columns)
    blocks, used = -(-outputs // groups // OUTPUTS), math.prod(shape[1:])
    total = np.zeros((groups, blocks * OUTPUTS, plan.offsets.shape[1]))  # (groups, O/groups and rest, K and rest)
    _grad_weight_loops(planes, grads, plan.offsets, (outputs // groups, *size, plan.pitch), total)
    return total[:, : outputs // groups, :used].reshape(shape).astype(grad_output.dtype)


def _pack(image: np.ndarray, vertical: Axis, horizontal: Axis) -> np.ndarray:
    """Return the planes of (N, C, H, W) images one after another, (N, C, remainders, length, pitch), and some slack."""
    axes = len(vertical.remainders), len(horizontal.remainders), vertical.length, horizontal.length
    shape = (*image.shape[:2], *axes)
    flat = np.empty(math.prod(shape) + SLACK, dtype=image.dtype)
    flat[-SLACK:] = 0
    starts = [np.array([axis.start + r for r in axis.remainders]) for axis in (vertical, horizontal)]
    image = np.require(image.transpose(0, 2, 3, 1), requirements=["C", "A", "W"])  # (N, H, W, C)
    _pack_loops(image, *starts, vertical.step, horizontal.step, flat[:-SLACK].reshape(shape))
    return flat


def _sum_planes(
    image: np.ndarray, plan: Plan, rows: list[np.ndarray], bias: np.ndarray | None, shape: tuple[int, ...]
) -> np.ndarray:
    """Return the (N, OH, OW, O) sums, as an (N, O, OH, OW) view; ``rows`` holds (groups, O/groups, K) weights."""
    groups, outputs, _ = rows[0].shape
    blocks = -(-outputs // OUTPUTS)
    parts, depth = plan.offsets.shape
    weight = np.zeros((parts, blocks, depth, OUTPUTS), dtype=image.dtype)
    for part, row in enumerate(rows):
        filled = np.zeros((groups, blocks * OUTPUTS, depth), dtype=image.dtype)
        filled[:, :outputs, : row.shape[2]] = row
        filled = filled.reshape(groups, blocks, OUTPUTS, depth).swapaxes(2, 3)  # (groups, blocks, K, OUTPUTS)
        weight[part * groups : (part + 1) * groups] = filled
    start = np.zeros((groups, blocks * OUTPUTS), dtype=image.dtype)
    if bias is not None:
        start[:, :outputs] = bias.reshape(groups, outputs)
    planes = _pack(image, plan.vertical, plan.horizontal)
    output = np.empty(shape, dtype=image.dtype)
    steps = plan.vertical.part_step, plan.horizontal.part_step
    _sum_loops(
        planes, plan.pitch, plan.parts, plan.offsets, weight, np.tile(start, (len(rows), 1)), steps, outputs, output
    )
    return channels_first(output)


def _pack_loops_py(image, first_rows, first_columns, row_step, column_step, planes):
    batch, height, width, channels = image.shape
    length, pitch = planes.shape[4:]
    for task in prange(batch * length):
        n = task // length
        row = task - n * length
        for a in range(len(first_rows)):
            y = first_rows[a] + row * row_step
            for b in range(len(first_columns)):
                x = first_columns[b]
                left = min(max(0, -(x // column_step)), pitch)  # columns of the plane before the image,
                right = max(min(pitch, (width - 1 - x) // column_step + 1), left)  # and where the image ends
                if y < 0 or y >= height:
                    left = right = pitch
                for c in range(channels):
                    plane = planes[n, c, a, b, row]
                    plane[:left] = 0
                    plane[right:] = 0
                    for column in range(left, right):
                        plane[column] = image[n, y, x + column * column_step, c]


def _sum_loops_py(planes, pitch, parts, offsets, weight, bias, steps, outputs, output):
    batch = len(output)
    image = (len(planes) - SLACK) // max(batch, 1)
    blocks = weight.shape[1]
    band = max(1, BAND // pitch)  # rows worked on at a time
    bands = (parts[:, 2].max() + band - 1) // band
    pieces = len(parts) * batch * bands
    chunks = min(blocks, (TASKS + pieces - 1) // max(pieces, 1))  # split the output channels too if the image is small
    for task in prange(pieces * chunks):
        piece = task // chunks
        chunk = task - piece * chunks
        place = piece // bands
        top = (piece - place * bands) * band
        part = place // batch
        n = place - part * batch
        first_row, first_column, rows, columns, first_channel, depth = parts[part]
        rows = min(band, rows - top)
        if rows > 0:
            count = ((rows - 1) * pitch + columns + 7) // 8 * 8  # whole vectors: the surplus is dropped
            sums = np.empty((4, count + 16), planes.dtype)
            s0, s1, s2, s3 = sums[0], sums[1], sums[2], sums[3]
            start = n * image + top * pitch
            for block in range(chunk * blocks // chunks, (chunk + 1) * blocks // chunks):
                for j in range(4):
                    sums[j] = bias[part, 4 * block + j]
                for k in range(0, depth, 3):
                    w0, w1, w2 = weight[part, block, k], weight[part, block, k + 1], weight[part, block, k + 2]
                    w00, w10, w20, w30 = w0[0], w0[1], w0[2], w0[3]
                    w01, w11, w21, w31 = w1[0], w1[1], w1[2], w1[3]
                    w02, w12, w22, w32 = w2[0], w2[1], w2[2], w2[3]
                    x0 = planes[start + offsets[part, k] :]
                    x1 = planes[start + offsets[part, k + 1] :]
                    x2 = planes[start + offsets[part, k + 2] :]
                    for p in range(count):
                        s0[p] += w00 * x0[p] + w01 * x1[p] + w02 * x2[p]
                        s1[p] += w10 * x0[p] + w11 * x1[p] + w12 * x2[p]
                        s2[p] += w20 * x0[p] + w21 * x1[p] + w22 * x2[p]
                        s3[p] += w30 * x0[p] + w31 * x1[p] + w32 * x2[p]
                for row in range(rows):
                    oy = first_row + (top + row) * steps[0]
                    for column in range(columns):
                        pixel = output[n, oy, first_column + column * steps[1]]
                        for j in range(min(4, outputs - 4 * block)):
                            pixel[first_channel + 4 * block + j] = sums[j, row * pitch + column]


def _grad_weight_loops_py(planes, grads, offsets, sizes, total):
    outputs, height, width, pitch = sizes
    groups, blocks, depth = len(total), total.shape[1] // 4, offsets.shape[1]
    numbers = height * pitch  # in a plane of grads
    batch = (len(grads) - SLACK) // (numbers * groups * outputs)
    image = (len(planes) - SLACK) // max(batch, 1)
    band = max(1, BAND // pitch)
    pieces = groups * blocks
    chunks = min(depth // 3, (TASKS + pieces - 1) // pieces)  # split the offsets too if there are few output channels
    zero = planes.dtype.type(0)
    for task in prange(pieces * chunks):
        piece = task // chunks
        chunk = task - piece * chunks
        group = piece // blocks
        block = piece - group * blocks
        first_k, last_k = chunk * (depth // 3) // chunks * 3, (chunk + 1) * (depth // 3) // chunks * 3
        for n in range(batch):
            for top in range(0, height, band):
                count = (min(band, height - top) - 1) * pitch + width
                channel = (n * groups + group) * outputs
                place = channel * numbers + top * pitch
                g0 = grads[place + min(4 * block + 0, outputs - 1) * numbers :]
                g1 = grads[place + min(4 * block + 1, outputs - 1) * numbers :]
                g2 = grads[place + min(4 * block + 2, outputs - 1) * numbers :]
                g3 = grads[place + min(4 * block + 3, outputs - 1) * numbers :]
                start = n * image + top * pitch
                for k in range(first_k, last_k, 3):
                    x0 = planes[start + offsets[group, k] :]
                    x1 = planes[start + offsets[group, k + 1] :]
                    x2 = planes[start + offsets[group, k + 2] :]
                    s00 = s01 = s02 = s10 = s11 = s12 = s20 = s21 = s22 = s30 = s31 = s32 = zero
                    for p in range(count):
                        s00 += g0[p] * x0[p]
                        s01 += g0[p] * x1[p]
                        s02 += g0[p] * x2[p]
                        s10 += g1[p] * x0[p]
                        s11 += g1[p] * x1[p]
                        s12 += g1[p] * x2[p]
                        s20 += g2[p] * x0[p]
                        s21 += g2[p] * x1[p]
                        s22 += g2[p] * x2[p]
                        s30 += g3[p] * x0[p]
                        s31 += g3[p] * x1[p]
                        s32 += g3[p] * x2[p]
                    t = total[group, 4 * block : 4 * block + 4, k : k + 3]
                    t[0, 0] += s00
                    t[0, 1] += s01
                    t[0, 2] += s02
                    t[1, 0] += s10
                    t[1, 1] += s11
                    t[1, 2] += s12
                    t[2, 0] += s20
                    t[2, 1] += s21
                    t[2, 2] += s22
                    t[3, 0] += s30
                    t[3, 1] += s31
                    t[3, 2] += s32


_pack_loops = njit(**OPTIONS)(_pack_loops_py)
_sum_loops = njit(**OPTIONS)(_sum_loops_py)
_grad_weight_loops = njit(**OPTIONS)(_grad_weight_loops_py)
