"""minisegnet: semantic segmentation from a NumPy array to a U-Net that finds nuclei.

    import minisegnet as ms
    import minisegnet.functional as F
    from minisegnet import nn, models, data, losses, metrics, optim

Names and signatures follow PyTorch. Importing the package costs little more than NumPy: Numba, CuPy and Matplotlib
are loaded when they are first used.
"""

from __future__ import annotations

__version__ = "0.1.0"

from . import functional, nn
from .arrays import cuda_is_available, get_default_device, set_default_device, to_device
from .autograd import Tensor, detect_anomaly, enable_grad, is_grad_enabled, no_grad
from .backend import compare_sources, current_backend, empty_cache, use_backend, use_kernels
from .functional import cat, stack
from .functional.creation import from_numpy, ones, randn, tensor, zeros
from .kernels.precision import get_float32_matmul_precision, set_float32_matmul_precision
from .random import manual_seed

__all__ = [
    "Tensor",
    "cat",
    "compare_sources",
    "cuda_is_available",
    "current_backend",
    "data",
    "detect_anomaly",
    "empty_cache",
    "enable_grad",
    "explorers",
    "figures",
    "from_numpy",
    "functional",
    "get_default_device",
    "get_float32_matmul_precision",
    "interop",
    "is_grad_enabled",
    "losses",
    "manual_seed",
    "metrics",
    "models",
    "nn",
    "no_grad",
    "ones",
    "optim",
    "randn",
    "set_default_device",
    "set_float32_matmul_precision",
    "stack",
    "tensor",
    "to_device",
    "training",
    "use_backend",
    "use_kernels",
    "zeros",
]

_ON_FIRST_USE = {
    "course",
    "data",
    "explorers",
    "figures",
    "interop",
    "losses",
    "metrics",
    "models",
    "optim",
    "training",
}


def __getattr__(name: str) -> object:
    """Import a submodule when it is first asked for."""
    if name in _ON_FIRST_USE:
        import importlib

        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the submodules too."""
    return sorted({*globals(), *_ON_FIRST_USE})
