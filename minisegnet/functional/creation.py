"""New tensors, with PyTorch's names: from numbers, zeros, ones, normal numbers. They live on the default device."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import random
from ..arrays import placed
from ..autograd import Tensor, unwrap
from .arrangement import _spread


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a Tensor with its own copy of ``data``; Python floats become float32, Python integers int64, as in PyTorch.

    NumPy arrays and numbers go to the default device; a Tensor's copy stays where the Tensor is.
    """
    array = unwrap(data)
    if not hasattr(array, "astype"):
        array = np.array(array)
        dtype = np.float32 if dtype is None and array.dtype == np.float64 else dtype
    array = array.astype(dtype or array.dtype, copy=True)
    return Tensor(array if isinstance(data, Tensor) else placed(array), requires_grad)


def from_numpy(array: np.ndarray) -> Tensor:
    """Return a Tensor that shares the array's memory, so it is on the CPU, whatever the default device."""
    return Tensor(array)


def zeros(*size: Any, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """Return a Tensor of zeros."""
    return Tensor(placed(np.zeros(_spread(size), dtype)), requires_grad)


def ones(*size: Any, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """Return a Tensor of ones."""
    return Tensor(placed(np.ones(_spread(size), dtype)), requires_grad)


def randn(*size: Any, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """Return a Tensor of normal numbers from the generator that ``manual_seed`` starts."""
    return Tensor(placed(random.generator().standard_normal(_spread(size)).astype(dtype)), requires_grad)
