"""Softmax cross-entropy as compiled loops; ``reference.py`` holds the contract.

One pass over the logits each way; no softmax is ever stored, and the gradient lies in memory as the logits do. No fastmath:
a NaN stays a NaN, an infinity an infinity.

These loops ask the C library for every exp and log, in float64. float32 logits, which is what networks have, are served by
``numba_cpu_float32.py``, several pixels at a time.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from ..buffers import empty
from ..threads import one_at_a_time
from . import numba_cpu_float32

OPTIONS: dict[str, Any] = {"parallel": True, "cache": True, "nogil": True}


@one_at_a_time
def softmax_cross_entropy(
    logits: np.ndarray, target: np.ndarray, pixel_weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted cross-entropy of every pixel; see ``reference.softmax_cross_entropy``."""
    losses = empty(target.shape, logits.dtype)
    log_sum_exp = empty(target.shape, np.float64)
    maps = _plain(target), _plain(pixel_weight), losses, log_sum_exp
    if logits.dtype == np.float32:
        line = _as_line(logits)
        numba_cpu_float32.softmax_cross_entropy(*line, *maps, numba_cpu_float32.pixels_a_task(logits.shape[1]))
    else:
        _softmax_cross_entropy(_classes_last(logits), *maps)
    return losses, log_sum_exp


@one_at_a_time
def softmax_cross_entropy_grad(
    grad_losses: np.ndarray, logits: np.ndarray, target: np.ndarray, pixel_weight: np.ndarray, log_sum_exp: np.ndarray
) -> np.ndarray:
    """Return the gradient with respect to the logits; see ``reference.softmax_cross_entropy_grad``."""
    maps = tuple(_plain(a) for a in (grad_losses, target, pixel_weight, log_sum_exp))
    if logits.dtype != np.float32:
        grad_logits = _empty_like(logits)
        _softmax_cross_entropy_grad(_classes_last(logits), *maps, _classes_last(grad_logits))
        return grad_logits
    line, classes, planes = _as_line(logits)
    made = empty(line.shape, line.dtype)
    size = numba_cpu_float32.pixels_a_task(classes)
    numba_cpu_float32.softmax_cross_entropy_grad(line, classes, planes, *maps, made, size)
    n, _, p = logits.shape
    result = made.reshape(logits.shape) if planes > 1 else _classes_last(made.reshape(n, p, classes))
    if result.strides == logits.strides or result.size == 0:
        return result
    like = np.empty_like(logits)
    like[...] = result
    return like


def _as_line(logits: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Return (N, K, P) logits as they lie in memory, a flat array; K; and how far a pixel's classes lie apart.

    Those are the two ways in which images come. What lies in another way is copied.
    """
    classes, pixels = logits.shape[1:]
    last = _classes_last(logits)
    apart = pixels if logits.flags.c_contiguous or not last.flags.c_contiguous else 1
    return _plain(logits if apart > 1 or pixels == 1 else last).reshape(-1), classes, apart


def _plain(array: np.ndarray) -> np.ndarray:
    """Return the array, or a copy where loops would have to be compiled for how it lies."""
    if array.flags.c_contiguous and array.flags.writeable:
        return array
    made = empty(array.shape, array.dtype)
    made[...] = array
    return made


def _empty_like(logits: np.ndarray) -> np.ndarray:
    """Return an array with the strides of these logits, in memory that is used again where they are those of a network."""
    last = _classes_last(logits)
    return _classes_last(empty(last.shape, last.dtype)) if last.flags.c_contiguous else np.empty_like(logits)


def _classes_last(logits: np.ndarray) -> np.ndarray:
    return logits.transpose(0, 2, 1)  # (N, K, P) -> (N, P, K), a view


def _softmax_cross_entropy_py(logits, target, pixel_weight, losses, log_sum_exp):
    n, p, classes = logits.shape
    for task in prange(n * p):
        image, i = task // p, task % p
        largest = logits[image, i, 0]
        for k in range(1, classes):
            if logits[image, i, k] > largest:
                largest = logits[image, i, k]
        total, true_logit = 0.0, math.nan
        for k in range(classes):
            shifted = np.float64(logits[image, i, k]) - np.float64(largest)
            total += math.exp(shifted)
            if k == target[image, i]:
                true_logit = shifted
        log_sum = math.log(total)
        log_sum_exp[image, i] = largest + log_sum
        weight = pixel_weight[image, i]
        losses[image, i] = weight * (log_sum - true_logit) if weight != 0 else 0.0


def _softmax_cross_entropy_grad_py(logits, grad_losses, target, pixel_weight, log_sum_exp, grad_logits):
    n, p, classes = logits.shape
    for task in prange(n * p):
        image, i = task // p, task % p
        weight = pixel_weight[image, i]
        for k in range(classes):
            if weight == 0:
                grad_logits[image, i, k] = 0
            else:
                softmax = math.exp(logits[image, i, k] - log_sum_exp[image, i])
                onehot = 1.0 if k == target[image, i] else 0.0
                grad_logits[image, i, k] = weight * grad_losses[image, i] * (softmax - onehot)


_softmax_cross_entropy = njit(**OPTIONS)(_softmax_cross_entropy_py)
_softmax_cross_entropy_grad = njit(**OPTIONS)(_softmax_cross_entropy_grad_py)
