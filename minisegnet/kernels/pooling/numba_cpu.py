"""Max-pooling and its two companions as compiled loops; ``reference.py`` holds the contract.

Memory is channels-last inside: for one window, all channels are compared at once, in the innermost loop. No arithmetic
but sums in a fixed order, so no fastmath: a NaN stays a NaN, and the result is the same with any number of threads.

Windows of 2x2 and 3x3 keep their maximum and its place in registers over all taps: of a vector of channels at once, wherever the
window lies; of fewer where it lies inside the image. Other windows go from tap to tap. Where 2x2 windows halved the image,
every index points into its own: scattering then goes over memory in order, in parallel by rows, and *looks* whether that is
so. If an index points elsewhere (unpooling takes any, windows may overlap), the general loops do it all again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange

from ...arrays import channels_first
from ...shapes import Size, pool_output_size
from ..buffers import empty
from ..numba_cpu_lanes import LANES, lanes_for, pick, put, window_2x2, window_3x3
from ..numba_cpu_layout import channels_last
from ..numba_cpu_stream import stream_end, streams
from ..threads import one_at_a_time

OPTIONS: dict[str, Any] = {"parallel": True, "cache": True, "nogil": True}
INLINE: dict[str, Any] = {"nogil": True, "forceinline": True}
CACHE_LINE = 16  # numbers of float32: two threads never write to the same one


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
    values = empty((n, oh, ow, c), input.dtype)
    indices = empty((n, oh, ow, c), np.int64)
    past = streams(c, (values, indices), (input,))
    _max_pool2d(lanes_for(c), channels_last(input), kernel_size, stride, padding, dilation, past, values, indices)
    return channels_first(values), channels_first(indices)


@one_at_a_time
def scatter_to_plane(values: np.ndarray, indices: np.ndarray, size: Size, accumulate: bool = True) -> np.ndarray:
    """Return planes of zeros with the values put at their indices; see ``reference.scatter_to_plane``."""
    n, c = values.shape[:2]
    planes = empty((n, *size, c), values.dtype)
    values, indices = channels_last(values), channels_last(indices)
    past = streams(c, (planes,), (values, indices))
    if not (_halved(size, values.shape[1:3]) and _scatter_in_windows(lanes_for(c), values, indices, past, planes)):
        # Windows overlap, so two rows may write to one place: a task owns an image, or some of its channels if images are few.
        share = -(-c * max(n, 1) // (get_num_threads() * CACHE_LINE)) * CACHE_LINE
        _scatter_to_plane(values, indices, accumulate, min(share, c), planes)
    return channels_first(planes)


@one_at_a_time
def gather_from_plane(plane: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return the values that lie at the indices; see ``reference.gather_from_plane``."""
    n, c, oh, ow = indices.shape
    values = empty((n, oh, ow, c), plane.dtype)
    plane, indices = channels_last(plane), channels_last(indices)
    served = c >= LANES and _halved(plane.shape[1:3], (oh, ow))
    if not (served and _gather_in_windows(lanes_for(c), plane, indices, values)):
        _gather_from_plane(plane, indices, values)
    return channels_first(values)


def _halved(size: Size, pooled: Size) -> bool:
    """Return whether these are the sizes before and after pooling by 2x2 windows that leave no pixel out."""
    return size == (2 * pooled[0], 2 * pooled[1])


def _max_pool2d_py(lanes, input, kernel_size, stride, padding, dilation, past, values, indices):
    n, h, w, channels = input.shape
    _, oh, ow, _ = values.shape
    small = dilation == (1, 1) and (kernel_size == (2, 2) or kernel_size == (3, 3))
    x_first = (padding[1] + stride[1] - 1) // stride[1]  # the windows of a row that lie inside, left and right
    x_stop = min((w - kernel_size[1] + padding[1]) // stride[1] + 1, ow) if w >= kernel_size[1] - padding[1] else 0
    for row in prange(n * oh):
        image, y = row // oh, row % oh
        top = y * stride[0] - padding[0]
        kh_first, kh_stop = _taps_inside(top, h, kernel_size[0], dilation[0])
        first, stop = 0, 0
        if small and channels >= LANES:
            best, place = values[image, y], indices[image, y]
            _row_of_lanes(lanes, input[image], kernel_size[0], top, stride[1], padding[1], best, place, past)
            stream_end()
            continue
        if small and kh_first == 0 and kh_stop == kernel_size[0] and x_first < x_stop:
            first, stop = x_first, x_stop
            best, place = values[image, y], indices[image, y]
            if kernel_size[0] == 2:
                _row_2x2(input[image], top, stride[1], padding[1], first, stop, best, place)
            else:
                _row_3x3(input[image], top, stride[1], padding[1], first, stop, best, place)
        for x in range(first):
            taps = kh_first, kh_stop, top, x * stride[1] - padding[1]
            _window(input[image], kernel_size, dilation, taps, values[image, y, x], indices[image, y, x])
        for x in range(stop, ow):
            taps = kh_first, kh_stop, top, x * stride[1] - padding[1]
            _window(input[image], kernel_size, dilation, taps, values[image, y, x], indices[image, y, x])


def _window_py(image, kernel_size, dilation, taps, best, place):
    """Any window, from tap to tap."""
    w = image.shape[1]
    kh_first, kh_stop, top, left = taps
    kw_first, kw_stop = _taps_inside(left, w, kernel_size[1], dilation[1])
    first = True
    for kh in range(kh_first, kh_stop):
        for kw in range(kw_first, kw_stop):
            h_in, w_in = top + kh * dilation[0], left + kw * dilation[1]
            pixel = image[h_in, w_in]
            here = h_in * w + w_in
            for c in range(len(best)):
                v = pixel[c]
                wins = first | (v > best[c]) | (v != v)
                best[c] = v if wins else best[c]
                place[c] = here if wins else place[c]
            first = False
    if first:  # the window steps over the image
        for c in range(len(best)):
            best[c] = -np.inf
            place[c] = -1


def _later_py(best, place, v, here):
    """Return what wins between the best so far and the next tap: a larger number, or a NaN."""
    wins = (v > best) | (v != v)
    return v if wins else best, here if wins else place


def _row_2x2_py(image, top, stride, padding, first, stop, values, indices):
    w = image.shape[1]
    upper, lower = image[top], image[top + 1]
    for x in range(first, stop):
        left = x * stride - padding
        here = top * w + left
        a, b, c, d = upper[left], upper[left + 1], lower[left], lower[left + 1]
        value, index = values[x], indices[x]
        for channel in range(len(value)):
            v, k = _later(a[channel], np.int32(0), b[channel], np.int32(1))
            v, k = _later(v, k, c[channel], np.int32(w))
            v, k = _later(v, k, d[channel], np.int32(w + 1))
            value[channel], index[channel] = v, here + k


def _row_3x3_py(image, top, stride, padding, first, stop, values, indices):
    w = image.shape[1]
    upper, middle, lower = image[top], image[top + 1], image[top + 2]
    for x in range(first, stop):
        left = x * stride - padding
        here = top * w + left
        a, b, c = upper[left], upper[left + 1], upper[left + 2]
        d, e, f = middle[left], middle[left + 1], middle[left + 2]
        g, h, i = lower[left], lower[left + 1], lower[left + 2]
        value, index = values[x], indices[x]
        for channel in range(len(value)):
            v, k = _later(a[channel], np.int32(0), b[channel], np.int32(1))
            v, k = _later(v, k, c[channel], np.int32(2))
            v, k = _later(v, k, d[channel], np.int32(w))
            v, k = _later(v, k, e[channel], np.int32(w + 1))
            v, k = _later(v, k, f[channel], np.int32(w + 2))
            v, k = _later(v, k, g[channel], np.int32(2 * w))
            v, k = _later(v, k, h[channel], np.int32(2 * w + 1))
            v, k = _later(v, k, i[channel], np.int32(2 * w + 2))
            value[channel], index[channel] = v, here + k


def _row_of_lanes_py(lanes, image, size, top, stride, padding, values, indices, past):
    """The windows of a row, a vector of channels at a time.

    Taps outside of the image are moved to the border's: the same pixel twice, next to each other, changes no maximum.
    """
    h, w, channels = image.shape
    flat, best, place = image.reshape(-1), values.reshape(-1), indices.reshape(-1)
    y0, y1, y2 = max(top, 0), min(max(top + 1, 0), h - 1), min(top + 2, h - 1)
    for x in range(len(values)):
        left = x * stride - padding
        x0, x1, x2 = max(left, 0), min(max(left + 1, 0), w - 1), min(left + 2, w - 1)
        here = y0 * w + x0
        for block in range(0, channels, lanes):
            c = min(block, channels - lanes)
            at, to = here * channels + c, x * channels + c
            if size == 2:
                window_2x2(lanes, flat, at, channels, ((y1 - y0) * w,), (x1 - x0,), here, best, place, to, past)
            else:
                rows, columns = ((y1 - y0) * w, (y2 - y0) * w), (x1 - x0, x2 - x0)
                window_3x3(lanes, flat, at, channels, rows, columns, here, best, place, to, past)


def _taps_inside_py(start, size, kernel, dilation):
    """Return the range of k in [0, kernel) for which start + k * dilation lies in [0, size)."""
    first = 0 if start >= 0 else (-start + dilation - 1) // dilation
    stop = 0 if start >= size else (size - start + dilation - 1) // dilation
    return first, min(stop, kernel)


def _scatter_to_plane_py(values, indices, accumulate, share, planes):
    n, oh, ow, channels = values.shape
    _, h, w, _ = planes.shape
    blocks = (channels + share - 1) // share
    for task in prange(n * blocks):
        image, first = task // blocks, task % blocks * share
        stop = min(first + share, channels)
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


def _strays_py(indices, here, w):
    """Return how many of a row's indices do not point into their own 2x2 window; the first window begins ``here``."""
    strays = 0
    for x in range(len(indices)):
        index, first = indices[x], here + 2 * x
        for channel in range(len(index)):
            i = index[channel] - first
            strays += (i != 0) & (i != 1) & (i != w) & (i != w + 1)
    return strays


def _scatter_in_windows_py(lanes, values, indices, past, planes):
    """Write each value at its place in its own 2x2 window, zeros beside it; return whether all places were there."""
    n, oh, ow, channels = values.shape
    w, strays, zero = 2 * ow, 0, values.dtype.type(0)
    if n * oh and _strays(indices[0, 0], 0, w):
        return False  # the first row tells already
    flat_values, flat_indices, flat_planes = values.reshape(-1), indices.reshape(-1), planes.reshape(-1)
    for row in prange(n * oh):
        image, y = row // oh, row % oh
        if channels >= LANES:
            for x in range(ow):
                at, here = (row * ow + x) * channels, 2 * y * w + 2 * x
                to = (image * 2 * oh * w + here) * channels
                for block in range(0, channels, lanes):
                    c = min(block, channels - lanes)
                    strays += put(
                        lanes, flat_values, flat_indices, at + c, here, w, channels, flat_planes, to + c, past
                    )
            stream_end()
            continue
        strays += _strays(indices[image, y], 2 * y * w, w)
        for below in range(2):
            line = planes[image, 2 * y + below]
            for x in range(ow):
                value, index = values[image, y, x], indices[image, y, x]
                for beside in range(2):  # one store a loop, or LLVM gives up telling them apart
                    here, pixel = (2 * y + below) * w + 2 * x + beside, line[2 * x + beside]
                    for channel in range(channels):
                        pixel[channel] = value[channel] if index[channel] == here else zero
    return strays == 0


def _gather_in_windows_py(lanes, planes, indices, values):
    """Read each value at its place in its own 2x2 window; return whether all places were there."""
    n, oh, ow, channels = values.shape
    w, strays = 2 * ow, 0
    if n * oh and _strays(indices[0, 0], 0, w):
        return False
    flat_values, flat_indices, flat_planes = values.reshape(-1), indices.reshape(-1), planes.reshape(-1)
    for row in prange(n * oh):
        image, y = row // oh, row % oh
        for x in range(ow):
            at, here = (row * ow + x) * channels, 2 * y * w + 2 * x
            to = (image * 2 * oh * w + here) * channels
            for block in range(0, channels, lanes):
                c = min(block, channels - lanes)
                strays += pick(lanes, flat_planes, to + c, here, w, channels, flat_indices, at + c, flat_values)
    return strays == 0


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
_later = njit(**INLINE)(_later_py)
_row_2x2 = njit(cache=True, nogil=True)(_row_2x2_py)
_row_3x3 = njit(cache=True, nogil=True)(_row_3x3_py)
_row_of_lanes = njit(cache=True, nogil=True)(_row_of_lanes_py)
_window = njit(cache=True, nogil=True)(_window_py)
_max_pool2d = njit(**OPTIONS)(_max_pool2d_py)
_scatter_to_plane = njit(**OPTIONS)(_scatter_to_plane_py)
_strays = njit(cache=True, nogil=True)(_strays_py)
_scatter_in_windows = njit(**OPTIONS)(_scatter_in_windows_py)
_gather_in_windows = njit(**OPTIONS)(_gather_in_windows_py)
_gather_from_plane = njit(**OPTIONS)(_gather_from_plane_py)
