"""From pixels to things: which pixels of a mask hang together, by runs and union-find, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from .labels import pixel_set


def connected_components(mask: Any, neighbours: int = 8) -> np.ndarray:
    """Number the connected pieces of a set of pixels.

    Pixels of one row that follow each other are one run, and runs of neighbouring rows that touch belong together (He,
    Chao, Suzuki: A run-based two-scan labeling algorithm, IEEE TIP 2008). Nuclei that touch are one piece: to count
    them apart, a network must learn a border, or a watershed must cut them.

    Parameters
    ----------
    mask : (H, W) bool, or integers 0 and 1
        The pixels.
    neighbours : 4 or 8
        Whether pixels that share only a corner hang together.

    Returns
    -------
    labels : (H, W) int64
        0 outside; the pieces are 1, 2, 3, ... in the order in which their first pixels stand, row by row.

    Raises
    ------
    TypeError, ValueError
        If mask is no set of pixels in two dimensions, or ``neighbours`` is neither 4 nor 8.
    """
    pixels = pixel_set(mask, "mask")
    if pixels.ndim != 2:
        raise ValueError(f"mask must be one image (H, W), got shape {pixels.shape}; for a batch, take them one by one")
    if neighbours not in (4, 8):
        raise ValueError(f"neighbours must be 4 or 8, got {neighbours}")
    height, width = pixels.shape
    # A run starts where a pixel is set and the one before is not; a column of zeros on each side keeps rows apart.
    framed = np.zeros((height, width + 2), dtype=np.int8)
    framed[:, 1:-1] = pixels
    steps = np.diff(framed, axis=1)  # (H, W + 1)
    row, start = np.nonzero(steps == 1)
    _, end = np.nonzero(steps == -1)  # exclusive; rows are the same
    parent = _unite(np.arange(len(row)), *_touching(row, start, end, width, 1 if neighbours == 8 else 0))
    # The root of a piece is its first run, so that numbers follow the order of first pixels.
    _, number = np.unique(parent, return_inverse=True)
    # The sum along the row of "+ number" at each start and "- number" at each end paints the runs.
    paint = np.zeros((height, width + 1), dtype=np.int64)
    paint[row, start] = number + 1
    np.subtract.at(paint, (row, end), number + 1)
    return paint.cumsum(axis=1)[:, :width]


def _touching(row: Any, start: Any, end: Any, width: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of runs in neighbouring rows that overlap; with ``reach`` 1 also those that touch at a corner."""
    stride = width + 3  # one number line for all rows, with a gap wider than the reach
    first, last = row * stride + start, row * stride + end
    # Runs of the row above end after this one starts, and start before it ends; both lists are in order.
    low = np.searchsorted(last, first - stride - reach, side="right")
    high = np.searchsorted(first, last - stride + reach, side="left")
    count = np.maximum(high - low, 0)
    below = np.repeat(np.arange(len(row)), count)
    offset = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count)
    return below, np.repeat(low, count) + offset


def _unite(parent: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return for each run the smallest run that it hangs together with, given the pairs (a, b)."""
    while True:
        # Hang the larger of two roots below the smaller, then let every run point to its root.
        low, high = np.minimum(parent[a], parent[b]), np.maximum(parent[a], parent[b])
        if np.array_equal(low, high):
            return parent
        np.minimum.at(parent, high, low)
        while not np.array_equal(parent, grand := parent[parent]):
            parent = grand
