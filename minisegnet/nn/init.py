"""Initial weights: He, Xavier (Glorot), bilinear, constant. They fill a parameter and return it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import random
from ..arrays import array_module
from ..autograd import Tensor


def _fans(tensor: Tensor) -> tuple[int, int]:
    """Return how many numbers go into and out of one unit, from the weight's shape."""
    if tensor.ndim < 2:
        raise ValueError(
            f"init: a weight needs two axes or more to count what goes in and out, got shape {tensor.shape}"
        )
    area = int(np.prod(tensor.shape[2:]))
    return tensor.shape[1] * area, tensor.shape[0] * area


def _fill(tensor: Tensor, values: Any) -> Tensor:
    tensor.data = array_module(tensor.data).asarray(values, dtype=tensor.dtype)
    return tensor


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Fill with numbers between a and b."""
    return _fill(tensor, random.generator().uniform(a, b, tensor.shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill with normal numbers."""
    return _fill(tensor, random.generator().normal(mean, std, tensor.shape))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number."""
    return _fill(tensor, np.full(tensor.shape, val))


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the variance through a nonlinearity."""
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2)}
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in gains:
        raise ValueError(f"nonlinearity must be one of {', '.join(gains)}, leaky_relu, got {nonlinearity!r}")
    return gains[nonlinearity]


def _he_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'mode must be "fan_in" or "fan_out", got {mode!r}')
    return calculate_gain(nonlinearity, a) / math.sqrt(_fans(tensor)[mode == "fan_out"])


def kaiming_normal_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """He et al. (2015), section 2.2: normal with standard deviation gain / sqrt(fan); the U-Net paper's choice."""
    return normal_(tensor, 0.0, _he_std(tensor, a, mode, nonlinearity))


def kaiming_uniform_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """He et al. (2015) with a uniform distribution of the same variance."""
    bound = math.sqrt(3) * _he_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Glorot and Bengio (2010), section 4.2: variance 2 / (fan in + fan out)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(_fans(tensor))))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Glorot and Bengio (2010) with a uniform distribution of the same variance."""
    bound = gain * math.sqrt(6 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound)


def bilinear_kernel(size: int) -> np.ndarray:
    """Return the (size, size) kernel with which a transposed convolution interpolates bilinearly (Long et al., 2015, 3.3).

    With f = (size + 1) // 2 and c = f - 1 for odd sizes, f - 0.5 for even ones, each axis has the weights 1 - |i - c| / f.
    """
    f = (size + 1) // 2
    c = f - 1 if size % 2 else f - 0.5
    axis = 1 - np.abs(np.arange(size) - c) / f
    return np.outer(axis, axis)


def bilinear_(tensor: Tensor) -> Tensor:
    """Fill a transposed convolution's weight (C, O, K, K) so that each channel is upsampled bilinearly by itself.

    With groups, the weight is (C, 1, K, K) and every channel gets the kernel.
    """
    if tensor.ndim != 4 or tensor.shape[2] != tensor.shape[3]:
        raise ValueError(f"bilinear_: the weight must be (C, O, K, K) with a square kernel, got shape {tensor.shape}")
    values = np.zeros(tensor.shape)
    kernel = bilinear_kernel(tensor.shape[2])
    for c in range(tensor.shape[0]):
        if tensor.shape[1] == 1 or c < tensor.shape[1]:
            values[c, 0 if tensor.shape[1] == 1 else c] = kernel
    return _fill(tensor, values)
