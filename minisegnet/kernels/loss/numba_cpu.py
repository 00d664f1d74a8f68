"""Softmax cross-entropy as compiled loops; ``reference.py`` holds the contract.

One pass over the logits each way; no softmax is ever stored. The loops read logits as (N, P, K) with whatever strides
they have (compiled once for channels-last memory, once more for others), so nothing is copied, and the gradient lies in
memory as the logits do. No fastmath: a NaN stays a NaN, an infinity an infinity.

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
    target, pixel_weight = np.ascontiguousarray(target), np.ascontiguousarray(pixel_weight)
    arrays = _classes_last(logits), target, pixel_weight, losses, log_sum_exp
    if logits.dtype == np.float32:
        numba_cpu_float32.softmax_cross_entropy(*arrays, numba_cpu_float32.pixels_a_task(logits.shape[1]))
    else:
        _softmax_cross_entropy(*arrays)
    return losses, log_sum_exp


@one_at_a_time
def softmax_cross_entropy_grad(
    grad_losses: np.ndarray, logits: np.ndarray, target: np.ndarray, pixel_weight: np.ndarray, log_sum_exp: np.ndarray
) -> np.ndarray:
    """Return the gradient with respect to the logits; see ``reference.softmax_cross_entropy_grad``."""
    grad_logits = _empty_like(logits)
    maps = (np.ascontiguousarray(a) for a in (grad_losses, target, pixel_weight, log_sum_exp))
    arrays = _classes_last(logits), *maps, _classes_last(grad_logits)
    if logits.dtype == np.float32:
        numba_cpu_float32.softmax_cross_entropy_grad(*arrays, numba_cpu_float32.pixels_a_task(logits.shape[1]))
    else:
        _softmax_cross_entropy_grad(*arrays)
    return grad_logits


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
