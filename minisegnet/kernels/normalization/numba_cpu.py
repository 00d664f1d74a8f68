"""Batch normalization, with and without ReLU, as compiled loops; ``reference.py`` holds the contract.

Memory is channels-last inside: one long line of numbers, in which every channel comes back after C of them. The loops walk
it in *rows* of several pixels, about 256 numbers, and the C numbers that they need (means, scales) are laid out as often
beside each other: then the innermost loop is long, and compiled to vector instructions, however few channels there are.

Sums are float64, taken over blocks of pixels that stay in the cache, and the blocks are put together in a fixed order: the
result does not depend on the number of threads. A mean is found first and the squares are taken around it, so fastmath
must not rearrange: contraction only. ReLU costs nothing on top: a batch norm without it is one with the floor -infinity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from ...arrays import channels_first
from ..buffers import empty
from ..numba_cpu_layout import channels_last
from ..threads import one_at_a_time

OPTIONS: dict[str, Any] = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract"}}
BLOCK = 16384  # numbers a task works on: 64 KiB of float32
ROW = 256  # numbers of an innermost loop, at most, where there are fewer channels


@one_at_a_time
def batch_norm(
    input: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalize each channel over the batch, then scale and shift it; see ``reference.batch_norm``."""
    return _normalize(input, weight, bias, eps, -np.inf)


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
    return _gradients(grad_output, input, weight, np.zeros_like(weight), mean, variance, eps, -np.inf)


@one_at_a_time
def batch_norm_relu(
    input: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalize each channel over the batch, scale and shift it, then ReLU; see ``reference.batch_norm_relu``."""
    return _normalize(input, weight, bias, eps, 0.0)


@one_at_a_time
def batch_norm_relu_grad(
    grad_output: np.ndarray,
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    eps: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of ``batch_norm_relu``; see ``reference.batch_norm_relu_grad``."""
    return _gradients(grad_output, input, weight, bias, mean, variance, eps, 0.0)


@one_at_a_time
def channel_affine(input: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return input * scale + shift, channel by channel; see ``reference.channel_affine``."""
    return _affine(input, np.zeros(len(scale)), scale, shift, -np.inf)


@one_at_a_time
def channel_affine_relu(input: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return max(input * scale + shift, 0), channel by channel; see ``reference.channel_affine_relu``."""
    return _affine(input, np.zeros(len(scale)), scale, shift, 0.0)


def _normalize(
    input: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float, floor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the output, not below the floor, and the statistics."""
    mean, variance = _moments(_as_line(input), input.shape[1])
    return _affine(input, mean, weight / np.sqrt(variance + eps), bias, floor), mean, variance


def _affine(input: np.ndarray, center: np.ndarray, scale: np.ndarray, shift: np.ndarray, floor: float) -> np.ndarray:
    """Return (input - center) * scale + shift, channel by channel, not below the floor."""
    line, row = _as_line(input), _row(input.shape[1])
    output = empty(line.shape, line.dtype)
    _center_scale_shift(line, *_side_by_side(row, center, scale, shift), floor, _block(row), output)
    return _as_images(output, input)


def _gradients(
    grad_output: np.ndarray,
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    eps: float,
    floor: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the three gradients; where the output lay on the floor, none has passed."""
    grads, line, channels = _as_line(grad_output), _as_line(input), input.shape[1]
    row, count = _row(channels), max(input.size // channels, 1)
    inverse = 1 / np.sqrt(variance + eps)
    scale = weight * inverse
    forward = _side_by_side(row, mean, scale, bias)
    sums = np.empty((-(-len(line) // _block(row)), 2, channels))
    _block_products(grads, line, *forward, floor, _block(row), sums)
    grad_bias, grad_weight = sums.sum(axis=0)  # sums of grad_output, and of grad_output * (input - mean)
    grad_weight *= inverse
    mix = _side_by_side(row, scale, -scale * inverse * grad_weight / count, -scale * grad_bias / count)
    grad_input = empty(line.shape, line.dtype)
    _mix(grads, line, *forward, floor, *mix, _block(row), grad_input)
    return _as_images(grad_input, input), grad_weight.astype(input.dtype), grad_bias.astype(input.dtype)


def _as_line(images: np.ndarray) -> np.ndarray:
    return channels_last(images).reshape(-1)  # (N, C, H, W) -> (N, H, W, C) -> (N*H*W*C,)


def _as_images(line: np.ndarray, like: np.ndarray) -> np.ndarray:
    n, c, h, w = like.shape
    return channels_first(line.reshape(n, h, w, c))  # (N*H*W*C,) -> (N, H, W, C) -> (N, C, H, W)


def _row(channels: int) -> int:
    """Return how many numbers an innermost loop takes: those of whole pixels."""
    return max(min(ROW, BLOCK) // max(channels, 1), 1) * channels


def _block(row: int) -> int:
    """Return how many numbers a task takes: it depends on the channels alone, so that sums are always cut alike."""
    return max(BLOCK // row, 1) * row


def _side_by_side(row: int, *values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return each (C,) array repeated to the length of a row, in float64."""
    return tuple(np.tile(v.astype(np.float64), row // len(v)) for v in values)


def _moments(line: np.ndarray, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and biased variance of each channel (Chan, Golub and LeVeque, 1983, put the blocks together)."""
    count = len(line) // channels
    if count == 0:
        return np.zeros(channels), np.zeros(channels)
    row = _row(channels)
    first = np.arange(0, len(line), _block(row))
    means, squares = np.empty((2, len(first), channels))
    _block_moments(line, row, _block(row), means, squares)
    pixels_of_block = (np.minimum(_block(row), len(line) - first) // channels)[:, None]
    with np.errstate(invalid="ignore"):  # an infinite pixel makes NaN, and is meant to
        mean = means[0] + ((means - means[0]) * pixels_of_block).sum(axis=0) / count
        variance = (squares + pixels_of_block * (means - mean) ** 2).sum(axis=0) / count
    return mean, variance


def _block_moments_py(line, row, size, means, squares):
    """Per block: the mean, and the sum of squares around it. Shifting by a pixel keeps a constant channel exact."""
    channels = means.shape[1]
    for block in prange(len(means)):
        part = line[block * size : (block + 1) * size]
        center, total = np.empty(row), np.zeros(row)
        for j in range(row):
            center[j] = part[j % channels]
        for first in range(0, len(part), row):
            here = part[first : first + row]
            for j in range(len(here)):
                total[j] += np.float64(here[j]) - center[j]
        for c in range(channels):
            of_channel = 0.0
            for j in range(c, row, channels):
                of_channel += total[j]
            means[block, c] = center[c] + of_channel / (len(part) // channels)
        for j in range(row):
            center[j] = means[block, j % channels]
            total[j] = 0
        for first in range(0, len(part), row):
            here = part[first : first + row]
            for j in range(len(here)):
                distance = np.float64(here[j]) - center[j]
                total[j] += distance * distance
        for c in range(channels):
            of_channel = 0.0
            for j in range(c, row, channels):
                of_channel += total[j]
            squares[block, c] = of_channel


def _center_scale_shift_py(line, center, scale, shift, floor, size, output):
    row = len(center)
    for block in prange((len(line) + size - 1) // size):
        part, to = line[block * size : (block + 1) * size], output[block * size : (block + 1) * size]
        for first in range(0, len(part), row):
            here, there = part[first : first + row], to[first : first + row]
            for j in range(len(here)):
                value = (here[j] - center[j]) * scale[j] + shift[j]
                there[j] = floor if value <= floor else value  # so written, a NaN stays


def _block_products_py(grads, line, center, scale, shift, floor, size, sums):
    """Per block: the sum of the gradients that pass the floor, and of gradient times (input - mean)."""
    row, channels = len(center), sums.shape[2]
    for block in prange(len(sums)):
        part, grad = line[block * size : (block + 1) * size], grads[block * size : (block + 1) * size]
        of_grad, of_product = np.zeros(row), np.zeros(row)
        for first in range(0, len(part), row):
            here, arrived = part[first : first + row], grad[first : first + row]
            for j in range(len(here)):
                distance, passed = np.float64(here[j]) - center[j], np.float64(arrived[j])
                passed = np.float64(0) if distance * scale[j] + shift[j] <= floor else passed
                of_grad[j] += passed
                of_product[j] += passed * distance
        for c in range(channels):
            all_grads, all_products = 0.0, 0.0
            for j in range(c, row, channels):
                all_grads += of_grad[j]
                all_products += of_product[j]
            sums[block, 0, c], sums[block, 1, c] = all_grads, all_products


def _mix_py(grads, line, center, scale, shift, floor, times_grad, times_distance, plus, size, output):
    row = len(center)
    for block in prange((len(line) + size - 1) // size):
        part, grad = line[block * size : (block + 1) * size], grads[block * size : (block + 1) * size]
        to = output[block * size : (block + 1) * size]
        for first in range(0, len(part), row):
            here, arrived, there = part[first : first + row], grad[first : first + row], to[first : first + row]
            for j in range(len(here)):
                distance, passed = np.float64(here[j]) - center[j], np.float64(arrived[j])
                passed = np.float64(0) if distance * scale[j] + shift[j] <= floor else passed
                there[j] = passed * times_grad[j] + distance * times_distance[j] + plus[j]


_block_moments = njit(**OPTIONS)(_block_moments_py)
_center_scale_shift = njit(**OPTIONS)(_center_scale_shift_py)
_block_products = njit(**OPTIONS)(_block_products_py)
_mix = njit(**OPTIONS)(_mix_py)
