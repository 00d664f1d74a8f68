"""Depthwise convolution: every filter reads one channel, so the innermost loop runs over channels.

Channels-last memory makes the channels of a pixel neighbours, and each is multiplied by its own weight: vector
instructions without any preparation. There is nothing to gain from packing or padding: taps that fall outside the
image are skipped row by row and column by column.

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

OPTIONS: Any = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}


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
    """Return the convolution (N, O, OH, OW); ``groups`` is C. Numbers below ``floor`` become it, a NaN stays one."""
    size = conv_output_size(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    image = _channels_last(input, len(weight) // groups)
    taps = np.require(weight[:, 0].transpose(1, 2, 0), requirements=["C", "A", "W"])  # (KH, KW, O)
    start = np.zeros(len(weight), dtype=input.dtype) if bias is None else np.require(bias, requirements=["C", "A", "W"])
    output = empty((len(input), *size, len(weight)), dtype=input.dtype)
    _conv2d_loops(image, taps, start, stride, padding, dilation, output)
    if floor > -np.inf:
        np.maximum(output, output.dtype.type(floor), out=output)
    return channels_first(output)


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
    taps = np.require(weight[:, 0].transpose(1, 2, 0), requirements=["C", "A", "W"])  # (KH, KW, O)
    grad_input = empty((len(grad_output), *input_size, len(weight)), dtype=grad_output.dtype)
    _grad_input_loops(_channels_last(grad_output), taps, stride, padding, dilation, grad_input)
    if groups < len(weight):
        filters = len(weight) // groups
        grad_input = grad_input.reshape(*grad_input.shape[:3], groups, filters).sum(axis=4)  # (N, H, W, C)
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
    outputs = grad_output.shape[1]
    image = _channels_last(input, outputs // groups)
    per_image = np.zeros((len(input), *kernel_size, outputs))  # (N, KH, KW, O)
    _grad_weight_loops(_channels_last(grad_output), image, stride, padding, dilation, per_image)
    return per_image.sum(axis=0).transpose(2, 0, 1)[:, None].astype(grad_output.dtype, order="C")


def _channels_last(image: np.ndarray, repeats: int = 1) -> np.ndarray:
    """Return (N, H, W, C*repeats) memory that the loops accept; a view where it lies so already."""
    last = channels_last(image)
    return np.require(last if repeats == 1 else np.repeat(last, repeats, axis=3), requirements=["C", "A", "W"])


def _conv2d_loops_py(image, weight, bias, stride, padding, dilation, output):
    batch, height, width, channels = image.shape
    out_height, out_width = output.shape[1:3]
    for task in prange(batch * out_height):
        n = task // out_height
        oy = task - n * out_height
        for ox in range(out_width):
            for c in range(channels):
                output[n, oy, ox, c] = bias[c]
        for ky in range(weight.shape[0]):
            y = oy * stride[0] - padding[0] + ky * dilation[0]
            if 0 <= y < height:
                for kx in range(weight.shape[1]):
                    left = kx * dilation[1] - padding[1]  # the column that output column 0 reads
                    first = max(0, -(left // stride[1]))
                    last = min(out_width, (width - 1 - left) // stride[1] + 1)
                    w = weight[ky, kx]
                    for ox in range(first, last):
                        x, out = image[n, y, ox * stride[1] + left], output[n, oy, ox]
                        for c in range(channels):
                            out[c] += w[c] * x[c]


def _grad_input_loops_py(grad_output, weight, stride, padding, dilation, grad_input):
    batch, out_height, out_width, channels = grad_output.shape
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
                        grad, out = grad_output[n, oy, ox], grad_input[n, y, ox * stride[1] + left]
                        for c in range(channels):
                            out[c] += w[c] * grad[c]


def _grad_weight_loops_py(grad_output, image, stride, padding, dilation, per_image):
    batch, height, width, channels = image.shape
    out_height, out_width = grad_output.shape[1:3]
    kernel_height, kernel_width = per_image.shape[1:3]
    taps = kernel_height * kernel_width
    for task in prange(batch * taps):
        n = task // taps
        tap = task - n * taps
        ky = tap // kernel_width
        kx = tap - ky * kernel_width
        left = kx * dilation[1] - padding[1]  # the column that output column 0 read
        first = max(0, -(left // stride[1]))
        last = min(out_width, (width - 1 - left) // stride[1] + 1)
        row_sum = np.empty(channels, image.dtype)
        total = per_image[n, ky, kx]
        for oy in range(out_height):
            y = oy * stride[0] - padding[0] + ky * dilation[0]
            if 0 <= y < height:
                for c in range(channels):
                    row_sum[c] = 0
                for ox in range(first, last):
                    x, grad = image[n, y, ox * stride[1] + left], grad_output[n, oy, ox]
                    for c in range(channels):
                        row_sum[c] += grad[c] * x[c]
                for c in range(channels):
                    total[c] += row_sum[c]


_conv2d_loops = njit(**OPTIONS)(_conv2d_loops_py)
_grad_input_loops = njit(**OPTIONS)(_grad_input_loops_py)
_grad_weight_loops = njit(**OPTIONS)(_grad_weight_loops_py)
