"""Which kernel serves an array: ``use_backend`` chooses a whole set, ``use_kernels`` puts your own function in a seat.

The type of the arrays decides first: CuPy arrays are served by the "cupy" kernels. For NumPy arrays the chosen backend
decides: "numba" (compiled loops, the default) or "reference" (NumPy to be read). Nothing falls back silently. The
environment variable ``MINISEGNET_BACKEND`` names the one to begin with, for a machine without Numba.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from . import arrays
from .kernels import buffers, contract

MODULES = {"reference": "reference", "numba": "numba_cpu", "cupy": "cuda_gpu"}
CURES = {
    "numba": 'Install it with `pip install numba`, or call use_backend("reference") for the slower NumPy kernels.',
    "cupy": arrays.CUPY_CURE,
}


class Kernels:
    """An immutable choice of kernels, one attribute each; a graph node keeps the one chosen at its forward."""

    backend: str
    replaced: dict[str, Callable]

    def __init__(self, backend: str, replaced: dict[str, Callable] | None = None):
        self.__dict__["backend"] = backend
        self.__dict__["replaced"] = dict(replaced or {})
        self.__dict__.update(self.replaced)

    def __getattr__(self, name: str) -> Callable:
        """Import the kernel's module on first use."""
        if name not in contract.KERNELS:
            raise AttributeError(f"there is no kernel {name!r}; there are {', '.join(contract.KERNELS)}")
        kernel = find_kernel(name, self.backend)
        self.__dict__[name] = kernel
        return kernel

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse: nodes on the tape rely on this table."""
        raise AttributeError("this table of kernels is in use by recorded operations: change it with use_kernels()")

    def __repr__(self) -> str:
        """Name the backend and what replaces it where."""
        return f"Kernels({self.backend}" + "".join(f", {name}=..." for name in self.replaced) + ")"


def find_kernel(name: str, backend: str) -> Callable:
    """Return one backend's own function for a kernel, whatever is replaced."""
    family = contract.KERNELS[name].family
    require(backend)
    module = importlib.import_module(f"{__package__}.kernels.{family}.{MODULES[backend]}")
    return getattr(module, name)


def first_choice(name: str) -> Kernels:
    """Return the kernels to begin with, or raise ``ValueError`` for a name that serves no NumPy array."""
    if name not in ("numba", "reference"):
        raise ValueError(f'the environment variable MINISEGNET_BACKEND must be "numba" or "reference", got {name!r}')
    return Kernels(name)


# A browser (Pyodide, docs/classroom.md) has no compiler: there the readable kernels serve.
_chosen = first_choice(os.environ.get("MINISEGNET_BACKEND", "reference" if sys.platform == "emscripten" else "numba"))
_on_gpu = Kernels("cupy")


class _ShapesOnly(threading.local):
    """The kernels of a thread that only asks for shapes; None computes. Per thread: a training loop beside it goes on."""

    kernels: Kernels | None = None


_only = _ShapesOnly()


@contextmanager
def shapes_only() -> Iterator[None]:
    """``with shapes_only():`` kernels called from this thread return zeros of the right shape and compute nothing."""
    before, _only.kernels = _only.kernels, Kernels("reference", {name: _zeros(name) for name in contract.KERNELS})
    try:
        yield
    finally:
        _only.kernels = before


def _zeros(name: str) -> Callable:
    def kernel(*args: Any, **options: Any) -> Any:
        first = args[0] if args else next(iter(options.values()))
        xp = arrays.array_module(first)
        results = tuple(xp.zeros(shape, first.dtype) for shape in contract.KERNELS[name].shapes(*args, **options))
        if name == "max_pool2d":
            return results[0], results[1].astype("int64")
        return results if len(results) > 1 else results[0]

    return kernel


def kernels_for(*tensors: Any) -> Kernels:
    """Return the kernels that serve these arrays at this moment."""
    if _only.kernels is not None:
        return _only.kernels
    if arrays.array_module(*tensors) is arrays.np:
        return _chosen
    global _on_gpu
    if _on_gpu.replaced != _chosen.replaced:
        _on_gpu = Kernels("cupy", _chosen.replaced)
    return _on_gpu


def require(backend: str) -> None:
    """Raise an error that names the cure if a backend cannot be used here.

    Raises
    ------
    ValueError
        For a name that is no backend.
    RuntimeError
        If what it needs is not installed.
    """
    if backend not in MODULES:
        raise ValueError(f"backend must be one of {', '.join(MODULES)}, got {backend!r}")
    if backend != "reference" and importlib.util.find_spec(backend) is None:
        raise RuntimeError(
            f"the backend {backend!r} needs the package {backend!r}, which is not installed. {CURES[backend]}"
        )
    probe = f"{__package__}.kernels.convolution.{MODULES[backend]}"
    if importlib.util.find_spec(probe) is None:
        raise RuntimeError(
            f"the backend {backend!r} has no kernels in this version of minisegnet: {probe} does not exist"
        )


def current_backend() -> str:
    """Return the name of the backend that serves NumPy arrays."""
    return _chosen.backend


class _Choice:
    """Holds until the ``with`` block ends; without ``with``, for good."""

    def __init__(self, chosen: Kernels):
        global _chosen
        self._before, _chosen = _chosen, chosen

    def __enter__(self) -> Kernels:
        return _chosen

    def __exit__(self, *_: object) -> None:
        global _chosen
        _chosen = self._before


def use_backend(name: str) -> _Choice:
    """Serve NumPy arrays by the "numba" or the "reference" kernels, from now on or for a ``with`` block.

    Kernels that ``use_kernels`` replaced stay replaced.

    Raises
    ------
    ValueError, RuntimeError
        For an unknown backend, and for one that is not installed; the message names the cure.
    """
    if name == "cupy":
        raise ValueError('the "cupy" backend serves arrays on the GPU: move them there with .to("cuda")')
    require(name)
    return _Choice(Kernels(name, _chosen.replaced))


def use_kernels(**functions: Callable | None) -> _Choice:
    """Put your own function in the seat of a kernel: ``use_kernels(conv2d=my_conv2d)``, for good or for a ``with`` block.

    ``None`` gives the seat back. What your function returns is checked: type, shape and dtype. It may leave out
    parameters of the contract (``minisegnet.kernels.contract``) as long as the network leaves them at their defaults.

    Raises
    ------
    TypeError
        For a name that is no kernel, or something that cannot be called.
    """
    replaced = dict(_chosen.replaced)
    for name, function in functions.items():
        if name not in contract.KERNELS:
            raise TypeError(f"use_kernels: there is no kernel {name!r}; there are {', '.join(contract.KERNELS)}")
        if function is None:
            replaced.pop(name, None)
        else:
            replaced[name] = contract.checked(name, function)
    return _Choice(Kernels(_chosen.backend, replaced))


def compare_sources(name: str) -> Any:
    """Show one kernel's source in every backend, side by side (HTML in a notebook, text elsewhere)."""
    from .kernels.sources import compare_sources as show

    return show(name)


def empty_cache() -> None:
    """Give back the memory that waits to be used again: to the operating system, and to the GPU where CuPy is in use.

    Arrays keep theirs. It is for another program that needs the room; within one, it is found again by itself.
    """
    buffers.release()
    if (cupy := sys.modules.get("cupy")) is not None:
        cupy.get_default_memory_pool().free_all_blocks()
        cupy.get_default_pinned_memory_pool().free_all_blocks()
