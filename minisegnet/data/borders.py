"""The U-Net paper's weight map: pixels between two cells that nearly touch count many times over.

    w(x) = w_c(x) + w0 * exp(-(d1(x) + d2(x))^2 / (2 sigma^2))        (U-Net paper, equation 2)

d1 and d2 are the distances from pixel x to the nearest and to the second nearest cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CUT_OFF = 1e-4  # the border term is left out where it is below this share of w0


def border_weights(
    labels: np.ndarray, w0: float = 10.0, sigma: float = 5.0, class_weights: Sequence[float] | None = None
) -> np.ndarray:
    """Return the loss weight of each pixel: float32, shaped as ``labels``.

    Parameters
    ----------
    labels
        (H, W) or (N, H, W) integers: 0 background, any other number one cell. Inside a cell the distance to it is 0.
    w0, sigma
        Height and width (pixels) of the border term; the paper uses 10 and about 5.
    class_weights
        w_c for background and cell. Without it the classes are balanced in each image, w_c = pixels / (classes present
        * pixels of the class), whose mean over the image is 1. Give the same pair for every image of a data set where
        the balance shall be that of the set.

    Notes
    -----
    Distances are exact (Euclidean, between pixel centres). Only cells nearer than 4.3 sigma are looked at, because
    beyond it the border term is below ``CUT_OFF`` * w0: no weight is off by more than that (0.001 at w0 = 10).
    """
    labels = np.asarray(labels)
    if labels.ndim == 3:
        return np.stack([border_weights(one, w0, sigma, class_weights) for one in labels])
    if labels.ndim != 2 or labels.dtype.kind not in "iub" or labels.size == 0:
        raise ValueError(f"labels must be integers (H, W) or (N, H, W), got {labels.dtype} {labels.shape}")
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise ValueError(f"labels must be 0 for background and positive for cells, got {labels.min()}")
    if not (sigma > 0 and w0 >= 0):
        raise ValueError(f"sigma must be positive and w0 not negative, got {sigma} and {w0}")
    cell = labels > 0
    weights = _balance(cell, class_weights)[cell.astype(np.intp)]
    first, second = two_nearest(labels, reach=int(np.ceil(sigma * np.sqrt(2 * np.log(1 / CUT_OFF)))))
    distance = np.sqrt(first) + np.sqrt(second)
    return (weights + w0 * np.exp(-(distance**2) / (2 * sigma**2))).astype(np.float32)


def two_nearest(labels: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the squared distances to the nearest and second nearest cell, (H, W) each; infinite beyond ``reach``.

    Each cell touches only the box around it, ``reach`` pixels wider on each side, so many small cells cost little.
    """
    first = np.full(labels.shape, np.inf)
    second = first.copy()
    for number, (rows, columns) in _boxes(labels):
        box = (
            slice(max(rows.start - reach, 0), rows.stop + reach),
            slice(max(columns.start - reach, 0), columns.stop + reach),
        )
        distance = squared_distance(labels[box] == number, reach)
        second[box] = np.minimum(second[box], np.maximum(first[box], distance))
        first[box] = np.minimum(first[box], distance)
    return first, second


def squared_distance(mask: np.ndarray, reach: int | None = None) -> np.ndarray:
    """Return the squared distance of each pixel to the nearest true pixel, exact: float64 (H, W).

    Infinite where it exceeds ``reach`` (if given), and everywhere for an empty mask. By two passes, as Felzenszwalb
    and Huttenlocher (2012): g, the distance within the row, then the least of (vertical distance)^2 + g^2 over the
    rows. We try the rows in the order of their distance, for all pixels at once, and stop where no row can win any
    more.
    """
    mask = np.asarray(mask, dtype=bool)
    height, width = mask.shape
    place = np.arange(width, dtype=np.float64)
    left = np.maximum.accumulate(np.where(mask, place, -np.inf), axis=1)
    right = np.minimum.accumulate(np.where(mask, place, np.inf)[:, ::-1], axis=1)[:, ::-1]
    along = np.minimum(place - left, right - place) ** 2  # g^2; infinite in a row without any
    best = along.copy()
    limit = height - 1 if reach is None else min(height - 1, reach)
    for step in range(1, limit + 1):
        if step**2 >= best.max():
            break
        np.minimum(best[step:], along[:-step] + step**2, out=best[step:])
        np.minimum(best[:-step], along[step:] + step**2, out=best[:-step])
    if reach is not None:
        best[best > reach**2] = np.inf
    return best


def _boxes(labels: np.ndarray) -> list[tuple[int, tuple[slice, slice]]]:
    """Return (number, (rows, columns)) of the smallest box around each cell."""
    rows, columns = np.nonzero(labels)
    if len(rows) == 0:
        return []
    values = labels[rows, columns]
    order = np.argsort(values, kind="stable")
    numbers, starts = np.unique(values[order], return_index=True)
    rows, columns = rows[order], columns[order]
    bounds = [f.reduceat(axis, starts) for axis in (rows, columns) for f in (np.minimum, np.maximum)]
    return [
        (int(number), (slice(int(top), int(bottom) + 1), slice(int(left), int(right) + 1)))
        for number, top, bottom, left, right in zip(numbers, *bounds, strict=True)
    ]


def _balance(cell: np.ndarray, class_weights: Sequence[float] | None) -> np.ndarray:
    """Return w_c for background and cell."""
    if class_weights is not None:
        weights = np.asarray(class_weights, dtype=np.float64)
        if weights.shape != (2,) or not np.all(np.isfinite(weights)):
            raise ValueError(f"class_weights must be two numbers, for background and cell; got {class_weights!r}")
        return weights
    count = np.array([cell.size - cell.sum(), cell.sum()], dtype=np.float64)
    return np.where(count > 0, cell.size / (np.count_nonzero(count) * np.maximum(count, 1)), 0.0)
