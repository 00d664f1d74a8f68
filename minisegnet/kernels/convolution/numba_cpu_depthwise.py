"""Depthwise convolution: every filter reads one channel, so a row of an image is one long line of numbers.

Channels-last memory makes the channels of a pixel neighbours, and pixels follow each other: under a kernel's place the
output's line is the image's line, moved by some pixels, times the weights, which come back after C numbers.

    out[j] = bias[j] + sum over places t of weight[t, j mod C] * line_t[j + offset_t]

So the weights are laid out some pixels long, and the innermost loop runs over 512 numbers, however few channels there are,
over three places at a time. An image's row is copied once into a line with zeros at its ends (for a stride s, into s lines, every
s-th pixel each), and meets all the output rows that read it while it is in the cache.

3x3 kernels with padding 1 have files of their own (``numba_cpu_depthwise_3x3.py``): they copy nothing.

With several filters a channel (O = m*C) the image's channels are repeated m times first. Source: A. G. Howard et al.,
"MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017, section 3.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from ...arrays import channels_first
from ...shapes import Size, conv_output_size
from ..buffers import empty
from ..numba_cpu_layout import channels_last
from . import numba_cpu_depthwise_3x3 as small
from .numba_cpu_depthwise_rows import add_product, add_products

OPTIONS: Any = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
SERIAL: Any = OPTIONS | {"parallel": False}
ROW = 512  # numbers of an innermost loop, at least where there are fewer channels
BAND = 16384  # numbers of output that a task works on
ROWS = 16  # rows of gradients that are summed up in the images' own type; then the sums go on in float64


def conv2d(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
    floor: float = -np.inf,
) -> np.ndarray:
    """Return the convolution (N, O, OH, OW), not below ``floor``; ``groups`` is C."""
    if small.serves(input.dtype, weight.shape, stride, padding, dilation, groups):
        return small.conv2d(input, weight, bias, stride, floor)
    size = conv_output_size(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    start = np.zeros(len(weight), dtype=input.dtype) if bias is None else bias
    image = _channels_last(input, len(weight) // groups)
    return channels_first(_convolve(image, weight[:, 0], start, size, stride, padding, dilation, floor))


def conv2d_grad_input(
    grad_output: np.ndarray,
    weight: np.ndarray,
    input_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the gradient (N, C, H, W) of the input; ``groups`` is C."""
    if small.serves(grad_output.dtype, weight.shape, stride, padding, dilation, groups):
        return small.conv2d_grad_input(grad_output, weight, input_size, stride)
    outputs, _, height, width = weight.shape
    grads = _channels_last(grad_output)
    if stride == (1, 1):  # the convolution with the kernels turned round
        margin = dilation[0] * (height - 1) - padding[0], dilation[1] * (width - 1) - padding[1]
        start = np.zeros(outputs, grads.dtype)
        size = input_size[0], input_size[1]
        grad_input = _convolve(grads, weight[:, 0, ::-1, ::-1], start, size, stride, margin, dilation, -np.inf)
    else:
        grad_input = empty((len(grads), *input_size, outputs), dtype=grads.dtype)
        taps = np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0))  # (KH, KW, O)
        _scatter_rows(grads, taps, stride, padding, dilation, grad_input)
    if groups < outputs:
        grad_input = grad_input.reshape(*grad_input.shape[:3], groups, outputs // groups).sum(axis=4)  # (N, H, W, C)
    return channels_first(grad_input)


def conv2d_grad_weight(
    grad_output: np.ndarray,
    input: np.ndarray,
    kernel_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the gradient (O, 1, KH, KW) of the weight; ``groups`` is C. Sums over pixels end in float64."""
    outputs, height = grad_output.shape[1:3]
    shape = (outputs, input.shape[1] // groups, *kernel_size)
    if small.serves(input.dtype, shape, stride, padding, dilation, groups):
        return small.conv2d_grad_weight(grad_output, input, stride)
    grads, image = _channels_last(grad_output), _channels_last(input, outputs // groups)
    parts = np.zeros((len(grads) * -(-height // ROWS), *kernel_size, outputs))  # (rows by sixteen, KH, KW, O)
    if grads.size:
        row = _pixels(outputs, grads.shape[2]) * outputs
        lines = grads.reshape(-1), grads.shape, image.reshape(-1), image.shape
        _sum_rows(*lines, stride, padding, dilation, row, parts)
    return parts.sum(axis=0).transpose(2, 0, 1)[:, None].astype(grad_output.dtype, order="C")


def _channels_last(image: np.ndarray, repeats: int = 1) -> np.ndarray:
    """Return (N, H, W, C*repeats) memory that the loops accept; a view where it lies so already."""
    last = channels_last(image)
    return np.require(last if repeats == 1 else np.repeat(last, repeats, axis=3), requirements=["C", "A", "W"])


def _pixels(channels: int, width: int) -> int:
    """Return how many pixels the innermost loop runs over."""
    return max(1, min(ROW // channels, width))


def _convolve(
    image: np.ndarray,
    weight: np.ndarray,
    start: np.ndarray,
    size: Size,
    stride: Size,
    padding: Size,
    dilation: Size,
    floor: float,
) -> np.ndarray:
    """Return (N, *size, C) of images (N, H, W, C) and weights (C, KH, KW); padding may be negative."""
    channels, number = image.shape[3], image.dtype.type
    out = empty((len(image), *size, channels), image.dtype)
    if out.size:
        pixels = _pixels(channels, size[1])
        weights = np.tile(
            np.ascontiguousarray(weight.transpose(1, 2, 0), number), (1, 1, pixels)
        )  # (KH, KW, pixels * C)
        begin = np.tile(start.astype(number), pixels)
        band = max(1, min(BAND // (size[1] * channels), size[0]))
        _convolve_rows(
            *(image.reshape(-1), image.shape, weights, begin, stride, padding, dilation, band, number(floor)),
            *(out.reshape(-1), out.shape),
        )
    return out


def _fill_lines_py(image, begin, width, first, stride, pixels, channels, lines):
    """Copy a row, image[begin:], into ``stride`` lines: pixel q of line r is its pixel first + r + q stride, or 0 beside it."""
    for r in range(stride):
        start = first + r
        left = min(max(0, -(start // stride)), pixels)
        right = min(max((width - 1 - start) // stride + 1, left), pixels)
        target = lines[r * pixels * channels : (r + 1) * pixels * channels]
        target[: left * channels] = 0
        target[right * channels :] = 0
        if stride == 1:
            middle, source = target[left * channels : right * channels], image[begin + (start + left) * channels :]
            for j in range(len(middle)):
                middle[j] = source[j]
        else:
            for q in range(left, right):
                pixel = target[q * channels : (q + 1) * channels]
                source = image[begin + (start + q * stride) * channels :]
                for c in range(channels):
                    pixel[c] = source[c]


def _convolve_rows_py(
    flat_image, image_shape, weights, begin, stride, padding, dilation, band, floor, flat_out, out_shape
):
    _, height, width, channels = image_shape
    batch, out_height, out_width, _ = out_shape
    length = out_width * channels
    kernel_height, kernel_width, row = weights.shape
    flat_weights = weights.reshape(-1)
    reach = (out_width - 1) * stride[1] + dilation[1] * (kernel_width - 1) + 1  # pixels that a line of output reads
    pixels = (reach + stride[1] - 1) // stride[1]
    bands = (out_height + band - 1) // band
    for task in prange(batch * bands):
        n = np.int64(task) // bands
        top = (np.int64(task) - n * bands) * band
        bottom = min(top + band, out_height)
        lines = np.empty(stride[1] * pixels * channels, flat_image.dtype)
        for oy in range(top, bottom):
            for first in range(0, length, row):
                place = (n * out_height + oy) * length + first
                part = flat_out[place : place + min(row, length - first)]
                for j in range(len(part)):
                    part[j] = begin[j]
        first_row = top * stride[0] - padding[0]
        last_row = (bottom - 1) * stride[0] - padding[0] + dilation[0] * (kernel_height - 1)
        for y in range(max(first_row, 0), min(last_row + 1, height)):
            filled = False
            for ky in range(kernel_height):
                above = y + padding[0] - ky * dilation[0]
                oy = above // stride[0]
                if oy * stride[0] == above and top <= oy < bottom:
                    if not filled:
                        source = (n * height + y) * width * channels
                        _fill_lines(flat_image, source, width, -padding[1], stride[1], pixels, channels, lines)
                        filled = True
                    target = (n * out_height + oy) * length
                    kx = 0
                    while kx < kernel_width:
                        w0 = (ky * kernel_width + kx) * row
                        a0 = _line_of(kx, stride[1], dilation[1], pixels, channels)
                        if kx + 3 <= kernel_width:
                            a1 = _line_of(kx + 1, stride[1], dilation[1], pixels, channels)
                            a2 = _line_of(kx + 2, stride[1], dilation[1], pixels, channels)
                            for j in range(0, length, row):
                                add_products(
                                    min(row, length - j), lines, a0 + j, a1 + j, a2 + j, flat_weights, w0, row,
                                    flat_out, target + j,
                                )  # fmt: skip
                            kx += 3
                        else:
                            for j in range(0, length, row):
                                add_product(min(row, length - j), lines, a0 + j, flat_weights, w0, flat_out, target + j)
                            kx += 1
        if floor > -np.inf:
            part = flat_out[(n * out_height + top) * length : (n * out_height + bottom) * length]
            for j in range(len(part)):
                part[j] = floor if part[j] <= floor else part[j]


def _line_of_py(kx, stride, dilation, pixels, channels):
    """Return where the line begins that a place along the width reads."""
    t = kx * dilation
    return (t % stride * pixels + t // stride) * channels


def _sum_rows_py(flat_grads, grads_shape, flat_image, image_shape, stride, padding, dilation, row, parts):
    _, height, width, channels = image_shape
    _, out_height, out_width, _ = grads_shape
    length = out_width * channels
    _, kernel_height, kernel_width, _ = parts.shape
    reach = (out_width - 1) * stride[1] + dilation[1] * (kernel_width - 1) + 1
    pixels = (reach + stride[1] - 1) // stride[1]
    bands = (out_height + ROWS - 1) // ROWS
    for task in prange(len(parts)):
        n = np.int64(task) // bands
        top = (np.int64(task) - n * bands) * ROWS
        bottom = min(top + ROWS, out_height)
        lines = np.empty(stride[1] * pixels * channels, flat_image.dtype)
        sums = np.zeros(kernel_height * kernel_width * row, flat_image.dtype)
        first_row = top * stride[0] - padding[0]
        last_row = (bottom - 1) * stride[0] - padding[0] + dilation[0] * (kernel_height - 1)
        for y in range(max(first_row, 0), min(last_row + 1, height)):
            filled = False
            for ky in range(kernel_height):
                above = y + padding[0] - ky * dilation[0]
                oy = above // stride[0]
                if oy * stride[0] == above and top <= oy < bottom:
                    if not filled:
                        source = (n * height + y) * width * channels
                        _fill_lines(flat_image, source, width, -padding[1], stride[1], pixels, channels, lines)
                        filled = True
                    grad = (n * out_height + oy) * length
                    for kx in range(kernel_width):
                        a0, s0 = _line_of(kx, stride[1], dilation[1], pixels, channels), (ky * kernel_width + kx) * row
                        for j in range(0, length, row):
                            add_product(min(row, length - j), lines, a0 + j, flat_grads, grad + j, sums, s0)
        for ky in range(kernel_height):
            for kx in range(kernel_width):
                for j in range(row):
                    parts[task, ky, kx, j % channels] += sums[(ky * kernel_width + kx) * row + j]


def _scatter_rows_py(grads, weight, stride, padding, dilation, grad_input):
    batch, out_height, out_width, channels = grads.shape
    height, width = grad_input.shape[1:3]
    for task in prange(batch * height):
        n = task // height
        y = task - n * height
        for x in range(width):
            for c in range(channels):
                grad_input[n, y, x, c] = 0
        for ky in range(weight.shape[0]):
            below = y + padding[0] - ky * dilation[0]
            oy = below // stride[0]
            if oy * stride[0] == below and 0 <= oy < out_height:
                for kx in range(weight.shape[1]):
                    left = kx * dilation[1] - padding[1]  # the column that output column 0 read
                    first = max(0, -(left // stride[1]))
                    last = min(out_width, (width - 1 - left) // stride[1] + 1)
                    w = weight[ky, kx]
                    for ox in range(first, last):
                        grad, out = grads[n, oy, ox], grad_input[n, y, ox * stride[1] + left]
                        for c in range(channels):
                            out[c] += w[c] * grad[c]


_fill_lines = njit(**SERIAL)(_fill_lines_py)
_line_of = njit(**SERIAL)(_line_of_py)
_convolve_rows = njit(**OPTIONS)(_convolve_rows_py)
_sum_rows = njit(**OPTIONS)(_sum_rows_py)
_scatter_rows = njit(**OPTIONS)(_scatter_rows_py)
