"""The focal loss: cross-entropy that looks away from what is right already."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import array_module, constant, is_channels_last
from ..autograd import Context, Function, Tensor, unwrap
from ..deferred import count_of, unseen
from ..functional.checks import float_tensor, together
from .targets import laid_out, non_negative, target_and_weight, without_nan


class Focal(Function):
    """-(1 - p)^gamma log p with p the probability of the true class (Lin et al., 2017, eq. 4), for each pixel.

    With z = log p: dL/dz = -(1 - p)^gamma (1 - gamma p z / (1 - p)), and dz/dx is one-hot - softmax.
    """

    @staticmethod
    def forward(ctx: Context, x: Any, t: Any, gamma: float) -> Any:
        """Return the loss of each pixel (N, H, W) for one-hot targets (N, K, H, W)."""
        xp = array_module(x)
        ctx.last = is_channels_last(x)
        x = xp.ascontiguousarray(x)  # one plane a class, as in OverlapIndex
        shifted = x - x.max(axis=1, keepdims=True)
        log_p = shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))  # (N, K, H, W)
        z = xp.where(t, log_p, 0).sum(1)  # (N, H, W); where, not a product: a class ruled out by -inf must not give NaN
        rest = -xp.expm1(z)  # 1 - p, never negative
        focus = rest**gamma
        ctx.gamma = gamma
        ctx.save_for_backward(log_p, t, z, rest, focus)
        return -focus * z

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        """Return the gradient with respect to the scores."""
        log_p, t, z, rest, focus = ctx.saved_tensors
        xp = array_module(log_p)
        # z / (1 - p) goes to -1 as p goes to 1
        quotient = xp.where(rest > 0, z / xp.where(rest > 0, rest, 1), -1)
        slope = -focus * (1 - ctx.gamma * (1 - rest) * quotient) * grad_output  # dL/dz, (N, H, W)
        return laid_out(slope[:, None] * (t - xp.exp(log_p)), ctx.last), None, None


def focal_loss(
    input: Any,
    target: Any,
    gamma: float = 2.0,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    pixel_weight: Any = None,
) -> Tensor:
    """Cross-entropy in which pixels that are already right count less, by (1 - p)^gamma; gamma = 0 is cross-entropy.

    Parameters
    ----------
    input, target, weight, ignore_index, reduction, pixel_weight
        As ``functional.cross_entropy``; ``weight`` is the paper's alpha, one number a class.
    gamma : float
        How much less; the paper's best is 2.

    Returns
    -------
    loss : a 0-d Tensor, or (N, H, W) without reduction
        The mean is over what counts: the sum of weights divides, as in cross-entropy, so that it is NaN where no pixel
        counts. (MONAI divides by the number of scores, N K H W: docs/metrics.md.)

    Raises
    ------
    TypeError, ValueError, FloatingPointError
        As ``tversky_loss``.
    """
    input, target, weight, pixel_weight = together(input, target, weight, pixel_weight)
    x = float_tensor(input, "input")
    gamma = non_negative(gamma, "gamma")
    if x.ndim < 2 or x.shape[1] < 2:
        raise ValueError(f"input must be (N, K, H, W) with at least 2 classes, got shape {x.shape}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
    if getattr(unwrap(target), "dtype", np.dtype(int)).kind == "f":
        raise TypeError("target must hold integers (class numbers): the focal loss knows no soft targets")
    xp = array_module(x.data)
    t, w = target_and_weight(x, target, ignore_index, pixel_weight)
    pixels = xp.ones((x.shape[0], *x.shape[2:]), x.dtype) if w is None else w[:, 0]
    if weight is not None:
        class_weight = constant(unwrap(weight), xp, x.dtype)
        if class_weight.shape != (x.shape[1],):
            raise ValueError(f"weight must have one number for each of {x.shape[1]} classes, got {class_weight.shape}")
        pixels = pixels * (t * class_weight.reshape(-1, *(1,) * (x.ndim - 2))).sum(1)
    losses = Focal.apply(x, t, gamma) * pixels
    if reduction == "none":
        return without_nan(losses, x, "input")
    total = losses.sum()
    if reduction == "mean":  # of no pixels at all: not a number, as in PyTorch
        count = count_of(pixels)
        if unseen(count):
            return total / Tensor(count.astype(x.dtype))
        total = total / count if count else total * float("nan")
    return without_nan(total, x, "input")
