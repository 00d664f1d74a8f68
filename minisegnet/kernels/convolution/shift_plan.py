"""Where a convolution by shifted planes reads: how an image is packed, and the offsets of everything that is summed.

The idea is told in ``numba_cpu_shifts.py``. Here is its arithmetic, on sizes alone: rows and columns are planned by
themselves (``Axis``), then joined with channels and groups (``Plan``). Plans are kept: a network asks for few of them.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from ...shapes import Size


class Axis(NamedTuple):
    """How one axis (rows or columns) is packed, and what each part of the result reads there."""

    start: int  # where the planes begin in the image, in pixels; negative where there is padding
    step: int  # from one row of a plane to the next, in pixels
    remainders: tuple[int, ...]  # a plane for each
    length: int  # of a plane, in rows
    parts: tuple[tuple[int, int, tuple[tuple[int, int, int], ...]], ...]  # (first, count, taps: (k, plane, row))
    part_step: int  # from one row of a part to the next, in pixels of the result


class Plan(NamedTuple):
    """What the loops need to know: all of it numbers, made once for a geometry."""

    vertical: Axis
    horizontal: Axis
    parts: np.ndarray  # (parts, 6): first row, first column, rows, columns, first channel, how many reads
    reads: np.ndarray  # (2, parts, K): offset in the planes, and in the weight, counted from its output channel


def _forward_axis(kernel: int, stride: int, padding: int, dilation: int, size: int, image: int) -> Axis:
    """Plan one axis of ``conv2d``: one part, which reads plane (k*dilation) % stride from row (k*dilation) // stride."""
    remainders = tuple(sorted({k * dilation % stride for k in range(kernel)}))
    taps = tuple((k, remainders.index(k * dilation % stride), k * dilation // stride) for k in range(kernel))
    axis = Axis(-padding, stride, remainders, size + taps[-1][2], ((0, size, taps),), 1)
    return _share_zeros(axis, size, image)


def _backward_axis(kernel: int, stride: int, padding: int, dilation: int, size: int, image: int) -> Axis:
    """Plan one axis of ``conv2d_grad_input``: a part is what input rows of one remainder get from the output's rows.

    Row y met row oy of the output at tap k where y + padding = oy*stride + k*dilation.
    """
    parts = []
    for first in range(min(stride, size)):
        q, remainder = divmod(first + padding, stride)
        taps = [(k, 0, q - k * dilation // stride) for k in range(kernel) if k * dilation % stride == remainder]
        parts.append((first, (size - 1 - first) // stride + 1, taps))
    most = parts[0][1]
    rows = [(row, row + most) for _, _, taps in parts for _, _, row in taps] or [(0, most)]
    start, stop = min(r[0] for r in rows), max(r[1] for r in rows)
    moved = tuple((first, n, tuple((k, plane, row - start) for k, plane, row in taps)) for first, n, taps in parts)
    return _share_zeros(Axis(start, 1, (0,), stop - start, moved, stride), most, image)


def _share_zeros(axis: Axis, size: int, image: int) -> Axis:
    """Return a shorter axis if padding after one row (or image) can be the padding before the next one in memory."""
    starts = [axis.start + r for r in axis.remainders]
    before = min(-(start // axis.step) for start in starts)
    after = min(axis.length - (image - 1 - start) // axis.step - 1 for start in starts)
    return axis._replace(length=axis.length - max(0, min(before, after, axis.length - size)))


def _plan(
    vertical: Axis,
    horizontal: Axis,
    batch: int,
    kernel: Size,
    groups: int,
    channels: int,
    outputs: int,
    channel_step: int,
) -> Plan:
    """Join the two axes and the groups: list every part of the result, and everything that it reads.

    In each group ``channels`` are summed over and ``outputs`` result; ``channel_step`` leads from one of the channels
    to the next in the weight.
    """
    pitch, plane = horizontal.length, batch * vertical.length * horizontal.length
    planes_a_channel = len(vertical.remainders) * len(horizontal.remainders)
    parts, reads = [], []
    for first_row, rows, row_taps in vertical.parts:
        for first_column, columns, column_taps in horizontal.parts:
            taps = [(row_tap, column_tap) for row_tap in row_taps for column_tap in column_taps]
            offsets = [
                [
                    (a * len(horizontal.remainders) + b) * plane + row * pitch + column
                    for (_, a, row), (_, b, column) in taps
                ],
                [ky * kernel[1] + kx for (ky, _, _), (kx, _, _) in taps],
            ]
            for group in range(groups):
                channel = np.arange(channels)
                first_plane = (group * channels + channel) * planes_a_channel * plane
                first_weight = group * outputs * channels * math.prod(kernel) + channel * channel_step
                starts = np.stack([first_plane, first_weight])  # (2, C)
                reads.append((starts[:, :, None] + np.array(offsets, dtype=np.int64)[:, None]).reshape(2, -1))  # (2, K)
                parts.append((first_row, first_column, rows, columns, group * outputs, len(taps) * channels))
    table = np.zeros((2, len(parts), max(r.shape[1] for r in reads)), dtype=np.int64)
    for part, read in enumerate(reads):
        table[:, part, : read.shape[1]] = read
    return Plan(vertical, horizontal, np.array(parts, dtype=np.int64), table)


@functools.lru_cache(maxsize=256)
def plan_forward(
    input: tuple[int, ...],
    weight: tuple[int, ...],
    size: Size,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
) -> Plan:
    """Plan ``conv2d`` for arrays of these shapes and an output of this size."""
    outputs, channels, kernel = weight[0] // groups, weight[1], (weight[2], weight[3])
    vertical, horizontal = map(_forward_axis, kernel, stride, padding, dilation, size, input[2:])
    return _plan(vertical, horizontal, input[0], kernel, groups, channels, outputs, math.prod(kernel))


@functools.lru_cache(maxsize=256)
def plan_backward(
    grad_output: tuple[int, ...],
    weight: tuple[int, ...],
    size: Size,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
) -> Plan:
    """Plan ``conv2d_grad_input`` for arrays of these shapes and an input of this size."""
    outputs, channels, kernel = weight[0] // groups, weight[1], (weight[2], weight[3])
    vertical, horizontal = map(_backward_axis, kernel, stride, padding, dilation, size, grad_output[2:])
    return _plan(vertical, horizontal, grad_output[0], kernel, groups, outputs, channels, channels * math.prod(kernel))
