"""What every family's ``cuda_gpu.py`` does: compile its .cu file once a type, and start one thread for each output."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import cupy
import numpy as np

THREADS = 256  # of a block
TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


@functools.cache
def module(file: str, dtype: np.dtype) -> Any:
    """Return the kernels of the .cu file beside a Python file, compiled for one type of number.

    CuPy compiles on first use and keeps the result in a folder of the user's (``~/.cupy/kernel_cache``).
    """
    code = Path(file).with_suffix(".cu").read_text(encoding="utf-8")
    return cupy.RawModule(code=code, options=("-std=c++17", f"-DNUMBER={TYPES[dtype]}", f"-DTHREADS={THREADS}"))


def launch(file: str, name: str, like: Any, count: int, *arguments: Any, blocks: int | None = None) -> None:
    """Start a kernel with at least ``count`` threads, or a number of blocks; with none, do nothing.

    Parameters
    ----------
    file : str
        ``__file__`` of the family's wrapper; the kernels are in the .cu file of the same name.
    name : str
    like : array whose type the kernels are compiled for
    count : int
        The kernel's last parameter, of type ``long long``.
    arguments : contiguous CuPy arrays, Python integers (``int`` in the kernel) and NumPy numbers
    blocks : int, optional
        How many blocks of ``THREADS`` threads; by default, as many as ``count`` needs.
    """
    launch_of(module(file, like.dtype), name, -(-count // THREADS) if blocks is None else blocks, count, *arguments)


def launch_of(module: Any, name: str, blocks: int, count: int, *arguments: Any) -> None:
    """Start so many blocks of a compiled module's kernel, as ``launch``."""
    if not blocks:
        return  # an empty grid is an error of CUDA
    given = [np.int32(a) if isinstance(a, (int, bool)) else a for a in arguments]
    module.get_function(name)((blocks,), (THREADS,), (*given, np.int64(count)))


def ready(array: Any, dtype: Any) -> Any:
    """Return the array contiguous and of a type: kernels know nothing of strides. Itself, where it is."""
    return cupy.ascontiguousarray(array.astype(dtype, copy=False))
