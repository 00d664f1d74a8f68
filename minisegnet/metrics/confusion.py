"""The confusion matrix, and everything that is a formula of it: the four numbers of the FCN paper, precision, Dice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .labels import Empty, integer_labels, mean_of_numbers, ratio, rule, same_shape


class ConfusionMatrix:
    """Counts of pixels by true class (rows) and predicted class (columns), added up over batches.

    Parameters
    ----------
    num_classes : int
        How many classes there are.
    ignore_index : int, optional
        Pixels whose target has this label do not count.

    Attributes
    ----------
    matrix : (num_classes, num_classes) int64
        ``matrix[t, p]`` pixels of class t were called p.

    Examples
    --------
    >>> ConfusionMatrix(2).update(np.array([0, 1, 1]), np.array([0, 1, 0])).iou()
    array([0.5, 0.5])
    """

    def __init__(self, num_classes: int, ignore_index: int | None = None):
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.reset()

    def reset(self) -> None:
        """Forget all counts."""
        self.matrix = np.zeros((self.num_classes, self.num_classes), dtype=np.int64)

    def update(self, prediction: Any, target: Any) -> ConfusionMatrix:
        """Add the pixels of a batch of label maps of equal shape; return this object.

        Raises
        ------
        TypeError
            If a map is not of integers.
        ValueError
            If the shapes differ or a label is not in [0, num_classes).
        """
        p, t = integer_labels(prediction, "prediction"), integer_labels(target, "target")
        same_shape(p, t)
        if self.ignore_index is not None:
            counts = t != self.ignore_index
            p, t = p[counts], t[counts]
        for labels, name in ((p, "prediction"), (t, "target")):
            if labels.size and not (labels.min() >= 0 and labels.max() < self.num_classes):
                wrong = labels[(labels < 0) | (labels >= self.num_classes)][0]
                raise ValueError(
                    f"{name} holds the label {wrong}, but there are {self.num_classes} classes "
                    f"(0 to {self.num_classes - 1}); ignore_index is {self.ignore_index}"
                )
        pairs = t.astype(np.int64).ravel() * self.num_classes + p.ravel()
        self.matrix += np.bincount(pairs, minlength=self.num_classes**2).reshape(self.matrix.shape)
        return self

    def pixel_accuracy(self) -> float:
        """Return which part of all pixels is right: sum_i n_ii / sum_i t_i; nan without pixels."""
        return float(ratio(np.trace(self.matrix), self.matrix.sum()))

    def recall(self) -> np.ndarray:
        """Return, for each class, which part of its pixels was found: n_ii / t_i; nan for a class without pixels."""
        return ratio(np.diag(self.matrix), self.matrix.sum(1))

    def precision(self) -> np.ndarray:
        """Return, for each class, which part of what was called it is it: n_ii / p_i; nan for a class never called."""
        return ratio(np.diag(self.matrix), self.matrix.sum(0))

    def mean_accuracy(self, absent: Empty = "nan", classes: Sequence[int] | None = None) -> float:
        """Return the mean of ``recall`` over the classes; arguments as ``mean_iou``.

        Here a class is absent that the target does not have, whether the prediction has it or not.
        """
        return self._mean(self.recall(), absent, classes)

    def iou(self) -> np.ndarray:
        """Return intersection / union for each class: n_ii / (t_i + p_i - n_ii); nan for a class in neither map."""
        hits = np.diag(self.matrix)
        return ratio(hits, self.matrix.sum(1) + self.matrix.sum(0) - hits)

    def dice(self) -> np.ndarray:
        """Return 2 n_ii / (t_i + p_i) for each class, its F1; nan for a class in neither map. Is 2 IoU / (1 + IoU)."""
        return ratio(2 * np.diag(self.matrix), self.matrix.sum(1) + self.matrix.sum(0))

    def mean_iou(self, absent: Empty = "nan", classes: Sequence[int] | None = None) -> float:
        """Return the mean of ``iou`` over the classes.

        Parameters
        ----------
        absent : "nan" or a number
            What a class counts that neither map has: "nan" leaves it out of the mean, a number takes its place. A class
            that only the prediction has counts 0 by either rule.
        classes : sequence of int, optional
            Average over these only, such as ``range(1, K)`` to leave out the background; all by default. Their pixels
            are judged among all others just the same.

        Raises
        ------
        ValueError
            If ``absent`` is no such rule, or a class is not in [0, num_classes).
        """
        return self._mean(self.iou(), absent, classes)

    def mean_dice(self, absent: Empty = "nan", classes: Sequence[int] | None = None) -> float:
        """Return the mean of ``dice`` over the classes (pooled over all pixels); arguments as ``mean_iou``."""
        return self._mean(self.dice(), absent, classes)

    def frequency_weighted_iou(self) -> float:
        """Return the mean of ``iou`` weighted by how many pixels the classes truly have: sum_i t_i IoU_i / sum_k t_k."""
        true = self.matrix.sum(1)
        return float(ratio((true * np.nan_to_num(self.iou())).sum(), true.sum()))

    def compute(self) -> dict[str, float]:
        """Return the four numbers of Long et al. and the mean Dice, by name."""
        return {
            "mean_iou": self.mean_iou(),
            "mean_dice": self.mean_dice(),
            "pixel_accuracy": self.pixel_accuracy(),
            "mean_accuracy": self.mean_accuracy(),
            "frequency_weighted_iou": self.frequency_weighted_iou(),
        }

    def _mean(self, values: np.ndarray, absent: Empty, classes: Sequence[int] | None) -> float:
        if classes is not None:
            chosen = list(classes)
            if not chosen or not all(0 <= k < self.num_classes for k in chosen):
                raise ValueError(f"classes must be some of 0 to {self.num_classes - 1}, got {chosen}")
            values = values[chosen]
        return mean_of_numbers(values, rule(absent, "absent"))


def pixel_accuracy(prediction: Any, target: Any, ignore_index: int | None = None) -> float:
    """Return which part of the pixels has the right label; pixels with target ``ignore_index`` do not count."""
    p, t = integer_labels(prediction, "prediction"), integer_labels(target, "target")
    same_shape(p, t)
    counts = np.ones(t.shape, dtype=bool) if ignore_index is None else t != ignore_index
    return float(ratio(((p == t) & counts).sum(), counts.sum()))
