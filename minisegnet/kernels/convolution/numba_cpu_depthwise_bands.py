"""Depthwise 3x3 convolutions by all threads: a task has a band of an image's rows, and walks down them four at a time.

The loops along a row, and what their arguments mean: ``numba_cpu_depthwise_pixels.py`` for channels-last memory, where the first
and the last pixel of a row are served apart, and ``numba_cpu_depthwise_planes.py`` for planes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from . import numba_cpu_depthwise_pixels as pixels
from . import numba_cpu_depthwise_planes as planes
from .numba_cpu_depthwise_vectors import AT_ONCE, MANY, VECTORS

OPTIONS: Any = {"parallel": True, "cache": True, "nogil": True}
SERIAL: Any = OPTIONS | {"parallel": False}
BAND = 16  # rows of output that a task makes; of gradients, that are summed up in float32
PLANE_BAND = 64  # the same, of a plane, where each lane has sums of its own
slide_pixels, spread_pixels, meet_pixels = pixels.slide, pixels.spread, pixels.meet
slide_plane, spread_plane, meet_plane = planes.slide, planes.spread, planes.meet


@njit(**SERIAL)
def _find_lines(image, height, length, first, lines):
    """Write where consecutive rows of an image begin, from row ``first`` on; -1 for those that are not there."""
    for i in range(len(lines)):
        y = first + i
        lines[i] = (image * height + y) * length if 0 <= y < height else -1


@njit(**SERIAL)
def _inside(out_width, stride, width):
    """Return up to which pixel of a row the window has its last column, and whether there is one without (0 or 1)."""
    right = 1 if (out_width - 1) * stride + 1 >= width else 0
    return out_width - right, right


@njit(**OPTIONS)
def slide_bands(lanes, flat, shape, stride, factors, floor, out, out_shape):
    """Write the convolution of channels-last images: ``factors`` as (vectors, 10, lanes), ``out`` (N, OH, OW, C)."""
    _, height, width, channels = shape
    images, out_height, out_width, _ = out_shape
    length, out_length = width * channels, out_width * channels
    bands = (out_height + BAND - 1) // BAND
    inside, right = _inside(out_width, stride, width)
    for job in prange(images * bands):
        n = np.int64(job) // bands
        top = (np.int64(job) - n * bands) * BAND
        bottom = min(top + BAND, out_height)
        zeros = np.zeros(length + 2 * channels, np.float32)
        lines = np.empty((MANY - 1) * stride + 3, np.int64)
        y = top
        while y < bottom:
            rows = MANY if y + MANY <= bottom and lanes == VECTORS[0] else 1
            _find_lines(n, height, length, y * stride - 1, lines)
            target = (n * out_height + y) * out_length
            if inside > 1:
                slide_pixels(
                    lanes, rows, stride, 0, inside - 1, channels, flat, lines, zeros, stride - 1, factors, floor,
                    out, target + channels, out_length,
                )  # fmt: skip
            for r in range(rows):  # the first pixel of each row, and the last
                some = lines[r * stride :]
                if inside > 0:
                    slide_pixels(
                        lanes, 1, stride, 1, 1, channels, flat, some, zeros, -1, factors, floor,
                        out, target + r * out_length, out_length,
                    )  # fmt: skip
                if right > 0:
                    slide_pixels(
                        lanes, 1, stride, 2 if inside > 0 else 3, 1, channels, flat, some, zeros, inside * stride - 1,
                        factors, floor, out, target + r * out_length + inside * channels, out_length,
                    )  # fmt: skip
            y += rows


@njit(**OPTIONS)
def spread_bands(lanes, flat, shape, factors, out, out_shape):
    """Write the gradient of the input at stride 2 into ``out`` (N, H, W, C), from ``grad_output`` in ``flat``."""
    _, height, width, channels = shape
    images, out_height, out_width, _ = out_shape
    length, out_length = width * channels, out_width * channels
    band = BAND // 2
    bands = (height + band - 1) // band
    for job in prange(images * bands):
        n = np.int64(job) // bands
        top = (np.int64(job) - n * bands) * band
        zeros, nowhere = np.zeros(length + channels, np.float32), np.empty(2 * out_length, np.float32)
        lines = np.empty(2, np.int64)
        for y in range(top, min(top + band, height)):
            _find_lines(n, height, length, y, lines)
            upper = (n * out_height + 2 * y) * out_length
            if 2 * y + 1 < out_height:
                _spread_row(
                    lanes, out_width, width, channels, flat, lines, zeros, factors, out, upper, upper + out_length
                )
            else:
                _spread_row(lanes, out_width, width, channels, flat, lines, zeros, factors, nowhere, 0, out_length)
                out[upper : upper + out_length] = nowhere[:out_length]


@njit(**SERIAL)
def _spread_row(lanes, out_width, width, channels, flat, lines, zeros, factors, out, upper, lower):
    """Write two rows from two rows of ``grad_output``: whole squares, then the one without a neighbour to the right."""
    spread_pixels(lanes, 1, 1, width - 1, channels, flat, lines, zeros, 0, factors, out, upper, lower)
    far = 2 * (width - 1)
    second = 1 if far + 1 < out_width else 0
    spread_pixels(
        lanes, 0, second, 1, channels, flat, lines, zeros, width - 1, factors,
        out, upper + far * channels, lower + far * channels,
    )  # fmt: skip


@njit(**OPTIONS)
def meet_bands(lanes, flat, shape, grads, grads_shape, stride, parts):
    """Add the gradients of the weight to parts (images x bands, vectors, 9, lanes), zeros to begin with."""
    _, height, width, channels = shape
    images, out_height, out_width, _ = grads_shape
    length, out_length = width * channels, out_width * channels
    bands = (out_height + BAND - 1) // BAND
    inside, right = _inside(out_width, stride, width)
    for job in prange(images * bands):
        n = np.int64(job) // bands
        top = (np.int64(job) - n * bands) * BAND
        zeros, lines = np.zeros(length + 2 * channels, np.float32), np.empty((MANY - 1) * stride + 3, np.int64)
        sums = parts[job].reshape(-1)
        y, bottom = top, min(top + BAND, out_height)
        while y < bottom:
            rows = MANY if y + MANY <= bottom and lanes == VECTORS[0] else 1
            _find_lines(n, height, length, y * stride - 1, lines)
            g0 = (n * out_height + y) * out_length
            x = 1
            for at_once in AT_ONCE:
                count = (inside - x) // at_once if rows > 1 or at_once == 1 else 0
                if count > 0:
                    meet_pixels(
                        lanes, rows, at_once, stride, 0, count, channels, flat, lines, zeros, x * stride - 1,
                        grads, g0 + x * channels, out_length, sums,
                    )  # fmt: skip
                    x += count * at_once
            for r in range(rows):  # the first pixel of each row, and the last
                some, g = lines[r * stride :], g0 + r * out_length
                if inside > 0:
                    meet_pixels(lanes, 1, 1, stride, 1, 1, channels, flat, some, zeros, -1, grads, g, 0, sums)
                if right > 0:
                    meet_pixels(
                        lanes, 1, 1, stride, 2 if inside > 0 else 3, 1, channels, flat, some, zeros, inside * stride - 1,
                        grads, g + inside * channels, 0, sums,
                    )  # fmt: skip
            y += rows


@njit(**OPTIONS)
def slide_planes(lanes, flat, shape, stride, factors, floor, out, out_shape):
    """Write the convolution of planes: ``factors`` as (C, 10), ``out`` (N, C, OH, OW)."""
    _, channels, height, width = shape
    images, _, out_height, out_width = out_shape
    bands = (out_height + PLANE_BAND - 1) // PLANE_BAND
    for job in prange(images * channels * bands):
        plane = np.int64(job) // bands
        top = (np.int64(job) - plane * bands) * PLANE_BAND
        y, bottom, f0 = top, min(top + PLANE_BAND, out_height), plane % channels * 10
        zeros, lines = np.zeros(width, np.float32), np.empty((MANY - 1) * stride + 3, np.int64)
        while y < bottom:
            rows = MANY if y + MANY <= bottom else 1
            _find_lines(plane, height, width, y * stride - 1, lines)
            slide_plane(
                lanes, rows, stride, out_width, flat, lines, zeros, factors, f0, floor,
                out, (plane * out_height + y) * out_width, out_width,
            )  # fmt: skip
            y += rows


@njit(**OPTIONS)
def spread_planes(lanes, flat, shape, factors, out, out_shape):
    """Write the gradient of the input at stride 2 into ``out`` (N, C, H, W), from ``grad_output`` in ``flat``."""
    images, channels, height, width = shape
    out_height, out_width = out_shape[2:]
    for job in prange(images * channels):
        plane = np.int64(job)
        zeros, nowhere, lines = np.zeros(width, np.float32), np.empty(2 * out_width, np.float32), np.empty(2, np.int64)
        f0 = plane % channels * 10
        for y in range(height):
            _find_lines(plane, height, width, y, lines)
            upper = (plane * out_height + 2 * y) * out_width
            if 2 * y + 1 < out_height:
                spread_plane(lanes, width, flat, lines, zeros, factors, f0, out, upper, upper + out_width)
            else:
                spread_plane(lanes, width, flat, lines, zeros, factors, f0, nowhere, 0, out_width)
                out[upper : upper + out_width] = nowhere[:out_width]


@njit(**OPTIONS)
def meet_planes(lanes, flat, shape, grads, grads_shape, stride, parts):
    """Add the gradients of the weight to parts (N x C x bands, 9, lanes), zeros to begin with."""
    _, channels, height, width = shape
    images, _, out_height, out_width = grads_shape
    bands = (out_height + PLANE_BAND - 1) // PLANE_BAND
    for job in prange(images * channels * bands):
        plane = np.int64(job) // bands
        top = (np.int64(job) - plane * bands) * PLANE_BAND
        y, bottom = top, min(top + PLANE_BAND, out_height)
        zeros, lines = np.zeros(width, np.float32), np.empty((MANY - 1) * stride + 3, np.int64)
        sums = parts[job].reshape(-1)
        while y < bottom:
            rows = MANY if y + MANY <= bottom else 1
            _find_lines(plane, height, width, y * stride - 1, lines)
            g0 = (plane * out_height + y) * out_width
            meet_plane(lanes, rows, stride, out_width, flat, lines, zeros, grads, g0, out_width, sums)
            y += rows
