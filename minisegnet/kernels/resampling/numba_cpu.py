"""Bilinear resizing and its adjoint as compiled loops; ``reference.py`` holds the contract.

Memory is channels-last inside. Both directions first mix rows into one row of scratch memory, then mix its pixels: the
forward reads two rows for a row of output; the adjoint, for a row of its output, reads all rows that read from it. As
each task writes only to its own row, no two threads meet, and the sums run in the same order with any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from ...arrays import channels_first
from ...shapes import Size
from ..buffers import empty
from ..numba_cpu_lanes import LANES, mix
from ..numba_cpu_layout import channels_last
from ..numba_cpu_stream import stream_end, streams
from ..threads import one_at_a_time
from .taps import Scale, weighted_taps

OPTIONS: dict[str, Any] = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract"}}


@one_at_a_time
def resize_bilinear(
    input: np.ndarray, size: Size, align_corners: bool = False, scale: Scale = (None, None)
) -> np.ndarray:
    """Resize images by linear interpolation; see ``reference.resize_bilinear``."""
    n, c, h, w = input.shape
    output = empty((n, *size, c), input.dtype)
    rows = weighted_taps(h, size[0], align_corners, scale[0], input.dtype)
    columns = weighted_taps(w, size[1], align_corners, scale[1], input.dtype)
    _resize_bilinear(channels_last(input), rows, columns, streams(c, (output,), (input,)), output)
    return channels_first(output)


@one_at_a_time
def resize_bilinear_grad(
    grad_output: np.ndarray, input_size: Size, align_corners: bool = False, scale: Scale = (None, None)
) -> np.ndarray:
    """Return the gradient of ``resize_bilinear``; see ``reference.resize_bilinear_grad``."""
    n, c, oh, ow = grad_output.shape
    grad_input = empty((n, *input_size, c), grad_output.dtype)
    rows = weighted_taps(input_size[0], oh, align_corners, scale[0], grad_output.dtype)
    columns = weighted_taps(input_size[1], ow, align_corners, scale[1], grad_output.dtype)
    _resize_bilinear_grad(channels_last(grad_output), rows, columns, grad_input)
    return channels_first(grad_input)


def _resize_bilinear_py(input, rows, columns, past, output):
    n, oh, ow, channels = output.shape
    w = input.shape[2]
    top, bottom, of_top, of_bottom, _, _ = rows
    left, right, of_left, of_right, _, _ = columns
    for task in prange(n * oh):
        image, y = task // oh, task % oh
        above, below = input[image, top[y]].reshape(-1), input[image, bottom[y]].reshape(-1)
        line, up, down = np.empty(w * channels, input.dtype), of_top[y], of_bottom[y]
        for j in range(len(line)):  # pixels and channels in one long loop, which vectorizes however few there are
            line[j] = up * above[j] + down * below[j]
        if channels >= LANES:
            flat = output[image, y].reshape(-1)
            for x in range(ow):
                for block in range(0, channels, LANES):
                    c = min(block, channels - LANES)
                    one, other = left[x] * channels + c, right[x] * channels + c
                    mix(line, one, other, of_left[x], of_right[x], flat, x * channels + c, past)
            stream_end()
            continue
        row = line.reshape(w, channels)
        for x in range(ow):
            before, after, pixel = row[left[x]], row[right[x]], output[image, y, x]
            back, forth = of_left[x], of_right[x]
            for c in range(channels):
                pixel[c] = back * before[c] + forth * after[c]


def _resize_bilinear_grad_py(grad_output, rows, columns, grad_input):
    n, h, w, channels = grad_input.shape
    ow = grad_output.shape[2]
    top, _, of_top, of_bottom, first_row, stop_row = rows
    left, _, of_left, of_right, first_column, stop_column = columns
    for task in prange(n * h):
        image, y = task // h, task % h
        line = np.zeros(ow * channels, grad_output.dtype)
        for o in range(first_row[y], stop_row[y]):
            weight = of_top[o] if top[o] == y else of_bottom[o]
            reader = grad_output[image, o].reshape(-1)
            for j in range(len(line)):
                line[j] += weight * reader[j]
        row = line.reshape(ow, channels)
        for x in range(w):
            first, stop, pixel = first_column[x], stop_column[x], grad_input[image, y, x]
            if stop - first == 4:  # every pixel but the outermost when the width doubles: the sum stays in a register
                a, b, d, e = row[first], row[first + 1], row[first + 2], row[first + 3]
                of_a = of_left[first] if left[first] == x else of_right[first]
                of_b = of_left[first + 1] if left[first + 1] == x else of_right[first + 1]
                of_d = of_left[first + 2] if left[first + 2] == x else of_right[first + 2]
                of_e = of_left[first + 3] if left[first + 3] == x else of_right[first + 3]
                for c in range(channels):
                    pixel[c] = of_a * a[c] + of_b * b[c] + of_d * d[c] + of_e * e[c]
                continue
            for c in range(channels):
                pixel[c] = 0
            for o in range(first, stop):
                weight = of_left[o] if left[o] == x else of_right[o]
                for c in range(channels):
                    pixel[c] += weight * row[o, c]


_resize_bilinear = njit(**OPTIONS)(_resize_bilinear_py)
_resize_bilinear_grad = njit(**OPTIONS)(_resize_bilinear_grad_py)
