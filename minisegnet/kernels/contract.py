"""What every kernel takes and returns: names, parameters, shapes. One table for all backends, and for your own function.

Arrays in, arrays out. All sizes are (height, width) pairs. Images are (N, C, H, W) by shape, whatever lies in memory.
The exact meaning of each kernel (ties, borders, errors, source) is the docstring in its family's ``reference.py``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..arrays import array_module
from ..shapes import conv_output_size, pool_output_size

if TYPE_CHECKING:
    import inspect  # imported on use: it costs as much as a tenth of NumPy


# How a convolution may be computed: "auto" is the backend's choice, "direct" plain sums of products, "winograd" fewer
# multiplications at the price of some accuracy; what the others are, each backend says (``convolution/numba_cpu.py``).
ALGORITHMS = ("auto", "direct", "winograd", "shifts", "depthwise")


def check_algorithm(name: str) -> str:
    """Return the name of an algorithm for convolutions; a ValueError says which ones there are."""
    if name not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}, got {name!r}")
    return name


def _conv2d_shape(input, weight, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, algorithm="auto"):
    size = conv_output_size(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    return ((input.shape[0], weight.shape[0], *size),)


def _conv2d_grad_input_shape(
    grad_output, weight, input_size, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, algorithm="auto"
):
    return ((grad_output.shape[0], weight.shape[1] * groups, *input_size),)


def _conv2d_grad_weight_shape(
    grad_output, input, kernel_size, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, algorithm="auto"
):
    return ((grad_output.shape[1], input.shape[1] // groups, *kernel_size),)


def _max_pool2d_shape(input, kernel_size, stride, padding=(0, 0), dilation=(1, 1), ceil_mode=False):
    size = pool_output_size(input.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    return ((*input.shape[:2], *size),) * 2


def _scatter_to_plane_shape(values, indices, size, accumulate=True):
    return ((*values.shape[:2], *size),)


def _gather_from_plane_shape(plane, indices):
    return (indices.shape,)


def _resize_bilinear_shape(input, size, align_corners=False, scale=(None, None)):
    return ((*input.shape[:2], *size),)


def _resize_bilinear_grad_shape(grad_output, input_size, align_corners=False, scale=(None, None)):
    return ((*grad_output.shape[:2], *input_size),)


def _batch_norm_shape(input, weight, bias, eps=1e-5):
    return input.shape, (input.shape[1],), (input.shape[1],)


def _batch_norm_grad_shape(grad_output, input, weight, mean, variance, eps=1e-5):
    return input.shape, (input.shape[1],), (input.shape[1],)


def _batch_norm_relu_grad_shape(grad_output, input, weight, bias, mean, variance, eps=1e-5):
    return input.shape, (input.shape[1],), (input.shape[1],)


def _channel_affine_shape(input, scale, shift):
    return (input.shape,)


def _softmax_cross_entropy_shape(logits, target, pixel_weight):
    return (target.shape,) * 2


def _softmax_cross_entropy_grad_shape(grad_losses, logits, target, pixel_weight, log_sum_exp):
    return (logits.shape,)


class Kernel(NamedTuple):
    """A seat: the family (folder) it lives in, and the function whose signature is the contract and which gives the shapes."""

    family: str
    shapes: Callable[..., tuple[tuple[int, ...], ...]]

    @property
    def signature(self) -> inspect.Signature:
        """Parameters and defaults, equal in all backends."""
        import inspect

        return inspect.signature(self.shapes)


KERNELS = {
    "conv2d": Kernel("convolution", _conv2d_shape),
    "conv2d_relu": Kernel("convolution", _conv2d_shape),
    "conv2d_grad_input": Kernel("convolution", _conv2d_grad_input_shape),
    "conv2d_grad_weight": Kernel("convolution", _conv2d_grad_weight_shape),
    "max_pool2d": Kernel("pooling", _max_pool2d_shape),
    "scatter_to_plane": Kernel("pooling", _scatter_to_plane_shape),
    "gather_from_plane": Kernel("pooling", _gather_from_plane_shape),
    "resize_bilinear": Kernel("resampling", _resize_bilinear_shape),
    "resize_bilinear_grad": Kernel("resampling", _resize_bilinear_grad_shape),
    "batch_norm": Kernel("normalization", _batch_norm_shape),
    "batch_norm_grad": Kernel("normalization", _batch_norm_grad_shape),
    "channel_affine": Kernel("normalization", _channel_affine_shape),
    "batch_norm_relu": Kernel("normalization", _batch_norm_shape),
    "batch_norm_relu_grad": Kernel("normalization", _batch_norm_relu_grad_shape),
    "channel_affine_relu": Kernel("normalization", _channel_affine_shape),
    "softmax_cross_entropy": Kernel("loss", _softmax_cross_entropy_shape),
    "softmax_cross_entropy_grad": Kernel("loss", _softmax_cross_entropy_grad_shape),
}


def checked(name: str, function: Callable) -> Callable:
    """Return a function of the kernel's full signature around yours, which checks what goes in and what comes out."""
    if not callable(function):
        raise TypeError(f"use_kernels: {name} must be a function, got {type(function).__name__}")
    kernel = KERNELS[name]
    label = f"your {name} ({getattr(function, '__name__', type(function).__name__)})"
    accepted = _accepted(function)
    adds_bias = name == "conv2d" and accepted is not None and "bias" not in accepted

    @functools.wraps(function)
    def seat(*args: Any, **kwargs: Any) -> Any:
        bound = kernel.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        bias = given.pop("bias", None) if adds_bias else None
        result = function(**_fit(given, accepted, kernel, label))
        if bias is not None and hasattr(result, "dtype"):
            result = result + bias[:, None, None]
        _check(result, kernel.shapes(*args, **kwargs), bound.arguments, label)
        return result

    return seat


def _accepted(function: Callable) -> set[str] | None:
    """Return the names of the parameters that a function takes; None where it takes any, or does not say."""
    import inspect

    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name for p in parameters}


def _fit(given: dict[str, Any], accepted: set[str] | None, kernel: Kernel, label: str) -> dict[str, Any]:
    """Leave out what the function does not take, where the network leaves it at its default."""
    if accepted is None:
        return given
    for name in [n for n in given if n not in accepted]:
        default = kernel.signature.parameters[name].default
        if default is kernel.signature.empty:
            raise TypeError(f"{label} must take a parameter named {name!r}: the contract is {kernel.signature}")
        if given[name] is not default and (default is None or given[name] != default):
            raise TypeError(
                f"{label} has no parameter {name!r}, but a layer of this network uses {name}={given[name]!r}"
            )
        del given[name]
    return given


def _check(result: Any, shapes: tuple[tuple[int, ...], ...], arguments: dict[str, Any], label: str) -> None:
    """Raise a TypeError or ValueError that says what the function should have returned."""
    results = result if isinstance(result, tuple) else (result,)
    if len(results) != len(shapes):
        raise TypeError(f"{label} must return {len(shapes)} array(s), got {len(results)}")
    first = next(iter(arguments.values()))
    xp = array_module(first)
    for array, shape in zip(results, shapes, strict=True):
        if not isinstance(array, xp.ndarray):
            raise TypeError(f"{label} must return a {xp.__name__} array, got {type(array).__name__}")
        if tuple(array.shape) != tuple(shape):
            given = ", ".join(
                f"{k}={v.shape if isinstance(v, np.ndarray) else v}" for k, v in arguments.items() if v is not None
            )
            raise ValueError(f"{label} returned shape {tuple(array.shape)}, expected {tuple(shape)} for {given}")
        if array.dtype.kind == "f" and array is results[0] and array.dtype != first.dtype:
            raise TypeError(f"{label} returned {array.dtype}, expected {first.dtype} as its first argument")
