"""Softmax cross-entropy in NumPy, to be read. These docstrings are the contract for every backend.

For one pixel with logits z and true class t, the softmax is p_k = exp(z_k) / sum_j exp(z_j), and the loss is -log p_t.
Written as log_sum_exp(z) - z_t it needs no division, and its gradient is p - onehot(t): what the network says, minus
what is true. Subtracting the largest logit first changes nothing and keeps exp from overflowing.
"""

from __future__ import annotations

import numpy as np


def softmax_cross_entropy(
    logits: np.ndarray, target: np.ndarray, pixel_weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted cross-entropy of every pixel, fused with its softmax.

    Parameters
    ----------
    logits : float array (N, K, P)
        Scores of K classes at P pixels; any strides.
    target : int64 array (N, P)
        True classes, in [0, K); the caller, ``functional.cross_entropy``, has checked them.
    pixel_weight : float array (N, P)
        What each pixel counts. At a weight of exactly 0 the loss and its gradient are 0, whatever the logits are.

    Returns
    -------
    losses : array (N, P)
        pixel_weight * (log_sum_exp - logits[target]), of the logits' type. Computed in float64; compiled kernels may take
        exponentials and logarithms of float32 logits to float32's precision, and must sum in float64.
    log_sum_exp : float64 array (N, P)
        log(sum_k exp(logits_k)), for the gradient. NaN where a logit is NaN or +infinity, or all are -infinity.
    """
    with np.errstate(invalid="ignore"):  # infinity - infinity is NaN, and meant to be
        largest = logits.max(axis=1).astype(np.float64)  # (N, K, P) -> (N, P)
        shifted = logits - largest[:, None]  # (N, K, P), all <= 0
        log_sum = np.log(np.exp(shifted).sum(axis=1))  # (N, K, P) -> (N, P)
        true_logit = np.take_along_axis(shifted, target[:, None], axis=1)[:, 0]  # (N, K, P) -> (N, 1, P) -> (N, P)
        losses = np.where(pixel_weight == 0, 0.0, pixel_weight * (log_sum - true_logit))
    return losses.astype(logits.dtype), largest + log_sum


def softmax_cross_entropy_grad(
    grad_losses: np.ndarray, logits: np.ndarray, target: np.ndarray, pixel_weight: np.ndarray, log_sum_exp: np.ndarray
) -> np.ndarray:
    """Return the gradient of ``softmax_cross_entropy`` with respect to the logits.

    Parameters
    ----------
    grad_losses : float array (N, P)
    logits, target, pixel_weight
        As in the forward.
    log_sum_exp : float64 array (N, P)
        As the forward returned it.

    Returns
    -------
    array (N, K, P)
        grad_losses * pixel_weight * (softmax(logits) - onehot(target)), of the logits' type, lying in memory as they do.
    """
    with np.errstate(invalid="ignore"):
        softmax = np.exp(logits - log_sum_exp[:, None])  # (N, K, P)
        onehot = np.arange(logits.shape[1])[:, None] == target[:, None]  # (K, 1) and (N, 1, P) -> (N, K, P)
        outer = (pixel_weight * grad_losses)[:, None]  # (N, P) -> (N, 1, P)
        grad = np.where(pixel_weight[:, None] == 0, 0.0, outer * (softmax - onehot))
    grad_logits = np.empty_like(logits)
    grad_logits[...] = grad
    return grad_logits
