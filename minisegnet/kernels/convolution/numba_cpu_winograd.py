"""3x3 convolution with a quarter of the multiplications: Winograd's F(4x4, 3x3) (Lavin and Gray, 2016).

Four neighbouring outputs of a 3-tap filter need 12 products; by way of polynomials evaluated at the points
0, 1, -1, 2, -2 and infinity they need 6, in two dimensions 36 instead of 144. Each 4x4 tile of the output is

    Y = A^T [ (G w G^T) * (B^T d B) ] A          d: the 6x6 inputs it reads, *: element by element, then summed over channels

For all tiles and channels at once, the element-wise products are 36 matrix products (tiles x C) (C x O), which is where the
time goes (``numba_cpu_winograd_product.py``; what is done with one tile is in ``numba_cpu_winograd_tiles.py``). The gradients
come from the same three linear maps: that of the input is the same convolution with weights turned round and channels exchanged;
that of the weight is

    grad_w = G^T [ sum over tiles of (B^T d B) * (A dY A^T) ] G

Convolutions with a stride have a file of their own (``numba_cpu_winograd_strided.py``).

The price is accuracy: sums of large numbers that cancel. Relative to direct sums the error is about five times as large
(2e-6 of the largest output), far inside what training notices; ``algorithm="direct"`` avoids it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange

from ...arrays import channels_first
from ...shapes import Size, conv_output_size
from ..buffers import empty
from ..numba_cpu_layout import channels_last
from . import numba_cpu_winograd_strided as strided
from .numba_cpu_tile import COLUMNS
from .numba_cpu_winograd_product import BLOCK
from .numba_cpu_winograd_tiles import (
    LINE,
    gradient_tile,
    input_tile,
    multiply_panels,
    output_tile,
    place_of,
    starts,
    transform_sums,
    transform_weights,
    weight_panel,
)

OPTIONS: Any = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
PART = 2**18  # bytes of transformed tiles that a thread works on at a time: they stay in its second cache
DEEP = 2**23  # with fewer bytes in all tiles together a layer is deep: its images are few and its weights many
PARTS = 16  # sums over tiles are added up in so many parts, where they are small
SOME = 128  # input channels whose transformed weights, for sixteen output channels, stay in the second cache
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
    """Return the convolution (N, O, OH, OW), not below ``floor``; kernel 3x3 (or a strided one), groups 1, float32."""
    if stride != (1, 1):
        return strided.conv2d(input, weight, bias, stride, padding, dilation, groups, floor)
    size = conv_output_size(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    start = np.zeros(len(weight), f32) if bias is None else bias
    outputs, channels = weight.shape[:2]
    steps = outputs, channels * 9, 9, False
    return _convolve(input, weight, steps, start, size, padding, dilation, floor)


def conv2d_grad_input(
    grad_output: np.ndarray,
    weight: np.ndarray,
    input_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the gradient (N, C, H, W) of the input: the convolution with the weights turned round."""
    if stride != (1, 1):
        return strided.conv2d_grad_input(grad_output, weight, input_size, stride, padding, dilation, groups)
    channels = weight.shape[1]
    start, size = np.zeros(channels, f32), (input_size[0], input_size[1])
    margin = 2 * dilation[0] - padding[0], 2 * dilation[1] - padding[1]
    return _convolve(grad_output, weight, (channels, 9, channels * 9, True), start, size, margin, dilation)


def conv2d_grad_weight(
    grad_output: np.ndarray,
    input: np.ndarray,
    kernel_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the gradient (O, C, 3, 3) of the weight."""
    if stride != (1, 1):
        return strided.conv2d_grad_weight(grad_output, input, kernel_size, stride, padding, dilation, groups)
    x, gy = channels_last(input), channels_last(grad_output)
    channels, outputs = x.shape[3], gy.shape[3]
    blocks, c_rows = -(-outputs // COLUMNS), _room(channels)
    ys, xs = starts(gy.shape[1], dilation[0]), starts(gy.shape[2], dilation[1])
    count, per_tile = len(x) * len(ys) * len(xs), 36 * 4 * (channels + blocks * COLUMNS)
    images = x.reshape(-1), x.shape, gy.reshape(-1), gy.shape, *padding, *dilation, ys, xs
    grad_weight = empty((outputs, channels, 3, 3), f32)
    if count == 0:
        grad_weight[:] = 0
    elif 36 * 4 * c_rows * blocks * COLUMNS <= PART < count * per_tile:
        at_once = max(PART // per_tile, BLOCK)
        groups = -(-count // (at_once * PARTS))
        sums = empty((-(-count // (at_once * groups)), 36, c_rows, blocks * COLUMNS), f32)
        _sum_parts(*images, at_once, groups, sums)
        _weight_from_sums(sums, grad_weight)
    elif count * per_tile <= DEEP:
        v, u = _transformed(count, channels, blocks, outputs)
        _sum_deep(*images, blocks, v, u, grad_weight)
    else:
        at_once = max(DEEP // per_tile, BLOCK)
        v, u = _transformed(at_once, channels, blocks, outputs)
        sums = empty((1, 36, c_rows, blocks * COLUMNS), f32)
        sums[:] = 0
        _sum_tiles(*images, at_once, v, u, sums)
        _weight_from_sums(sums, grad_weight)
    return grad_weight


def tiles(size: int, dilation: int) -> int:
    """Return how many tiles there are along an axis of the output."""
    return len(starts(size, dilation))


def _room(rows: int) -> int:
    """Return how many rows there must be room for where a matrix product has ``rows`` of them."""
    return -(-rows // BLOCK) * BLOCK


def _transformed(tiles: int, channels: int, blocks: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return flat memory for so many tiles of the input and of the output's gradient."""
    v, u = empty((36 * (tiles * channels + LINE),), f32), empty((36 * (tiles * blocks * COLUMNS + LINE),), f32)
    if outputs % COLUMNS:
        u[:] = 0  # the columns beyond the last channel are multiplied as well
    return v, u


def _convolve(
    input: np.ndarray,
    weight: np.ndarray,
    steps: tuple[int, int, int, bool],
    start: np.ndarray,
    size: Size,
    padding: Size,
    dilation: Size,
    floor: float = -np.inf,
) -> np.ndarray:
    """Return (N, O, *size); pixel (y, x) of the output reads the inputs from (y, x) - padding on.

    ``steps``: how many output channels, from one to the next in the weight's memory, from one input channel to the next, and
    whether the kernels are turned round.
    """
    x, (outputs, o_step, c_step, turned) = channels_last(input), steps
    channels, blocks = x.shape[3], -(-outputs // COLUMNS)
    flat_weight = np.ascontiguousarray(weight).reshape(-1)
    out = empty((len(x), *size, outputs), f32)
    ys, xs = starts(size[0], dilation[0]), starts(size[1], dilation[1])
    count, per_tile = len(x) * len(ys) * len(xs), 36 * 4 * (channels + blocks * COLUMNS)
    images = x.reshape(-1), x.shape, out.reshape(-1), out.shape, *padding, *dilation, ys, xs
    bias = np.ascontiguousarray(start), f32(floor)
    if count * per_tile <= DEEP and 36 * 4 * channels * blocks * COLUMNS > 4 * PART:
        room = _room(count)
        v, m = (empty((36 * (room * numbers + LINE),), f32) for numbers in (channels, blocks * COLUMNS))
        _convolve_deep(*images, flat_weight, o_step, c_step, turned, *bias, blocks, v, m)
    elif count:
        panels = empty((36 * (blocks * channels * COLUMNS + LINE),), f32)
        transform_weights(flat_weight, outputs, channels, o_step, c_step, turned, panels)
        at_once = _room(max(1, PART // per_tile - BLOCK // 2))
        groups = max(1, -(-count // (at_once * 4 * get_num_threads())))
        _convolve_tiles(*images, panels, *bias, blocks, at_once, groups)
    return channels_first(out)


@njit(**OPTIONS)
def _convolve_tiles(
    x, x_shape, out, out_shape, top, left, down, right, ys, xs, panels, bias, floor, blocks, at_once, groups
):
    """Transform, multiply and transform back, ``at_once`` tiles at a time, each thread its own ``groups`` of them."""
    channels, outputs, padded = x_shape[3], out_shape[3], blocks * 16
    tiles, v_row, m_row = x_shape[0] * len(ys) * len(xs), 36 * channels + LINE, 36 * padded + LINE
    zeros = np.zeros(channels, np.float32)
    for part in prange((tiles + at_once * groups - 1) // (at_once * groups)):
        begin = np.int64(part) * at_once * groups
        v, m = np.empty(at_once * v_row, np.float32), np.empty(at_once * m_row, np.float32)
        window = np.empty(36 * max(channels, outputs), np.float32)
        for first in range(begin, min(tiles, begin + at_once * groups), at_once):
            count = min(at_once, tiles - first)
            for t in range(count):
                image, y, xx = place_of(first + t, ys, xs)
                v0 = t * v_row
                input_tile(x, x_shape, image, y - top, xx - left, down, right, zeros, window, v, v0, channels)
            for place in range(36):
                multiply_panels(
                    False, count, v, place * channels, v_row, 1, channels, outputs,
                    panels, place * (blocks * channels * 16 + LINE), channels * 16, m, place * padded, m_row,
                )  # fmt: skip
            for t in range(count):
                image, y, xx = place_of(first + t, ys, xs)
                m0 = t * m_row
                output_tile(m, m0, padded, bias, floor, window, out, out_shape, image, y, xx, down, right)


@njit(**OPTIONS)
def _convolve_deep(
    x,
    x_shape,
    out,
    out_shape,
    top,
    left,
    down,
    right,
    ys,
    xs,
    weight,
    o_step,
    c_step,
    turned,
    bias,
    floor,
    blocks,
    v,
    m,
):
    """Few tiles, many weights: each thread transforms sixteen output channels' weights and uses them up, on all tiles."""
    channels, outputs, padded = x_shape[3], out_shape[3], blocks * 16
    tiles = x_shape[0] * len(ys) * len(xs)
    room = (tiles + 11) // 12 * 12
    v_step, m_step = room * channels + LINE, room * padded + LINE
    zeros = np.zeros(channels, np.float32)
    for tile in prange(tiles):
        t, window = np.int64(tile), np.empty(36 * channels, np.float32)
        image, y, xx = place_of(t, ys, xs)
        v0 = t * channels
        input_tile(x, x_shape, image, y - top, xx - left, down, right, zeros, window, v, v0, v_step)
    for job in prange(blocks):
        block = np.int64(job)
        p_step = 16 * SOME + LINE
        panels, w = np.empty(36 * p_step, np.float32), np.empty(9 * 256, np.float32)
        for begin in range(0, channels, SOME):
            depth = min(SOME, channels - begin)
            for c in range(0, depth, 16):
                count = min(16, depth - c)
                weight_panel(
                    weight, outputs, o_step, c_step, turned, block, begin + c, count, w, panels, c * 16, p_step
                )
            for place in range(36):
                multiply_panels(
                    begin > 0, tiles, v, place * v_step + begin, channels, 1, depth, min(16, outputs - block * 16),
                    panels, place * p_step, 0, m, place * m_step + block * 16, padded,
                )  # fmt: skip
    for tile in prange(tiles):
        t, window = np.int64(tile), np.empty(16 * outputs, np.float32)
        image, y, xx = place_of(t, ys, xs)
        output_tile(m, t * padded, m_step, bias, floor, window, out, out_shape, image, y, xx, down, right)


@njit(**OPTIONS)
def _sum_parts(x, x_shape, gy, gy_shape, top, left, down, right, ys, xs, at_once, groups, sums):
    """Few channels: add up (B^T d B) * (A dY A^T) over tiles, as 36 matrix products (C x tiles) (tiles x O).

    Each thread transforms and multiplies ``groups`` times ``at_once`` tiles, for sums of its own: (parts, 36, C, O).
    """
    channels, outputs, rows, padded = x_shape[3], gy_shape[3], sums.shape[2], sums.shape[3]
    tiles = x_shape[0] * len(ys) * len(xs)
    v_step, u_step = at_once * channels + LINE, at_once * padded + LINE
    zeros = np.zeros(max(channels, outputs), np.float32)
    flat_sums, size = sums.reshape(-1), 36 * rows * padded
    for part in prange(len(sums)):
        begin, s0 = np.int64(part) * at_once * groups, np.int64(part) * size
        for i in range(s0, s0 + size):
            flat_sums[i] = np.float32(0)
        v, u = np.empty(36 * v_step, np.float32), np.zeros(36 * u_step, np.float32)
        window = np.empty(36 * max(channels, outputs), np.float32)
        for first in range(begin, min(tiles, begin + at_once * groups), at_once):
            count = min(at_once, tiles - first)
            for t in range(count):
                image, y, xx = place_of(first + t, ys, xs)
                v0 = t * channels
                input_tile(x, x_shape, image, y - top, xx - left, down, right, zeros, window, v, v0, v_step)
                u0 = t * 16
                gradient_tile(gy, gy_shape, image, y, xx, down, right, zeros, window, u, u0, at_once * 16, u_step)
            for place in range(36):
                multiply_panels(
                    True, channels, v, place * v_step, 1, channels, count, outputs,
                    u, place * u_step, at_once * 16, flat_sums, s0 + place * rows * padded, padded,
                )  # fmt: skip


@njit(**OPTIONS)
def _sum_tiles(x, x_shape, gy, gy_shape, top, left, down, right, ys, xs, at_once, v, u, sums):
    """The same for more channels: the threads share the sums, (1, 36, C, O), and the transformed tiles."""
    channels, outputs, rows, padded = x_shape[3], gy_shape[3], sums.shape[2], sums.shape[3]
    tiles, jobs = x_shape[0] * len(ys) * len(xs), rows // 12
    v_step, u_step = at_once * channels + LINE, at_once * padded + LINE
    zeros = np.zeros(max(channels, outputs), np.float32)
    flat_sums = sums.reshape(-1)
    for first in range(0, tiles, at_once):
        count = min(at_once, tiles - first)
        for group in prange((count + 15) // 16):
            window = np.empty(36 * max(channels, outputs), np.float32)
            for t in range(np.int64(group) * 16, min(np.int64(group) * 16 + 16, count)):
                image, y, xx = place_of(first + t, ys, xs)
                v0 = t * channels
                input_tile(x, x_shape, image, y - top, xx - left, down, right, zeros, window, v, v0, v_step)
                u0 = t * 16
                gradient_tile(gy, gy_shape, image, y, xx, down, right, zeros, window, u, u0, at_once * 16, u_step)
        for job in prange(36 * jobs):
            place = np.int64(job) // jobs
            c = (np.int64(job) - place * jobs) * 12
            multiply_panels(
                True, min(12, channels - c), v, place * v_step + c, 1, channels, count, outputs,
                u, place * u_step, at_once * 16, flat_sums, (place * rows + c) * padded, padded,
            )  # fmt: skip


@njit(**OPTIONS)
def _sum_deep(x, x_shape, gy, gy_shape, top, left, down, right, ys, xs, blocks, v, u, grad_weight):
    """All tiles at once: each thread brings the sums of twelve input channels home as soon as they are complete."""
    channels, outputs, padded = x_shape[3], gy_shape[3], blocks * 16
    tiles = x_shape[0] * len(ys) * len(xs)
    v_step, u_step = tiles * channels + LINE, tiles * padded + LINE
    s_step = 12 * padded + LINE
    zeros = np.zeros(max(channels, outputs), np.float32)
    flat = grad_weight.reshape(-1)
    for tile in prange(tiles):
        t, window = np.int64(tile), np.empty(36 * max(channels, outputs), np.float32)
        image, y, xx = place_of(t, ys, xs)
        v0 = t * channels
        input_tile(x, x_shape, image, y - top, xx - left, down, right, zeros, window, v, v0, v_step)
        u0 = t * 16
        gradient_tile(gy, gy_shape, image, y, xx, down, right, zeros, window, u, u0, tiles * 16, u_step)
    for job in prange((channels + 11) // 12):
        c = np.int64(job) * 12
        rows = min(12, channels - c)
        sums, w = np.zeros(36 * s_step, np.float32), np.empty(9 * s_step, np.float32)
        for place in range(36):
            multiply_panels(
                False, rows, v, place * v_step + c, 1, channels, tiles, outputs,
                u, place * u_step, tiles * 16, sums, place * s_step, padded,
            )  # fmt: skip
        transform_sums(rows * padded, sums, 0, 6 * s_step, s_step, w, 0, 3 * s_step, s_step)
        for o in range(outputs):
            for r in range(rows):
                for k in range(9):
                    flat[(o * channels + c + r) * 9 + k] = w[k * s_step + r * padded + o]


@njit(**OPTIONS)
def _weight_from_sums(sums, grad_weight):
    """G^T (.) G: (parts, 36, C, O), added up over the parts, into (O, C, 3, 3)."""
    outputs, channels = grad_weight.shape[0], grad_weight.shape[1]
    parts, rows, padded = sums.shape[0], sums.shape[2], sums.shape[3]
    flat_sums, flat = sums.reshape(-1), grad_weight.reshape(-1)
    for channel in prange(channels):
        c = np.int64(channel)
        total, w = np.zeros(36 * padded, np.float32), np.empty(9 * padded, np.float32)
        for part in range(parts):
            for place in range(36):
                source = ((part * 36 + place) * rows + c) * padded
                for o in range(padded):
                    total[place * padded + o] += flat_sums[source + o]
        transform_sums(padded, total, 0, 6 * padded, padded, w, 0, 3 * padded, padded)
        for o in range(outputs):
            for k in range(9):
                flat[(o * channels + c) * 9 + k] = w[k * padded + o]
