"""Batch normalization in NumPy, to be read. These docstrings are the contract for every backend.

Source: Ioffe and Szegedy, 2015; the numbers in brackets are the steps of their algorithm 1 and the equations below it.
Statistics are float64 whatever the type of the images: a sum over a million float32 pixels has no digits to lose.
"""

from __future__ import annotations

import numpy as np


def batch_norm(
    input: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalize each channel to mean 0 and variance 1 over the batch, then scale and shift it.

    Parameters
    ----------
    input : float array (N, C, H, W)
    weight, bias : arrays (C,)
        gamma and beta, of the input's type.
    eps : float
        Added to the variance before its root is taken.

    Returns
    -------
    output : array (N, C, H, W)
        weight * (input - mean) / sqrt(variance + eps) + bias, of the input's type.
    mean, variance : float64 arrays (C,)
        Over N, H and W. The variance is the biased one (divided by N*H*W) and taken around the mean: a large offset
        costs no digits, and a constant float32 channel has variance exactly 0. Both are 0 where there is no pixel.
    """
    count = max(input.size // input.shape[1], 1)
    mean = input.sum(axis=(0, 2, 3), dtype=np.float64) / count  # (N, C, H, W) -> (C,)
    with np.errstate(invalid="ignore"):  # an infinite pixel makes NaN, and is meant to
        centered = input - _channels(mean)  # in float64
    variance = (centered**2).sum(axis=(0, 2, 3)) / count  # (C,)
    scale = weight / np.sqrt(variance + eps)
    return (_channels(scale) * centered + _channels(bias)).astype(input.dtype), mean, variance


def batch_norm_grad(
    grad_output: np.ndarray,
    input: np.ndarray,
    weight: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    eps: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of ``batch_norm`` with respect to input, weight and bias.

    Parameters
    ----------
    grad_output, input : float arrays (N, C, H, W)
    weight : array (C,)
    mean, variance : float64 arrays (C,)
        As the forward returned them. They depend on the input, and the gradient goes through them.
    eps : float

    Returns
    -------
    grad_input : array (N, C, H, W)
    grad_weight, grad_bias : arrays (C,)
        All of the input's type.
    """
    count = max(input.size // input.shape[1], 1)
    inverse = 1 / np.sqrt(variance + eps)  # (C,)
    normalized = (input - _channels(mean)) * _channels(inverse)
    grad_bias = grad_output.sum(axis=(0, 2, 3), dtype=np.float64)  # (N, C, H, W) -> (C,)
    grad_weight = (grad_output * normalized).sum(axis=(0, 2, 3))  # (C,)
    # The output hardly changes if all pixels move together, or apart: those two parts of the gradient drop out.
    centered = grad_output - _channels(grad_bias / count) - normalized * _channels(grad_weight / count)
    grad_input = _channels(weight * inverse) * centered
    return grad_input.astype(input.dtype), grad_weight.astype(input.dtype), grad_bias.astype(input.dtype)


def batch_norm_relu(
    input: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what ``batch_norm`` does with every negative output set to 0: two layers, one pass over memory less.

    Parameters and results as for ``batch_norm``. A NaN stays NaN.
    """
    output, mean, variance = batch_norm(input, weight, bias, eps)
    return np.maximum(output, 0), mean, variance


def batch_norm_relu_grad(
    grad_output: np.ndarray,
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    eps: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of ``batch_norm_relu`` with respect to input, weight and bias.

    Parameters and results as for ``batch_norm_grad``; with ``bias``, the sign of the output is found again from the input,
    which must be read anyway: the output need not be kept. Where it is 0 or less no gradient passes, as in
    ``torch.nn.functional.relu``.
    """
    scale = weight / np.sqrt(variance + eps)
    output = _channels(scale) * (input - _channels(mean)) + _channels(bias)
    return batch_norm_grad(np.where(output <= 0, 0, grad_output), input, weight, mean, variance, eps)


def channel_affine(input: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return input * scale + shift, channel by channel: batch normalization in evaluation mode.

    Parameters
    ----------
    input : float array (N, C, H, W)
    scale, shift : float64 arrays (C,)
        weight / sqrt(running_var + eps), and bias - running_mean * scale.

    Returns
    -------
    array (N, C, H, W)
        Of the input's type, computed in float64 and rounded once.
    """
    return (input * _channels(scale) + _channels(shift)).astype(input.dtype)


def channel_affine_relu(input: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return max(input * scale + shift, 0), channel by channel: batch normalization in evaluation mode, then ReLU.

    Parameters and result as for ``channel_affine``. A NaN stays NaN.
    """
    return np.maximum(channel_affine(input, scale, shift), 0)


def _channels(values: np.ndarray) -> np.ndarray:
    """Return one float64 number a channel in the shape that meets (N, C, H, W) images."""
    return values.astype(np.float64)[:, None, None]  # (C,) -> (C, 1, 1)
