"""The fully connected layer: one matrix product."""

from __future__ import annotations

from typing import Any

from ..autograd import Tensor
from .arrangement import transpose
from .checks import float_tensor, same_dtype, together


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """Return input @ weight^T + bias, as ``torch.nn.functional.linear``.

    Parameters
    ----------
    input : (..., features in)
    weight : (features out, features in)
    bias : (features out,), optional
    """
    input, weight, bias = together(input, weight, bias)
    x, w = float_tensor(input, "linear"), float_tensor(weight, "linear", "weight")
    same_dtype("linear", input=x, weight=w)
    if w.ndim != 2 or x.ndim < 1 or x.shape[-1] != w.shape[1]:
        raise ValueError(
            f"linear: input must end in the {w.shape[-1]} features that weight {w.shape} takes, got {x.shape}"
        )
    rows = x.reshape(-1, x.shape[-1]) @ transpose(w, 0, 1)
    output = rows.reshape(*x.shape[:-1], w.shape[0])
    return output if bias is None else output + bias
