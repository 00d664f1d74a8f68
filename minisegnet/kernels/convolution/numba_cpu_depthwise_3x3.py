"""Depthwise 3x3 convolution with padding 1, stride 1 or 2, in float32: what MobileNets are made of.

    out[y, x] = bias + sum over ky, kx of weight[ky, kx] * image[y s + ky - 1, x s + kx - 1], for each channel on its own

Nine products a number are so few that memory sets the speed, if nothing else does: images are read where they lie, in the
layout in which they come, and nothing is copied or turned round. Vectors are neighbouring channels of channels-last memory
(``numba_cpu_depthwise_pixels.py``) or neighbouring pixels of a plane (``..._planes.py``). The gradient of the input at stride 1 is
the convolution with the kernel turned round; at stride 2, each pixel of ``grad_output`` and its neighbours to the right and
below make a square of four. The work is shared in bands of rows (``..._bands.py``).

The idea of keeping a small kernel in registers: A. Lavin and S. Gray do it for ordinary convolutions on a GPU (2016, section 4.2).
"""

from __future__ import annotations

import numpy as np

from ...arrays import channels_first
from ...shapes import Size, conv_output_size
from ..buffers import empty
from ..numba_cpu_layout import channels_last
from . import numba_cpu_depthwise_bands as bands
from .numba_cpu_band import are_planes
from .numba_cpu_depthwise_bands import BAND, PLANE_BAND
from .numba_cpu_depthwise_vectors import VECTORS


def serves(dtype: np.dtype, weight: tuple[int, ...], stride: Size, padding: Size, dilation: Size, groups: int) -> bool:
    """Return whether these functions can serve a geometry; ``weight`` is the shape (O, C / groups, KH, KW)."""
    alike = weight[1:] == (1, 3, 3) and weight[0] == groups >= VECTORS[-1] and padding == dilation == (1, 1)
    return alike and dtype == np.float32 and stride in ((1, 1), (2, 2))


def conv2d(input: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, stride: Size, floor: float) -> np.ndarray:
    """Return the convolution (N, C, OH, OW), not below ``floor``, in the layout of the input; a geometry that ``serves``."""
    size = conv_output_size(input.shape[2:], (3, 3), stride, (1, 1), (1, 1))
    return _convolve(input, weight.reshape(-1, 9), bias, size, stride[0], floor)


def conv2d_grad_input(grad_output: np.ndarray, weight: np.ndarray, input_size: Size, stride: Size) -> np.ndarray:
    """Return the gradient (N, C, H, W) of the input, in the layout of ``grad_output``."""
    size, weight = (input_size[0], input_size[1]), weight.reshape(-1, 9)
    if stride == (1, 1):
        return _convolve(grad_output, weight[:, ::-1], None, size, 1, -np.inf)
    if _are_planes(size[1], 2, grad_output):
        out = empty((*grad_output.shape[:2], *size), np.float32)
        factors = _factors(weight, None).reshape(-1)
        lanes = _lanes(grad_output.shape[3])
        bands.spread_planes(lanes, grad_output.reshape(-1), grad_output.shape, factors, out.reshape(-1), out.shape)
        return out
    grads, lanes = _memory(grad_output), _lanes(len(weight))
    out = empty((len(grads), *size, len(weight)), np.float32)
    if out.size:
        factors = _packed(_factors(weight, None), lanes)
        bands.spread_bands(lanes, grads.reshape(-1), grads.shape, factors, out.reshape(-1), out.shape)
    return channels_first(out)


def conv2d_grad_weight(grad_output: np.ndarray, input: np.ndarray, stride: Size) -> np.ndarray:
    """Return the gradient (C, 1, 3, 3) of the weight. Sums over a band of rows end in float64.

    A number of the input that is not finite may show in all nine gradients of its channel.
    """
    n, channels, height, width = grad_output.shape
    if _are_planes(input.shape[3], stride[0], grad_output, input):
        lanes = _lanes(width)
        parts = np.zeros((n, channels, -(-height // PLANE_BAND), 9, lanes), np.float32)
        bands.meet_planes(
            lanes, input.reshape(-1), input.shape, grad_output.reshape(-1), grad_output.shape, stride[0],
            parts.reshape(-1, 9, lanes),
        )  # fmt: skip
        return parts.sum(axis=(0, 2, 4), dtype=np.float64).astype(np.float32).reshape(channels, 1, 3, 3)
    grads, image, lanes = _memory(grad_output), _memory(input), _lanes(channels)
    parts = np.zeros((n * -(-height // BAND), -(-channels // lanes), 9, lanes), np.float32)
    if grads.size:
        bands.meet_bands(lanes, image.reshape(-1), image.shape, grads.reshape(-1), grads.shape, stride[0], parts)
    total = parts.sum(axis=0, dtype=np.float64).transpose(0, 2, 1)  # (vectors, lanes, 9)
    whole = total[:-1].reshape(-1, 9)
    last = total[-1][len(whole) + lanes - channels :]  # the last vector's channels that no other one has
    return np.concatenate([whole, last]).astype(np.float32).reshape(channels, 1, 3, 3)


def _lanes(count: int) -> int:
    """Return how many floats a vector has, where there are so many to be served."""
    return next(lanes for lanes in VECTORS if lanes <= count)


def _are_planes(width: int, stride: int, *images: np.ndarray) -> bool:
    """Return whether images are ordinary memory (N, C, H, W) that the loops over planes accept as it is.

    ``width`` : of the image, not of what comes out; at stride 2 it must be even.
    """
    fit = all(are_planes(image) and image.size for image in images)
    return fit and width % stride == 0 and width // stride >= VECTORS[-1]


def _memory(image: np.ndarray) -> np.ndarray:
    """Return (N, H, W, C) memory that the loops accept; a view where it lies so already."""
    return np.require(channels_last(image), requirements=["C", "A", "W"])


def _factors(weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """Return (C, 10): a channel's nine weights, and where its sums begin."""
    begin = np.zeros(len(weight)) if bias is None else bias
    return np.concatenate([weight, begin[:, None]], axis=1, dtype=np.float32)


def _packed(factors: np.ndarray, lanes: int) -> np.ndarray:
    """Return them for vectors of channels, the last of which may overlap the one before: flat (vectors, 10, lanes)."""
    channels = len(factors)
    firsts = np.minimum(np.arange(0, channels, lanes), channels - lanes)
    return np.ascontiguousarray(factors[firsts[:, None] + np.arange(lanes)].transpose(0, 2, 1)).reshape(-1)


def _convolve(
    image: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, size: Size, stride: int, floor: float
) -> np.ndarray:
    """Return (N, C, *size) of images (N, C, H, W) and weights (C, 9)."""
    factors = _factors(weight, bias)
    if _are_planes(image.shape[3], stride, image):
        out = empty((*image.shape[:2], *size), np.float32)
        bands.slide_planes(
            _lanes(size[1]), image.reshape(-1), image.shape, stride, factors.reshape(-1), np.float32(floor),
            out.reshape(-1), out.shape,
        )  # fmt: skip
        return out
    last, lanes = _memory(image), _lanes(len(weight))
    out = empty((len(last), *size, len(weight)), np.float32)
    if out.size:
        bands.slide_bands(
            lanes, last.reshape(-1), last.shape, stride, _packed(factors, lanes), np.float32(floor), out.reshape(-1),
            out.shape,
        )  # fmt: skip
    return channels_first(out)
