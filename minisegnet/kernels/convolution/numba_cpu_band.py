"""Copy a band of an image's rows to where a convolution works on it, with zeros where it reaches over the border."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

SERIAL: Any = {"cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
f32 = np.float32


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
