"""How good is a map? Confusion matrix, accuracies, IoU and Dice, with an explicit rule for what is empty.

Maps are integer labels, arrays or Tensors, on any device; scores become labels by ``labels_of(scores)`` and nowhere
silently. Counts are int64, ratios float64. Names: Long, Shelhamer, Darrell (CVPR 2015), section 5.

A ratio 0/0 (a class that neither the prediction nor the target has) is not a number. Two rules are possible, and every
function here takes one as an argument: leave it out of the mean (``nan``), or give it a value, such as Kaggle's 1 for a
Dice of two empty sets (nothing to find, nothing found).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .arrays import array_module, to_device
from .autograd import unwrap

Empty = float | str


def labels_of(scores: Any) -> Any:
    """Return the label map (N, H, W) of scores (N, K, H, W): the class with the largest; with one class, 1 where > 0.

    The first of equals wins. Unbatched scores (K, H, W) give (H, W).
    """
    array = unwrap(scores)
    if array.ndim not in (3, 4) or array.dtype.kind != "f":
        raise ValueError(f"scores must be floats of shape (N, K, H, W) or (K, H, W), got {array.dtype} {array.shape}")
    if array_module(array).isnan(array).any():
        raise ValueError("scores hold NaN, which has no class: look for it in the input image and in the weights")
    axis = array.ndim - 3
    if array.shape[axis] == 1:
        return (array.squeeze(axis) > 0).astype(np.int64)
    return array_module(array).argmax(array, axis=axis)


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
        p, t = _labels(prediction, "prediction"), _labels(target, "target")
        _same_shape(p, t)
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
        return float(_ratio(np.trace(self.matrix), self.matrix.sum()))

    def recall(self) -> np.ndarray:
        """Return, for each class, which part of its pixels was found: n_ii / t_i; nan for a class without pixels."""
        return _ratio(np.diag(self.matrix), self.matrix.sum(1))

    def mean_accuracy(self, absent: Empty = "nan") -> float:
        """Return the mean of ``recall`` over the classes; ``absent`` as in ``mean_iou``."""
        return _mean(self.recall(), absent)

    def iou(self) -> np.ndarray:
        """Return intersection / union for each class: n_ii / (t_i + p_i - n_ii); nan for a class in neither map."""
        hits = np.diag(self.matrix)
        return _ratio(hits, self.matrix.sum(1) + self.matrix.sum(0) - hits)

    def dice(self) -> np.ndarray:
        """Return 2 n_ii / (t_i + p_i) for each class; nan for a class in neither map. Equals 2 IoU / (1 + IoU)."""
        return _ratio(2 * np.diag(self.matrix), self.matrix.sum(1) + self.matrix.sum(0))

    def mean_iou(self, absent: Empty = "nan") -> float:
        """Return the mean of ``iou`` over the classes.

        Parameters
        ----------
        absent : "nan" or a number
            What a class counts that neither map has: "nan" leaves it out of the mean, a number takes its place. A class
            that only the prediction has counts 0 by either rule.
        """
        return _mean(self.iou(), absent)

    def mean_dice(self, absent: Empty = "nan") -> float:
        """Return the mean of ``dice`` over the classes (pooled over all pixels); ``absent`` as in ``mean_iou``."""
        return _mean(self.dice(), absent)

    def frequency_weighted_iou(self) -> float:
        """Return the mean of ``iou`` weighted by how many pixels the classes truly have: sum_i t_i IoU_i / sum_k t_k."""
        true = self.matrix.sum(1)
        return float(_ratio((true * np.nan_to_num(self.iou())).sum(), true.sum()))

    def compute(self) -> dict[str, float]:
        """Return the four numbers of Long et al. and the mean Dice, by name."""
        return {
            "mean_iou": self.mean_iou(),
            "mean_dice": self.mean_dice(),
            "pixel_accuracy": self.pixel_accuracy(),
            "mean_accuracy": self.mean_accuracy(),
            "frequency_weighted_iou": self.frequency_weighted_iou(),
        }


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
        self.label, self.empty = label, empty
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self.values: list[float] = []

    def update(self, prediction: Any, target: Any) -> MeanDice:
        """Add a batch of label maps (N, H, W), or one image (H, W); return this object."""
        p, t = _labels(prediction, "prediction"), _labels(target, "target")
        _same_shape(p, t)
        if p.ndim == 2:
            p, t = p[None], t[None]
        self.values += [dice(a == self.label, b == self.label, self.empty) for a, b in zip(p, t, strict=True)]
        return self

    def compute(self) -> dict[str, float]:
        """Return the mean so far; nan without images that count."""
        return {"dice": _mean(np.array(self.values), "nan")}


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
    x, y = _set(prediction, "prediction"), _set(target, "target")
    _same_shape(x, y)
    return _or_empty(2 * int((x & y).sum()), int(x.sum()) + int(y.sum()), empty)


def iou(prediction: Any, target: Any, empty: Empty = 1.0) -> float:
    """Return |X and Y| / |X or Y| of two sets of pixels; parameters as ``dice``. Equals Dice / (2 - Dice)."""
    x, y = _set(prediction, "prediction"), _set(target, "target")
    _same_shape(x, y)
    return _or_empty(int((x & y).sum()), int((x | y).sum()), empty)


def mean_dice(predictions: Iterable[Any], targets: Iterable[Any], empty: Empty = 1.0) -> float:
    """Return the mean of the images' Dice scores; each image counts the same, sizes may differ.

    ``empty`` as in ``dice``; with "nan" an image with two empty sets is left out of the mean. See ``pooled_dice``.
    """
    return _mean(np.array([dice(p, t, empty) for p, t in zip(predictions, targets, strict=True)]), "nan")


def pooled_dice(predictions: Iterable[Any], targets: Iterable[Any], empty: Empty = 1.0) -> float:
    """Return the Dice of all pixels of all images together; each pixel counts the same. See ``mean_dice``."""
    both = sizes = 0
    for prediction, target in zip(predictions, targets, strict=True):
        x, y = _set(prediction, "prediction"), _set(target, "target")
        _same_shape(x, y)
        both, sizes = both + int((x & y).sum()), sizes + int(x.sum()) + int(y.sum())
    return _or_empty(2 * both, sizes, empty)


def pixel_accuracy(prediction: Any, target: Any, ignore_index: int | None = None) -> float:
    """Return which part of the pixels has the right label; pixels with target ``ignore_index`` do not count."""
    p, t = _labels(prediction, "prediction"), _labels(target, "target")
    _same_shape(p, t)
    counts = np.ones(t.shape, dtype=bool) if ignore_index is None else t != ignore_index
    return float(_ratio(((p == t) & counts).sum(), counts.sum()))


def _ratio(part: Any, whole: Any) -> Any:
    """Return part / whole in float64, nan where both are 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole != 0)


def _or_empty(part: int, whole: int, empty: Empty) -> float:
    value = float(empty)  # also where it is not needed, so that a wrong rule is found at once
    return part / whole if whole else value


def _mean(values: np.ndarray, absent: Empty) -> float:
    """Return the mean of what is a number; ``absent`` takes the place of the rest unless it is nan, too."""
    values = np.where(np.isnan(values), float(absent), values)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def _labels(labels: Any, name: str) -> np.ndarray:
    array = to_device(unwrap(labels), "cpu")
    if array.dtype.kind not in "iub":
        raise TypeError(
            f"{name} must hold integer labels, got {array.dtype} of shape {array.shape}; "
            "turn scores (N, K, H, W) into labels first: metrics.labels_of(scores)"
        )
    return array


def _set(pixels: Any, name: str) -> np.ndarray:
    array = _labels(pixels, name)
    if array.dtype.kind != "b" and array.size and not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(
            f"{name} must be a set of pixels (bool, or 0 and 1), it holds {array.min()} to {array.max()}; "
            f"choose one class: {name} == 1, or {name} > 0 for all instances"
        )
    return array.astype(bool, copy=False)


def _same_shape(p: np.ndarray, t: np.ndarray) -> None:
    if p.shape != t.shape:
        raise ValueError(f"prediction and target must have the same shape, got {p.shape} and {t.shape}")
