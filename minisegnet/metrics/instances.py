"""Nuclei counted: which ones were found, and the score of the Data Science Bowl 2018."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .labels import Empty, integer_labels, mean_of_numbers, ratio_or_empty, rule, same_shape

DSB_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def match_instances(prediction: Any, target: Any, threshold: float = 0.5) -> tuple[int, int, int]:
    """Count which things were found: a pair is a hit if its intersection over union is greater than the threshold.

    From 0.5 on no thing can have two partners (they would have to share more than half of it), so there is nothing to
    assign: Kirillov et al., Panoptic Segmentation (CVPR 2019), section 4.1.

    Parameters
    ----------
    prediction, target : (H, W) integers
        0 is background, every other number one thing (``connected_components`` numbers the pieces of a mask).
    threshold : float
        In [0.5, 1).

    Returns
    -------
    hits, extra, missed : int
        Pairs; things of the prediction, and of the target, without a partner.

    Raises
    ------
    TypeError, ValueError
        If these are no maps of integers of equal shape, or the threshold is out of range.
    """
    overlaps, only_prediction, only_target = _overlaps(prediction, target)
    return _count(overlaps, only_prediction, only_target, threshold)


def instance_precision(
    prediction: Any, target: Any, thresholds: Sequence[float] = DSB_THRESHOLDS, empty: Empty = 1.0
) -> float:
    """Return the mean over thresholds of hits / (hits + extra + missed): an image's score in the Data Science Bowl 2018.

    Kaggle called it "mean average precision", but it is no area under a curve (nothing is ranked), and with all three
    counts below the line it is an IoU of sets of nuclei. Merging two nuclei costs both.

    Parameters
    ----------
    prediction, target, threshold
        As ``match_instances``.
    thresholds : sequence of float
        Kaggle's ten by default, 0.5 to 0.95.
    empty : "nan" or a number
        The answer for an image where both are empty.
    """
    if not len(thresholds):
        raise ValueError("thresholds must hold at least one number, got none")
    found = _overlaps(prediction, target)
    counts = [_count(*found, t) for t in thresholds]
    return float(np.mean([ratio_or_empty(hits, hits + extra + missed, empty) for hits, extra, missed in counts]))


class InstancePrecision:
    """The mean over images of ``instance_precision``, added up over batches; options as there."""

    def __init__(self, thresholds: Sequence[float] = DSB_THRESHOLDS, empty: Empty = 1.0):
        rule(empty, "empty")
        self.thresholds, self.empty = tuple(thresholds), empty
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self.values: list[float] = []

    def update(self, prediction: Any, target: Any) -> InstancePrecision:
        """Add a batch of maps of things (N, H, W), or one image (H, W); return this object."""
        p, t = integer_labels(prediction, "prediction"), integer_labels(target, "target")
        same_shape(p, t)
        if p.ndim == 2:
            p, t = p[None], t[None]
        self.values += [instance_precision(a, b, self.thresholds, self.empty) for a, b in zip(p, t, strict=True)]
        return self

    def compute(self) -> dict[str, float]:
        """Return the mean so far; nan without images that count."""
        return {"instance_precision": mean_of_numbers(np.array(self.values), np.nan)}


def _overlaps(prediction: Any, target: Any) -> tuple[np.ndarray, int, int]:
    """Return the IoU of every pair of things that share a pixel, and how many things each map has."""
    p, t = integer_labels(prediction, "prediction"), integer_labels(target, "target")
    same_shape(p, t)
    if p.ndim != 2:
        raise ValueError(f"prediction and target must be one image (H, W), got shape {p.shape}: match image by image")
    names_p, p = np.unique(p, return_inverse=True)
    names_t, t = np.unique(t, return_inverse=True)
    shared = np.bincount(t.ravel() * len(names_p) + p.ravel(), minlength=len(names_t) * len(names_p))
    shared = shared.reshape(len(names_t), len(names_p))  # pixels of thing t in the target and p in the prediction
    union = shared.sum(1, keepdims=True) + shared.sum(0) - shared
    things = np.ix_(names_t != 0, names_p != 0)
    shared, union = shared[things], union[things]
    touching = shared > 0
    return shared[touching] / union[touching], shared.shape[1], shared.shape[0]


def _count(overlaps: np.ndarray, predicted: int, true: int, threshold: float) -> tuple[int, int, int]:
    if not 0.5 <= threshold < 1:
        raise ValueError(
            f"threshold must be in [0.5, 1), got {threshold}: below 0.5 a thing could have two partners, and at 1 none"
        )
    hits = int((overlaps > threshold).sum())
    return hits, predicted - hits, true - hits
