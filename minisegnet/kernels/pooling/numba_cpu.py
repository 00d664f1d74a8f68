"""Max-pooling and its two companions as compiled loops; ``reference.py`` holds the contract.

Memory is channels-last inside: for one window, all channels are compared at once, in the innermost loop. No arithmetic
but sums in a fixed order, so no fastmath: a NaN stays a NaN, and the result is the same with any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from ...arrays import channels_first, channels_last
from ...shapes import Size, pool_output_size
from ..threads import one_at_a_time

OPTIONS: dict[str, Any] = {"parallel": True, "cache": True, "nogil": True}
CHANNELS_A_TASK = 16  # 64 bytes of float32, a cache line: two threads never write to the same one


@one_at_a_time
def max_pool2d(
    input: np.ndarray,
    kernel_size: Size,
    stride: Size,
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    ceil_mode: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the maximum of every window, and where it was; see ``reference.max_pool2d``."""
    n, c, h, w = input.shape
    oh, ow = pool_output_size((h, w), kernel_size, stride, padding, dilation, ceil_mode)
    values = np.empty((n, oh, ow, c), input.dtype)
    indices = np.empty((n, oh, ow, c), np.int64)
    _max_pool2d(channels_last(input), kernel_size, stride, padding, dilation, values, indices)
    return channels_first(values), channels_first(indices)


@one_at_a_time
def scatter_to_plane(values: np.ndarray, indices: np.ndarray, size: Size, accumulate: bool = True) -> np.ndarray:
    """Return planes of zeros with the values put at their indices; see ``reference.scatter_to_plane``."""
    n, c = values.shape[:2]
    planes = np.empty((n, *size, c), values.dtype)
    _scatter_to_plane(channels_last(values), channels_last(indices), accumulate, planes)
    return channels_first(planes)


@one_at_a_time
def gather_from_plane(plane: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return the values that lie at the indices; see ``reference.gather_from_plane``."""
    n, c, oh, ow = indices.shape
    values = np.empty((n, oh, ow, c), plane.dtype)
    _gather_from_plane(channels_last(plane), channels_last(indices), values)
    return channels_first(values)


def _max_pool2d_py(input, kernel_size, stride, padding, dilation, values, indices):
    n, h, w, channels = input.shape
    _, oh, ow, _ = values.shape
    for row in prange(n * oh):
        image, y = row // oh, row % oh
        top = y * stride[0] - padding[0]
        kh_first, kh_stop = _taps_inside(top, h, kernel_size[0], dilation[0])
        for x in range(ow):
            left = x * stride[1] - padding[1]
            kw_first, kw_stop = _taps_inside(left, w, kernel_size[1], dilation[1])
            best, place = values[image, y, x], indices[image, y, x]
            first = True
            for kh in range(kh_first, kh_stop):
                for kw in range(kw_first, kw_stop):
                    h_in, w_in = top + kh * dilation[0], left + kw * dilation[1]
                    pixel = input[image, h_in, w_in]
                    here = h_in * w + w_in
                    for c in range(channels):
                        v = pixel[c]
                        wins = first | (v > best[c]) | (v != v)
                        best[c] = v if wins else best[c]
                        place[c] = here if wins else place[c]
                    first = False
            if first:  # the window steps over the image
                for c in range(channels):
                    best[c] = -np.inf
                    place[c] = -1


def _taps_inside_py(start, size, kernel, dilation):
    """Return the range of k in [0, kernel) for which start + k * dilation lies in [0, size)."""
    first = 0 if start >= 0 else (-start + dilation - 1) // dilation
    stop = 0 if start >= size else (size - start + dilation - 1) // dilation
    return first, min(stop, kernel)


def _scatter_to_plane_py(values, indices, accumulate, planes):
    n, oh, ow, channels = values.shape
    _, h, w, _ = planes.shape
    blocks = (channels + CHANNELS_A_TASK - 1) // CHANNELS_A_TASK
    # Windows overlap, so two rows may write to one place: a task owns some channels of an image, not some rows.
    for task in prange(n * blocks):
        image, first = task // blocks, task % blocks * CHANNELS_A_TASK
        stop = min(first + CHANNELS_A_TASK, channels)
        plane = planes[image].reshape(h * w, channels)
        for i in range(h * w):
            for c in range(first, stop):
                plane[i, c] = 0
        for y in range(oh):
            for x in range(ow):
                for c in range(first, stop):
                    i = indices[image, y, x, c]
                    if 0 <= i < h * w:
                        plane[i, c] = (plane[i, c] if accumulate else 0) + values[image, y, x, c]


def _gather_from_plane_py(planes, indices, values):
    n, oh, ow, channels = values.shape
    _, h, w, _ = planes.shape
    for row in prange(n * oh):
        image, y = row // oh, row % oh
        plane = planes[image].reshape(h * w, channels)
        for x in range(ow):
            for c in range(channels):
                i = indices[image, y, x, c]
                values[image, y, x, c] = plane[i, c] if 0 <= i < h * w else 0


_taps_inside = njit(cache=True, nogil=True)(_taps_inside_py)
_max_pool2d = njit(**OPTIONS)(_max_pool2d_py)
_scatter_to_plane = njit(**OPTIONS)(_scatter_to_plane_py)
_gather_from_plane = njit(**OPTIONS)(_gather_from_plane_py)
