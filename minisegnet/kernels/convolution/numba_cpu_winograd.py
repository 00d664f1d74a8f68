"""3x3 convolution with a quarter of the multiplications: Winograd's F(4x4, 3x3) (Lavin and Gray, 2016).

Four neighbouring outputs of a 3-tap filter need 12 products; by way of polynomials evaluated at the points
0, 1, -1, 2, -2 and infinity they need 6, in two dimensions 36 instead of 144. Each 4x4 tile of the output is

    Y = A^T [ (G w G^T) * (B^T d B) ] A          d: the 6x6 inputs it reads, *: element by element, then summed over channels

For all tiles and channels at once, the element-wise products are 36 matrix products (tiles x C) (C x O), which is where the
time goes (``numba_cpu_tile.py``). The gradients come from the same three linear maps: that of the input is the same
convolution with weights turned round and channels exchanged; that of the weight is

    grad_w = G^T [ sum over tiles of (B^T d B) * (A dY A^T) ] G

The price is accuracy: sums of large numbers that cancel. Relative to direct sums the error is about five times as large
(2e-6 of the largest output), far inside what training notices; ``algorithm="direct"`` avoids it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange

from ...arrays import channels_first, channels_last
from ...shapes import Size, conv_output_size
from ..buffers import empty
from .numba_cpu_linear_map import linear_map
from .numba_cpu_tile import COLUMNS, ROWS, multiply_tile

OPTIONS: Any = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
SERIAL: Any = OPTIONS | {"parallel": False}
PART = 2**20  # bytes of transformed tiles that a thread works on at a time: they stay in its part of the cache
DEEP = 8  # so many parts together make a deep layer: its images are few and its weights many
f32 = np.float32

INPUT = (  # B^T (Lavin and Gray, 2016, section 4.3)
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))  # A^T
FILTER = (  # G
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
transform_weight, transform_sums = linear_map(FILTER), linear_map(tuple(zip(*FILTER, strict=True)))  # G, G^T
transform_input, transform_output = linear_map(INPUT), linear_map(OUTPUT)
finish_output = linear_map(OUTPUT, starts=True)
transform_gradient = linear_map(tuple(zip(*OUTPUT, strict=True)))  # A


def conv2d(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the convolution (N, O, OH, OW); kernel 3x3, stride, dilation and groups 1, float32."""
    size = conv_output_size(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    start = np.zeros(len(weight), f32) if bias is None else bias
    outputs, channels = weight.shape[:2]
    return _convolve(input, weight, (outputs, channels * 9, 9, False), start, size, padding)


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
    channels = weight.shape[1]
    start, margin = np.zeros(channels, f32), (2 - padding[0], 2 - padding[1])
    return _convolve(
        grad_output, weight, (channels, 9, channels * 9, True), start, (input_size[0], input_size[1]), margin
    )


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
    x, gy = channels_last(input), channels_last(grad_output)
    channels, outputs = x.shape[3], gy.shape[3]
    blocks, tiles = -(-outputs // COLUMNS), _tiles(len(x), gy.shape[1:3])
    at_once = max(2 * ROWS, DEEP * PART // (36 * 4 * (channels + blocks * COLUMNS)))
    grad_weight = empty((outputs, channels, 3, 3), f32)
    if tiles == 0:
        grad_weight[:] = 0
        return grad_weight
    if tiles <= at_once:
        v, u = empty((36 * tiles * channels,), f32), empty((36 * tiles * blocks * COLUMNS,), f32)
        if outputs % COLUMNS:
            u[:] = 0  # the columns beyond the last channel are multiplied as well
        _sum_deep(x, gy, padding[0], padding[1], blocks, v, u, grad_weight)
        return grad_weight
    sums = empty((36, channels, blocks * COLUMNS), f32)
    sums[:] = 0
    v, u = empty((36, at_once, channels), f32), empty((36, blocks, at_once, COLUMNS), f32)
    if outputs % COLUMNS:
        u[:] = 0
    _sum_tiles(x, gy, padding[0], padding[1], at_once, v, u, sums)
    _weight_from_sums(sums, grad_weight)
    return grad_weight


def _convolve(
    input: np.ndarray,
    weight: np.ndarray,
    steps: tuple[int, int, int, bool],
    start: np.ndarray,
    size: Size,
    padding: Size,
) -> np.ndarray:
    """Return (N, O, *size); pixel (y, x) of the output reads the inputs from (y, x) - padding on.

    ``steps``: how many output channels, from one to the next in the weight's memory, from one input channel to the next, and
    whether the kernels are turned round.
    """
    x, (outputs, o_step, c_step, turned) = channels_last(input), steps
    channels, blocks = x.shape[3], -(-outputs // COLUMNS)
    flat_weight = np.ascontiguousarray(weight).reshape(-1)
    bias = np.zeros(blocks * COLUMNS, f32)
    bias[:outputs] = start
    out = empty((len(x), *size, outputs), f32)
    tiles, per_tile = _tiles(len(x), size), 36 * 4 * (channels + blocks * COLUMNS)
    if tiles * per_tile <= DEEP * PART and 36 * 4 * channels * blocks * COLUMNS > PART:
        v, m = empty((36 * tiles * channels,), f32), empty((36 * tiles * blocks * COLUMNS,), f32)
        _convolve_deep(x, flat_weight, o_step, c_step, turned, bias, padding[0], padding[1], v, m, out)
    else:
        panels = empty((36, blocks, channels, COLUMNS), f32)
        _transform_weight(flat_weight, outputs, o_step, c_step, turned, panels)
        at_once = max(PART // per_tile, 2 * ROWS)
        at_once = max(1, min(at_once, -(-tiles // get_num_threads())))
        at_once = -(-at_once // ROWS) * ROWS
        _convolve_tiles(x, panels, bias, padding[0], padding[1], at_once, out)
    return channels_first(out)


def _tiles(images: int, size: tuple[int, ...]) -> int:
    return images * -(-size[0] // 4) * -(-size[1] // 4)


@njit(**SERIAL)
def _weight_panel(flat, outputs, o_step, c_step, turned, block, first, count, w, half, flat_panels, place, step):
    """G w G^T of ``count`` input channels from ``first`` on and a block of sixteen output channels; w, half: room for them.

    The nine numbers of channels o and c begin at flat[o o_step + c c_step]; the results at flat_panels[place + step (6 i + j)].
    """
    length, lanes = count * 16, min(16, outputs - block * 16)
    if lanes < 16:
        w[:] = f32(0)
    if c_step < o_step:  # read along the memory
        for lane in range(lanes):
            for c in range(count):
                source = (block * 16 + lane) * o_step + (first + c) * c_step
                for k in range(9):
                    w[(8 - k if turned else k) * length + c * 16 + lane] = flat[source + k]
    else:
        for c in range(count):
            for lane in range(lanes):
                source = (block * 16 + lane) * o_step + (first + c) * c_step
                for k in range(9):
                    w[(8 - k if turned else k) * length + c * 16 + lane] = flat[source + k]
    for j in range(3):
        transform_weight(length, w, j * length, 3 * length, half, j * length, 3 * length)
    for i in range(6):
        transform_weight(length, half, i * 3 * length, length, flat_panels, place + i * 6 * step, step)


@njit(**OPTIONS)
def _transform_weight(flat, outputs, o_step, c_step, turned, panels):
    """G w G^T of all weights into (36, O / 16, C, 16)."""
    blocks, channels = panels.shape[1], panels.shape[2]
    flat_panels = panels.reshape(-1)
    parts = (channels + 15) // 16
    for job in prange(blocks * parts):
        block = np.int64(job) // parts
        first = (np.int64(job) - block * parts) * 16
        count = min(16, channels - first)
        w, half = np.empty(9 * 16 * count, np.float32), np.empty(18 * 16 * count, np.float32)
        place, step = (block * channels + first) * 16, blocks * channels * 16
        _weight_panel(flat, outputs, o_step, c_step, turned, block, first, count, w, half, flat_panels, place, step)


@njit(**SERIAL)
def _window(images, image, y, x, rows, copy):
    """Return where the ``rows`` x ``rows`` pixels from (y, x) on begin, and their row's length, in numbers; a negative row's length
    says that they reach over the border and were copied to ``copy``, with zeros beside the image."""
    height, width, channels = images.shape[1], images.shape[2], images.shape[3]
    if y >= 0 and x >= 0 and y + rows <= height and x + rows <= width:
        return ((image * height + y) * width + x) * channels, width * channels
    flat = images.reshape(-1)
    for i in range(rows):
        for j in range(rows):
            target = copy[(i * rows + j) * channels : (i * rows + j + 1) * channels]
            if 0 <= y + i < height and 0 <= x + j < width:
                first = ((image * height + y + i) * width + x + j) * channels
                source = flat[first : first + channels]
                for c in range(channels):
                    target[c] = source[c]
            else:
                for c in range(channels):
                    target[c] = f32(0)
    return 0, -rows * channels


@njit(**SERIAL)
def _input_tile(x, image, y, xx, d, flat_v, t, at_once):
    """v[:, t] = B^T s B of the 6x6 pixels s from (y, xx) on; d: room for twice as many."""
    c = x.shape[3]
    first, row = _window(x, image, y, xx, 6, d[36 * c :])
    for j in range(6):
        if row > 0:
            transform_input(c, x.reshape(-1), first + j * c, row, d, j * c, 6 * c)
        else:
            transform_input(c, d, 36 * c + j * c, -row, d, j * c, 6 * c)
    for i in range(6):
        transform_input(c, d, i * 6 * c, c, flat_v, (i * 6 * at_once + t) * c, at_once * c)


@njit(**SERIAL)
def _gradient_tile(gy, image, y, xx, z, flat_u, t, at_once):
    """u[:, :, t] = A g A^T of the 4x4 pixels g from (y, xx) on, in panels of sixteen channels; z: room for 40 pixels."""
    o = gy.shape[3]
    blocks = (o + 15) // 16
    first, row = _window(gy, image, y, xx, 4, z[24 * o :])
    for j in range(4):
        if row > 0:
            transform_gradient(o, gy.reshape(-1), first + j * o, row, z, j * o, 4 * o)
        else:
            transform_gradient(o, z, 24 * o + j * o, -row, z, j * o, 4 * o)
    step = blocks * at_once * 16
    for i in range(6):
        for block in range(blocks):
            count = min(16, o - block * 16)
            transform_gradient(
                count, z, i * 4 * o + block * 16, o, flat_u, i * 6 * step + (block * at_once + t) * 16, step
            )


@njit(**SERIAL)
def _output_tile(flat_m, t, at_once, padded, bias, z, out, image, y, xx):
    """The up to 4x4 pixels of ``out`` from (y, xx) on = A^T m[:, t] A + bias; z: room for 28 pixels."""
    height, width, outputs = out.shape[1], out.shape[2], out.shape[3]
    flat = out.reshape(-1)
    for j in range(6):
        transform_output(padded, flat_m, (j * at_once + t) * padded, 6 * at_once * padded, z, j * padded, 6 * padded)
    columns = min(4, width - xx)
    for i in range(min(4, height - y)):
        place = ((image * height + y + i) * width + xx) * outputs
        if columns == 4:
            finish_output(outputs, z, i * 6 * padded, padded, flat, place, outputs, bias)
        else:
            finish_output(outputs, z, i * 6 * padded, padded, z, 24 * padded, outputs, bias)
            for k in range(columns * outputs):
                flat[place + k] = z[24 * padded + k]


@njit(**SERIAL)
def _product(flat_v, v0, channels, flat_panels, panel, flat_m, m0, padded, count, no_jump, zeros):
    """One of the 36 products for sixteen output channels: m (tiles x 16) = v (tiles x C) times a panel (C x 16)."""
    tiles = (count + 5) // 6
    base, longer = count // tiles, count - count // tiles * tiles
    t = 0
    for i in range(tiles):
        rows = base + 1 if i < longer else base
        multiply_tile(
            rows, flat_v, v0 + t * channels, channels, 1, no_jump, 1, channels, flat_panels, panel,
            zeros, 0, 0, flat_m, m0 + t * padded, padded,
        )  # fmt: skip
        t += rows


@njit(**SERIAL)
def _place(tile, tiles_y, tiles_x):
    """Return (image, y, x): where the output's tile of this number begins."""
    image = tile // (tiles_y * tiles_x)
    rest = tile - image * tiles_y * tiles_x
    ty = rest // tiles_x
    return image, ty * 4, (rest - ty * tiles_x) * 4


@njit(**OPTIONS)
def _convolve_tiles(x, panels, bias, top, left, at_once, out):
    """Transform, multiply and transform back, ``at_once`` tiles at a time, each thread its own."""
    channels, blocks, padded = x.shape[3], panels.shape[1], panels.shape[1] * 16
    tiles_y, tiles_x = (out.shape[1] + 3) // 4, (out.shape[2] + 3) // 4
    tiles = len(x) * tiles_y * tiles_x
    flat_panels = panels.reshape(-1)
    zeros, no_jump = np.zeros(16, np.float32), np.zeros(1, np.int64)
    for part in prange((tiles + at_once - 1) // at_once):
        first = np.int64(part) * at_once
        count = min(at_once, tiles - first)
        v, m = np.empty((36, at_once, channels), np.float32), np.empty((36, at_once, padded), np.float32)
        flat_v, flat_m = v.reshape(-1), m.reshape(-1)
        d, z = np.empty(72 * channels, np.float32), np.empty(28 * padded, np.float32)
        for t in range(count):
            image, y, xx = _place(first + t, tiles_y, tiles_x)
            _input_tile(x, image, y - top, xx - left, d, flat_v, t, at_once)
        for place in range(36):
            for block in range(blocks):
                panel, m0 = (place * blocks + block) * channels * 16, place * at_once * padded + block * 16
                _product(
                    flat_v,
                    place * at_once * channels,
                    channels,
                    flat_panels,
                    panel,
                    flat_m,
                    m0,
                    padded,
                    count,
                    no_jump,
                    zeros,
                )
        for t in range(count):
            image, y, xx = _place(first + t, tiles_y, tiles_x)
            _output_tile(flat_m, t, at_once, padded, bias, z, out, image, y, xx)


@njit(**OPTIONS)
def _convolve_deep(x, flat_weight, o_step, c_step, turned, bias, top, left, flat_v, flat_m, out):
    """Few tiles, many weights: each thread transforms sixteen output channels' weights and uses them up, on all tiles."""
    channels, outputs, padded = x.shape[3], out.shape[3], len(bias)
    tiles_y, tiles_x = (out.shape[1] + 3) // 4, (out.shape[2] + 3) // 4
    tiles = len(x) * tiles_y * tiles_x
    zeros, no_jump = np.zeros(16, np.float32), np.zeros(1, np.int64)
    for tile in prange(tiles):
        t = np.int64(tile)
        image, y, xx = _place(t, tiles_y, tiles_x)
        _input_tile(x, image, y - top, xx - left, np.empty(72 * channels, np.float32), flat_v, t, tiles)
    for job in prange(padded // 16):
        block = np.int64(job)
        panels = np.empty(36 * channels * 16, np.float32)
        w, half = np.empty(9 * 256, np.float32), np.empty(18 * 256, np.float32)
        for first in range(0, channels, 16):
            _weight_panel(
                flat_weight, outputs, o_step, c_step, turned, block, first, min(16, channels - first), w, half,
                panels, first * 16, channels * 16,
            )  # fmt: skip
        for place in range(36):
            v0, m0 = place * tiles * channels, place * tiles * padded + block * 16
            _product(flat_v, v0, channels, panels, place * channels * 16, flat_m, m0, padded, tiles, no_jump, zeros)
    for tile in prange(tiles):
        t = np.int64(tile)
        image, y, xx = _place(t, tiles_y, tiles_x)
        _output_tile(flat_m, t, tiles, padded, bias, np.empty(28 * padded, np.float32), out, image, y, xx)


@njit(**OPTIONS)
def _sum_tiles(x, gy, top, left, at_once, v, u, sums):
    """Add up (B^T d B) * (A dY A^T) over all tiles, as 36 matrix products (C x tiles) (tiles x O)."""
    channels, outputs, blocks = x.shape[3], gy.shape[3], u.shape[1]
    tiles_y, tiles_x = (gy.shape[1] + 3) // 4, (gy.shape[2] + 3) // 4
    tiles = len(x) * tiles_y * tiles_x
    no_jump = np.zeros(1, np.int64)
    flat_v, flat_u, flat_sums = v.reshape(-1), u.reshape(-1), sums.reshape(-1)
    row_tiles = (channels + 5) // 6
    for first in range(0, tiles, at_once):
        count = min(at_once, tiles - first)
        for group in prange((count + 15) // 16):
            d, z = np.empty(72 * channels, np.float32), np.empty(40 * outputs, np.float32)
            for t in range(np.int64(group) * 16, min(np.int64(group) * 16 + 16, count)):
                image, y, xx = _place(first + t, tiles_y, tiles_x)
                _input_tile(x, image, y - top, xx - left, d, flat_v, t, at_once)
                _gradient_tile(gy, image, y, xx, z, flat_u, t, at_once)
        for job in prange(36 * row_tiles):
            place = np.int64(job) // row_tiles
            c = (np.int64(job) - place * row_tiles) * 6
            for block in range(blocks):
                here = (place * channels + c) * blocks * 16 + block * 16
                multiply_tile(
                    min(6, channels - c), flat_v, place * at_once * channels + c, 1, channels, no_jump, 1, count,
                    flat_u, (place * blocks + block) * at_once * 16, flat_sums, here, blocks * 16,
                    flat_sums, here, blocks * 16,
                )  # fmt: skip


@njit(**SERIAL)
def _weights_of(flat_sums, row, step, padded, half, w, w0):
    """w[w0:] (9 x O) = G^T s G of the 36 rows of sums that begin at ``row``, ``step`` apart."""
    for j in range(6):
        transform_sums(padded, flat_sums, row + j * step, 6 * step, half, j * padded, 6 * padded)
    for i in range(3):
        transform_sums(padded, half, i * 6 * padded, padded, w, w0 + i * 3 * padded, padded)


@njit(**OPTIONS)
def _sum_deep(x, gy, top, left, blocks, flat_v, flat_u, grad_weight):
    """All tiles at once: each thread brings the sums of six input channels home as soon as they are complete."""
    channels, outputs, padded = x.shape[3], gy.shape[3], blocks * 16
    tiles_y, tiles_x = (gy.shape[1] + 3) // 4, (gy.shape[2] + 3) // 4
    tiles = len(x) * tiles_y * tiles_x
    zeros, no_jump = np.zeros(16, np.float32), np.zeros(1, np.int64)
    flat = grad_weight.reshape(-1)
    for tile in prange(tiles):
        t = np.int64(tile)
        image, y, xx = _place(t, tiles_y, tiles_x)
        d, z = np.empty(72 * channels, np.float32), np.empty(40 * outputs, np.float32)
        _input_tile(x, image, y - top, xx - left, d, flat_v, t, tiles)
        _gradient_tile(gy, image, y, xx, z, flat_u, t, tiles)
    for job in prange((channels + 5) // 6):
        c = np.int64(job) * 6
        rows = min(6, channels - c)
        sums = np.empty(36 * 6 * padded, np.float32)
        half, w = np.empty(18 * padded, np.float32), np.empty(6 * 9 * padded, np.float32)
        for place in range(36):
            for block in range(blocks):
                multiply_tile(
                    rows, flat_v, place * tiles * channels + c, 1, channels, no_jump, 1, tiles, flat_u,
                    (place * blocks + block) * tiles * 16, zeros, 0, 0, sums, place * 6 * padded + block * 16, padded,
                )  # fmt: skip
        for r in range(rows):
            _weights_of(sums, r * padded, 6 * padded, padded, half, w, r * 9 * padded)
        for o in range(outputs):
            for r in range(rows):
                for k in range(9):
                    flat[(o * channels + c + r) * 9 + k] = w[(r * 9 + k) * padded + o]


@njit(**OPTIONS)
def _weight_from_sums(sums, grad_weight):
    """G^T (.) G: (36, C, O) into (O, C, 3, 3)."""
    channels, padded = sums.shape[1], sums.shape[2]
    flat_sums, flat = sums.reshape(-1), grad_weight.reshape(-1)
    for channel in prange(channels):
        c = np.int64(channel)
        half, w = np.empty(18 * padded, np.float32), np.empty(9 * padded, np.float32)
        _weights_of(flat_sums, c * padded, channels * padded, padded, half, w, 0)
        for o in range(len(grad_weight)):
            for k in range(9):
                flat[(o * channels + c) * 9 + k] = w[k * padded + o]
