"""Losses as PyTorch's functional names them: what is small when the prediction is right."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..arrays import array_module, constant
from ..autograd import Context, Function, Tensor, unwrap
from ..backend import kernels_for
from ..deferred import count_of, current, unseen
from .activation import log_softmax
from .checks import as_tensor, float_tensor, same_device, same_dtype, together

REDUCTIONS = ("mean", "sum", "none")


class SoftmaxCrossEntropy(Function):
    """Per pixel: weight * (log of the sum of exponentials - the logit of the true class). Derivative: p - one-hot."""

    @staticmethod
    def forward(ctx: Context, logits: Any, target: Any, pixel_weight: Any) -> Any:
        ctx.kernels = kernels_for(logits, target, pixel_weight)
        losses, log_sum_exp = ctx.kernels.softmax_cross_entropy(logits, target, pixel_weight)
        ctx.save_for_backward(logits, target, pixel_weight, log_sum_exp)
        return losses

    @staticmethod
    def backward(ctx: Context, grad_losses: Any) -> Any:
        return ctx.kernels.softmax_cross_entropy_grad(grad_losses, *ctx.saved_tensors), None, None


class SoftmaxCrossEntropyTotal(Function):
    """The sum of ``SoftmaxCrossEntropy`` over all pixels, divided by a number, in one step of the tape instead of five."""

    @staticmethod
    def forward(ctx: Context, logits: Any, target: Any, pixel_weight: Any, divisor: float) -> Any:
        ctx.kernels, ctx.shape, ctx.divisor = kernels_for(logits, target, pixel_weight), logits.shape, divisor
        flat = logits.reshape(*logits.shape[:2], -1)
        losses, log_sum_exp = ctx.kernels.softmax_cross_entropy(flat, target, pixel_weight)
        ctx.save_for_backward(flat, target, pixel_weight, log_sum_exp)
        return (losses.sum(dtype=np.float64) / divisor).astype(logits.dtype)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        flat, target, pixel_weight, log_sum_exp = ctx.saved_tensors
        divisor = ctx.divisor.astype(flat.dtype) if hasattr(ctx.divisor, "ndim") else ctx.divisor
        grad_losses = _full(target.shape, grad_output / divisor, flat)
        grad = ctx.kernels.softmax_cross_entropy_grad(grad_losses, flat, target, pixel_weight, log_sum_exp)
        return grad.reshape(ctx.shape), None, None, None


def _full(shape: tuple[int, ...], value: Any, like: Any) -> Any:
    """Return an array of one value, of the type and on the device of ``like``; kernels read it, nobody changes it."""
    xp = array_module(like)
    if xp is np:
        return _constant(shape, float(value), like.dtype)
    made = xp.empty(shape, like.dtype)
    made[...] = value
    return made


@functools.lru_cache(maxsize=2)  # a training asks for the same two in every step: weights of 1, and 1 / pixels
def _constant(shape: tuple[int, ...], value: float, dtype: np.dtype) -> np.ndarray:
    return np.full(shape, value, dtype)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    pixel_weight: Any = None,
) -> Tensor:
    """Softmax followed by the negative log likelihood, as ``torch.nn.functional.cross_entropy``.

    Parameters
    ----------
    input : (N, K, H, W) scores ("logits"); any (N, K, ...), or (K,)
    target : (N, H, W) integers in [0, K), or probabilities of input's shape
    weight : (K,), one weight a class
    ignore_index : pixels with this label do not count
    reduction : "mean" (weighted: the sum of weights divides), "sum" or "none"
    label_smoothing : in [0, 1], how much of the target is spread over all classes
    pixel_weight : (N, H, W), one weight a pixel, such as the border weights of the U-Net paper (PyTorch has none)

    Raises
    ------
    TypeError, ValueError
        For shapes and types that do not fit, and labels out of range.
    """
    input, target, weight, pixel_weight = together(input, target, weight, pixel_weight)
    x = float_tensor(input, "cross_entropy")
    y = as_tensor(target).data
    _reduction(reduction, "cross_entropy")
    if x.ndim < 1 or not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"cross_entropy: input must have a class axis and label_smoothing be in [0, 1], got {label_smoothing}"
        )
    if x.ndim == 1:
        x, y = x[None], y[None]
        result = cross_entropy(x, y, weight, ignore_index, reduction, label_smoothing, pixel_weight)
        return result[0] if reduction == "none" else result
    same_device("cross_entropy", input=x, target=y, pixel_weight=pixel_weight)
    xp, (n, k) = array_module(x.data), x.shape[:2]
    class_weight = _class_weight(weight, k, x, xp)
    if y.dtype.kind == "f" and y.shape == x.shape:
        return _soft_targets(x, y, class_weight, reduction, label_smoothing, pixel_weight)
    y, all_count = _labels(y, x.shape, ignore_index, "cross_entropy")
    plain = class_weight is None and pixel_weight is None and all_count  # every pixel counts 1
    counts: Any = 1
    if not all_count:
        counts = y != ignore_index
        y = xp.where(counts, y, 0)
    if class_weight is not None:
        pixels = class_weight[y] * counts
    else:
        pixels = _full(y.shape, 1, x.data) if all_count else counts.astype(x.dtype)
    if pixel_weight is not None:
        extra = unwrap(pixel_weight)
        if tuple(np.shape(extra)) != y.shape:
            raise ValueError(f"cross_entropy: pixel_weight must have target's shape {y.shape}, got {np.shape(extra)}")
        pixels = pixels * constant(extra, xp, x.dtype)
    pairs = (n, int(np.prod(x.shape[2:])))
    divisor: Any = 1.0 if reduction == "sum" else float(y.size) if plain else count_of(pixels)
    if reduction != "none" and not label_smoothing and (unseen(divisor) or divisor or pixels.any()):
        return SoftmaxCrossEntropyTotal.apply(x, y.reshape(pairs), pixels.reshape(pairs), divisor)
    losses = SoftmaxCrossEntropy.apply(x.reshape(n, k, pairs[1]), y.reshape(pairs), pixels.reshape(pairs))
    losses = losses.reshape(y.shape)
    if label_smoothing:
        others = -log_softmax(x, 1)
        if class_weight is not None:
            others = others * class_weight.reshape((k,) + (1,) * (x.ndim - 2))
        scale = xp.ones(y.shape, x.dtype) if pixel_weight is None else constant(unwrap(pixel_weight), xp, x.dtype)
        losses = losses * (1 - label_smoothing) + others.sum(1) * Tensor(scale * counts) * (label_smoothing / k)
    if reduction == "mean":
        if unseen(divisor):
            return losses.sum() / Tensor(divisor.astype(x.dtype))
        if not (y.size if plain else pixels.any()):
            return losses.sum() * float("nan")
        return losses.sum() / divisor
    return losses.sum() if reduction == "sum" else losses


def _soft_targets(x: Tensor, y: Any, class_weight: Any, reduction: str, smoothing: float, pixel_weight: Any) -> Tensor:
    """Targets that are probabilities themselves."""
    k = x.shape[1]
    y = y.astype(x.dtype, copy=False) * (1 - smoothing) + smoothing / k
    if class_weight is not None:
        y = y * class_weight.reshape((k,) + (1,) * (x.ndim - 2))
    losses = (-log_softmax(x, 1) * y).sum(1)
    if pixel_weight is not None:
        losses = losses * unwrap(pixel_weight)
    if reduction == "mean":
        return losses.sum() / float(losses.data.size)
    return losses.sum() if reduction == "sum" else losses


def _class_weight(weight: Any, k: int, x: Tensor, xp: Any) -> Any:
    if weight is None:
        return None
    array = constant(unwrap(weight), xp, x.dtype)
    if array.shape != (k,):
        raise ValueError(f"cross_entropy: weight must have one number for each of {k} classes, got shape {array.shape}")
    return array


def class_labels(y: Any, shape: tuple[int, ...], ignore_index: int, what: str) -> Any:
    """Return integer labels that fit scores of ``shape`` and are in range."""
    return _labels(y, shape, ignore_index, what)[0]


def _labels(y: Any, shape: tuple[int, ...], ignore_index: int, what: str) -> tuple[Any, bool]:
    """Return ``class_labels``, and whether they say that every pixel counts.

    The smallest and the largest label tell both where all is well.
    """
    expected = (shape[0], *shape[2:])
    if y.shape != expected:
        raise ValueError(f"{what}: target must have shape {expected} for input {shape}, got {y.shape}")
    if y.dtype.kind == "b":
        y = y.astype(np.int64)
    if y.dtype.kind not in "iu":
        raise TypeError(
            f"{what}: target must hold integers (class numbers), got {y.dtype}; convert with .astype(np.int64)"
        )
    y = y.astype(np.int64, copy=False)
    if (later := current()) is not None:
        wrong = (y != ignore_index) & ((y < 0) | (y >= shape[1]))
        later.wrong.append(wrong.sum())
        return array_module(y).where(wrong, 0, y), False
    if y.size and not 0 <= ignore_index < shape[1] and int(y.view(np.uint64).max()) < shape[1]:
        return y, True  # as nearly always, and found in one pass: as unsigned numbers, negative ones are the largest
    lowest, highest = (int(y.min()), int(y.max())) if y.size else (0, 0)
    if lowest < 0 or highest >= shape[1]:
        wrong = (y != ignore_index) & ((y < 0) | (y >= shape[1]))
        if wrong.any():
            raise ValueError(
                f"{what}: target holds the label {int(y[wrong][0])}, but input has {shape[1]} classes (0 to {shape[1] - 1}); "
                f"ignore_index is {ignore_index}"
            )
    outside = not lowest <= ignore_index <= highest
    return y, outside or y.size == 0 or bool((y != ignore_index).all())


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Tensor:
    """Return the negative of the log-probabilities ``input`` (N, K, ...) at the true classes, as PyTorch."""
    input, target, weight = together(input, target, weight)
    x = float_tensor(input, "nll_loss")
    xp, k = array_module(x.data), x.shape[1]
    same_device("nll_loss", input=x, target=target)
    y = class_labels(as_tensor(target).data, x.shape, ignore_index, "nll_loss")
    _reduction(reduction, "nll_loss")
    class_weight = _class_weight(weight, k, x, xp)
    weights = (y != ignore_index).astype(x.dtype)
    y = xp.where(y == ignore_index, 0, y)
    if class_weight is not None:
        weights = weights * class_weight[y]
    hot = xp.moveaxis(xp.eye(k, dtype=x.dtype)[y], -1, 1)
    losses = (x * hot).sum(1) * Tensor(-weights)
    if reduction == "mean":
        count = count_of(weights)
        if unseen(count):
            return losses.sum() / Tensor(count.astype(x.dtype))
        return losses.sum() / count if count else losses.sum() * float("nan")
    return losses.sum() if reduction == "sum" else losses


class BinaryCrossEntropyWithLogits(Function):
    """(1 - t) x + (1 + (p - 1) t) log(1 + exp(-x)) in a form that never overflows; p weighs the positives."""

    @staticmethod
    def forward(ctx: Context, x: Any, t: Any, positive: Any) -> Any:
        xp = array_module(x)
        ctx.save_for_backward(x, t, positive)
        softplus = xp.log1p(xp.exp(-abs(x))) + xp.maximum(-x, 0)
        return (1 - t) * x + (1 + (positive - 1) * t) * softplus

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        x, t, positive = ctx.saved_tensors
        probability = 0.5 * (1 + array_module(x).tanh(0.5 * x))
        return grad_output * ((1 - t) - (1 + (positive - 1) * t) * (1 - probability)), None, None


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """Cross-entropy of two classes from one score a pixel, as PyTorch.

    Parameters
    ----------
    input : scores, any shape
    target : the same shape, in [0, 1]
    weight : broadcasts to that shape, multiplies the losses
    pos_weight : broadcasts to that shape, multiplies the positives' part
    """
    what = "binary_cross_entropy_with_logits"
    input, target, weight, pos_weight = together(input, target, weight, pos_weight)
    x = float_tensor(input, what)
    _reduction(reduction, what)
    same_device(what, input=x, target=target)
    xp = array_module(x.data)
    t = constant(unwrap(target), xp, x.dtype)
    if t.shape != x.shape:
        raise ValueError(f"{what}: target must have the shape of input {x.shape}, got {t.shape}")
    positive = constant(1 if pos_weight is None else unwrap(pos_weight), xp, x.dtype)
    for name, given in (("weight", weight), ("pos_weight", pos_weight)):
        shape = np.shape(unwrap(given))
        try:
            fits = np.broadcast_shapes(shape, x.shape) == x.shape
        except ValueError:
            fits = False
        if given is not None and not fits:
            raise ValueError(f"{what}: {name} must broadcast to the shape of input {x.shape}, got {shape}")
    losses = BinaryCrossEntropyWithLogits.apply(x, t, positive)
    if weight is not None:
        losses = losses * Tensor(constant(unwrap(weight), xp, x.dtype))
    return _reduce(losses, reduction)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Return the squared difference, averaged, summed or as it is."""
    input, target = together(input, target)
    x, y = float_tensor(input, "mse_loss"), as_tensor(target)
    _reduction(reduction, "mse_loss")
    same_dtype("mse_loss", input=x, target=y)
    if x.shape != y.shape:
        raise ValueError(f"mse_loss: target must have the shape of input {x.shape}, got {y.shape}")
    losses = (x - y) ** 2
    return _reduce(losses, reduction)


def _reduce(losses: Tensor, reduction: str) -> Tensor:
    return losses.mean() if reduction == "mean" else losses.sum() if reduction == "sum" else losses


def _reduction(reduction: str, what: str) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f"{what}: reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
