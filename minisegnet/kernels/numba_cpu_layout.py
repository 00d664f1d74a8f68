"""Images into channels-last memory, by all threads: what every compiled kernel does first with an ordinary array.

Planes (C, H, W) are read along rows and written pixel by pixel. A task takes some pixels of all channels, few enough that
what it writes stays in the first cache: then each line of memory is read once and written once. Planes are often a power
of two apart, and then the same pixel of all channels competes for a few places of a cache: sixteen neighbouring pixels are
a line of it, so nothing is read twice all the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from .. import arrays
from .buffers import empty

OPTIONS: Any = {"parallel": True, "cache": True, "nogil": True}
BLOCK = 8192  # numbers of a task: 32 KiB of float32
SMALL = 2**15  # numbers below which waking the other threads costs more than the copy


def channels_last(array: np.ndarray) -> np.ndarray:
    """Return the (N, C, H, W) array as contiguous (N, H, W, C): a view where memory lies so, else one copy."""
    n, c, h, w = array.shape
    plain = array.flags.c_contiguous and array.flags.writeable  # other arrays would have to be compiled for
    if array.dtype != np.float32 or array.size < SMALL or c == 1 or not plain:
        return arrays.channels_last(array)
    if arrays.is_channels_last(array):
        return array.transpose(0, 2, 3, 1)
    last = empty((n, h, w, c), array.dtype)
    pixels = max(BLOCK // c // 16 * 16, 16)
    _turn(array.reshape(n, c, h * w), pixels, last.reshape(n, h * w, c))
    return last


def _turn_py(planes, pixels, turned):
    images, channels, length = planes.shape
    blocks = (length + pixels - 1) // pixels
    for task in prange(images * blocks):
        image = task // blocks
        first = (task - image * blocks) * pixels
        count = min(pixels, length - first)
        for c in range(channels):
            plane, target = planes[image, c, first : first + count], turned[image, first : first + count]
            for p in range(count):
                target[p, c] = plane[p]


_turn = njit(**OPTIONS)(_turn_py)
