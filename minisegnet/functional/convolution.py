"""Convolution and transposed convolution, side by side: the backward of each one is the forward of the other.

Three linear maps are enough for both (``minisegnet.kernels.convolution``):

    conv2d(input, weight)                      one output pixel = a sum of products under the kernel
    conv2d_grad_input(grad_output, weight)     its transpose with respect to the input: every pixel stamps the kernel
    conv2d_grad_weight(grad_output, input)     its transpose with respect to the weight

Deep learning's "convolution" does not flip the kernel: it is cross-correlation (Goodfellow et al., 2016, section 9.1).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import array_module, channels_first, is_channels_last
from ..autograd import Context, Function, Tensor
from ..backend import kernels_for
from ..kernels.buffers import empty
from ..kernels.contract import check_algorithm
from ..shapes import Size, SizeLike, conv_output_size, conv_transpose_output_size, pair, same_padding
from .checks import float_tensor, images, same_dtype, together, unbatch
from .padding import pad


class Conv2d(Function):
    """output[o] = bias[o] + sum over c, ky, kx of weight[o, c, ky, kx] * input[c] at stride and dilation."""

    @staticmethod
    def forward(ctx: Context, input: Any, weight: Any, bias: Any, geometry: dict[str, Any]) -> Any:
        ctx.kernels, ctx.geometry = kernels_for(input, weight, bias), geometry
        ctx.save_for_backward(input, weight)
        return ctx.kernels.conv2d(input, weight, bias, **geometry)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        (input, weight), kernels, geometry = ctx.saved_tensors[:2], ctx.kernels, ctx.geometry
        need_input, need_weight, need_bias, _ = ctx.needs_input_grad
        return (
            kernels.conv2d_grad_input(grad_output, weight, input.shape[2:], **geometry) if need_input else None,
            kernels.conv2d_grad_weight(grad_output, input, weight.shape[2:], **geometry) if need_weight else None,
            _sum_pixels(grad_output) if need_bias else None,
            None,
        )


class Conv2dReLU(Function):
    """A convolution and the ReLU after it in one pass; where the output is 0, no gradient has passed."""

    @staticmethod
    def forward(ctx: Context, input: Any, weight: Any, bias: Any, geometry: dict[str, Any]) -> Any:
        ctx.kernels, ctx.geometry = kernels_for(input, weight, bias), geometry
        output = ctx.kernels.conv2d_relu(input, weight, bias, **geometry)
        ctx.save_for_backward(input, weight, output)
        return output

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        output = ctx.saved_tensors[2]
        return Conv2d.backward(ctx, grad_output * ~(output <= 0))  # a NaN lets it pass, as in ReLU


class ConvTranspose2d(Function):
    """Every input pixel stamps the kernel, weighted by its value, ``stride`` output pixels apart; overlaps add up."""

    @staticmethod
    def forward(ctx: Context, input: Any, weight: Any, bias: Any, output_size: Size, geometry: dict[str, Any]) -> Any:
        ctx.kernels, ctx.geometry = kernels_for(input, weight, bias), geometry
        ctx.save_for_backward(input, weight)
        output = ctx.kernels.conv2d_grad_input(input, weight, output_size, **geometry)
        return output if bias is None else _add_bias(output, bias)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        (input, weight), kernels, geometry = ctx.saved_tensors, ctx.kernels, ctx.geometry
        need_input, need_weight, need_bias, *_ = ctx.needs_input_grad
        grad_input = None
        if need_input:
            h, w = input.shape[
                2:
            ]  # with output_padding >= stride the convolution has room for more: those saw no input
            grad_input = kernels.conv2d(grad_output, weight, None, **geometry)[:, :, :h, :w]
        return (
            grad_input,
            kernels.conv2d_grad_weight(input, grad_output, weight.shape[2:], **geometry) if need_weight else None,
            _sum_pixels(grad_output) if need_bias else None,
            None,
            None,
        )


def _add_bias(output: Any, bias: Any) -> Any:
    """Return output + bias: rows of pixels at a time where channels lie side by side, as loops over a few channels are slow."""
    if not is_channels_last(output):
        return output + bias[:, None, None]
    n, c, h, w = output.shape
    rows, xp = output.transpose(0, 2, 3, 1).reshape(n * h, w * c), array_module(output)
    room = empty(rows.shape, rows.dtype) if xp is np else None
    return channels_first(xp.add(rows, xp.tile(bias, w), out=room).reshape(n, h, w, c))


def _sum_pixels(grad_output: Any) -> Any:
    """Return the sum over N, OH, OW: first within rows or columns of pixels, then over these in float64."""
    if not is_channels_last(grad_output):
        return grad_output.sum(axis=3).sum(axis=(0, 2), dtype="float64").astype(grad_output.dtype)
    n, c, h, w = grad_output.shape
    columns = grad_output.transpose(0, 2, 3, 1).reshape(n, h, w * c).sum(axis=1)  # whole rows at a time
    return columns.reshape(n * w, c).sum(axis=0, dtype="float64").astype(grad_output.dtype)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: SizeLike = 1,
    padding: SizeLike | str = 0,
    dilation: SizeLike = 1,
    groups: int = 1,
    algorithm: str = "auto",
) -> Tensor:
    """Convolve images with a bank of kernels, as ``torch.nn.functional.conv2d``.

    Parameters
    ----------
    input : (N, C, H, W), or (C, H, W) for one image
    weight : (O, C // groups, KH, KW)
    bias : (O,), optional
    stride, padding, dilation : int or (height, width), pixels
        ``padding`` also "valid" (none) or "same" (output as large as the input; stride 1 only).
    groups : int
        Input and output channels are split into so many groups that do not see each other; C is depthwise.
    algorithm : str
        How to compute it and its gradients: "auto" chooses by geometry; "direct" sums products one by one; "winograd" (3x3,
        stride 1, or a stride and at most 2 stride + 1 taps) multiplies a quarter to a half as often, and is off by a few more
        units in the last digits; "shifts" and "depthwise" are other orders of direct sums. What an algorithm cannot compute is
        an error. On a GPU there are "auto", "direct" (tiles of a matrix product; float32) and "shifts" (the plain sum, a thread
        a number).

    Returns
    -------
    (N, O, OH, OW), OH = floor((H + 2 padding - dilation (KH - 1) - 1) / stride) + 1 (Dumoulin and Visin, 2016, chapter 2).

    Raises
    ------
    TypeError, ValueError
        For shapes, types or numbers that do not fit; the message names the argument.
    """
    return _convolved(Conv2d, input, weight, bias, stride, padding, dilation, groups, algorithm)


def conv2d_relu(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: SizeLike = 1,
    padding: SizeLike | str = 0,
    dilation: SizeLike = 1,
    groups: int = 1,
    algorithm: str = "auto",
) -> Tensor:
    """Return relu(conv2d(...)) in one pass over the output; ``nn.Sequential`` calls it for such a pair."""
    return _convolved(Conv2dReLU, input, weight, bias, stride, padding, dilation, groups, algorithm)


def _convolved(
    function: type[Function],
    input: Any,
    weight: Any,
    bias: Any,
    stride: SizeLike,
    padding: SizeLike | str,
    dilation: SizeLike,
    groups: int,
    algorithm: str,
) -> Tensor:
    """Check what came and apply one of the two functions."""
    input, weight, bias = together(input, weight, bias)
    x, single = images(input, "conv2d")
    w, b = _weight(weight, bias, x, "conv2d", output_axis=0)
    s, d, groups = pair(stride, "stride", 1), pair(dilation, "dilation", 1), _groups(groups)
    if x.shape[1] != w.shape[1] * groups:
        raise ValueError(
            f"conv2d: weight {w.shape} with groups={groups} expects {w.shape[1] * groups} input channels, "
            f"but input {x.shape} has {x.shape[1]}"
        )
    if w.shape[0] % groups:
        raise ValueError(f"conv2d: the {w.shape[0]} output channels of weight must be a multiple of groups={groups}")
    x, p = _resolve_padding(x, w.shape[2:], s, padding, d)
    conv_output_size(x.shape[2:], w.shape[2:], s, p, d)
    geometry = {"stride": s, "padding": p, "dilation": d, "groups": groups, "algorithm": check_algorithm(algorithm)}
    return unbatch(function.apply(x, w, b, geometry), single)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: SizeLike = 1,
    padding: SizeLike = 0,
    output_padding: SizeLike = 0,
    groups: int = 1,
    dilation: SizeLike = 1,
    algorithm: str = "auto",
) -> Tensor:
    """Transposed convolution, as ``torch.nn.functional.conv_transpose2d`` (note the order: groups before dilation).

    Parameters
    ----------
    input : (N, C, H, W), or (C, H, W) for one image
    weight : (C, O // groups, KH, KW)
    bias : (O,), optional
    stride, padding, output_padding, dilation : int or (height, width), pixels
        ``padding`` is that of the convolution it transposes: here it *crops* the output. ``output_padding`` makes the
        output larger at the bottom and right, with real products: it chooses among the sizes a strided convolution joins.
    algorithm : as in ``conv2d``

    Returns
    -------
    (N, O, OH, OW), OH = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1
    (Dumoulin and Visin, 2016, chapter 4).
    """
    input, weight, bias = together(input, weight, bias)
    x, single = images(input, "conv_transpose2d")
    groups = _groups(groups)
    w, b = _weight(weight, bias, x, "conv_transpose2d", output_axis=1, groups=groups)
    s, p, d = pair(stride, "stride", 1), pair(padding, "padding"), pair(dilation, "dilation", 1)
    if x.shape[1] != w.shape[0]:
        raise ValueError(
            f"conv_transpose2d: weight {w.shape} expects {w.shape[0]} input channels (its first axis), "
            f"but input {x.shape} has {x.shape[1]}"
        )
    if x.shape[1] % groups:
        raise ValueError(f"conv_transpose2d: the {x.shape[1]} input channels must be a multiple of groups={groups}")
    size = conv_transpose_output_size(x.shape[2:], w.shape[2:], s, p, pair(output_padding, "output_padding"), d)
    geometry = {"stride": s, "padding": p, "dilation": d, "groups": groups, "algorithm": check_algorithm(algorithm)}
    return unbatch(ConvTranspose2d.apply(x, w, b, size, geometry), single)


def _weight(weight: Any, bias: Any, x: Tensor, what: str, output_axis: int, groups: int = 1) -> tuple[Tensor, Any]:
    w = float_tensor(weight, what, "weight")
    if not w.data.size:
        raise ValueError(f"{what}: weight {w.shape} is empty: each of its sizes must be at least 1")
    b = None if bias is None else float_tensor(bias, what, "bias")
    if w.ndim != 4:
        raise ValueError(f"{what}: weight must have 4 axes, kernel height and width last, got shape {w.shape}")
    if min(w.shape[2:]) < 1:
        raise ValueError(f"{what}: the kernel of weight must have at least one pixel, got shape {w.shape}")
    outputs = w.shape[output_axis] * groups
    if b is not None and b.shape != (outputs,):
        raise ValueError(
            f"{what}: bias must have one number for each of {outputs} output channels, got shape {b.shape}"
        )
    same_dtype(what, input=x, weight=w, bias=b)
    return w, b


def _groups(groups: int) -> int:
    if not isinstance(groups, int) or groups < 1:
        raise ValueError(f"groups must be a positive integer, got {groups!r}")
    return groups


def _resolve_padding(x: Tensor, kernel: Size, stride: Size, padding: Any, dilation: Size) -> tuple[Tensor, Size]:
    """Turn "same" and "valid" into numbers; a kernel of even size needs one pixel more at the end, padded here."""
    if not isinstance(padding, str):
        return x, pair(padding, "padding")
    if padding == "valid":
        return x, (0, 0)
    if padding != "same":
        raise ValueError(f'padding must be a number, a pair, "same" or "valid", got {padding!r}')
    if stride != (1, 1):
        raise ValueError(f'padding="same" keeps the size only at stride 1, got stride {stride}: give padding in pixels')
    (top, bottom), (left, right) = same_padding(kernel, dilation)
    if (top, left) != (bottom, right):
        x = pad(x, (0, right - left, 0, bottom - top))
    return x, (top, left)
