"""Soft Dice and Tversky: one minus how well soft maps overlap, as ONE function with its derivative in closed form."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import array_module, is_channels_last
from ..autograd import Context, Function, Tensor
from ..functional.checks import float_tensor, together
from .targets import laid_out, non_negative, target_and_weight, without_nan

ACTIVATIONS = ("softmax", "sigmoid", None)


class OverlapIndex(Function):
    """How well soft maps overlap: T = (I + s) / ((1 - a - b) I + a P + b T + s'), and 1 less its mean is a loss.

    With I = sum w p t, P = sum w p^q, T = sum w t^q. This is Tversky's index (Salehi et al., 2017, eq. 2), because
    sum p (1 - t) = P - I are the soft false positives and T - I the soft false negatives; a = b = 1/2 is Dice.

    The derivative is dT/dp = w (t D - (I + s)((1 - a - b) t + a q p^(q-1))) / D^2 with D the denominator: one number for
    what is t, one for what is p, so a map of ones needs no more work than a map of numbers.
    """

    @staticmethod
    def forward(
        ctx: Context,
        x: Any,
        t: Any,
        w: Any,
        activation: Any,
        alpha: float,
        beta: float,
        power: int,
        smooth: Any,
        axes: Any,
    ) -> Any:
        """Return T for each class, or for each image and class: whatever ``axes`` leaves."""
        xp = array_module(x)
        ctx.last = is_channels_last(x)
        x = xp.ascontiguousarray(x)  # one plane a class: sums over pixels then run ten times as fast
        p = _probabilities(xp, x, activation)
        weighted = p if w is None else p * w
        inside = (weighted * t).sum(axes, dtype=np.float64, keepdims=True)
        predicted = (weighted if power == 1 else weighted * p).sum(axes, dtype=np.float64, keepdims=True)
        truth = t if power == 1 else t * t
        true = (truth if w is None else truth * w).sum(axes, dtype=np.float64, keepdims=True)
        top = inside + smooth[0]
        bottom = (1 - alpha - beta) * inside + alpha * predicted + beta * true + smooth[1]
        # Nothing to find and nothing found: a perfect score, and nothing to learn from it.
        empty = bottom == 0
        bottom = xp.where(empty, 1, bottom)
        of_target = xp.where(empty, 0, (bottom - top * (1 - alpha - beta)) / bottom**2)
        of_output = xp.where(empty, 0, top * alpha * power / bottom**2)
        ctx.activation, ctx.power, ctx.factors = (
            activation,
            power,
            (of_target.astype(x.dtype), of_output.astype(x.dtype)),
        )
        ctx.save_for_backward(p, t, w)
        return xp.where(empty, 1, top / bottom).squeeze(axes).astype(x.dtype)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        """Return the gradient with respect to the scores, through softmax or sigmoid."""
        p, t, w = ctx.saved_tensors
        of_target, of_output = ctx.factors
        g = t * of_target - (of_output if ctx.power == 1 else of_output * p)  # dT/dp: (N, K, H, W)
        g = g * grad_output.reshape(of_target.shape)
        if w is not None:
            g = g * w
        if ctx.activation == "softmax":
            g = p * (g - (g * p).sum(1, keepdims=True))
        elif ctx.activation == "sigmoid":
            g = g * p * (1 - p)
        return laid_out(g, ctx.last), *(None,) * 8


def _probabilities(xp: Any, x: Any, activation: str | None) -> Any:
    if activation == "softmax":
        e = xp.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
    return 0.5 * (1 + xp.tanh(0.5 * x)) if activation == "sigmoid" else x


def _above_and_below(smooth: Any) -> tuple[float, float]:
    """Return what is added to the numerator and to the denominator."""
    both = tuple(smooth) if isinstance(smooth, tuple | list) else (smooth, smooth)
    if len(both) != 2:
        raise ValueError(f"smooth must be a number, or two: (above, below), got {smooth!r}")
    return non_negative(both[0], "smooth"), non_negative(both[1], "smooth")


def _chosen(classes: Any, count: int) -> list[int]:
    try:
        chosen = [operator.index(k) for k in classes]
    except TypeError:
        raise TypeError(f"classes must be a sequence of integers, such as (1,), got {classes!r}") from None
    if not chosen or not all(0 <= k < count for k in chosen):
        raise ValueError(f"classes must be some of 0 to {count - 1}, got {chosen}")
    return chosen


def tversky_loss(
    input: Any,
    target: Any,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float | tuple[float, float] = 1.0,
    classes: Sequence[int] | None = None,
    per: str = "batch",
    squared: bool = False,
    activation: str | None = "softmax",
    ignore_index: int = -100,
    pixel_weight: Any = None,
) -> Tensor:
    """Return 1 - mean of Tversky's index, (I + s) / (I + alpha FP + beta FN + s), as a loss.

    Parameters
    ----------
    input : (N, K, H, W) floats
        Scores.
    target : (N, H, W) integers in [0, K), or (N, K, H, W) floats in [0, 1]
        Labels, or a map of its own for each class.
    alpha, beta : float
        The price of a false positive and of a false negative; 0.5 and 0.5 give Dice, 1 and 1 IoU.
    smooth : float, or (above, below)
        Added to numerator and denominator: with 1, a class that neither has gives index 1 and no division by zero.
    classes : sequence of int, optional
        Average over these classes only, such as ``(1,)`` for the foreground; all by default.
    per : "batch" or "sample"
        Sum over the pixels of the whole batch (steadier: an image without the class does no harm), or of each image.
    squared : bool
        Whether the denominator sums squares, as in V-Net (Milletari et al., 2016, section 3).
    activation : "softmax", "sigmoid" or None
        How scores become probabilities; None where they are already.
    ignore_index : int
        Pixels with this label do not count.
    pixel_weight : (N, H, W), optional
        Multiplies each pixel's part in every sum.

    Raises
    ------
    TypeError, ValueError
        For shapes and types that do not fit, and labels out of range.
    FloatingPointError
        If input holds NaN.
    """
    input, target, pixel_weight = together(input, target, pixel_weight)
    x = float_tensor(input, "input")
    if x.ndim < 3 or activation not in ACTIVATIONS:
        raise ValueError(
            f"input must be (N, K, H, W) and activation one of {ACTIVATIONS}, got {x.shape}, {activation!r}"
        )
    if activation == "softmax" and x.shape[1] == 1:
        raise ValueError(
            'a softmax over one class is always 1: use activation="sigmoid", or a network with two classes'
        )
    if per not in ("batch", "sample"):
        raise ValueError(f'per must be "batch" or "sample", got {per!r}')
    alpha, beta, both = non_negative(alpha, "alpha"), non_negative(beta, "beta"), _above_and_below(smooth)
    chosen = None if classes is None else _chosen(classes, x.shape[1])
    t, w = target_and_weight(x, target, ignore_index, pixel_weight)
    pixels = tuple(range(2, x.ndim))
    axes = (0, *pixels) if per == "batch" else pixels
    index = OverlapIndex.apply(x, t, w, activation, alpha, beta, 2 if squared else 1, both, axes)  # (K,) or (N, K)
    if chosen is not None:
        index = index[..., chosen]
    return without_nan(1.0 - index.mean(), x, "input")


def dice_loss(
    input: Any,
    target: Any,
    smooth: float | tuple[float, float] = 1.0,
    classes: Sequence[int] | None = None,
    per: str = "batch",
    squared: bool = False,
    activation: str | None = "softmax",
    ignore_index: int = -100,
    pixel_weight: Any = None,
) -> Tensor:
    """Return 1 - mean of the soft Dice, (2 sum p t + s) / (sum p + sum t + s), as a loss; parameters as ``tversky_loss``.

    Milletari et al. (2016) square p and t in the denominator (``squared=True``); for hard maps both are the same.
    """
    above, below = _above_and_below(smooth)
    half = (above / 2, below / 2)  # Dice is Tversky's fraction with numerator and denominator doubled
    return tversky_loss(input, target, 0.5, 0.5, half, classes, per, squared, activation, ignore_index, pixel_weight)
