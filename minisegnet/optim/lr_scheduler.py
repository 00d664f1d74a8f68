"""How the learning rate changes as training goes on; names and numbers as ``torch.optim.lr_scheduler``.

A schedule sets the rate when it is made, and again at each ``step()``; call that after ``optimizer.step()``.
"""

from __future__ import annotations

import math
from typing import Any

from .optimizer import Optimizer


class LRScheduler:
    """A rate that is a function of the number of steps; subclasses write ``rates``.

    Attributes
    ----------
    base_lrs : list of float
        The rate of each parameter group at the beginning.
    last_epoch : int
        How often ``step`` was called (PyTorch's name, though the steps need not be epochs).
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be one of minisegnet.optim, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            if last_epoch == -1:
                group["initial_lr"] = group["lr"]
            elif "initial_lr" not in group:
                raise ValueError("last_epoch was given, but the optimizer's state holds no initial_lr to go on from")
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def rates(self) -> list[float]:
        """Return the rate of each group after ``last_epoch`` steps."""
        raise NotImplementedError

    def step(self) -> None:
        """Go on by one step and set the optimizer's rates."""
        self.last_epoch += 1
        for group, lr in zip(self.optimizer.param_groups, self.rates(), strict=True):
            group["lr"] = lr

    def get_last_lr(self) -> list[float]:
        """Return the rates that are set now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer: numbers, names and lists of them."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a ``state_dict``. The rates themselves are in the optimizer's state.

        Raises
        ------
        ValueError
            If it belongs to another kind of schedule.
        """
        if state_dict.keys() != self.state_dict().keys():
            raise ValueError(f"this is no state of {type(self).__name__}: it holds {', '.join(map(str, state_dict))}")
        self.__dict__.update(state_dict)


class StepLR(LRScheduler):
    """Multiply the rate by ``gamma`` after every ``step_size`` steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        if step_size < 1:
            raise ValueError(f"step_size must be at least 1, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def rates(self) -> list[float]:
        """Return base * gamma ^ floor(t / step_size)."""
        return [base * self.gamma ** (self.last_epoch // self.step_size) for base in self.base_lrs]


class CosineAnnealingLR(LRScheduler):
    """Let the rate fall to ``eta_min`` in ``T_max`` steps along half a cosine (Loshchilov and Hutter, 2017, eq. 5)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        if T_max < 1:
            raise ValueError(f"T_max must be at least 1, got {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rates(self) -> list[float]:
        """Return eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2; after T_max it rises again, as in PyTorch."""
        return [_cosine(base, self.eta_min, self.last_epoch / self.T_max) for base in self.base_lrs]


class OneCycleLR(LRScheduler):
    """Let the rate rise to ``max_lr`` and fall far below its start, once (Smith and Topin, 2018); step it every batch.

    While the rate rises from ``max_lr / div_factor``, momentum (Adam's first beta) falls from ``max_momentum`` to
    ``base_momentum``, and back; the last rate is ``max_lr / div_factor / final_div_factor``.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates (and momenta) are set.
    max_lr : float or list of float
        The highest rate, for all groups or each.
    total_steps : int, optional
        How many steps there will be; or give ``epochs`` and ``steps_per_epoch``.
    pct_start : float
        Which part of the steps the rate rises.
    anneal_strategy : "cos" or "linear"
        The shape of rise and fall.
    cycle_momentum : bool
        Whether momentum moves, too.
    base_momentum, max_momentum, div_factor, final_div_factor : float
        See above.
    three_phase : bool
        Fall to the first rate as fast as it rose, and only then to the last.
    last_epoch : int
        Go on after so many steps; -1 for a new schedule.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ):
        if total_steps is None and epochs and steps_per_epoch:
            total_steps = epochs * steps_per_epoch
        if not isinstance(total_steps, int) or total_steps < 1:
            raise ValueError(f"total_steps, or epochs and steps_per_epoch, must be at least 1, got {total_steps}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"pct_start must be in [0, 1], got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f'anneal_strategy must be "cos" or "linear", got {anneal_strategy!r}')
        groups = optimizer.param_groups
        peaks = list(max_lr) if isinstance(max_lr, list | tuple) else [max_lr] * len(groups)
        if len(peaks) != len(groups):
            raise ValueError(f"max_lr must be one number, or one for each of {len(groups)} groups, got {len(peaks)}")
        if cycle_momentum and not all({"momentum", "betas"} & group.keys() for group in groups):
            raise ValueError("this optimizer has no momentum to cycle: pass cycle_momentum=False")
        self.total_steps, self.anneal_strategy, self.cycle_momentum = total_steps, anneal_strategy, cycle_momentum
        starts = [peak / div_factor for peak in peaks]
        ends = [start / final_div_factor for start in starts]
        rise = float(pct_start * total_steps) - 1
        # Each phase ends at a step, with a rate for each group and a momentum for all.
        self.phases: list[list[Any]] = [[0.0, starts, max_momentum], [rise, peaks, base_momentum]]
        if three_phase:
            self.phases.append([float(2 * pct_start * total_steps) - 2, starts, max_momentum])
        self.phases.append([total_steps - 1, ends, max_momentum])
        if last_epoch == -1:
            for group, start in zip(groups, starts, strict=True):
                group["lr"] = start
        super().__init__(optimizer, last_epoch)

    def step(self) -> None:
        """Go on by one step and set the optimizer's rates and momenta."""
        super().step()
        if not self.cycle_momentum:
            return
        momentum = self._between(lambda phase: phase[2])
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum

    def rates(self) -> list[float]:
        """Return the rate of each group."""
        if self.last_epoch > self.total_steps:  # one more than there are rates: loops step the schedule last
            raise ValueError(
                f"the one-cycle schedule was made for {self.total_steps} steps and has no more: train for less"
            )
        return [self._between(lambda phase, i=i: phase[1][i]) for i in range(len(self.base_lrs))]

    def _between(self, value: Any) -> float:
        """Interpolate between the ends of the phase that this step lies in."""
        t = self.last_epoch
        i = next((i for i, phase in enumerate(self.phases[1:], 1) if t <= phase[0]), len(self.phases) - 1)
        before, after = self.phases[i - 1], self.phases[i]
        part = (t - before[0]) / (after[0] - before[0]) if after[0] != before[0] else 1.0
        if self.anneal_strategy == "linear":
            return value(before) + part * (value(after) - value(before))
        return _cosine(value(before), value(after), part)


class ReduceLROnPlateau:
    """Multiply the rate by ``factor`` when a value has not become better for more than ``patience`` calls.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates are set.
    mode : "min" or "max"
        Which is better, for a loss or for a score.
    factor, patience : float, int
        See above.
    threshold, threshold_mode : float, "rel" or "abs"
        By how much a value must be better to count, relative to the best or in its own unit.
    cooldown : int
        Calls after a reduction that do not count as bad.
    min_lr : float or list of float
        Rates go no lower.
    eps : float
        Smaller changes of the rate are not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ):
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f'mode must be "min" or "max" and threshold_mode "rel" or "abs", got {mode!r}, {threshold_mode!r}'
            )
        if not 0 <= factor < 1:
            raise ValueError(f"factor must be in [0, 1), got {factor}")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        groups = optimizer.param_groups
        self.min_lrs = list(min_lr) if isinstance(min_lr, list | tuple) else [min_lr] * len(groups)
        if len(self.min_lrs) != len(groups):
            raise ValueError(
                f"min_lr must be one number, or one for each of {len(groups)} groups, got {len(self.min_lrs)}"
            )
        self.best = float("inf") if mode == "min" else float("-inf")
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0

    def step(self, metrics: float) -> None:
        """Tell the newest value of what is watched."""
        value = float(metrics)
        self.last_epoch += 1
        if self._is_better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, lowest in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                lr = max(group["lr"] * self.factor, lowest)
                if group["lr"] - lr > self.eps:
                    group["lr"] = lr
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _is_better(self, value: float) -> bool:
        margin = self.threshold * self.best if self.threshold_mode == "rel" else self.threshold
        margin = margin if math.isfinite(margin) else 0.0  # before the first value, the best is infinitely bad
        return value < self.best - margin if self.mode == "min" else value > self.best + margin

    get_last_lr = LRScheduler.get_last_lr
    state_dict = LRScheduler.state_dict
    load_state_dict = LRScheduler.load_state_dict


def _cosine(start: float, end: float, part: float) -> float:
    """Return the value ``part`` of the way from start to end along half a cosine."""
    return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)
