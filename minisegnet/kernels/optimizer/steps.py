"""What all compiled steps of optimizers are given: constants of the arrays' own type, computed once a step for all parameters."""

from __future__ import annotations

import functools

import numpy as np


@functools.lru_cache(maxsize=8)  # all parameters of a group have the same, and there are many small ones
def adam_constants(
    dtype: np.dtype, step: int, lr: float, betas: tuple[float, float], eps: float, weight_decay: float, decoupled: bool
) -> tuple[np.floating, ...]:
    """Return what Adam's loops multiply and add, as numbers of a type: a Python number would make them compute in float64."""
    constants = (
        1 - lr * weight_decay if decoupled else 1,  # multiplies the parameters
        0 if decoupled else weight_decay,  # of them is added to the gradient
        1 - betas[0],
        betas[1],
        1 - betas[1],
        1 / (1 - betas[1] ** step) ** 0.5,  # a division less a number: those and roots are what two threads wait for
        eps,
        lr / (1 - betas[0] ** step),
    )
    return tuple(dtype.type(c) for c in constants)


@functools.lru_cache(maxsize=8)
def sgd_constants(
    dtype: np.dtype, lr: float, momentum: float, share: float, weight_decay: float, nesterov: bool
) -> tuple[np.floating | bool, ...]:
    """Return SGD's constants as numbers of a type, and whether it looks ahead.

    ``share`` is how much of the gradient enters the velocity: 1 - dampening, and 1 in the first step, when the velocity
    is 0. Without momentum there is no velocity: any array may stand in its place, and is left alone.
    """
    return *(dtype.type(c) for c in (lr, momentum, share, weight_decay)), nesterov
