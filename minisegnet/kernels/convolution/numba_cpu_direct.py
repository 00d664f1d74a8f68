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
from typing import Any

import numpy as np
from numba import njit, prange

from ...arrays import channels_first
from ...shapes import Size, conv_output_size
from ..buffers import empty
from ..numba_cpu_layout import SIDE, channels_last
from .direct_plan import Plan, plan_backward, plan_forward
from .numba_cpu_band import are_planes, copy_band, turn_band
from .numba_cpu_direct_weight import conv2d_grad_weight as conv2d_grad_weight
from .numba_cpu_tile import multiply_rows

OPTIONS: Any = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
f32 = np.float32


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
    size = conv_output_size(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    planes = are_planes(input)
    plan = plan_forward(input.shape, weight.shape, size, stride, padding, dilation, groups, planes)
    out = empty((len(input), *size, len(weight)), f32)
    _run(plan, input, planes, weight, bias, floor, out)
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
    size = input_size[0], input_size[1]
    planes = are_planes(grad_output)
    plan = plan_backward(grad_output.shape, weight.shape, size, stride, padding, dilation, groups, planes)
    out = empty((len(grad_output), *size, weight.shape[1] * groups), f32)
    _run(plan, grad_output, planes, weight, None, -math.inf, out)
    return channels_first(out)


def _run(
    plan: Plan,
    image: np.ndarray,
    planes: bool,
    weight: np.ndarray,
    bias: np.ndarray | None,
    floor: float,
    out: np.ndarray,
) -> None:
    """Compute all phases of ``out`` (N, H, W, channels) from ``image`` (N, channels, ...), ordinary memory if ``planes``."""
    if plan.holes:
        out[:] = 0
    if len(plan.table) == 0 or out.size == 0:
        return
    groups, channels, outputs = plan.weights.groups, plan.image[3] // plan.weights.groups, len(plan.weights.columns)
    start = np.zeros((groups, plan.padded), f32)
    if bias is not None:
        start[:, :outputs] = bias.reshape(groups, outputs)
    panels = empty((groups, plan.padded * len(plan.places) * channels), f32)
    flat_weight = np.ascontiguousarray(weight).reshape(-1)
    _pack(flat_weight, *plan.weights[1:], plan.places, plan.table, channels, plan.padded, panels)
    whole = plan.parts == 1  # pieces of work that have all channels of their pixels
    _multiply(
        (image if planes else channels_last(image)).reshape(-1), plan.image, planes, panels, start, plan.jumps,
        plan.table, plan.read, plan.write, plan.corner, plan.around, plan.amount, plan.size, plan.parts,
        f32(floor if whole else -math.inf), out.reshape(plan.result),
    )  # fmt: skip
    if floor > -math.inf and not whole:
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
def _multiply(
    flat_x, x_shape, planes, panels, start, jumps, table, read, write, corner, around, amount, size, parts, floor, out
):
    """Compute the pixels of all phases, in bands of rows, each against all packed weights.

    Where kernels reach over the border (``around``: the rows that one pixel reads, and the columns that all read), or images
    are planes, a band is first copied, with zeros around it. ``amount``: how many rows and columns a band has.
    """
    images, height, width, channels = x_shape
    out_height, out_width, out_channels = out.shape[1], out.shape[2], out.shape[3]
    groups, padded = start.shape
    outputs, group_channels, blocks = out_channels // groups, channels // groups, (padded + 15) // 16
    flat_start, flat_out = start.reshape(-1), out.reshape(-1)
    group_panels, flat_panels = panels.shape[1], panels.reshape(-1)
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
            source, origin = np.empty(rows * row * channels + SIDE, np.float32), 0
            y = top * read[0] + corner[0]
            if planes:
                turn_band(flat_x, image, height, width, channels, y, corner[1], rows, row, source)
            else:
                copy_band(flat_x, image, height, width, channels, y, corner[1], rows, row, source)
        else:
            row, source = width, flat_x
            origin = ((image * height + top * read[0] + corner[0]) * width + corner[1]) * channels
        some_sums = np.empty(0 if outputs == padded else band * chunk * 16 + 16, np.float32)
        for panel in range(part, panels_all, parts):  # some of each phase: these differ in how many places they read
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
                            flat_panels, first + t * depth * wide, wide, s, s0, s_row, c, c0, c_row,
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
