"""Losses as small objects with their options set: made once, called as ``loss(input, target, pixel_weight=None)``."""

from __future__ import annotations

import inspect
from numbers import Real
from typing import Any

from .. import functional as F
from ..arrays import array_module, constant
from ..autograd import Tensor, unwrap
from ..functional.checks import float_tensor, together
from .focal import focal_loss
from .overlap import dice_loss, tversky_loss
from .targets import without_nan


class _Loss:
    """A loss function with its options set; called as ``loss(input, target, pixel_weight=None)``."""

    def __init__(self, function: Any, **options: Any):
        self.function, self.options = function, options

    def __call__(self, input: Any, target: Any, pixel_weight: Any = None) -> Tensor:
        return self.function(input, target, pixel_weight=pixel_weight, **self.options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.options.items())})"


class CrossEntropyLoss(_Loss):
    """``functional.cross_entropy`` with its options set, as ``torch.nn.CrossEntropyLoss``."""

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ):
        options = {"weight": weight, "ignore_index": ignore_index, "reduction": reduction}
        super().__init__(_cross_entropy, **options, label_smoothing=label_smoothing)


class BCEWithLogitsLoss(_Loss):
    """``functional.binary_cross_entropy_with_logits`` with its options set, as ``torch.nn.BCEWithLogitsLoss``.

    ``pixel_weight`` (N, H, W), or of input's shape, multiplies ``weight``; as in PyTorch, the mean is over all numbers,
    whatever their weights.
    """

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None):
        super().__init__(_binary_cross_entropy, weight=weight, reduction=reduction, pos_weight=pos_weight)


class TverskyLoss(_Loss):
    """``tversky_loss`` with its options set."""

    def __init__(self, alpha: float = 0.5, beta: float = 0.5, **options: Any):
        super().__init__(tversky_loss, **_known(tversky_loss, {"alpha": alpha, "beta": beta, **options}))


class DiceLoss(_Loss):
    """``dice_loss`` with its options set."""

    def __init__(self, **options: Any):
        super().__init__(dice_loss, **_known(dice_loss, options))


class FocalLoss(_Loss):
    """``focal_loss`` with its options set."""

    def __init__(self, gamma: float = 2.0, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"):
        options = {"gamma": gamma, "weight": weight, "ignore_index": ignore_index, "reduction": reduction}
        super().__init__(focal_loss, **options)


class WeightedSum:
    """A sum of losses, each with its factor: ``WeightedSum((1.0, CrossEntropyLoss()), (0.5, DiceLoss()))``."""

    def __init__(self, *parts: tuple[float, Any]):
        if not parts or not all(
            isinstance(part, tuple) and len(part) == 2 and isinstance(part[0], Real) and callable(part[1])
            for part in parts
        ):
            raise TypeError(f"WeightedSum takes pairs (factor, loss), such as (0.5, DiceLoss()), got {parts}")
        self.parts = parts

    def __call__(self, input: Any, target: Any, pixel_weight: Any = None) -> Tensor:
        """Return the sum; ``pixel_weight`` goes to every part."""
        weights = {} if pixel_weight is None else {"pixel_weight": pixel_weight}
        (factor, first), *others = self.parts
        total = first(input, target, **weights) * factor
        for factor, loss in others:
            total = total + loss(input, target, **weights) * factor
        return total

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{factor} * {loss!r}' for factor, loss in self.parts)})"


class CombinedLoss(WeightedSum):
    """Cross-entropy + soft Dice: the one judges pixels and is smooth, the other judges what is scored in the end.

    Parameters
    ----------
    dice_factor : float
        The weight of the Dice part; cross-entropy has 1.
    weight : (K,), optional
        Class weights of the cross-entropy.
    ignore_index : int
        Pixels with this label do not count in either.
    **options
        As ``dice_loss``, such as ``classes=(1,)``.
    """

    def __init__(self, dice_factor: float = 1.0, weight: Any = None, ignore_index: int = -100, **options: Any):
        cross_entropy = CrossEntropyLoss(weight=weight, ignore_index=ignore_index)
        super().__init__((1.0, cross_entropy), (dice_factor, DiceLoss(ignore_index=ignore_index, **options)))


def _cross_entropy(input: Any, target: Any, **options: Any) -> Tensor:
    input, target = together(input, target)
    x = float_tensor(input, "input")
    return without_nan(F.cross_entropy(x, target, **options), x, "input")


def _binary_cross_entropy(input: Any, target: Any, weight: Any, pixel_weight: Any, **options: Any) -> Tensor:
    input, target, weight, pixel_weight = together(input, target, weight, pixel_weight)
    x = float_tensor(input, "input")
    xp, product = array_module(x.data), None
    if weight is not None:
        product = constant(unwrap(weight), xp, x.dtype)
    if pixel_weight is not None:
        pixels = constant(unwrap(pixel_weight), xp, x.dtype)
        each = (x.shape[0], *x.shape[2:])
        if pixels.shape == each != x.shape:
            pixels = pixels[:, None]  # the same for every class
        elif pixels.shape not in (x.shape, (x.shape[0], 1, *x.shape[2:])):
            raise ValueError(f"pixel_weight must have shape {each} or {x.shape}, got {pixels.shape}")
        product = pixels if product is None else product * pixels
    return without_nan(F.binary_cross_entropy_with_logits(x, target, weight=product, **options), x, "input")


def _known(function: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Refuse options that the function does not have when the loss is made, not when it is first called."""
    names = inspect.signature(function).parameters.keys() - {"input", "target", "pixel_weight"}
    if options.keys() - names:
        unknown = ", ".join(sorted(options.keys() - names))
        raise TypeError(f"{function.__name__} has no option {unknown}; there are {', '.join(sorted(names))}")
    return options
