"""Batch normalization as compiled loops; ``reference.py`` holds the contract.

Memory is channels-last inside: a list of pixels, each with all its channels. Sums are float64, taken over blocks of
pixels that stay in the cache, and the blocks are put together in a fixed order: the result does not depend on the number
of threads. A mean is found first and the squares are taken around it, so fastmath must not rearrange: contraction only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from ...arrays import channels_first, channels_last
from ..threads import one_at_a_time

OPTIONS: dict[str, Any] = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract"}}
BLOCK = 16384  # numbers a task works on: 64 KiB of float32


@one_at_a_time
def batch_norm(
    input: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalize each channel over the batch, then scale and shift it; see ``reference.batch_norm``."""
    pixels = _as_pixels(input)
    mean, variance = _moments(pixels)
    scale = weight / np.sqrt(variance + eps)
    output = np.empty_like(pixels)
    _center_scale_shift(pixels, mean, scale, bias.astype(np.float64), _block_size(pixels), output)
    return _as_images(output, input), mean, variance


@one_at_a_time
def batch_norm_grad(
    grad_output: np.ndarray,
    input: np.ndarray,
    weight: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    eps: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of ``batch_norm``; see ``reference.batch_norm_grad``."""
    grads, pixels = _as_pixels(grad_output), _as_pixels(input)
    size, count = _block_size(pixels), max(len(pixels), 1)
    inverse = 1 / np.sqrt(variance + eps)
    sums = np.empty((-(-len(pixels) // size), 2, pixels.shape[1]))
    _block_products(grads, pixels, mean, size, sums)
    grad_bias, grad_weight = sums.sum(axis=0)  # sums of grad_output, and of grad_output * (input - mean)
    grad_weight *= inverse
    of_grad = weight * inverse
    of_input = -of_grad * inverse * grad_weight / count
    grad_input = np.empty_like(pixels)
    _mix(grads, grad_bias / count, of_grad, pixels, mean, of_input, size, grad_input)
    return _as_images(grad_input, input), grad_weight.astype(input.dtype), grad_bias.astype(input.dtype)


@one_at_a_time
def channel_affine(input: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return input * scale + shift, channel by channel; see ``reference.channel_affine``."""
    pixels = _as_pixels(input)
    output = np.empty_like(pixels)
    _center_scale_shift(pixels, np.zeros(len(scale)), scale, shift, _block_size(pixels), output)
    return _as_images(output, input)


def _as_pixels(images: np.ndarray) -> np.ndarray:
    n, c, h, w = images.shape
    return channels_last(images).reshape(n * h * w, c)  # (N, C, H, W) -> (N, H, W, C) -> (N*H*W, C)


def _as_images(pixels: np.ndarray, like: np.ndarray) -> np.ndarray:
    n, c, h, w = like.shape
    return channels_first(pixels.reshape(n, h, w, c))  # (N*H*W, C) -> (N, H, W, C) -> (N, C, H, W)


def _block_size(pixels: np.ndarray) -> int:
    """Return how many pixels a task takes: it depends on the channels alone, so that sums are always cut alike."""
    return max(BLOCK // max(pixels.shape[1], 1), 1)


def _moments(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and biased variance of each channel (Chan, Golub and LeVeque, 1983, put the blocks together)."""
    count, channels = pixels.shape
    if count == 0:
        return np.zeros(channels), np.zeros(channels)
    size = _block_size(pixels)
    first = np.arange(0, count, size)
    means, squares = np.empty((2, len(first), channels))
    _block_moments(pixels, size, means, squares)
    pixels_of_block = np.minimum(size, count - first)[:, None]
    with np.errstate(invalid="ignore"):  # an infinite pixel makes NaN, and is meant to
        mean = means[0] + ((means - means[0]) * pixels_of_block).sum(axis=0) / count
        variance = (squares + pixels_of_block * (means - mean) ** 2).sum(axis=0) / count
    return mean, variance


def _block_moments_py(pixels, size, means, squares):
    """Per block: the mean, and the sum of squares around it. Shifting by a pixel keeps a constant channel exact."""
    count, channels = pixels.shape
    for block in prange(len(means)):
        first, stop = block * size, min((block + 1) * size, count)
        mean, square, shift = means[block], squares[block], pixels[first]
        for c in range(channels):
            mean[c] = 0
            square[c] = 0
        for i in range(first, stop):
            for c in range(channels):
                mean[c] += np.float64(pixels[i, c]) - np.float64(shift[c])
        for c in range(channels):
            mean[c] = shift[c] + mean[c] / (stop - first)
        for i in range(first, stop):
            for c in range(channels):
                distance = pixels[i, c] - mean[c]
                square[c] += distance * distance


def _block_products_py(grads, pixels, mean, size, sums):
    """Per block: the sum of the gradients, and of gradient times (input - mean)."""
    count, channels = pixels.shape
    for block in prange(len(sums)):
        of_grad, of_product = sums[block, 0], sums[block, 1]
        for c in range(channels):
            of_grad[c] = 0
            of_product[c] = 0
        for i in range(block * size, min((block + 1) * size, count)):
            for c in range(channels):
                of_grad[c] += grads[i, c]
                of_product[c] += grads[i, c] * (pixels[i, c] - mean[c])


def _center_scale_shift_py(pixels, center, scale, shift, size, output):
    count, channels = pixels.shape
    for block in prange((count + size - 1) // size):
        for i in range(block * size, min((block + 1) * size, count)):
            for c in range(channels):
                output[i, c] = (pixels[i, c] - center[c]) * scale[c] + shift[c]


def _mix_py(grads, center_of_grad, of_grad, pixels, center, of_pixel, size, output):
    count, channels = pixels.shape
    for block in prange((count + size - 1) // size):
        for i in range(block * size, min((block + 1) * size, count)):
            for c in range(channels):
                output[i, c] = (grads[i, c] - center_of_grad[c]) * of_grad[c] + (pixels[i, c] - center[c]) * of_pixel[c]


_block_moments = njit(**OPTIONS)(_block_moments_py)
_block_products = njit(**OPTIONS)(_block_products_py)
_center_scale_shift = njit(**OPTIONS)(_center_scale_shift_py)
_mix = njit(**OPTIONS)(_mix_py)
