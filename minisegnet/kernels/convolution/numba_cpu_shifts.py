"""Any convolution as a weighted sum of shifted planes: one loop that the compiler turns into vector instructions.

Pack the padded images as planes, one a channel, each a run of numbers in memory, row after row and image after image.
Seen from there, the weight of channel c, row ky, column kx always meets the same numbers: the plane, moved by a fixed
*offset* in memory.

    output[o, p] = bias[o] + sum over k of weight[o, k] * planes[p + offset[k]]        k runs over (c, ky, kx)

p runs over whole packed rows, and the few p that lie beside the output or between two images are computed and dropped:
that is what it costs to have one long innermost loop, with no border checks, whatever the kernel's size or dilation.
A stride s packs s*s planes a channel, one for each remainder of row and column, and the offsets stay fixed. The
gradient of the input is the same sum over planes of ``grad_output``, once for each remainder of the *input's* rows and
columns (a "part" of the result); groups are parts as well. The gradient of the weight turns the sum around:

    grad_weight[o, k] = sum over p of grad_output[o, p] * planes[p + offset[k]]

Four output channels and three offsets go through the innermost loop together: each number loaded is used several times,
and the twelve weights (or sums) fill the vector registers.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numba import njit, prange

from ...arrays import channels_first
from ...shapes import Size, conv_output_size
from ..buffers import empty
from ..numba_cpu_layout import channels_last
from .shift_plan import Axis, Plan, plan_backward, plan_forward

OPTIONS: Any = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
BAND = (
    512  # about how many positions p are worked on at a time: with 4 rows of sums, they stay in the first-level cache
)
VECTOR = 16  # the innermost loop may run over the end by less than this, to fill its last vector
TASKS = 16  # at least so many pieces of work, where there are enough; fixed, so that results don't depend on threads
KEEP = 2**26  # bytes: work memory up to this size is kept for the next call, as fresh memory costs more than packing


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
    """Return the convolution (N, O, OH, OW); numbers below ``floor`` become it: 0 makes a ReLU. A NaN stays one."""
    outputs, channels, kernel = weight.shape[0], weight.shape[1], weight.shape[2:]
    size = conv_output_size(input.shape[2:], kernel, stride, padding, dilation)
    plan = plan_forward(input.shape, weight.shape, size, stride, padding, dilation, groups)
    start = np.zeros(outputs, dtype=input.dtype) if bias is None else bias
    output = empty((len(input), *size, outputs), dtype=input.dtype)
    _sum(input, plan, weight, channels * math.prod(kernel), start, outputs // groups, floor, output)
    return channels_first(output)


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
    channels, kernel, size = weight.shape[1], weight.shape[2:], (input_size[0], input_size[1])
    plan = plan_backward(grad_output.shape, weight.shape, size, stride, padding, dilation, groups)
    start = np.zeros(groups * channels, dtype=grad_output.dtype)
    grad_input = empty((len(grad_output), *size, groups * channels), dtype=grad_output.dtype)
    _sum(grad_output, plan, weight, math.prod(kernel), start, channels, -math.inf, grad_input)
    return channels_first(grad_input)


def conv2d_grad_weight(
    grad_output: np.ndarray,
    input: np.ndarray,
    kernel_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the gradient (O, C/groups, KH, KW) of the weight; the sums of bands are added up in float64.

    Pixels beside the output are multiplied by zero: a NaN or infinity in the image reaches every weight of its channel.
    """
    outputs, size = grad_output.shape[1], grad_output.shape[2:]
    shape = outputs, input.shape[1] // groups, kernel_size[0], kernel_size[1]
    plan = plan_forward(input.shape, shape, size, stride, padding, dilation, groups)
    planes = _pack(input, plan.vertical, plan.horizontal, "planes")
    rows, columns = (Axis(0, 1, (0,), axis.length, (), 1) for axis in (plan.vertical, plan.horizontal))
    grads = _pack(grad_output, rows, columns, "grads")  # zeros wherever p lies beside the output
    outputs //= groups
    depth = math.prod(shape[1:])
    total = np.zeros((groups, -(-outputs // 4) * 4, -(-depth // 3) * 3))  # (groups, O/groups, K), rounded up
    batch, length, pitch = len(input), plan.vertical.length, plan.horizontal.length
    last_row = (batch - 1) * length + size[0] - 1
    stop = last_row * pitch + size[1] if batch else 0  # p of the last output pixel, plus 1
    _grad_weight_loops(planes, grads, plan.reads, outputs, batch * length * pitch, stop, total)
    return total[:, :outputs, :depth].reshape(shape).astype(grad_output.dtype)


class _Memory(threading.local):
    """Work memory of a thread, by the name of its use."""

    def __init__(self) -> None:
        self.kept: dict[str, np.ndarray] = {}

    def take(self, use: str, count: int, dtype: np.dtype) -> np.ndarray:
        """Return an array of whatever numbers, valid until the next call for the same use."""
        memory = self.kept.get(use)
        if memory is None or memory.size < count * dtype.itemsize:
            memory = np.empty(count * dtype.itemsize, dtype=np.uint8)
            if memory.size <= KEEP:
                self.kept[use] = memory
        return memory[: count * dtype.itemsize].view(dtype)


_memory = _Memory()


def _pack(image: np.ndarray, vertical: Axis, horizontal: Axis, use: str) -> np.ndarray:
    """Return the planes (C, remainders, N, length, pitch) of (N, C, H, W) images; readable zeros follow the last one."""
    remainders = len(vertical.remainders), len(horizontal.remainders)
    shape = (image.shape[1], *remainders, len(image), vertical.length, horizontal.length)
    count, slack = math.prod(shape), (vertical.length + 1) * horizontal.length + VECTOR
    memory = _memory.take(use, count + slack, image.dtype)
    memory[count:] = 0
    starts = [np.array([axis.start + r for r in axis.remainders]) for axis in (vertical, horizontal)]
    image = np.require(channels_last(image), requirements=["C", "A", "W"])  # (N, H, W, C)
    _pack_loops(image, *starts, vertical.step, horizontal.step, memory[:count].reshape(shape))
    return memory


def _sum(
    image: np.ndarray,
    plan: Plan,
    weight: np.ndarray,
    filter_step: int,
    start: np.ndarray,
    outputs: int,
    floor: float,
    output: np.ndarray,
) -> None:
    """Pack the images and sum up every part of the (N, OH, OW, O) output."""
    weight, start = (np.require(a, requirements=["C", "A", "W"]) for a in (weight, start))
    planes = _pack(image, plan.vertical, plan.horizontal, "planes")
    lengths = plan.vertical.length, plan.horizontal.length
    steps = plan.vertical.part_step, plan.horizontal.part_step
    _sum_loops(
        *(planes, plan.parts, plan.reads, weight.reshape(-1), filter_step, start, outputs, lengths, steps),
        *(planes.dtype.type(floor), output),
    )


def _pack_loops_py(image, first_rows, first_columns, row_step, column_step, planes):
    _, height, width, channels = image.shape
    _, _, _, batch, length, pitch = planes.shape
    for task in prange(batch * length):
        n = task // length
        row = task - n * length
        for a in range(len(first_rows)):
            y = first_rows[a] + row * row_step
            inside = 0 <= y < height
            line = image[n, y if inside else 0]
            for b in range(len(first_columns)):
                x = first_columns[b]
                left = min(max(0, -(x // column_step)), pitch)  # columns of the plane before the image,
                right = max(min(pitch, (width - 1 - x) // column_step + 1), left)  # and where the image ends
                if not inside:
                    left = right = pitch
                pixels = line[min(x + left * column_step, width) :: column_step]
                for c in range(channels):
                    plane = planes[c, a, b, n, row]
                    for column in range(left):
                        plane[column] = 0
                    for column in range(right, pitch):
                        plane[column] = 0
                    target = plane[left:]
                    for column in range(right - left):
                        target[column] = pixels[column, c]


def _sum_loops_py(planes, parts, reads, weight, filter_step, start, outputs, lengths, steps, floor, output):
    length, pitch = lengths
    blocks = (outputs + 3) // 4
    zero = planes.dtype.type(0)
    band = max(1, BAND // pitch)  # rows worked on at a time; seen from the planes, the batch is one tall image
    bands = (len(output) * length + band - 1) // band
    pieces = len(parts) * bands
    chunks = min(blocks, (TASKS + pieces - 1) // max(pieces, 1))  # split the channels too if the images are small
    for task in prange(pieces * chunks):
        piece = task // chunks
        chunk = task - piece * chunks
        part = piece // bands
        top = (piece - part * bands) * band
        first_row, first_column, rows = parts[part, 0], parts[part, 1], parts[part, 2]
        columns, first_channel, depth = parts[part, 3], parts[part, 4], parts[part, 5]
        tall = min(band, (len(output) - 1) * length + rows - top)
        if tall > 0:
            count = ((tall - 1) * pitch + columns + 7) // 8 * 8  # whole vectors; the surplus is dropped
            sums = np.empty((4, (count + 63) // 64 * 64 + 16), planes.dtype)
            s0, s1, s2, s3 = sums[0], sums[1], sums[2], sums[3]
            for block in range(chunk * blocks // chunks, (chunk + 1) * blocks // chunks):
                for j in range(4):
                    row_of_sums, first = sums[j], start[first_channel + min(4 * block + j, outputs - 1)]
                    for p in range(count):
                        row_of_sums[p] = first
                f0 = (4 * block) * filter_step
                f1 = min(4 * block + 1, outputs - 1) * filter_step
                f2 = min(4 * block + 2, outputs - 1) * filter_step
                f3 = min(4 * block + 3, outputs - 1) * filter_step
                for k0 in range(0, depth, 3):
                    k1, k2 = min(k0 + 1, depth - 1), min(k0 + 2, depth - 1)
                    r0, r1, r2 = reads[1, part, k0], reads[1, part, k1], reads[1, part, k2]
                    w00, w10, w20, w30 = weight[f0 + r0], weight[f1 + r0], weight[f2 + r0], weight[f3 + r0]
                    w01, w11, w21, w31 = weight[f0 + r1], weight[f1 + r1], weight[f2 + r1], weight[f3 + r1]
                    w02, w12, w22, w32 = weight[f0 + r2], weight[f1 + r2], weight[f2 + r2], weight[f3 + r2]
                    if k1 == k0:
                        w01 = w11 = w21 = w31 = zero
                    if k2 == k1:
                        w02 = w12 = w22 = w32 = zero
                    x0 = planes[reads[0, part, k0] + top * pitch :]
                    x1 = planes[reads[0, part, k1] + top * pitch :]
                    x2 = planes[reads[0, part, k2] + top * pitch :]
                    for p in range(count):
                        v0, v1, v2 = x0[p], x1[p], x2[p]
                        s0[p] += w00 * v0 + w01 * v1 + w02 * v2
                        s1[p] += w10 * v0 + w11 * v1 + w12 * v2
                        s2[p] += w20 * v0 + w21 * v1 + w22 * v2
                        s3[p] += w30 * v0 + w31 * v1 + w32 * v2
                if floor > -np.inf:
                    for j in range(4):
                        row_of_sums = sums[j]
                        for p in range(count):
                            value = row_of_sums[p]
                            row_of_sums[p] = floor if value <= floor else value
                for row in range(tall):
                    n = (top + row) // length
                    y = (top + row) - n * length
                    if y < rows:
                        pixels = output[n, first_row + y * steps[0], first_column :: steps[1]]
                        for j in range(min(4, outputs - 4 * block)):
                            values = sums[j, row * pitch :]
                            channel = first_channel + 4 * block + j
                            for column in range(columns):
                                pixels[column, channel] = values[column]


def _grad_weight_loops_py(planes, grads, reads, outputs, plane, stop, total):
    groups, depth = total.shape[0], reads.shape[2]
    blocks, triples = total.shape[1] // 4, total.shape[2] // 3
    pieces = groups * blocks
    chunks = min(triples, (TASKS + pieces - 1) // pieces)  # split the reads too if there are few output channels
    zero = planes.dtype.type(0)
    for task in prange(pieces * chunks):
        piece = task // chunks
        chunk = task - piece * chunks
        group = piece // blocks
        block = piece - group * blocks
        channel = group * outputs
        for first in range(0, stop, BAND):
            count = min(BAND, stop - first)
            g0 = grads[(channel + 4 * block) * plane + first :]
            g1 = grads[(channel + min(4 * block + 1, outputs - 1)) * plane + first :]
            g2 = grads[(channel + min(4 * block + 2, outputs - 1)) * plane + first :]
            g3 = grads[(channel + min(4 * block + 3, outputs - 1)) * plane + first :]
            for triple in range(chunk * triples // chunks, (chunk + 1) * triples // chunks):
                k = 3 * triple
                x0 = planes[reads[0, group, k] + first :]
                x1 = planes[reads[0, group, min(k + 1, depth - 1)] + first :]
                x2 = planes[reads[0, group, min(k + 2, depth - 1)] + first :]
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
