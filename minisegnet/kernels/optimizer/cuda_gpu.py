"""Steps of optimizers on a GPU: one kernel a parameter, which reads and writes each number once; ``cuda_gpu.cu`` has them."""

from __future__ import annotations

from typing import Any

from ..cuda_gpu_launch import launch, ready
from .steps import adam_constants, sgd_constants


def adam_step(
    data: Any,
    grad: Any,
    exp_avg: Any,
    exp_avg_sq: Any,
    step: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None:
    """Do step number ``step`` (the first is 1) of Adam or AdamW on contiguous arrays of one shape; see ``optim.Adam``."""
    constants = adam_constants(data.dtype, step, lr, betas, eps, weight_decay, decoupled)
    launch(__file__, "adam", data, data.size, data, ready(grad, data.dtype), exp_avg, exp_avg_sq, *constants)


def sgd_step(
    data: Any,
    grad: Any,
    velocity: Any,
    lr: float,
    momentum: float,
    share: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    """Do one step of SGD on contiguous arrays of one shape; see ``optim.SGD`` and the CPU's ``sgd_step``."""
    constants = sgd_constants(data.dtype, lr, momentum, share, weight_decay)
    launch(__file__, "sgd", data, data.size, data, ready(grad, data.dtype), velocity, *constants, nesterov)
