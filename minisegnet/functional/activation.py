"""Activations, softmax and dropout: functions of each pixel, or of each pixel's channels."""

from __future__ import annotations

from typing import Any

from .. import deferred, random, ranks
from ..arrays import array_module
from ..autograd import Context, Function, Tensor
from .checks import float_tensor


class ReLU(Function):
    """max(0, x); the derivative at 0 is 0. NaN stays NaN."""

    @staticmethod
    def forward(ctx: Context, x: Any) -> Any:
        y = array_module(x).maximum(x, 0)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        (y,) = ctx.saved_tensors
        return grad_output * (y > 0)


class ReLU6(Function):
    """min(max(0, x), 6); the derivative at 0 and at 6 is 0. NaN stays NaN."""

    @staticmethod
    def forward(ctx: Context, x: Any) -> Any:
        xp = array_module(x)
        y = xp.minimum(xp.maximum(x, 0), 6)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        (y,) = ctx.saved_tensors
        return grad_output * ((y > 0) & (y < 6))


class LeakyReLU(Function):
    """x where it is positive, slope * x elsewhere."""

    @staticmethod
    def forward(ctx: Context, x: Any, slope: float) -> Any:
        ctx.slope = slope
        ctx.save_for_backward(x)
        return array_module(x).where(x > 0, x, x * slope)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        (x,) = ctx.saved_tensors
        return array_module(x).where(x > 0, grad_output, grad_output * ctx.slope), None


class Sigmoid(Function):
    """1 / (1 + exp(-x)), written by tanh so that it never overflows."""

    @staticmethod
    def forward(ctx: Context, x: Any) -> Any:
        y = 0.5 * (1 + array_module(x).tanh(0.5 * x))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        (y,) = ctx.saved_tensors
        return grad_output * y * (1 - y)


class Tanh(Function):
    """The hyperbolic tangent."""

    @staticmethod
    def forward(ctx: Context, x: Any) -> Any:
        y = array_module(x).tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        (y,) = ctx.saved_tensors
        return grad_output * (1 - y * y)


class Softmax(Function):
    """exp(x) / sum(exp(x)); the largest x is subtracted first, which changes nothing and never overflows."""

    @staticmethod
    def forward(ctx: Context, x: Any, dim: int) -> Any:
        e = array_module(x).exp(x - x.max(axis=dim, keepdims=True))
        y = e / e.sum(axis=dim, keepdims=True)
        ctx.dim = dim
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        (y,) = ctx.saved_tensors
        return y * (grad_output - (grad_output * y).sum(axis=ctx.dim, keepdims=True)), None


class LogSoftmax(Function):
    """x - log(sum(exp(x)))."""

    @staticmethod
    def forward(ctx: Context, x: Any, dim: int) -> Any:
        xp = array_module(x)
        shifted = x - x.max(axis=dim, keepdims=True)
        y = shifted - xp.log(xp.exp(shifted).sum(axis=dim, keepdims=True))
        ctx.dim = dim
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        (y,) = ctx.saved_tensors
        return grad_output - array_module(y).exp(y) * grad_output.sum(axis=ctx.dim, keepdims=True), None


class Dropout(Function):
    """Multiply by a mask of 0 and 1 / (1 - p) (Srivastava et al., 2014, in its inverted form)."""

    @staticmethod
    def forward(ctx: Context, x: Any, mask: Any) -> Any:
        ctx.save_for_backward(mask)
        return x * mask

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        return grad_output * ctx.saved_tensors[0], None


def relu(input: Any, inplace: bool = False) -> Tensor:
    """Return max(0, input). ``inplace`` is accepted as in PyTorch, and changes nothing: arrays here are never overwritten."""
    return ReLU.apply(float_tensor(input, "relu"))


def relu6(input: Any, inplace: bool = False) -> Tensor:
    """Return min(max(0, input), 6): a ReLU whose values fit a coarse fixed-point number (Sandler et al., 2018, section 3)."""
    return ReLU6.apply(float_tensor(input, "relu6"))


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return input where it is positive, ``negative_slope`` * input elsewhere."""
    return LeakyReLU.apply(float_tensor(input, "leaky_relu"), negative_slope)


def sigmoid(input: Any) -> Tensor:
    """Return 1 / (1 + exp(-input))."""
    return Sigmoid.apply(float_tensor(input, "sigmoid"))


def tanh(input: Any) -> Tensor:
    """Return the hyperbolic tangent."""
    return Tanh.apply(float_tensor(input, "tanh"))


def softmax(input: Any, dim: int) -> Tensor:
    """Return probabilities over axis ``dim`` (1 for the classes of (N, K, H, W))."""
    return Softmax.apply(_with_axis(input, dim, "softmax"), dim)


def log_softmax(input: Any, dim: int) -> Tensor:
    """Return the logarithm of the softmax over axis ``dim``, without its rounding."""
    return LogSoftmax.apply(_with_axis(input, dim, "log_softmax"), dim)


def _with_axis(input: Any, dim: int, what: str) -> Tensor:
    x = float_tensor(input, what)
    if not isinstance(dim, int) or not -x.ndim <= dim < x.ndim:
        raise ValueError(f"{what}: dim must be an axis of input, which has shape {x.shape}, got {dim!r}")
    return x


def dropout(input: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Set each number to 0 with probability ``p`` and scale the others by 1 / (1 - p), when training."""
    x = float_tensor(input, "dropout")
    return _drop(x, x.shape, p, training)


def dropout2d(input: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """As ``dropout``, for whole channels of (N, C, H, W): neighbouring pixels are too alike to drop alone."""
    x = float_tensor(input, "dropout2d")
    return _drop(x, (*x.shape[:-2], 1, 1), p, training)


def _drop(x: Tensor, shape: tuple[int, ...], p: float, training: bool) -> Tensor:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p must be a probability between 0 and 1, got {p}")
    if not training or p == 0:
        return x

    def draw() -> Any:
        return ((_draw(shape) >= p) / (1 - p if p < 1 else 1)).astype(x.dtype)

    xp, later = array_module(x.data), deferred.current()
    if later is None or not later.capturing:
        return Dropout.apply(x, xp.asarray(draw()))
    later.masks.append((xp.empty(shape, x.dtype), draw))
    return Dropout.apply(x, later.masks[-1][0])


def _draw(shape: tuple[int, ...]) -> Any:
    """Return random numbers in [0, 1); several ranks draw those of the joined batch alike, and take their rows."""
    joined = ranks.current()
    if joined is None:
        return random.generator().random(shape, dtype="float32")
    start, total = joined.rows_of(shape[0])
    return random.generator().random((total, *shape[1:]), dtype="float32")[start : start + shape[0]]


for _name, _value in {
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softmax": softmax,
    "log_softmax": log_softmax,
}.items():
    setattr(Tensor, _name, _value)

__all__ = ["dropout", "dropout2d", "leaky_relu", "log_softmax", "relu", "relu6", "sigmoid", "softmax", "tanh"]
