"""Convolution in NumPy, to be read; these docstrings say what the convolution of every backend does.

    output[n, o, oy, ox] = bias[o] + sum over c, ky, kx of
        weight[o, c, ky, kx] * input[n, c, oy*stride - padding + ky*dilation, ox*stride - padding + kx*dilation]

where pixels outside the image count as zero. (Strictly a cross-correlation: the kernel is not flipped.) The output is
linear in the input and linear in the weight, so both gradients are sums over the same triples (output pixel, input
pixel, weight): ``conv2d_grad_input`` is the transpose of ``conv2d`` as a matrix, and it *is* the transposed convolution.

``algorithm="winograd"`` computes the same in another way (``reference_winograd.py``); every other name means these sums.

Letters: N batch, C input channels, O output channels, H W input size, KH KW kernel size, OH OW output size.
Source: V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ...shapes import Size, effective_kernel
from ..contract import check_algorithm
from . import reference_winograd


def conv2d(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
    algorithm: str = "auto",
) -> np.ndarray:
    """Return the convolution of a batch of images with a bank of filters.

    Parameters
    ----------
    input : (N, C, H, W)
    weight : (O, C/groups, KH, KW)
    bias : (O,) or None
    stride, padding, dilation : (height, width)
        In pixels: how far the kernel moves from one output pixel to the next, how many zeros surround the image on
        each side, and how far apart the kernel reads.
    groups : int
        Split the channels into this many independent convolutions; with ``groups = C`` it is called depthwise.
    algorithm : "auto", "direct", "winograd", "shifts" or "depthwise"
        How to compute it. A backend may refuse, with a ValueError, what its algorithm of that name cannot compute.

    Returns
    -------
    (N, O, OH, OW) with OH = (H + 2*padding - dilation*(KH - 1) - 1) // stride + 1, in the type of ``input``.
    """
    if check_algorithm(algorithm) == "winograd":
        return reference_winograd.conv2d(input, weight, bias, stride, padding, dilation, groups)
    windows = _windows(input, weight.shape[2:], stride, padding, dilation)  # (N, C, OH, OW, KH, KW)
    outputs = []
    for x, w in zip(np.split(windows, groups, axis=1), np.split(weight, groups), strict=True):
        output = np.tensordot(x, w, axes=((1, 4, 5), (1, 2, 3)))  # (N, OH, OW, O/groups)
        outputs.append(output.transpose(0, 3, 1, 2))  # (N, O/groups, OH, OW)
    output = np.concatenate(outputs, axis=1)  # (N, O, OH, OW)
    if bias is not None:
        output = output + bias[:, None, None]
    return output


def conv2d_relu(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
    algorithm: str = "auto",
) -> np.ndarray:
    """Return max(conv2d(...), 0): a convolution and the ReLU after it, in one pass over the output. A NaN stays a NaN."""
    return np.maximum(conv2d(input, weight, bias, stride, padding, dilation, groups, algorithm), 0)


def conv2d_grad_input(
    grad_output: np.ndarray,
    weight: np.ndarray,
    input_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
    algorithm: str = "auto",
) -> np.ndarray:
    """Return the gradient with respect to the input of ``conv2d``; also, the transposed convolution of ``grad_output``.

    Each output pixel hands its gradient back to the input pixels it read, times the weight it read them with.

    Parameters
    ----------
    grad_output : (N, O, OH, OW)
    weight : (O, C/groups, KH, KW)
    input_size : (H, W)
        Given, because several sizes lead to one output size when the stride is larger than 1: the last rows may never
        have been read, and their gradient is zero.
    stride, padding, dilation, groups, algorithm
        As in ``conv2d``.

    Returns
    -------
    (N, C, H, W), in the type of ``grad_output``.
    """
    if check_algorithm(algorithm) == "winograd":
        return reference_winograd.conv2d_grad_input(grad_output, weight, input_size, stride, padding, dilation, groups)
    batch, _, height, width = grad_output.shape
    channels, (kernel_height, kernel_width) = weight.shape[1] * groups, weight.shape[2:]
    padded_size = input_size[0] + 2 * padding[0], input_size[1] + 2 * padding[1]
    padded = np.zeros((batch, channels, *padded_size), dtype=grad_output.dtype)  # (N, C, H + 2p, W + 2p)
    per_group = np.split(padded, groups, axis=1)  # views: adding to one of them adds to `padded`
    for grad_group, g, w in zip(
        per_group, np.split(grad_output, groups, axis=1), np.split(weight, groups), strict=True
    ):
        for ky in range(kernel_height):
            for kx in range(kernel_width):
                share = np.tensordot(g, w[:, :, ky, kx], axes=(1, 0))  # (N, OH, OW, C/groups)
                rows = _every(stride[0], height, start=ky * dilation[0])
                columns = _every(stride[1], width, start=kx * dilation[1])
                grad_group[:, :, rows, columns] += share.transpose(0, 3, 1, 2)  # (N, C/groups, OH, OW)
    top, left = padding
    return padded[:, :, top : top + input_size[0], left : left + input_size[1]].copy()  # (N, C, H, W)


def conv2d_grad_weight(
    grad_output: np.ndarray,
    input: np.ndarray,
    kernel_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
    algorithm: str = "auto",
) -> np.ndarray:
    """Return the gradient with respect to the weight of ``conv2d``.

    Every weight is used once for each output pixel: its gradient sums, over batch and pixels, the gradient of the
    output times the input that the weight met there.

    Parameters
    ----------
    grad_output : (N, O, OH, OW)
    input : (N, C, H, W)
    kernel_size : (KH, KW)
    stride, padding, dilation, groups, algorithm
        As in ``conv2d``.

    Returns
    -------
    (O, C/groups, KH, KW), in the type of ``grad_output``.
    """
    if check_algorithm(algorithm) == "winograd":
        return reference_winograd.conv2d_grad_weight(grad_output, input, kernel_size, stride, padding, dilation, groups)
    height, width = grad_output.shape[2:]
    windows = _windows(input, kernel_size, stride, padding, dilation)
    windows = windows[:, :, :height, :width]  # (N, C, OH, OW, KH, KW)
    grads = []
    for g, x in zip(np.split(grad_output, groups, axis=1), np.split(windows, groups, axis=1), strict=True):
        grads.append(np.tensordot(g, x, axes=((0, 2, 3), (0, 2, 3))))  # (O/groups, C/groups, KH, KW)
    return np.concatenate(grads)  # (O, C/groups, KH, KW)


def _windows(input: np.ndarray, kernel_size: Size, stride: Size, padding: Size, dilation: Size) -> np.ndarray:
    """Return a view (N, C, OH, OW, KH, KW): what the kernel reads at each of its places on the padded image."""
    (top, left), span = padding, [effective_kernel(k, d) for k, d in zip(kernel_size, dilation, strict=True)]
    padded = np.pad(input, ((0, 0), (0, 0), (top, top), (left, left)))  # (N, C, H + 2p, W + 2p)
    windows = sliding_window_view(padded, span, axis=(2, 3))  # (N, C, all rows, all columns, span, span)
    return windows[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def _every(step: int, count: int, start: int) -> slice:
    """Return the slice that takes ``count`` places, ``step`` apart."""
    return slice(start, start + (count - 1) * step + 1, step)
