"""Where an explorer computes with a few numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..arrays import set_default_device
from ..backend import use_backend


@contextmanager
def few_numbers() -> Iterator[None]:
    """``with few_numbers():`` NumPy on the CPU computes: nothing to compile, and the same digits everywhere."""
    with set_default_device("cpu"), use_backend("reference"):
        yield
