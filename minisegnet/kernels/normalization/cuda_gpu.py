"""Batch normalization, with and without ReLU, on a GPU; ``reference.py`` holds the contract, ``cuda_gpu.cu`` the loops."""

from __future__ import annotations

import math
from typing import Any

import cupy
import numpy as np

from ..cuda_gpu_launch import launch, ready


def batch_norm(input: Any, weight: Any, bias: Any, eps: float = 1e-5) -> tuple[Any, Any, Any]:
    """Normalize each channel over the batch, then scale and shift it; see ``reference.batch_norm``."""
    return _normalize(input, weight, bias, eps, -math.inf)


def batch_norm_grad(
    grad_output: Any, input: Any, weight: Any, mean: Any, variance: Any, eps: float = 1e-5
) -> tuple[Any, Any, Any]:
    """Return the gradients of ``batch_norm``; see ``reference.batch_norm_grad``."""
    return _gradients(grad_output, input, weight, cupy.zeros_like(weight), mean, variance, eps, -math.inf)


def batch_norm_relu(input: Any, weight: Any, bias: Any, eps: float = 1e-5) -> tuple[Any, Any, Any]:
    """Normalize each channel over the batch, scale and shift it, then ReLU; see ``reference.batch_norm_relu``."""
    return _normalize(input, weight, bias, eps, 0.0)


def batch_norm_relu_grad(
    grad_output: Any, input: Any, weight: Any, bias: Any, mean: Any, variance: Any, eps: float = 1e-5
) -> tuple[Any, Any, Any]:
    """Return the gradients of ``batch_norm_relu``; see ``reference.batch_norm_relu_grad``."""
    return _gradients(grad_output, input, weight, bias, mean, variance, eps, 0.0)


def channel_affine(input: Any, scale: Any, shift: Any) -> Any:
    """Return input * scale + shift, channel by channel; see ``reference.channel_affine``."""
    return _affine(input, cupy.zeros(len(scale)), scale, shift, -math.inf)


def channel_affine_relu(input: Any, scale: Any, shift: Any) -> Any:
    """Return max(input * scale + shift, 0), channel by channel; see ``reference.channel_affine_relu``."""
    return _affine(input, cupy.zeros(len(scale)), scale, shift, 0.0)


def _normalize(input: Any, weight: Any, bias: Any, eps: float, floor: float) -> tuple[Any, Any, Any]:
    """Return the output, not below the floor, and the statistics."""
    n, channels, h, w = input.shape
    mean, variance = cupy.zeros((2, channels))
    if input.size:
        arguments = ready(input, input.dtype), mean, variance, channels, h * w
        launch(__file__, "block_moments", input, n * h * w, *arguments, blocks=channels)
    return _affine(input, mean, weight / cupy.sqrt(variance + eps), bias, floor), mean, variance


def _affine(input: Any, center: Any, scale: Any, shift: Any, floor: float) -> Any:
    """Return (input - center) * scale + shift, channel by channel, not below the floor."""
    output, (_, channels, h, w) = cupy.empty(input.shape, input.dtype), input.shape
    launch(
        *(__file__, "center_scale_shift", input, input.size, ready(input, input.dtype)),
        *(*_doubles(center, scale, shift), np.float64(floor), output, channels, h * w),
    )
    return output


def _gradients(
    grad_output: Any, input: Any, weight: Any, bias: Any, mean: Any, variance: Any, eps: float, floor: float
) -> tuple[Any, Any, Any]:
    """Return the three gradients; where the output lay on the floor, none has passed."""
    n, channels, h, w = input.shape
    count = max(n * h * w, 1)
    inverse = 1 / cupy.sqrt(variance + eps)
    scale = weight * inverse
    images = ready(grad_output, input.dtype), ready(input, input.dtype)
    forward = *_doubles(mean, scale, bias), np.float64(floor)
    sums = cupy.zeros((2, channels))  # of grad_output, and of grad_output * (input - mean)
    if input.size:
        launch(
            *(__file__, "block_products", input, n * h * w, *images, *forward, sums, channels, h * w), blocks=channels
        )
    grad_bias, grad_weight = sums[0], sums[1] * inverse
    factors = _doubles(scale, -scale * inverse * grad_weight / count, -scale * grad_bias / count)
    grad_input = cupy.empty(input.shape, input.dtype)
    launch(__file__, "mix", input, input.size, *images, *forward, *factors, grad_input, channels, h * w)
    return grad_input, grad_weight.astype(input.dtype), grad_bias.astype(input.dtype)


def _doubles(*values: Any) -> tuple[Any, ...]:
    return tuple(ready(v, np.float64) for v in values)
