"""Bilinear resizing and its adjoint as compiled loops; ``reference.py`` holds the contract.

Memory is channels-last inside. Both directions first mix rows into one row of scratch memory, then mix its pixels: the
forward reads two rows for a row of output; the adjoint, for a row of its output, reads all rows that read from it. As
each task writes only to its own row, no two threads meet, and the sums run in the same order with any number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from ...arrays import channels_first, channels_last
from ..threads import one_at_a_time
from .taps import bilinear_taps

OPTIONS = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract"}}


@one_at_a_time
def resize_bilinear(input, size, align_corners=False, scale=(None, None)):
    """Resize images by linear interpolation; see ``reference.resize_bilinear``."""
    n, c, h, w = input.shape
    output = np.empty((n, *size, c), input.dtype)
    tops, bottoms, down = bilinear_taps(h, size[0], align_corners, scale[0])
    lefts, rights, across = bilinear_taps(w, size[1], align_corners, scale[1])
    down, across = down.astype(input.dtype), across.astype(input.dtype)
    _resize_bilinear(channels_last(input), tops, bottoms, down, lefts, rights, across, output)
    return channels_first(output)


@one_at_a_time
def resize_bilinear_grad(grad_output, input_size, align_corners=False, scale=(None, None)):
    """Return the gradient of ``resize_bilinear``; see ``reference.resize_bilinear_grad``."""
    n, c, oh, ow = grad_output.shape
    grad_input = np.empty((n, *input_size, c), grad_output.dtype)
    rows = _readers(*bilinear_taps(input_size[0], oh, align_corners, scale[0]), input_size[0], grad_output.dtype)
    columns = _readers(*bilinear_taps(input_size[1], ow, align_corners, scale[1]), input_size[1], grad_output.dtype)
    _resize_bilinear_grad(channels_last(grad_output), *rows, *columns, grad_input)
    return channels_first(grad_input)


def _readers(lower, upper, fraction, in_size, dtype):
    """Turn taps around: for each input pixel, which outputs read it, and with what weight.

    Returns (first, stop, of_lower, of_upper): pixel i is read by the outputs first[i] <= o < stop[i], as their lower
    pixel with weight of_lower[o] and as their upper one with weight of_upper[o]. They are neighbours, as ``lower`` and
    ``upper`` do not decrease and differ by at most one.
    """
    i = np.arange(in_size)
    first, stop = np.searchsorted(upper, i, side="left"), np.searchsorted(lower, i, side="right")
    return first, stop, lower, upper, (1 - fraction).astype(dtype), fraction.astype(dtype)


def _resize_bilinear_py(input, tops, bottoms, down, lefts, rights, across, output):
    n, oh, ow, channels = output.shape
    _, h, w, _ = input.shape
    for task in prange(n * oh):
        image, y = task // oh, task % oh
        top, bottom = input[image, tops[y]], input[image, bottoms[y]]
        row = np.empty((w, channels), input.dtype)
        to_bottom = down[y]
        for x in range(w):
            for c in range(channels):
                row[x, c] = (1 - to_bottom) * top[x, c] + to_bottom * bottom[x, c]
        for x in range(ow):
            left, right, to_right = lefts[x], rights[x], across[x]
            for c in range(channels):
                output[image, y, x, c] = (1 - to_right) * row[left, c] + to_right * row[right, c]
