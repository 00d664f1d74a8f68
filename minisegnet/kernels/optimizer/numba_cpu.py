"""Steps of optimizers as compiled loops that read and write each number once; ``optim`` says in NumPy what they compute.

NumPy's Adam walks a dozen times over arrays that no cache holds; one loop reads four and writes three. These kernels
*change* their arrays, which is the point of them, so they have no seat in the contract. Arrays are flat and contiguous,
all of one type, and so are the constants: a Python number would make the loops compute in float64.

A small parameter is not worth waking the other threads for; a large one is cut into blocks. No number depends on another,
so the result is the same with any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from ..threads import one_at_a_time

LINE: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}
OPTIONS: dict[str, Any] = {"parallel": True, **LINE}
BLOCK = 16384  # numbers a task works on
SMALL = 2 * BLOCK  # up to so many are done by the thread that calls


@one_at_a_time
def step(name: str, arrays: tuple[np.ndarray, ...], constants: tuple[Any, ...]) -> None:
    """Do one step of "adam" or "sgd" on a parameter, its gradient and its memory; ``steps.py`` makes the constants."""
    LOOPS[name, arrays[0].size > SMALL](*(a.reshape(-1) for a in arrays), *constants)


def _adam_line_py(data, grad, mean, square, keep, pull, to_mean, keep_square, to_square, inverse_root, eps, rate):
    for i in range(len(data)):
        p, g, m, v = data[i], grad[i], mean[i], square[i]
        if keep != 1:
            p = p * keep
        if pull != 0:
            g = g + pull * p
        m = m + to_mean * (g - m)
        v = v * keep_square + to_square * g * g
        mean[i], square[i] = m, v
        data[i] = p - rate * (m / (np.sqrt(v) * inverse_root + eps))


def _adam_blocks_py(data, grad, mean, square, keep, pull, to_mean, keep_square, to_square, inverse_root, eps, rate):
    for block in prange((len(data) + BLOCK - 1) // BLOCK):
        p, g = data[block * BLOCK : (block + 1) * BLOCK], grad[block * BLOCK : (block + 1) * BLOCK]
        m, v = mean[block * BLOCK : (block + 1) * BLOCK], square[block * BLOCK : (block + 1) * BLOCK]
        _adam_line(p, g, m, v, keep, pull, to_mean, keep_square, to_square, inverse_root, eps, rate)


def _sgd_line_py(data, grad, velocity, lr, momentum, share, weight_decay, nesterov):
    for i in range(len(data)):
        p, g = data[i], grad[i]
        if weight_decay != 0:
            g = g + weight_decay * p
        if momentum != 0:
            v = velocity[i] * momentum + share * g
            velocity[i] = v
            g = g + momentum * v if nesterov else v
        data[i] = p - lr * g


def _sgd_blocks_py(data, grad, velocity, lr, momentum, share, weight_decay, nesterov):
    for block in prange((len(data) + BLOCK - 1) // BLOCK):
        p, g = data[block * BLOCK : (block + 1) * BLOCK], grad[block * BLOCK : (block + 1) * BLOCK]
        v = velocity[block * BLOCK : (block + 1) * BLOCK]
        _sgd_line(p, g, v, lr, momentum, share, weight_decay, nesterov)


_adam_line = njit(**LINE)(_adam_line_py)
_adam_blocks = njit(**OPTIONS)(_adam_blocks_py)
_sgd_line = njit(**LINE)(_sgd_line_py)
_sgd_blocks = njit(**OPTIONS)(_sgd_blocks_py)
LOOPS = {  # by name, and whether the parameter is large
    ("adam", False): _adam_line,
    ("adam", True): _adam_blocks,
    ("sgd", False): _sgd_line,
    ("sgd", True): _sgd_blocks,
}
