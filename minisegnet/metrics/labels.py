"""What every metric does first: scores to labels, labels and sets checked, and ratios that may be 0/0."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import array_module, to_device
from ..autograd import unwrap

Empty = float | str


def labels_of(scores: Any) -> Any:
    """Return the label map (N, H, W) of scores (N, K, H, W): the class with the largest; with one class, 1 where > 0.

    The first of equals wins. Unbatched scores (K, H, W) give (H, W).

    Raises
    ------
    ValueError
        If the scores are no floats of that shape, or hold NaN.
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


def integer_labels(labels: Any, name: str) -> np.ndarray:
    """Return integer labels as a NumPy array, or say how scores become labels."""
    array = to_device(unwrap(labels), "cpu")
    if array.dtype.kind not in "iub":
        raise TypeError(
            f"{name} must hold integer labels, got {array.dtype} of shape {array.shape}; "
            "turn scores (N, K, H, W) into labels first: metrics.labels_of(scores)"
        )
    return array


def pixel_set(pixels: Any, name: str) -> np.ndarray:
    """Return a set of pixels as a NumPy array of bool."""
    array = integer_labels(pixels, name)
    if array.dtype.kind != "b" and array.size and not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(
            f"{name} must be a set of pixels (bool, or 0 and 1), it holds {array.min()} to {array.max()}; "
            f"choose one class: {name} == 1, or {name} > 0 for all instances"
        )
    return array.astype(bool, copy=False)


def same_shape(p: np.ndarray, t: np.ndarray) -> None:
    """Refuse maps of different shapes."""
    if p.shape != t.shape:
        raise ValueError(f"prediction and target must have the same shape, got {p.shape} and {t.shape}")


def rule(value: Empty, name: str) -> float:
    """Return a rule for what is empty as a float; called also where it is not needed, so that a wrong one is found."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f'{name} must be a number, or "nan" to leave out what is empty, got {value!r}') from None


def ratio(part: Any, whole: Any) -> Any:
    """Return part / whole in float64, nan where both are 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole != 0)


def ratio_or_empty(part: int, whole: int, empty: Empty) -> float:
    """Return part / whole, and what the rule ``empty`` says where both are 0."""
    value = rule(empty, "empty")
    return part / whole if whole else value


def mean_of_numbers(values: np.ndarray, absent: float) -> float:
    """Return the mean of what is a number; ``absent`` takes the place of the rest unless it is nan, too."""
    values = np.where(np.isnan(values), absent, values)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")
