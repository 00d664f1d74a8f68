"""Softmax cross-entropy on a GPU; ``reference.py`` holds the contract, ``cuda_gpu.cu`` the loops."""

from __future__ import annotations

from typing import Any

import cupy

from ..cuda_gpu_launch import launch, ready


def softmax_cross_entropy(logits: Any, target: Any, pixel_weight: Any) -> tuple[Any, Any]:
    """Return the weighted cross-entropy of every pixel; see ``reference.softmax_cross_entropy``.

    Nothing here looks at the labels, which would make the GPU wait: the caller has. One out of range makes a NaN.
    """
    dtype = logits.dtype
    losses, log_sum_exp = cupy.empty(target.shape, dtype), cupy.empty(target.shape, "float64")
    launch(
        *(__file__, "softmax_cross_entropy", logits, target.size, ready(logits, dtype), ready(target, "int64")),
        *(ready(pixel_weight, dtype), losses, log_sum_exp, *logits.shape[1:]),
    )
    return losses, log_sum_exp


def softmax_cross_entropy_grad(grad_losses: Any, logits: Any, target: Any, pixel_weight: Any, log_sum_exp: Any) -> Any:
    """Return the gradient with respect to the logits; see ``reference.softmax_cross_entropy_grad``."""
    dtype = logits.dtype
    grad_logits = cupy.empty(logits.shape, dtype)
    launch(
        *(__file__, "softmax_cross_entropy_grad", logits, logits.size, ready(grad_losses, dtype)),
        *(ready(logits, dtype), ready(target, "int64"), ready(pixel_weight, dtype), ready(log_sum_exp, "float64")),
        *(grad_logits, *logits.shape[1:]),
    )
    return grad_logits
