"""Checks that every operation shares: what came, what was expected, and the cure, in one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import device_of, get_default_device, is_cupy, placed
from ..autograd import Tensor, unwrap


def as_tensor(value: Any) -> Tensor:
    """Return a Tensor around an array or numbers, on the default device; a Tensor as it is."""
    return value if isinstance(value, Tensor) else _new(Tensor(value))


def _new(tensor: Tensor) -> Tensor:
    if get_default_device() != "cpu":
        tensor.data = placed(tensor.data)
    return tensor


def together(*values: Any) -> tuple[Any, ...]:
    """Return the arguments of one operation, NumPy arrays on one device with the tensors beside them.

    On the default device, that is, unless a tensor is on the CPU: then they stay there with it.
    """
    if get_default_device() == "cpu":
        return values
    on_cpu = any(isinstance(v, Tensor) and not is_cupy(v.data) for v in values)
    return tuple((Tensor(v) if on_cpu else as_tensor(v)) if isinstance(v, np.ndarray) else v for v in values)


def float_tensor(value: Any, what: str, name: str = "input") -> Tensor:
    """Return ``value`` as a Tensor, and insist on float32 or float64.

    Raises
    ------
    TypeError
        For integers and other types; the message says how to convert.
    """
    x = as_tensor(value)
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"{what}: {name} must be float32 or float64, got {x.dtype}; "
            f"convert it first, for an 8-bit image: {name}.astype(np.float32) / 255"
        )
    return x


def same_dtype(what: str, **tensors: Tensor | None) -> None:
    """Raise a TypeError that names both if two tensors have different types, or are on different devices."""
    (first, x), *others = tensors.items()
    same_device(what, **tensors)
    for name, y in others:
        if y is not None and x is not None and y.dtype != x.dtype:
            raise TypeError(
                f"{what}: {first} is {x.dtype}, but {name} is {y.dtype}; they must be the same: "
                f"convert with .to(np.float32) or .astype(np.float32)"
            )


def same_device(what: str, **values: Any) -> None:
    """Raise a TypeError that names both if two tensors or arrays are on different devices."""
    (first, x), *others = ((name, unwrap(value)) for name, value in values.items())
    for name, y in others:
        if hasattr(x, "dtype") and hasattr(y, "dtype") and device_of(x) != device_of(y):
            here = name if device_of(y) == "cpu" else first
            raise TypeError(
                f"{what}: different devices: {first} is on {device_of(x)}, but {name} is on {device_of(y)}; move one of them: "
                f'{here}.to("cuda"), of a model model.to("cuda"), of an array minisegnet.to_device({here}, "cuda")'
            )


def images(value: Any, what: str) -> tuple[Tensor, bool]:
    """Return (N, C, H, W) float images, and whether one image (C, H, W) came without its batch axis.

    Raises
    ------
    ValueError
        For any other rank.
    """
    x = float_tensor(value, what)
    if x.ndim not in (3, 4):
        raise ValueError(
            f"{what}: input must have 4 axes (N, C, H, W) or 3 (C, H, W) for one image, got {x.ndim}: shape {x.shape}"
        )
    return (x[None], True) if x.ndim == 3 else (x, False)


def unbatch(output: Tensor, single: bool) -> Tensor:
    """Remove the batch axis again that ``images`` added."""
    return output[0] if single else output
