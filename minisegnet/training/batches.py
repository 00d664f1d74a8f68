"""Batches: what is left of a pass, what is in one, how many there will be."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from .. import random

if TYPE_CHECKING:
    from .history import TrainingState


def rest_of_pass(train: Any, state: TrainingState, pass_start: dict[str, Any]) -> Iterable[Any]:
    """Return the batches of this pass that are still to come; a data set that keeps its own state knows them itself."""
    if hasattr(train, "load_state") or not state.batch:
        return train
    now = random.get_state()  # a data set may shuffle by the package's random numbers when a pass begins
    random.set_state(pass_start)
    rest = iter(train)
    for _ in islice(rest, state.batch):
        pass
    random.set_state(now)
    return rest


def pass_length(train: Any) -> int | None:
    """Return how many batches a pass has, None where the data set does not say (or has no end)."""
    try:
        return len(train)
    except TypeError:
        return None


def parts(batch: Any) -> tuple[Any, ...]:
    """Return x, y and possibly pixel_weight of a batch."""
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        raise TypeError(f"a batch must be (x, y) or (x, y, pixel_weight), got {type(batch).__name__}")
    return tuple(batch)


def total_steps(length: int | None, epochs: int | None, steps: int | None) -> int | None:
    """Return how many steps there will be, None where that is not known."""
    whole = epochs * length if epochs is not None and length is not None else None
    return min((n for n in (whole, steps) if n is not None), default=None)
