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
from ..numba_cpu_lanes import LANES, blend_four, blend_two
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
    h, w = input.shape[1:3]
    top, bottom, of_top, of_bottom, _, _ = rows
    left, right, of_left, of_right, _, _ = columns
    flat, flat_output, length = input.reshape(-1), output.reshape(-1), w * channels
    vectors = channels >= LANES
    for task in prange(n * oh):
        image, y = task // oh, task % oh
        line = np.empty(length, input.dtype)
        above, below = (image * h + top[y]) * length, (image * h + bottom[y]) * length
        if vectors:
            blend_two(length, flat, (above, below), (of_top[y], of_bottom[y]), line, 0, False)
            for x in range(ow):
                pair, to = (left[x] * channels, right[x] * channels), (task * ow + x) * channels
                blend_two(channels, line, pair, (of_left[x], of_right[x]), flat_output, to, past)
            stream_end()
            continue
        up, down = of_top[y], of_bottom[y]
        one, other = flat[above : above + length], flat[below : below + length]
        for j in range(length):  # pixels and channels in one long loop, which vectorizes however few there are
            line[j] = up * one[j] + down * other[j]
        row = line.reshape(w, channels)
        for x in range(ow):
            before, after, pixel = row[left[x]], row[right[x]], output[image, y, x]
            back, forth = of_left[x], of_right[x]
            for c in range(channels):
                pixel[c] = back * before[c] + forth * after[c]


def _four_py(first, place, taps, of_one, of_other):
    """Return the four weights with which positions ``first`` to ``first + 3`` read ``place``."""
    return (
        of_one[first] if taps[first] == place else of_other[first],
        of_one[first + 1] if taps[first + 1] == place else of_other[first + 1],
        of_one[first + 2] if taps[first + 2] == place else of_other[first + 2],
        of_one[first + 3] if taps[first + 3] == place else of_other[first + 3],
    )


def _resize_bilinear_grad_py(grad_output, rows, columns, grad_input):
    """Where four read one place (all but the outermost when the size doubles), they are added up in registers."""
    n, h, w, channels = grad_input.shape
    oh, ow = grad_output.shape[1:3]
    top, _, of_top, of_bottom, first_row, stop_row = rows
    left, _, of_left, of_right, first_column, stop_column = columns
    flat, flat_input, length = grad_output.reshape(-1), grad_input.reshape(-1), ow * channels
    vectors = channels >= LANES
    for task in prange(n * h):
        image, y = task // h, task % h
        first, stop = first_row[y], stop_row[y]
        if vectors and stop - first == 4:
            line, start = np.empty(length, grad_output.dtype), (image * oh + first) * length
            readers = start, start + length, start + 2 * length, start + 3 * length
            blend_four(length, flat, readers, _four(first, y, top, of_top, of_bottom), line, 0, False)
        else:
            line = np.zeros(length, grad_output.dtype)
            for o in range(first, stop):
                weight = of_top[o] if top[o] == y else of_bottom[o]
                reader = grad_output[image, o].reshape(-1)
                for j in range(len(line)):
                    line[j] += weight * reader[j]
        row = line.reshape(ow, channels)
        for x in range(w):
            first, stop = first_column[x], stop_column[x]
            if vectors and stop - first == 4:
                start = first * channels
                readers = start, start + channels, start + 2 * channels, start + 3 * channels
                weights = _four(first, x, left, of_left, of_right)
                blend_four(channels, line, readers, weights, flat_input, (task * w + x) * channels, False)
                continue
            pixel = grad_input[image, y, x]
            if stop - first == 4:
                a, b, d, e = row[first], row[first + 1], row[first + 2], row[first + 3]
                of_a, of_b, of_d, of_e = _four(first, x, left, of_left, of_right)
                for c in range(channels):
                    pixel[c] = of_a * a[c] + of_b * b[c] + of_d * d[c] + of_e * e[c]
                continue
            for c in range(channels):
                pixel[c] = 0
            for o in range(first, stop):
                weight = of_left[o] if left[o] == x else of_right[o]
                for c in range(channels):
                    pixel[c] += weight * row[o, c]


_four = njit(cache=True, nogil=True)(_four_py)
_resize_bilinear = njit(**OPTIONS)(_resize_bilinear_py)
_resize_bilinear_grad = njit(**OPTIONS)(_resize_bilinear_grad_py)
