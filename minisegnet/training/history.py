"""What a training remembers: ``History`` of the numbers, ``TrainingState`` of where it stands."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ..optim import ReduceLROnPlateau
from ..storage import atomic_write

if TYPE_CHECKING:
    from ..nn import Module
    from ..optim import Optimizer


@dataclass(repr=False)
class History:
    """The numbers of a training, one for each step or validation; goes through JSON without loss.

    Attributes
    ----------
    loss, lr, grad_norm : list of float, one a step
        Of the batch before the step; the rate that the step was taken with; the norm of all gradients before clipping.
    seconds : list of float, one a step
        Time spent so far, validations included and pauses between interruption and resumption not.
    validation : list of dict
        ``{"step": 50, "epoch": 1, "loss": 0.4, "dice": 0.8, ...}``, one a validation.
    monitor, mode : str
        The entry of ``validation`` that says which is best, and whether "min" or "max" is.
    stopped : str
        Why the training ended: "finished", "interrupted", "callback", "patience"; "" while it runs.
    """

    loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    grad_norm: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)
    monitor: str = "loss"
    mode: str = "min"
    stopped: str = ""

    @property
    def interrupted(self) -> bool:
        """Whether the training was ended by hand, and can be resumed."""
        return self.stopped == "interrupted"

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return len(self.loss)

    @property
    def best(self) -> dict[str, float] | None:
        """The best validation by ``monitor`` (the first of equals; NaN is never best), None before the first."""
        sign = 1 if self.mode == "max" else -1
        known = [v for v in self.validation if not math.isnan(v[self.monitor])]
        return max(known, key=lambda v: sign * v[self.monitor]) if known else None

    @property
    def since_best(self) -> int:
        """How many validations came after the best; all of them where none is a number."""
        best = self.best
        return len(self.validation) - (0 if best is None else 1 + self.validation.index(best))

    @property
    def val_step(self) -> list[float]:
        """The steps at which validations were made."""
        return [v["step"] for v in self.validation]

    @property
    def val_score(self) -> list[float]:
        """What they gave for ``monitor``."""
        return [v[self.monitor] for v in self.validation]

    def __repr__(self) -> str:
        """Say in one line how it went."""
        if not self.loss:
            return "History(no step yet)"
        losses = f"loss {self.loss[0]:.3f} to {self.loss[-1]:.3f}"
        best = self.best
        score = f", best {self.monitor} {best[self.monitor]:.3f} at step {best['step']}" if best else ""
        return f"History({self.steps} steps, {losses}{score}{', ' + self.stopped if self.stopped else ''})"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain lists, numbers and text."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> History:
        """Return the history that ``to_dict`` described.

        Raises
        ------
        ValueError
            If it is none.
        """
        if not isinstance(values, dict) or values.keys() != {f.name for f in fields(cls)}:
            raise ValueError(f"this is no history of a training: {str(values)[:60]}")
        return cls(**values)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the history to a JSON file, whole or not at all."""
        with atomic_write(path, "w") as file:
            json.dump(self.to_dict(), file, indent=1)


@dataclass
class TrainingState:
    """Where a training stands; callbacks get it after each step and each validation.

    Attributes
    ----------
    model, optimizer, scheduler
        As given to ``fit``.
    history : History
        All numbers so far; ``history.loss[-1]`` is the newest.
    epoch, batch : int
        Complete passes over the training data, and batches of this pass.
    total : int or None
        How many steps there will be, None where that is not known.
    event : str
        What just happened: "step" or "validation".
    stop : bool
        Set it to end the training after this step, with the model as it is then.
    """

    model: Module
    optimizer: Optimizer
    scheduler: Any
    history: History
    epoch: int = 0
    batch: int = 0
    total: int | None = None
    event: str = ""
    stop: bool = False
    best: dict[str, np.ndarray] | None = field(default=None, repr=False)

    @property
    def step(self) -> int:
        """How many steps were taken."""
        return self.history.steps


def record_validation(state: TrainingState, numbers: dict[str, float], monitor: str | None) -> None:
    """Add a validation to the history, keep the weights if it is the best, and tell a plateau schedule.

    ``monitor`` is the number that says which is best: the metric's first where none is named, the loss without a metric.
    """
    history = state.history
    if monitor is None:
        monitor = next((name for name in numbers if name != "loss"), "loss")
    if monitor not in numbers:
        raise ValueError(f"monitor must be one of {', '.join(numbers)}, got {monitor!r}")
    history.monitor, history.mode = monitor, "min" if monitor.endswith("loss") else "max"
    history.validation.append({"step": state.step, "epoch": state.epoch, **numbers})
    if history.since_best == 0:
        state.best = state.model.state_dict()
    if isinstance(state.scheduler, ReduceLROnPlateau):
        state.scheduler.step(numbers[monitor])
