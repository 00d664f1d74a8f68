"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..arrays import array_module
from ..kernels.optimizer.steps import sgd_constants
from .optimizer import Optimizer, compiled


class SGD(Optimizer):
    """Walk against the gradient; with momentum, against a running sum of gradients.

    v <- momentum * v + (1 - dampening) * g, and p <- p - lr * v; with ``nesterov``, p <- p - lr * (g + momentum * v).
    As in PyTorch (and unlike Sutskever et al., 2013) the rate multiplies when v is used, not when it is summed, and the
    first v is g, whatever the dampening.

    Parameters
    ----------
    params : Tensors or groups
        What to optimize.
    lr : float
        The learning rate.
    momentum, dampening : float
        How much of v stays at each step, and how much of g is left out.
    weight_decay : float
        Adds ``weight_decay * p`` to the gradient (L2 regularization).
    nesterov : bool
        Look ahead; needs momentum and no dampening.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
    ):
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(f"nesterov needs momentum > 0 and dampening 0, got {momentum} and {dampening}")
        settings = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {**settings, "nesterov": nesterov})

    def update(self, data: Any, grad: Any, memory: dict[str, Any], group: dict[str, Any]) -> None:
        """One step for one parameter."""
        first = "momentum_buffer" not in memory
        if group["momentum"] and first:
            memory["momentum_buffer"] = array_module(data).zeros_like(data)
        velocity = memory.get("momentum_buffer", data)
        share = 1 if first else 1 - group["dampening"]
        if loops := compiled(data, grad, velocity):
            settings = group["lr"], group["momentum"], share, group["weight_decay"], group["nesterov"]
            loops.step("sgd", (data, grad, velocity), sgd_constants(data.dtype, *settings))
            return
        if group["weight_decay"]:
            grad = grad + group["weight_decay"] * data
        if group["momentum"]:
            velocity *= group["momentum"]
            velocity += share * grad
            grad = grad + group["momentum"] * velocity if group["nesterov"] else velocity
        data -= group["lr"] * grad
