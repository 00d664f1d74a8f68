"""Arguments of ``fit`` that make no sense together are refused before anything is spent on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..optim import ReduceLROnPlateau

if TYPE_CHECKING:
    from ..nn import Module
    from ..optim import Optimizer


def check_ending(train: Any, epochs: int | None, steps: int | None, patience: int | None, resume: bool) -> None:
    """Raise unless it is clear when the training ends and the data lasts so long."""
    if epochs is None and steps is None:
        raise ValueError("say when training shall end: epochs=... or steps=...")
    for name, value in (("epochs", epochs), ("steps", steps), ("patience", patience)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    if hasattr(train, "__next__") and (resume or (steps is None and epochs != 1)):
        raise TypeError(
            "train is a generator, which can be gone through only once: give a list, or an object with __iter__"
        )
    # len() also raises where a data set knows that it has no end, and says so.
    if hasattr(train, "__len__") and steps is None and len(train) == 0:
        raise ValueError("train is empty: there is nothing to learn from")


def check_choices(
    model: Module, optimizer: Optimizer, scheduler: Any, schedule_by: str, keep: str, capture: bool | str = "auto"
) -> None:
    """Raise for options that do not exist, and for parts that belong to another model or optimizer."""
    if schedule_by not in ("step", "epoch"):
        raise ValueError(f'schedule_by must be "step" or "epoch", got {schedule_by!r}')
    if keep not in ("last", "best"):
        raise ValueError(f'keep must be "last" or "best", got {keep!r}')
    if capture not in ("auto", True, False):
        raise ValueError(f'capture must be "auto", True or False, got {capture!r}')
    own = {id(p) for p in model.parameters()}
    if not any(id(p) in own for p in optimizer.parameters()):
        raise ValueError(
            "optimizer holds none of the model's parameters: make it from model.parameters() of this model"
        )
    if scheduler is not None and scheduler.optimizer is not optimizer:
        raise ValueError("scheduler was made for another optimizer than the one given")


def check_needs(validation: Any, scheduler: Any, wants: dict[str, Any], resume: bool, checkpoint: Any) -> None:
    """Raise where an argument needs another one that is not given."""
    if isinstance(scheduler, ReduceLROnPlateau):
        wants = {**wants, "ReduceLROnPlateau": scheduler}
    for name, value in wants.items():
        if value is not None and validation is None:
            raise ValueError(f"{name} needs validation=..., the data to validate on")
    if resume and checkpoint is None:
        raise ValueError("resume=True needs checkpoint=..., the file to go on from")
