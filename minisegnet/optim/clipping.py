"""The size of a gradient, and a limit for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..arrays import array_module, is_cupy
from ..autograd import Tensor


def grad_norm(parameters: Iterable[Any] | Tensor, norm_type: float = 2.0) -> float:
    """Return the norm of all gradients as one long vector, summed in float64; 0 where there are none.

    ``norm_type`` is the p of the p-norm; ``float("inf")`` for the largest absolute value.
    """
    grads = _grads(parameters)
    if not grads:
        return 0.0
    if norm_type == float("inf"):
        return float(np.max([float(abs(g.data).max(initial=0)) for g in grads]))  # np.max keeps NaN, max() may not
    if norm_type <= 0:
        raise ValueError(f"norm_type must be greater than 0, got {norm_type}")
    if norm_type == 2 and is_cupy(grads[0].data):
        return float(norm_on_gpu(grads))  # one look at the GPU, not one a parameter
    total = 0.0
    for g in grads:
        xp = array_module(g.data)
        magnitudes = (
            xp.square(g.data, dtype=np.float64) if norm_type == 2 else abs(g.data.astype(np.float64)) ** norm_type
        )
        total += float(magnitudes.sum())
    return total ** (1 / norm_type)


def norm_on_gpu(grads: list[Tensor]) -> Any:
    """Return ``grad_norm`` as an array of one number that stays on the GPU: nobody waits for it."""
    xp = array_module(grads[0].data)
    total = xp.zeros((), np.float64)
    for g in grads:
        total = total + xp.square(g.data, dtype=np.float64).sum()
    return xp.sqrt(total)


def clip_on_gpu(grads: list[Tensor], norm: Any, max_norm: float) -> None:
    """Shrink gradients by ``min(1, max_norm / norm)``; neither ``norm``, an array on the GPU, nor the factor is looked at."""
    factor = array_module(norm).minimum(max_norm / (norm + 1e-6), 1)
    for g in grads:
        g.data = g.data * factor.astype(g.dtype)


def clip_grad_norm_(
    parameters: Iterable[Any] | Tensor, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> float:
    """Shrink all gradients by one factor so that their common norm is at most ``max_norm``; return the norm before.

    The direction stays (Pascanu et al., 2013, section 3.2). As ``torch.nn.utils.clip_grad_norm_``.

    Raises
    ------
    RuntimeError
        If the norm is not finite, and ``error_if_nonfinite``.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be greater than 0, got {max_norm}")
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    grads = _grads(parameters)
    if grads and norm_type == 2 and not error_if_nonfinite and is_cupy(grads[0].data):
        norm = norm_on_gpu(grads)
        clip_on_gpu(grads, norm, max_norm)
        return float(norm)
    total = grad_norm(parameters, norm_type)
    if error_if_nonfinite and not np.isfinite(total):
        raise RuntimeError(f"the norm of the gradients is {total}, so they cannot be clipped")
    factor = max_norm / (total + 1e-6)
    if not factor >= 1:  # also for NaN
        for g in grads:
            g.data = g.data * factor
    return total


def _grads(parameters: Any) -> list[Tensor]:
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in parameters if p.grad is not None]
