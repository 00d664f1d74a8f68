"""What the explorer of evidence asks of the network: gradients, a cell of the waist taken out, a square laid over."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..autograd import Tensor, enable_grad, no_grad
from ..functional.creation import tensor
from .unet_levels import SIZE, as_input, blocks, net, tissue

SEED = 3  # of the tissue
CELL = 16  # pixels that a cell of the waist is wide
SQUARE = 16  # pixels of the occluder's side


@lru_cache(maxsize=256)
def evidence_of(row: int, column: int) -> np.ndarray:
    """Return how much each pixel (H, W) moves the score of one output pixel, nucleus less background (Luo et al., 2016)."""
    with enable_grad():
        x = tensor(as_input(tissue(SEED)), requires_grad=True)
        scores = net()(x)
        (scores[0, 1, row, column] - scores[0, 0, row, column]).backward()
    gradient: np.ndarray = np.abs(x.grad.numpy()[0]).sum(axis=0)  # type: ignore[union-attr]
    return gradient.astype(np.float64)


@lru_cache(maxsize=256)
def influence_of(i: int, j: int) -> np.ndarray:
    """Return by how much each output pixel's score (H, W), nucleus less background, changes without cell (i, j) of the waist."""

    def without(waist: Tensor) -> Tensor:
        values = waist.numpy().copy()
        values[:, :, i, j] = 0
        return tensor(values)

    with no_grad():
        scores = blocks(net(), as_input(tissue(SEED)), without)[1].numpy()[0]
        before = net()(as_input(tissue(SEED))).numpy()[0]
    change: np.ndarray = np.abs((scores[1] - scores[0]).astype(np.float64) - (before[1] - before[0]))
    return change


@lru_cache(maxsize=512)
def probability(square_row: int | None = None, square_column: int = 0) -> np.ndarray:
    """Return the probability of a nucleus (H, W), float64, of the tissue, or of the tissue with a grey square laid over."""
    image = tissue(SEED)
    if square_row is not None:
        image = image.copy()
        image[square_row : square_row + SQUARE, square_column : square_column + SQUARE] = 128
    with no_grad():
        return _of_nucleus(net()(as_input(image)).numpy()[0])


def _of_nucleus(scores: np.ndarray) -> np.ndarray:
    result: np.ndarray = 1 / (1 + np.exp(scores[0].astype(np.float64) - scores[1]))
    return result


def growth(values: np.ndarray, centre: tuple[float, ...], first: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return sides of growing squares around a place, and the share of the sum of values (H, W) inside of each, two decimals.

    Sides go in steps of 2 from ``first`` until all is inside.
    """
    rows, columns = (np.abs(np.arange(SIZE) + 0.5 - c) for c in centre)
    distance = np.maximum(rows[:, None], columns[None])
    rings = np.ceil(np.maximum(distance - first / 2 + 0.5, 0)).astype(int)  # pixels beyond the first square
    sums = np.bincount(np.maximum(rings.ravel(), 0), weights=values.ravel())
    shares = np.cumsum(sums) / sums.sum()
    return tuple(first + 2 * n for n in range(len(shares))), tuple(round(float(s), 2) for s in shares)
