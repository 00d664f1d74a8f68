"""Initial weights: He, Xavier (Glorot), bilinear, constant. They fill a parameter and return it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import random
from ..arrays import array_module
from ..autograd import Tensor
from ..shapes import SizeLike, pair


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


class _Draws(threading.local):
    """Whether this thread's random weights are drawn."""

    on = True


_draws = _Draws()


@contextmanager
def no_draws() -> Iterator[None]:
    """``with no_draws():`` random weights are left undefined and the generator untouched, for a network about to be loaded."""
    before, _draws.on = _draws.on, False
    try:
        yield
    finally:
        _draws.on = before


def _drawn(tensor: Tensor, draw: Callable[[int], np.ndarray]) -> Tensor:
    """Fill with random numbers, a million at a time: the numbers of one draw without its float64 array of twice the size."""
    if not _draws.on:
        return tensor
    values = np.empty(tensor.shape, tensor.dtype)
    flat = values.reshape(-1)
    for start in range(0, flat.size, 2**20):
        part = flat[start : start + 2**20]
        part[...] = draw(part.size)
    return _fill(tensor, values)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Fill with numbers between a and b."""
    return _drawn(tensor, lambda count: random.generator().uniform(a, b, count))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill with normal numbers."""
    return _drawn(tensor, lambda count: random.generator().normal(mean, std, count))


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


def bilinear_kernel(size: SizeLike) -> np.ndarray:
    """Return the (KH, KW) kernel with which a transposed convolution interpolates bilinearly (Long et al., 2015, 3.3).

    With f = (K + 1) // 2 and c = f - 1 for odd K, f - 0.5 for even K, each axis has the weights 1 - |i - c| / f. At stride s
    the stamps of K = 2s (and of 2s - 1) add up to one, except at the border, where a neighbour is missing.
    """
    rows, columns = (_tent(k) for k in pair(size, "size", minimum=1))
    return np.outer(rows, columns)


def _tent(size: int) -> np.ndarray:
    f = (size + 1) // 2
    c = f - 1 if size % 2 else f - 0.5
    return 1 - np.abs(np.arange(size) - c) / f


def bilinear_(tensor: Tensor) -> Tensor:
    """Fill the weight of a transposed convolution so that it upsamples each channel bilinearly, by itself.

    Parameters
    ----------
    tensor : (C, O / groups, KH, KW) with as many channels out as in, so groups = C / (O / groups): (C, C, KH, KW) for one
        group, where the kernel comes on the diagonal of the channels and zeros beside it; (C, 1, KH, KW) for a group a channel

    Raises
    ------
    ValueError
        If the weight has another number of axes, or cannot have as many channels out as in.
    """
    if tensor.ndim != 4 or tensor.shape[1] == 0 or tensor.shape[0] % tensor.shape[1]:
        raise ValueError(
            "bilinear_: the weight must be that of a transposed convolution with as many channels out as in, "
            f"(C, C / groups, KH, KW), got shape {tensor.shape}"
        )
    values = np.zeros(tensor.shape)
    channel = np.arange(tensor.shape[0])
    values[channel, channel % tensor.shape[1]] = bilinear_kernel(tensor.shape[2:])
    return _fill(tensor, values)
