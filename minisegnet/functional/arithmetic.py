"""Arithmetic on the tape: each derivative once, in one line, for NumPy and CuPy arrays alike.

At the end of this file the tape's ``Tensor`` is taught its operators.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import array_module, owned
from ..autograd import Context, Function, Tensor, unwrap
from .checks import as_tensor, together


def sum_to_shape(grad: Any, shape: tuple[int, ...]) -> Any:
    """Undo broadcasting: the gradient of an axis that was repeated is the sum over it."""
    if grad.shape == shape:
        return grad
    grad = grad.sum(axis=tuple(range(grad.ndim - len(shape))))
    return grad.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1 and grad.shape[i] != 1), keepdims=True)


class Add(Function):
    """x + y."""

    @staticmethod
    def forward(ctx: Context, x: Any, y: Any) -> Any:
        ctx.shapes = np.shape(x), np.shape(y)
        return x + y

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        return tuple(
            sum_to_shape(grad_output, shape) if need else None
            for shape, need in zip(ctx.shapes, ctx.needs_input_grad, strict=True)
        )


class Subtract(Function):
    """x - y."""

    @staticmethod
    def forward(ctx: Context, x: Any, y: Any) -> Any:
        ctx.shapes = np.shape(x), np.shape(y)
        return x - y

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        need_x, need_y = ctx.needs_input_grad
        return (
            sum_to_shape(grad_output, ctx.shapes[0]) if need_x else None,
            sum_to_shape(-grad_output, ctx.shapes[1]) if need_y else None,
        )


class Multiply(Function):
    """x * y."""

    @staticmethod
    def forward(ctx: Context, x: Any, y: Any) -> Any:
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        x, y = ctx.saved_tensors
        need_x, need_y = ctx.needs_input_grad
        return (
            sum_to_shape(grad_output * y, np.shape(x)) if need_x else None,
            sum_to_shape(grad_output * x, np.shape(y)) if need_y else None,
        )


class Divide(Function):
    """x / y."""

    @staticmethod
    def forward(ctx: Context, x: Any, y: Any) -> Any:
        ctx.save_for_backward(x, y)
        return x / y

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        x, y = ctx.saved_tensors
        need_x, need_y = ctx.needs_input_grad
        return (
            sum_to_shape(grad_output / y, np.shape(x)) if need_x else None,
            sum_to_shape(-grad_output * x / (y * y), np.shape(y)) if need_y else None,
        )


class Power(Function):
    """x ** exponent, for a number as exponent."""

    @staticmethod
    def forward(ctx: Context, x: Any, exponent: float) -> Any:
        ctx.exponent = exponent
        ctx.save_for_backward(x)
        return x**exponent

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        (x,) = ctx.saved_tensors
        n = ctx.exponent
        return (grad_output * n * x ** (n - 1) if n else grad_output * 0), None


class Exp(Function):
    """e ** x."""

    @staticmethod
    def forward(ctx: Context, x: Any) -> Any:
        y = array_module(x).exp(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        return grad_output * ctx.saved_tensors[0]


class Log(Function):
    """The natural logarithm."""

    @staticmethod
    def forward(ctx: Context, x: Any) -> Any:
        ctx.save_for_backward(x)
        return array_module(x).log(x)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        return grad_output / ctx.saved_tensors[0]


class Abs(Function):
    """The absolute value; its derivative at 0 is taken as 0."""

    @staticmethod
    def forward(ctx: Context, x: Any) -> Any:
        ctx.save_for_backward(x)
        return abs(x)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grad_output * array_module(x).sign(x)


class Clamp(Function):
    """x limited to [low, high]; no gradient flows where it was cut."""

    @staticmethod
    def forward(ctx: Context, x: Any, low: float | None = None, high: float | None = None) -> Any:
        y = array_module(x).clip(x, low, high)
        ctx.save_for_backward(x == y)
        return y

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        return grad_output * ctx.saved_tensors[0]


class MatMul(Function):
    """x @ y over the last two axes."""

    @staticmethod
    def forward(ctx: Context, x: Any, y: Any) -> Any:
        if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-2]:
            raise ValueError(
                f"matmul: the inner sizes must agree and both have two axes or more, got {x.shape} @ {y.shape}"
            )
        ctx.save_for_backward(x, y)
        return x @ y

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        x, y = ctx.saved_tensors
        return (
            sum_to_shape(grad_output @ y.swapaxes(-1, -2), x.shape),
            sum_to_shape(x.swapaxes(-1, -2) @ grad_output, y.shape),
        )


def _operand(value: Any, beside: Tensor) -> Any:
    """Return the other side of an operator; a number stays a Python number, which leaves float32 as it is."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (Tensor, int, float)):
        return value
    return as_tensor(together(beside, Tensor(value).data)[1])


def _alike(x: Any, y: Any) -> tuple[Any, Any]:
    """Return both sides of an operator; whole numbers and masks take the type of the floats beside them, as in PyTorch.

    NumPy would make float64 of float32 and int64.
    """
    if isinstance(x, Tensor) and isinstance(y, Tensor) and (x.dtype.kind == "f") != (y.dtype.kind == "f"):
        if x.dtype.kind == "f":
            return x, Tensor(y.data.astype(x.dtype))
        return Tensor(x.data.astype(y.dtype)), y
    return x, y


def _binary(function: type[Function], swapped: bool = False) -> Any:
    def operator(self: Tensor, other: Any) -> Tensor:
        self, other = _alike(self, _operand(other, self))
        if isinstance(other, Tensor):
            array_module(self.data, other.data)  # says so if they are on different devices
        return function.apply(other, self) if swapped else function.apply(self, other)

    return operator


def _power(self: Tensor, exponent: float) -> Tensor:
    if not isinstance(exponent, (int, float)):
        raise TypeError(f"**: the exponent must be a number, got {type(exponent).__name__}")
    return Power.apply(self, exponent)


def _compare(name: str) -> Any:
    def operator(self: Tensor, other: Any) -> Tensor:
        return Tensor(getattr(self.data, name)(unwrap(together(self, other)[1])))

    return operator


def clamp(input: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """Return ``input`` limited to [min, max]."""
    return Clamp.apply(input, low=min, high=max)


for _name, _value in {
    "__add__": _binary(Add),
    "__radd__": _binary(Add, swapped=True),
    "__sub__": _binary(Subtract),
    "__rsub__": _binary(Subtract, swapped=True),
    "__mul__": _binary(Multiply),
    "__rmul__": _binary(Multiply, swapped=True),
    "__truediv__": _binary(Divide),
    "__rtruediv__": _binary(Divide, swapped=True),
    "__matmul__": _binary(MatMul),
    "__pow__": _power,
    "__neg__": lambda self: self * -1,
    "__lt__": _compare("__lt__"),
    "__le__": _compare("__le__"),
    "__gt__": _compare("__gt__"),
    "__ge__": _compare("__ge__"),
    "eq": _compare("__eq__"),
    "exp": lambda self: Exp.apply(self),
    "log": lambda self: Log.apply(self),
    "sqrt": lambda self: Power.apply(self, 0.5),
    "abs": lambda self: Abs.apply(self),
    "clamp": clamp,
    "_own": staticmethod(owned),
}.items():
    setattr(Tensor, _name, _value)
