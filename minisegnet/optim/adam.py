"""Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..arrays import array_module
from ..kernels.optimizer.steps import adam_constants
from .optimizer import Optimizer, compiled


class Adam(Optimizer):
    """Divide a running mean of the gradient by the root of a running mean of its square: steps of about ``lr``.

    m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2; both begin at 0, which m / (1 - b1^t) and v / (1 - b2^t) make up
    for; p <- p - lr * m / (sqrt(v) + eps) (Kingma and Ba, 2015, algorithm 1).

    Parameters
    ----------
    params : Tensors or groups
        What to optimize.
    lr : float
        The learning rate.
    betas : (float, float)
        b1 and b2.
    eps : float
        Keeps the quotient finite where gradients vanish.
    weight_decay : float
        Adds ``weight_decay * p`` to the gradient, as PyTorch's Adam. ``AdamW`` is usually what one wants.
    """

    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
    ):
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay})

    def update(self, data: Any, grad: Any, memory: dict[str, Any], group: dict[str, Any]) -> None:
        """One step for one parameter."""
        xp, lr, (beta1, beta2) = array_module(data), group["lr"], group["betas"]
        if not memory:
            memory.update(step=0, exp_avg=xp.zeros_like(data), exp_avg_sq=xp.zeros_like(data))
        memory["step"] += 1
        t, m, v = memory["step"], memory["exp_avg"], memory["exp_avg_sq"]
        if loops := compiled(data, grad, m, v):
            settings = t, lr, (beta1, beta2), group["eps"], group["weight_decay"], self.decoupled
            loops.step("adam", (data, grad, m, v), adam_constants(data.dtype, *settings))
            return
        if group["weight_decay"] and self.decoupled:
            data *= 1 - lr * group["weight_decay"]
        elif group["weight_decay"]:
            grad = grad + group["weight_decay"] * data
        m += (1 - beta1) * (grad - m)
        v *= beta2
        v += (1 - beta2) * grad * grad
        scale = xp.sqrt(v)
        scale /= (1 - beta2**t) ** 0.5
        scale += group["eps"]
        data -= (lr / (1 - beta1**t)) * (m / scale)


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters themselves, p <- (1 - lr * weight_decay) p, whatever the gradients.

    Parameters as ``Adam``; ``weight_decay`` is 0.01 unless said otherwise.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(params, lr, betas, eps, weight_decay)
