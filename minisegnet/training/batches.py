"""Batches: what is left of a pass, what is in one, how many there will be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from .. import random

if TYPE_CHECKING:
    from ..ranks import Alone
    from .history import TrainingState


class StatesOfAll:
    """A data set of which every rank has its own: the checkpoint keeps the states of all."""

    def __init__(self, own: Any, ranks: Alone):
        self.own, self.ranks = own, ranks

    def __iter__(self) -> Iterator[Any]:
        return iter(self.own)

    def __len__(self) -> int:
        return len(self.own)

    def state(self) -> dict[str, Any]:
        """Return everyone's state, in order of rank."""
        return {"ranks": self.ranks.gather(self.own.state())}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take one's own out of everyone's."""
        saved = len(state["ranks"]) if "ranks" in state else 1
        if saved != self.ranks.size or "ranks" not in state:
            raise ValueError(
                f"it was written by {saved} ranks, each with a data set of its own, and now there are {self.ranks.size}"
            )
        self.own.load_state(state["ranks"][self.ranks.rank])


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
