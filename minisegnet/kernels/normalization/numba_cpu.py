"""Batch normalization, with and without ReLU, as compiled loops; ``reference.py`` holds the contract.

Memory is channels-last inside: one long line of numbers, in which every channel comes back after C of them. The loops walk
it in *rows* of several pixels, about 256 numbers, and the C numbers that they need (means, scales) are laid out as often
beside each other: then the innermost loop is long, and compiled to vector instructions, however few channels there are.

Sums are float64, taken over blocks of pixels, and the blocks are put together in a fixed order: the result does not depend
on the number of threads. What is computed number by number is so in the images' own type. Fastmath must not rearrange:
contraction only. ReLU costs nothing on top: a batch norm without it is one with the floor -infinity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from ...arrays import channels_first
from ..buffers import empty
from ..numba_cpu_layout import channels_last
from ..numba_cpu_stream import stream, stream_end, streams
from ..threads import one_at_a_time

SERIAL: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": {"contract"}}
OPTIONS: dict[str, Any] = {"parallel": True, **SERIAL}
BLOCK = 16384  # numbers a task works on: 64 KiB of float32
ROW = 256  # numbers of an innermost loop, at most, where there are fewer channels
SUMMED = 128  # the same where sums are kept of all of them: they and the images share the first cache
MANY = 2**20  # numbers from which on a task of the statistics is four blocks: each block's have to be put together


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
    return _scaled(input, scale, shift, -np.inf)


@one_at_a_time
def channel_affine_relu(input: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return max(input * scale + shift, 0), channel by channel; see ``reference.channel_affine_relu``."""
    return _scaled(input, scale, shift, 0.0)


def _normalize(
    input: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float, floor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the output, not below the floor, and the statistics."""
    mean, variance = _moments(_as_line(input), input.shape[1])
    return _affine(input, *_by_distance(mean, variance, weight, bias, eps, input.dtype), floor), mean, variance


def _by_distance(
    mean: np.ndarray, variance: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``near``, ``scale`` and ``shift``, float64: batch norm is (input - near) * scale + shift.

    ``near`` is the mean rounded to the images' type: distances from there lose nothing to a large offset. Forward and gradient
    compute with the same numbers, so they agree on what lies on the floor.
    """
    near, scale = mean.astype(dtype).astype(np.float64), weight / np.sqrt(variance + eps)
    return near, scale, bias - (mean - near) * scale


def _zero_of(scale: np.ndarray, shift: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return near which number input * scale + shift is zero, or 0 where it is nowhere."""
    with np.errstate(all="ignore"):
        zero = (-np.asarray(shift, np.float64) / scale).astype(dtype)
    return np.where(np.isfinite(zero), zero, 0).astype(np.float64)


def _scaled(input: np.ndarray, scale: np.ndarray, shift: np.ndarray, floor: float) -> np.ndarray:
    """Return input * scale + shift, channel by channel, not below the floor."""
    near = _zero_of(scale, shift, input.dtype)
    return _affine(input, near, scale, near * scale + shift, floor)


def _affine(input: np.ndarray, near: np.ndarray, scale: np.ndarray, shift: np.ndarray, floor: float) -> np.ndarray:
    """Return (input - near) * scale + shift, channel by channel, not below the floor."""
    line, row = _as_line(input), _row(input.shape[1])
    output, each = empty(line.shape, line.dtype), _side_by_side(row, line.dtype, near, scale, shift)
    _center_scale_shift(line, *each, line.dtype.type(floor), _block(row), streams(row, (output,), (line,)), output)
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
    row, count, dtype = _row(channels), max(input.size // channels, 1), line.dtype
    near, scale, shift = _by_distance(mean, variance, weight, bias, eps, dtype)
    inverse, beyond, lowest = 1 / np.sqrt(variance + eps), mean - near, dtype.type(floor)
    forward = _side_by_side(row, dtype, near, scale, shift)
    sums = np.empty((-(-len(line) // _block(row)), 2, channels))
    _block_products(grads, line, *forward, lowest, _block(row), sums)
    grad_bias, grad_weight = sums.sum(axis=0)  # sums of grad_output, and of grad_output * (input - near)
    grad_weight = (grad_weight - beyond * grad_bias) * inverse
    of_distance = -scale * inverse * grad_weight / count
    plus = -scale * grad_bias / count - beyond * of_distance
    grad_input, mix = empty(line.shape, dtype), _side_by_side(row, dtype, scale, of_distance, plus)
    _mix(grads, line, *forward, lowest, *mix, _block(row), streams(row, (grad_input,), (grads, line)), grad_input)
    return _as_images(grad_input, input), grad_weight.astype(dtype), grad_bias.astype(dtype)


def _as_line(images: np.ndarray) -> np.ndarray:
    return channels_last(images).reshape(-1)  # (N, C, H, W) -> (N, H, W, C) -> (N*H*W*C,)


def _as_images(line: np.ndarray, like: np.ndarray) -> np.ndarray:
    n, c, h, w = like.shape
    return channels_first(line.reshape(n, h, w, c))  # (N*H*W*C,) -> (N, H, W, C) -> (N, C, H, W)


def _row(channels: int, most: int = ROW) -> int:
    """Return how many numbers an innermost loop takes: those of whole pixels."""
    return max(most // max(channels, 1), 1) * channels


def _block(row: int) -> int:
    """Return how many numbers a task takes. It does not depend on the threads, so that sums are always cut alike."""
    return max(BLOCK // row, 1) * row


def _side_by_side(row: int, dtype: np.dtype, *values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return each (C,) array repeated to the length of a row, in the images' type."""
    return tuple(np.tile(v.astype(dtype), row // len(v)) for v in values)


def _moments(line: np.ndarray, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and biased variance of each channel (Chan, Golub and LeVeque, 1983, put the blocks together)."""
    count = len(line) // channels
    if count == 0:
        return np.zeros(channels), np.zeros(channels)
    row = _row(channels, SUMMED)
    size = _block(row) * (4 if len(line) >= MANY else 1)
    first = np.arange(0, len(line), size)
    means, squares = np.empty((2, len(first), channels))
    _block_moments(line, row, size, means, squares)
    pixels_of_block = (np.minimum(size, len(line) - first) // channels)[:, None]
    with np.errstate(invalid="ignore"):  # an infinite pixel makes NaN, and is meant to
        mean = means[0] + ((means - means[0]) * pixels_of_block).sum(axis=0) / count
        variance = (squares + pixels_of_block * (means - mean) ** 2).sum(axis=0) / count
    return mean, variance


def _block_moments_py(line, row, size, means, squares):
    """Per block: the mean, and the sum of squares around it.

    One walk adds up distances from a pixel, and their squares; the mean's share is taken off the squares afterwards. That
    costs no digits if the pixel is an ordinary one: of three, the one in the middle. A constant channel stays exact.
    """
    channels = means.shape[1]
    for block in prange(len(means)):
        part = line[block * size : (block + 1) * size]
        center, total, square = np.empty(row), np.zeros(row), np.zeros(row)
        count = len(part) // channels
        for j in range(row):
            c = j % channels
            one, two, three = part[c], part[count // 2 * channels + c], part[(count - 1) * channels + c]
            center[j] = max(min(one, two), min(max(one, two), three))
        for first in range(0, len(part), row):
            here = part[first : first + row]
            for j in range(len(here)):
                distance = np.float64(here[j]) - center[j]
                total[j] += distance
                square[j] += distance * distance
        for c in range(channels):
            all_distances, all_squares = 0.0, 0.0
            for j in range(c, row, channels):
                all_distances += total[j]
                all_squares += square[j]
            shift = all_distances / count
            means[block, c] = center[c] + shift
            squares[block, c] = max(all_squares - shift * all_distances, 0.0)


def _row_py(here, center, scale, shift, floor, there):
    for j in range(len(here)):
        value = (here[j] - center[j]) * scale[j] + shift[j]
        there[j] = floor if value <= floor else value  # so written, a NaN stays


def _center_scale_shift_py(line, center, scale, shift, floor, size, past, output):
    """``past``: write the output past the cache."""
    row = len(center)
    for block in prange((len(line) + size - 1) // size):
        part, to = line[block * size : (block + 1) * size], output[block * size : (block + 1) * size]
        made = np.empty(row if past else 0, output.dtype)
        for first in range(0, len(part), row):
            here = part[first : first + row]
            if past and len(here) == row:
                _row_of_output(here, center, scale, shift, floor, made)
                stream(made, to, first)
            else:
                _row_of_output(here, center, scale, shift, floor, to[first : first + row])
        stream_end()


def _block_products_py(grads, line, center, scale, shift, floor, size, sums):
    """Per block: the sum of the gradients that pass the floor, and of gradient times (input - mean)."""
    row, channels, zero = len(center), sums.shape[2], line.dtype.type(0)
    for block in prange(len(sums)):
        part, grad = line[block * size : (block + 1) * size], grads[block * size : (block + 1) * size]
        of_grad, of_product = np.zeros(row), np.zeros(row)
        for first in range(0, len(part), row):
            here, arrived = part[first : first + row], grad[first : first + row]
            for j in range(len(here)):
                distance = here[j] - center[j]
                passed = np.float64(zero if distance * scale[j] + shift[j] <= floor else arrived[j])
                of_grad[j] += passed
                of_product[j] += passed * np.float64(distance)
        for c in range(channels):
            all_grads, all_products = 0.0, 0.0
            for j in range(c, row, channels):
                all_grads += of_grad[j]
                all_products += of_product[j]
            sums[block, 0, c], sums[block, 1, c] = all_grads, all_products


def _mixed_row_py(arrived, here, center, scale, shift, floor, times_grad, times_distance, plus, there):
    zero = arrived.dtype.type(0)
    for j in range(len(here)):
        distance = here[j] - center[j]
        passed = zero if distance * scale[j] + shift[j] <= floor else arrived[j]
        there[j] = passed * times_grad[j] + distance * times_distance[j] + plus[j]


def _mix_py(grads, line, center, scale, shift, floor, times_grad, times_distance, plus, size, past, output):
    row = len(center)
    for block in prange((len(line) + size - 1) // size):
        part, grad = line[block * size : (block + 1) * size], grads[block * size : (block + 1) * size]
        to, made = output[block * size : (block + 1) * size], np.empty(row if past else 0, output.dtype)
        for first in range(0, len(part), row):
            here, arrived = part[first : first + row], grad[first : first + row]
            if past and len(here) == row:
                _mixed_row(arrived, here, center, scale, shift, floor, times_grad, times_distance, plus, made)
                stream(made, to, first)
            else:
                there = to[first : first + row]
                _mixed_row(arrived, here, center, scale, shift, floor, times_grad, times_distance, plus, there)
        stream_end()


_block_moments = njit(**OPTIONS)(_block_moments_py)
_row_of_output = njit(**SERIAL)(_row_py)
_center_scale_shift = njit(**OPTIONS)(_center_scale_shift_py)
_block_products = njit(**OPTIONS)(_block_products_py)
_mixed_row = njit(**SERIAL)(_mixed_row_py)
_mix = njit(**OPTIONS)(_mix_py)
