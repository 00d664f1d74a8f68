"""What Winograd's convolution does with one tile: its matrices, and the ways from pixels to 36 numbers and back.

A tile is 4x4 pixels of the output and the 6x6 of the input that they read. Where a convolution is dilated, pixels that are as far
apart as its taps form an ordinary convolution of their own: a tile's pixels are then ``down`` and ``right`` apart.

Two things decide the speed of these functions. What reads pixels reads each of a tile's once, and what is written for a tile lies
together (36 x channels): at 36 distances that are multiples of a power of two, all would fall into the same few lines of the cache.
And arrays are flat and never sliced here: to make a slice or a reshaped array of one, Numba counts who holds it, at
every tile, in memory that all threads share, which took as long as the transforms themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from .numba_cpu_linear_map import linear_map, square_map
from .numba_cpu_winograd_product import add_narrow_product, add_wide_product, narrow_product, wide_product

OPTIONS: Any = {"cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
LINE = 16  # numbers between two tiles, a line of the cache: what lies as far apart must not fall into the same lines

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
transform_weight, transform_sums = square_map(FILTER), square_map(tuple(zip(*FILTER, strict=True)))  # G, G^T
transform_input, transform_gradient = square_map(INPUT), square_map(tuple(zip(*OUTPUT, strict=True)))  # B^T, A
transform_output = square_map(OUTPUT, finish=True)
copy = linear_map(((1,),))


def starts(size: int, distance: int) -> np.ndarray:
    """Return where tiles begin along an axis of the output whose tiles' pixels are ``distance`` apart."""
    pixels = np.arange(size)
    return pixels[pixels // distance % 4 == 0]


@njit(**OPTIONS)
def place_of(tile, ys, xs):
    """Return (image, y, x): where the output's tile of this number begins."""
    across = len(xs)
    image = tile // (len(ys) * across)
    rest = tile - image * (len(ys) * across)
    ty = rest // across
    return image, ys[ty], xs[rest - ty * across]


@njit(**OPTIONS)
def pixels_of(flat, shape, image, y, x, down, right, rows, zeros, window):
    """Return where the ``rows`` x ``rows`` pixels from (y, x) on begin, and the steps to the next row and column, in numbers.

    A negative beginning says that they reach over the border: they were copied to ``window``, with zeros beside the image.
    """
    _, height, width, channels = shape
    if y >= 0 and x >= 0 and y + (rows - 1) * down < height and x + (rows - 1) * right < width:
        return ((image * height + y) * width + x) * channels, down * width * channels, right * channels
    for i in range(rows):
        for j in range(rows):
            yy, xx, place = y + i * down, x + j * right, (i * rows + j) * channels
            if 0 <= yy < height and 0 <= xx < width:
                copy(channels, flat, ((image * height + yy) * width + xx) * channels, 0, window, place, 0)
            else:
                copy(channels, zeros, 0, 0, window, place, 0)
    return -1, rows * channels, channels


@njit(**OPTIONS)
def input_tile(flat, shape, image, y, x, down, right, zeros, window, v, v0, step):
    """Write B^T s B of the 6x6 pixels s from (y, x) on to v[v0:], its 36 numbers ``step`` apart; window: room for the pixels."""
    channels = shape[3]
    first, row, column = pixels_of(flat, shape, image, y, x, down, right, 6, zeros, window)
    if first >= 0:
        transform_input(channels, flat, first, row, column, v, v0, 6 * step, step)
    else:
        transform_input(channels, window, 0, row, column, v, v0, 6 * step, step)


@njit(**OPTIONS)
def gradient_tile(flat, shape, image, y, x, down, right, zeros, window, u, u0, block_step, step):
    """Write A s A^T of the 4x4 pixels s from (y, x) on to u[u0:], in blocks of sixteen channels, ``block_step`` apart."""
    channels = shape[3]
    first, row, column = pixels_of(flat, shape, image, y, x, down, right, 4, zeros, window)
    for c in range(0, channels, 16):
        count, place = min(16, channels - c), u0 + c // 16 * block_step
        if first >= 0:
            transform_gradient(count, flat, first + c, row, column, u, place, 6 * step, step)
        else:
            transform_gradient(count, window, c, row, column, u, place, 6 * step, step)


@njit(**OPTIONS)
def output_tile(m, m0, step, bias, floor, window, flat, shape, image, y, x, down, right):
    """Write A^T s A + bias, not below ``floor``, to the 4x4 pixels from (y, x) on, if they are in the image; s: m[m0:]."""
    _, height, width, channels = shape
    place, row, column = ((image * height + y) * width + x) * channels, down * width * channels, right * channels
    if y + 3 * down < height and x + 3 * right < width:
        transform_output(channels, m, m0, 6 * step, step, flat, place, row, column, bias, floor)
        return
    transform_output(channels, m, m0, 6 * step, step, window, 0, 4 * channels, channels, bias, floor)
    store_inside(window, flat, shape, image, y, x, down, right)


@njit(**OPTIONS)
def store_inside(window, flat, shape, image, y, x, down, right):
    """Copy the tile's 4x4 pixels in ``window`` to those from (y, x) on, as far as they are in the image."""
    _, height, width, channels = shape
    place, row, column = ((image * height + y) * width + x) * channels, down * width * channels, right * channels
    for i in range(4):
        for j in range(4):
            if y + i * down < height and x + j * right < width:
                copy(channels, window, (i * 4 + j) * channels, 0, flat, place + i * row + j * column, 0)


@njit(**OPTIONS)
def weight_panel(flat, outputs, o_step, c_step, turned, block, first, count, w, panels, place, step):
    """Write G w G^T of ``count`` input channels from ``first`` on and a block of sixteen output channels; w: room for them.

    The nine numbers of channels o and c begin at flat[o * o_step + c * c_step], result (i, j) at
    panels[place + step * (6 * i + j)].
    """
    length, lanes = count * 16, min(16, outputs - block * 16)
    if lanes < 16:
        for i in range(9 * length):
            w[i] = np.float32(0)
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
    transform_weight(length, w, 0, 3 * length, length, panels, place, 6 * step, step)


@njit(parallel=True, **OPTIONS)
def transform_weights(flat, outputs, channels, o_step, c_step, turned, panels):
    """G w G^T of all weights into (36, O / 16, C, 16): the panels that the products read."""
    blocks, parts = (outputs + 15) // 16, (channels + 15) // 16
    for job in prange(blocks * parts):
        block = np.int64(job) // parts
        first = (np.int64(job) - block * parts) * 16
        w, step = np.empty(9 * 256, np.float32), blocks * channels * 16 + LINE
        count, place = min(16, channels - first), (block * channels + first) * 16
        weight_panel(flat, outputs, o_step, c_step, turned, block, first, count, w, panels, place, step)


@njit(**OPTIONS)
def multiply_panels(adds, rows, v, v0, row, step, depth, columns, panels, p0, block_step, m, m0, m_row):
    """Write one of the 36 products, (rows x depth) (depth x columns), to m[m0:], or add it; panels: sixteen columns each."""
    for j in range(0, columns, 16):
        panel = p0 + j // 16 * block_step
        if columns - j <= 8:
            if adds:
                add_narrow_product(rows, v, v0, row, step, depth, panels, panel, m, m0 + j, m_row)
            else:
                narrow_product(rows, v, v0, row, step, depth, panels, panel, m, m0 + j, m_row)
        elif adds:
            add_wide_product(rows, v, v0, row, step, depth, panels, panel, m, m0 + j, m_row)
        else:
            wide_product(rows, v, v0, row, step, depth, panels, panel, m, m0 + j, m_row)
