"""Callbacks that want to know when a training begins and ends: methods ``start(state)`` and ``finish(state)``, if any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .history import TrainingState


def shows_progress(callbacks: Sequence[Callable[[TrainingState], Any]]) -> bool:
    """Return whether one of the callbacks shows how far the training is, so that no bar is needed."""
    return any(getattr(callback, "shows_progress", False) for callback in callbacks)


@contextmanager
def told(callbacks: Sequence[Callable[[TrainingState], Any]], state: TrainingState) -> Iterator[None]:
    """While the block runs a training is going on: call ``start`` before it and ``finish`` after it, errors included."""
    for callback in callbacks:
        getattr(callback, "start", _nothing)(state)
    try:
        yield
    finally:
        for callback in callbacks:
            getattr(callback, "finish", _nothing)(state)


def _nothing(state: TrainingState) -> None:
    """Stand in for a method that a callback does not have."""
