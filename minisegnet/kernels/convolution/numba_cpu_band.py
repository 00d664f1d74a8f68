"""Copy a band of an image's rows to where a convolution works on it, with zeros where it reaches over the border.

Of ordinary memory (channels first) a band is turned on its way (``numba_cpu_layout.py``): the image as a whole stays as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ...arrays import is_channels_last
from ..numba_cpu_layout import SIDE, square

SERIAL: Any = {"cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
f32 = np.float32


def are_planes(image: np.ndarray) -> bool:
    """Return whether an image is ordinary memory (N, C, H, W), in which channels do not lie side by side."""
    flags = image.flags
    return flags.c_contiguous and flags.writeable and flags.aligned and not is_channels_last(image)


@njit(**SERIAL)
def copy_band(flat_x, image, height, width, channels, top, left, rows, columns, band):
    """Write ``rows`` x ``columns`` pixels of an image into a band, from pixel (top, left) on, zeros beside the image."""
    before, after = min(max(-left, 0), columns), min(columns, width - left)
    for r in range(rows):
        line = band[r * columns * channels : (r + 1) * columns * channels]
        y = top + r
        if y < 0 or y >= height or after <= before:
            line[:] = f32(0)
        else:
            line[: before * channels] = f32(0)
            begin = ((image * height + y) * width + before + left) * channels
            source, middle = flat_x[begin : begin + (after - before) * channels], line[before * channels :]
            for i in range(len(source)):
                middle[i] = source[i]
            line[after * channels :] = f32(0)


@njit(**SERIAL)
def turn(source, at, plane, count, channels, target, to, pixel):
    """Copy ``count`` numbers of some planes, ``plane`` apart, to where pixels are ``pixel`` numbers apart.

    Of fewer than eight channels a square writes eight numbers a pixel all the same.
    """
    whole, there = count // SIDE * SIDE, min(channels, SIDE)
    for block in range(0, channels, SIDE):
        c = max(min(block, channels - SIDE), 0)
        for i in range(0, whole, SIDE):
            square(source, at + c * plane + i, plane, there, target, to + i * pixel + c, pixel)
    for i in range(whole, count):
        for c in range(channels):
            target[to + i * pixel + c] = source[at + c * plane + i]


@njit(**SERIAL)
def turn_band(flat_x, image, height, width, channels, top, left, rows, columns, band):
    """The same from planes (N, C, H, W). A band has room for eight numbers more.

    Of fewer than eight channels a square writes beyond its pixels: what comes afterwards puts its own numbers there.
    """
    before, after = min(max(-left, 0), columns), min(columns, width - left)
    plane, count = height * width, max(after - before, 0)
    for r in range(rows):
        line, y = r * columns * channels, top + r
        if y < 0 or y >= height or count == 0:
            band[line : line + columns * channels] = f32(0)
        else:
            band[line : line + before * channels] = f32(0)
            source, target = (image * channels * height + y) * width + before + left, line + before * channels
            turn(flat_x, source, plane, count, channels, band, target, channels)
            band[line + after * channels : line + columns * channels] = f32(0)
