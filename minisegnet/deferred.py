"""What operations do while nobody may look at a number: checks are put off, arrays of the CPU are asked for beforehand.

A training step that is captured in a CUDA graph (``training.CapturedStep``) is a list of kernels: where Python looks at a
number, or copies an array to the GPU, the list would have to end. So the operations that do ask here first, and leave what
they wanted to know, or to have, with the one who captures.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Deferred:
    """What the operations of one step have put off.

    Attributes
    ----------
    capturing : bool
        Whether operations are being recorded; otherwise they run, and only looking is put off.
    wrong : list of arrays of one number
        How many labels of a target, or places of an unpooling, were out of range.
    masks : list of (array, draw)
        Arrays that ``draw()`` has to fill anew before each step (dropout).
    kept : list of arrays
        Constants that the recorded kernels read: they must live as long.
    """

    def __init__(self, capturing: bool = False):
        self.capturing = capturing
        self.wrong: list[Any] = []
        self.masks: list[tuple[Any, Any]] = []
        self.kept: list[Any] = []


class _Of(threading.local):
    """Each thread has its own: a monitor that predicts beside the training looks at what it likes."""

    this: Deferred | None = None


_of = _Of()


def current() -> Deferred | None:
    """Return where this thread's operations leave what they put off; None where they may look."""
    return _of.this


@contextmanager
def deferring(to: Deferred) -> Iterator[None]:
    """``with deferring(to):`` operations of this thread put off what would wait for the GPU."""
    before, _of.this = _of.this, to
    try:
        yield
    finally:
        _of.this = before


def no_copy_while_capturing(what: str) -> None:
    """Raise if operations are being recorded: a copy from the CPU would be repeated from memory that is gone by then."""
    if _of.this is not None and _of.this.capturing:
        raise RuntimeError(f"{what} would be copied from the CPU to the GPU in every step")


def count_of(weights: Any) -> Any:
    """Return the sum of weights: a number, or an array on the GPU where nobody may look at it yet."""
    total = weights.sum(dtype="float64")
    return float(total) if _of.this is None else total


def unseen(total: Any) -> bool:
    """Return whether this is an array that nobody may look at yet; if it holds 0, what it divides becomes NaN by itself."""
    return hasattr(total, "ndim")
