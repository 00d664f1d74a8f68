"""Steps of optimizers on a GPU: one kernel a parameter, which reads and writes each number once; ``cuda_gpu.cu`` has them.

The constants of a step (learning rate, what the number of steps makes of Adam's) lie on the GPU, and so does whether it may
be taken. In a plain step they are copied there; a captured one has a table for them, which is filled before each launch.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cupy
import numpy as np

from ..cuda_gpu_launch import launch, ready

MOST = 8  # constants of a step


class Table:
    """A row of constants for each parameter that has a gradient, in the order of the steps, and ``go``: 0 forbids them.

    Attributes
    ----------
    host, rows : arrays of (parameters, MOST)
        The constants of this step, and the array on the GPU that the captured kernels read.
    count : int
        How many steps have left their constants here.
    launching : bool
        Whether kernels are launched (they are being recorded), or the constants are all that is wanted.
    """

    def __init__(self, parameters: int, go: Any):
        self.host, self.rows, self.go = np.zeros((parameters, MOST)), cupy.zeros((parameters, MOST)), go
        self.count, self.launching = 0, True

    @contextmanager
    def filled(self, launching: bool) -> Iterator[None]:
        """Within the block, steps leave their constants here; afterwards ``send`` takes them to the GPU."""
        global _table
        self.count, self.launching, _table = 0, launching, self
        try:
            yield
        finally:
            _table = None

    def put(self, constants: tuple[Any, ...]) -> Any:
        """Keep the constants of the next parameter; return where the kernel will find them."""
        row, self.count = self.count, self.count + 1
        self.host[row, : len(constants)] = constants
        return self.rows[row]

    def send(self) -> None:
        """Copy the constants to the GPU."""
        self.rows.set(self.host)


class Guard:
    """``with Guard(go):`` plain steps ask ``go`` whether they may change anything."""

    def __init__(self, go: Any):
        self.go = go

    def __enter__(self) -> None:
        global _go
        _go = self.go

    def __exit__(self, *_: object) -> None:
        global _go
        _go = None


_table: Table | None = None
_go: Any = None


def step(name: str, arrays: tuple[Any, ...], constants: tuple[Any, ...]) -> None:
    """Do one step of "adam" or "sgd" on a parameter, its gradient and its memory; ``steps.py`` makes the constants."""
    data, grad, *memory = arrays
    if _table is None:
        row, go = _on_gpu(tuple(map(float, constants))), _yes() if _go is None else _go
    else:
        row, go = _table.put(constants), _table.go
        if not _table.launching:
            return
    launch(__file__, name, data, data.size, data, ready(grad, data.dtype), *memory, row, go)


@functools.lru_cache(maxsize=8)  # the parameters of a group have the same
def _on_gpu(constants: tuple[float, ...]) -> Any:
    return cupy.asarray(np.array(constants))


@functools.cache
def _yes() -> Any:
    return cupy.ones((), np.int32)
