"""Batch normalization (Ioffe and Szegedy, 2015): each channel shifted and scaled to mean 0 and variance 1, then freed again."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import array_module
from ..autograd import Context, Function, Tensor, unwrap
from ..backend import kernels_for
from ..ranks import Ranks
from ..ranks import current as current_ranks
from .checks import float_tensor, same_device, same_dtype, together


class BatchNormTraining(Function):
    """With the statistics of this batch, through which gradients flow (paper, section 3, the six equations)."""

    @staticmethod
    def forward(ctx: Context, input: Any, weight: Any, bias: Any, eps: float) -> Any:
        ctx.kernels, ctx.eps = kernels_for(input, weight, bias), eps
        output, mean, variance = ctx.kernels.batch_norm(input, weight, bias, eps)
        ctx.save_for_backward(input, weight, mean, variance)
        return output, mean, variance

    @staticmethod
    def backward(ctx: Context, grad_output: Any, *_: Any) -> Any:
        input, weight, mean, variance = ctx.saved_tensors
        return *ctx.kernels.batch_norm_grad(grad_output, input, weight, mean, variance, ctx.eps), None


class BatchNormEvaluation(Function):
    """With fixed statistics: one multiplication and one addition a channel."""

    @staticmethod
    def forward(ctx: Context, input: Any, weight: Any, bias: Any, mean: Any, variance: Any, eps: float) -> Any:
        ctx.kernels = kernels_for(input, weight, bias)
        ctx.mean, ctx.inverse = mean, 1 / array_module(variance).sqrt(variance + eps)
        ctx.save_for_backward(input, weight)
        scale = weight * ctx.inverse
        return ctx.kernels.channel_affine(input, scale, bias - mean * scale)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        input, weight = ctx.saved_tensors[:2]
        grad_bias = grad_output.sum(axis=(0, 2, 3), dtype=np.float64)
        grad_weight = ((grad_output * input).sum(axis=(0, 2, 3), dtype=np.float64) - grad_bias * ctx.mean) * ctx.inverse
        scale = weight * ctx.inverse
        grad_input = ctx.kernels.channel_affine(grad_output, scale, scale * 0) if ctx.needs_input_grad[0] else None
        return grad_input, grad_weight.astype(weight.dtype), grad_bias.astype(weight.dtype), None, None, None


class BatchNormJoined(Function):
    """In training on several ranks: with the statistics of the joined batch (as PyTorch's SyncBatchNorm).

    The kernels see one rank's images; what they say of those is put together. ``fused`` is True with a ReLU after it.
    """

    @staticmethod
    def forward(ctx: Context, input: Any, weight: Any, bias: Any, eps: float, ranks: Ranks, fused: bool) -> Any:
        ctx.kernels, ctx.eps, ctx.ranks, ctx.fused = kernels_for(input, weight, bias), eps, ranks, fused
        ctx.count = input.shape[0] * input.shape[2] * input.shape[3]
        _, mean, variance = ctx.kernels.batch_norm(input, weight, bias, eps)
        ctx.total, *moments = ranks.moments(ctx.count, mean, variance)
        mean, variance = (array_module(input).asarray(m, mean.dtype) for m in moments)
        scale = weight / array_module(input).sqrt(variance + eps)
        affine = ctx.kernels.channel_affine_relu if fused else ctx.kernels.channel_affine
        ctx.save_for_backward(input, weight, bias, mean, variance)
        return affine(input, scale, bias - mean * scale), mean, variance

    @staticmethod
    def backward(ctx: Context, grad_output: Any, *_: Any) -> Any:
        input, weight, bias, mean, variance = ctx.saved_tensors
        if ctx.fused:
            own = ctx.kernels.batch_norm_relu_grad(grad_output, input, weight, bias, mean, variance, ctx.eps)
        else:
            own = ctx.kernels.batch_norm_grad(grad_output, input, weight, mean, variance, ctx.eps)
        grad_input, grad_weight, grad_bias = own
        # The paper's equations subtract from a gradient its mean and its product with the normalized input: the kernel took
        # those of this rank's images. What it took too much, and the joined batch wants, is linear in the input.
        sums = [grad_bias.astype(np.float64), grad_weight.astype(np.float64)]
        joined = [s / ctx.total for s in ctx.ranks.add(*sums)]
        bias_off, weight_off = (s / max(ctx.count, 1) - j for s, j in zip(sums, joined, strict=True))
        inverse = 1 / array_module(variance).sqrt(variance.astype(np.float64) + ctx.eps)
        slope = weight * inverse * weight_off * inverse
        shift = weight * inverse * bias_off - slope * mean
        return grad_input + ctx.kernels.channel_affine(input, slope, shift), grad_weight, grad_bias, None, None, None


class BatchNormReLUTraining(Function):
    """Batch norm in training and ReLU, fused; the sign of the output is computed again in backward, not kept."""

    @staticmethod
    def forward(ctx: Context, input: Any, weight: Any, bias: Any, eps: float) -> Any:
        ctx.kernels, ctx.eps = kernels_for(input, weight, bias), eps
        output, mean, variance = ctx.kernels.batch_norm_relu(input, weight, bias, eps)
        ctx.save_for_backward(input, weight, bias, mean, variance)
        return output, mean, variance

    @staticmethod
    def backward(ctx: Context, grad_output: Any, *_: Any) -> Any:
        return *ctx.kernels.batch_norm_relu_grad(grad_output, *ctx.saved_tensors, ctx.eps), None


class BatchNormReLUEvaluation(Function):
    """Batch norm with fixed statistics and ReLU, fused: one multiplication, one addition and one comparison a pixel."""

    @staticmethod
    def forward(ctx: Context, input: Any, weight: Any, bias: Any, mean: Any, variance: Any, eps: float) -> Any:
        ctx.kernels = kernels_for(input, weight, bias)
        ctx.mean, ctx.inverse = mean, 1 / array_module(variance).sqrt(variance + eps)
        scale = weight * ctx.inverse
        output = ctx.kernels.channel_affine_relu(input, scale, bias - mean * scale)
        ctx.save_for_backward(input, weight, output)
        return output

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        output = ctx.saved_tensors[2]
        return BatchNormEvaluation.backward(
            ctx, grad_output * ~(output <= 0)
        )  # a NaN lets it pass, as in the other one


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel, as ``torch.nn.functional.batch_norm``.

    Parameters
    ----------
    input : (N, C, H, W), or (N, C)
    running_mean, running_var : (C,), used when not training, updated in place when training; None keeps none
    weight, bias : (C,), the scale and shift that are learned (gamma and beta in the paper)
    training : use the statistics of this batch
    momentum : how much of the new statistics enters the running ones; the running variance is the unbiased one
    eps : added to the variance

    Raises
    ------
    ValueError
        If a size is not C, or a batch has a single value a channel, which has no variance.
    """
    functions = BatchNormTraining, BatchNormEvaluation
    return _normalized(functions, input, running_mean, running_var, weight, bias, training, momentum, eps)


def batch_norm_relu(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return relu(batch_norm(...)) by kernels that pass over memory once less; ``nn.Sequential`` calls it for such a pair."""
    functions = BatchNormReLUTraining, BatchNormReLUEvaluation
    return _normalized(functions, input, running_mean, running_var, weight, bias, training, momentum, eps)


def folded(
    weight: Any, bias: Any, running_mean: Any, running_var: Any, gamma: Any, beta: Any, eps: float
) -> tuple[Any, Any]:
    """Return weight and bias of the convolution that does what a convolution and the batch norm after it do.

    With statistics that no longer move, a batch norm is a scale and a shift a channel, and both go into what comes before:
    ``scale * (conv(x, weight) + bias) + shift = conv(x, scale * weight) + (scale * bias + shift)``.

    Parameters
    ----------
    weight, bias : (O, C, KH, KW) and (O,) or None, of the convolution; arrays
    running_mean, running_var, gamma, beta : (O,), of the batch norm; the last two may be None (1 and 0)
    """
    scale = 1 / array_module(weight).sqrt(running_var.astype(np.float64) + eps)
    scale = scale if gamma is None else scale * gamma
    before = 0 if bias is None else bias
    shift = (before - running_mean) * scale + (0 if beta is None else beta)
    return weight * scale.astype(weight.dtype)[:, None, None, None], shift.astype(weight.dtype)


def _normalized(
    functions: tuple[type[Function], type[Function]],
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any,
    bias: Any,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Check what came, apply one of the two functions (training, evaluation), and move the running statistics."""
    input, weight, bias, *fixed = together(input, weight, bias, running_mean, running_var)
    if not training:
        running_mean, running_var = fixed  # else they are changed in place: of a copy, nobody would know
    x = float_tensor(input, "batch_norm")
    if x.ndim not in (2, 4):
        raise ValueError(f"batch_norm: input must have the axes (N, C, H, W) or (N, C), got shape {x.shape}")
    if x.ndim == 2:
        x = x[:, :, None, None]
        return _normalized(functions, x, running_mean, running_var, weight, bias, training, momentum, eps)[:, :, 0, 0]
    channels = x.shape[1]
    xp = array_module(x.data)
    w = float_tensor(Tensor(xp.ones(channels, x.dtype)) if weight is None else weight, "batch_norm", "weight")
    b = float_tensor(Tensor(xp.zeros(channels, x.dtype)) if bias is None else bias, "batch_norm", "bias")
    same_dtype("batch_norm", input=x, weight=w, bias=b)
    stats = {"weight": w, "bias": b, "running_mean": running_mean, "running_var": running_var}
    same_device("batch_norm", input=x, **stats)
    for name, value in stats.items():
        if value is not None and tuple(unwrap(value).shape) != (channels,):
            raise ValueError(
                f"batch_norm: {name} must have one number for each of the {channels} channels of input {x.shape}, "
                f"got shape {tuple(unwrap(value).shape)}"
            )
    if not training and running_mean is not None and running_var is not None:
        mean, variance = (unwrap(s).astype(np.float64) for s in (running_mean, running_var))
        return functions[1].apply(x, w, b, mean, variance, eps)
    if not training:
        raise ValueError("batch_norm: running_mean and running_var are needed when training=False")
    count, joined = x.data.size // max(channels, 1), current_ranks()
    if joined is not None:
        count = joined.rows_of(count)[1]
    if count == 1:
        raise ValueError(
            f"batch_norm: training needs more than one value a channel, got input {x.shape}: one has no variance"
        )
    if joined is None:
        output, mean, variance = functions[0].apply(x, w, b, eps)
    else:
        output, mean, variance = BatchNormJoined.apply(x, w, b, eps, joined, functions[0] is BatchNormReLUTraining)
    if count:
        _update(running_mean, mean.data, momentum)
        _update(running_var, variance.data * (count / (count - 1)), momentum)
    return output


def _update(running: Any, new: Any, momentum: float) -> None:
    """Move running statistics towards the new ones, in place."""
    if running is not None:
        array = unwrap(running)
        array += momentum * (new - array)
