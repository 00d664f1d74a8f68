"""How well two sets of pixels overlap: Dice and IoU, of one image, of all pixels pooled, as the mean over images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .labels import Empty, integer_labels, mean_of_numbers, pixel_set, ratio_or_empty, rule, same_shape


def dice(prediction: Any, target: Any, empty: Empty = 1.0) -> float:
    """Return 2 |X and Y| / (|X| + |Y|) of two sets of pixels, pooled over everything that the arrays hold.

    Parameters
    ----------
    prediction, target : bool arrays, or integers 0 and 1, of equal shape
        The sets; for one class of a label map pass ``map == label``.
    empty : "nan" or a number
        The answer where both are empty: 1 is Kaggle's rule.

    Raises
    ------
    TypeError, ValueError
        If these are no sets or the shapes differ.
    """
    x, y = pixel_set(prediction, "prediction"), pixel_set(target, "target")
    same_shape(x, y)
    return ratio_or_empty(2 * int((x & y).sum()), int(x.sum()) + int(y.sum()), empty)


def iou(prediction: Any, target: Any, empty: Empty = 1.0) -> float:
    """Return |X and Y| / |X or Y| of two sets of pixels; parameters as ``dice``. Equals Dice / (2 - Dice)."""
    x, y = pixel_set(prediction, "prediction"), pixel_set(target, "target")
    same_shape(x, y)
    return ratio_or_empty(int((x & y).sum()), int((x | y).sum()), empty)


def mean_dice(predictions: Iterable[Any], targets: Iterable[Any], empty: Empty = 1.0) -> float:
    """Return the mean of the images' Dice scores; each image counts the same, sizes may differ.

    ``empty`` as in ``dice``; with "nan" an image with two empty sets is left out of the mean. See ``pooled_dice``.
    """
    values = [dice(p, t, empty) for p, t in zip(predictions, targets, strict=True)]
    return mean_of_numbers(np.array(values), np.nan)


def pooled_dice(predictions: Iterable[Any], targets: Iterable[Any], empty: Empty = 1.0) -> float:
    """Return the Dice of all pixels of all images together; each pixel counts the same. See ``mean_dice``."""
    both = sizes = 0
    for prediction, target in zip(predictions, targets, strict=True):
        x, y = pixel_set(prediction, "prediction"), pixel_set(target, "target")
        same_shape(x, y)
        both, sizes = both + int((x & y).sum()), sizes + int(x.sum()) + int(y.sum())
    return ratio_or_empty(2 * both, sizes, empty)


class MeanDice:
    """The mean over images of the Dice of one class, added up over batches: the score of the nuclei lesson.

    The mean of per-image scores is not the score of all pixels pooled (``ConfusionMatrix.dice``): a small image, or one
    with few nuclei, counts as much as any other.

    Parameters
    ----------
    label : int
        The class.
    empty : "nan" or a number
        What an image counts where neither map has the class; "nan" leaves it out.
    """

    def __init__(self, label: int = 1, empty: Empty = 1.0):
        rule(empty, "empty")
        self.label, self.empty = label, empty
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self.values: list[float] = []

    def update(self, prediction: Any, target: Any) -> MeanDice:
        """Add a batch of label maps (N, H, W), or one image (H, W); return this object."""
        p, t = integer_labels(prediction, "prediction"), integer_labels(target, "target")
        same_shape(p, t)
        if p.ndim == 2:
            p, t = p[None], t[None]
        self.values += [dice(a == self.label, b == self.label, self.empty) for a, b in zip(p, t, strict=True)]
        return self

    def compute(self) -> dict[str, float]:
        """Return the mean so far; nan without images that count."""
        return {"dice": mean_of_numbers(np.array(self.values), np.nan)}
