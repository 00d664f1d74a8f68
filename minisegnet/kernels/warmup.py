"""Compile ahead of time what a network needs, so that nobody waits in the middle of a lesson."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .contract import KERNELS


def warmup(progress: bool = True, dtypes: Sequence[str] = ("float32",)) -> dict[str, float]:
    """Run every Numba kernel of a U-Net once on a tiny input; Numba keeps the machine code in its cache on disk.

    A kernel that chooses among algorithms is run once for each. The first time, a second process shares the work.

    Parameters
    ----------
    progress : bool
        Show a progress bar that names the kernel being compiled.
    dtypes : sequence of str
        The types of numbers to compile for: "float32" is what networks use, "float64" what gradient checks use.

    Returns
    -------
    dict
        Seconds per kernel; close to zero where the cache on disk had it.
    """
    from tqdm.auto import tqdm

    from ..backend import find_kernel
    from .threads import quietly

    seconds = dict.fromkeys([*KERNELS, *STEPS], 0.0)
    work = [(name, dtype, None) for dtype in dtypes for name in seconds]
    paths = [(PATHS[label][0], "float32", label) for label in PATHS if "float32" in dtypes]
    with quietly(), tqdm(total=len(work) + len(paths), disable=not progress, unit="kernel") as bar:
        helper = _start_helper() if paths and not _compiled_before() else None
        results: dict[str, Any] = {}
        for name, dtype, label in work + sorted(paths, key=lambda path: path[2] in HELPED):
            bar.set_description(f"compiling {name} for {dtype}" + (f", {label}" if label else ""))
            start = time.perf_counter()
            if label in HELPED and helper is not None:
                helper.wait()  # what it compiled is now loaded from the disk; what it could not, is compiled here
            if label:
                _run_path(label)
            elif name in STEPS:
                STEPS[name](np.dtype(dtype).type)
            else:
                results[name] = find_kernel(name, "numba")(*EXAMPLES[name](np.dtype(dtype).type, results))
            seconds[name] += time.perf_counter() - start
            bar.update()
        bar.set_description("kernels compiled")
    return seconds


def _start_helper() -> subprocess.Popen | None:
    """Start a process that compiles the longest algorithms while this one compiles the rest; None where it cannot."""
    code = f"from {__name__} import HELPED, _run_path\nfor label in HELPED: _run_path(label)"
    quiet = {**os.environ, "MINISEGNET_QUIET": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    try:
        return subprocess.Popen(
            [sys.executable, "-c", code], env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError:
        return None


def _compiled_before() -> bool:
    """Return whether the disk holds the algorithms that take longest; if they are outdated, this process compiles them."""
    from .convolution import numba_cpu_winograd as winograd

    cached = Path(winograd._sum_deep.stats.cache_path or ".")
    return any(cached.glob(f"{winograd.__name__.rpartition('.')[2]}._sum_deep*.nbi"))


def _run_path(label: str) -> None:
    from ..backend import find_kernel

    kernel, arguments = PATHS[label]
    find_kernel(kernel, "numba")(*arguments())


def _image(dtype: Any, channels: int = 4) -> np.ndarray:
    return np.ones((1, channels, 6, 6), dtype=dtype)


def _vector(dtype: Any) -> np.ndarray:
    return np.ones(4, dtype=dtype)


def _scores(dtype: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits (N, K, P) in channels-last memory as a network's are, the target and the pixel weights."""
    logits = np.ones((1, 9, 4), dtype=dtype).transpose(0, 2, 1)
    return logits, np.zeros((1, 9), dtype=np.int64), np.ones((1, 9), dtype=dtype)


# For each kernel, arguments as a network would give them; `earlier` holds what the kernels before it returned.
Example = Callable[[Any, dict[str, Any]], tuple[Any, ...]]
EXAMPLES: dict[str, Example] = {
    "conv2d": lambda t, earlier: (_image(t), np.ones((4, 4, 3, 3), t), _vector(t), (1, 1), (1, 1)),
    "conv2d_relu": lambda t, earlier: (_image(t), np.ones((4, 4, 3, 3), t), _vector(t), (1, 1), (1, 1)),
    "conv2d_grad_input": lambda t, earlier: (_image(t), np.ones((4, 4, 3, 3), t), (6, 6), (1, 1), (1, 1)),
    "conv2d_grad_weight": lambda t, earlier: (_image(t), _image(t), (3, 3), (1, 1), (1, 1)),
    "max_pool2d": lambda t, earlier: (_image(t), (2, 2), (2, 2)),
    "scatter_to_plane": lambda t, earlier: (*earlier["max_pool2d"], (6, 6)),
    "gather_from_plane": lambda t, earlier: (_image(t), earlier["max_pool2d"][1]),
    "resize_bilinear": lambda t, earlier: (_image(t), (12, 12)),
    "resize_bilinear_grad": lambda t, earlier: (_image(t), (3, 3)),
    "batch_norm": lambda t, earlier: (_image(t), _vector(t), _vector(t)),
    "batch_norm_grad": lambda t, earlier: (_image(t), _image(t), _vector(t), *earlier["batch_norm"][1:]),
    "channel_affine": lambda t, earlier: (_image(t), *earlier["batch_norm"][1:]),
    "batch_norm_relu": lambda t, earlier: (_image(t), _vector(t), _vector(t)),
    "batch_norm_relu_grad": lambda t, earlier: (
        *(_image(t), _image(t), _vector(t), _vector(t)),
        *earlier["batch_norm_relu"][1:],
    ),
    "channel_affine_relu": lambda t, earlier: (_image(t), *earlier["batch_norm_relu"][1:]),
    "softmax_cross_entropy": lambda t, earlier: _scores(t),
    "softmax_cross_entropy_grad": lambda t, earlier: (
        earlier["softmax_cross_entropy"][0],
        *_scores(t),
        earlier["softmax_cross_entropy"][1],
    ),
}


def _layer(kernel: str, algorithm: str, channels: int, size: int) -> tuple[str, Callable[[], tuple[Any, ...]]]:
    """Return a kernel's name, and a function that makes its arguments for a 3x3 convolution layer of this size."""

    def arguments() -> tuple[Any, ...]:
        image = np.ones((1, size, size, channels), np.float32).transpose(0, 3, 1, 2)
        weight, options = np.ones((channels, channels, 3, 3), np.float32), ((1, 1), (1, 1), (1, 1), 1, algorithm)
        if kernel == "conv2d":
            return image, weight, np.ones(channels, np.float32), *options
        return image, image, (3, 3), *options

    return kernel, arguments


# The loops that a convolution chooses by its size, each by a size that it serves. An image's gradient takes the same loops.
PATHS: dict[str, tuple[str, Callable[[], tuple[Any, ...]]]] = {
    "direct": _layer("conv2d", "direct", 16, 6),
    "direct, the weight's gradient": _layer("conv2d_grad_weight", "direct", 16, 6),
    "Winograd, the weight's gradient of few channels": _layer("conv2d_grad_weight", "winograd", 16, 40),
    "Winograd, the weight's gradient": _layer("conv2d_grad_weight", "winograd", 48, 104),
    "Winograd, a deep layer": _layer("conv2d", "winograd", 96, 8),
    "Winograd": _layer("conv2d", "winograd", 16, 8),
    "Winograd, the weight's gradient of a deep layer": _layer("conv2d_grad_weight", "winograd", 48, 8),
}
HELPED = tuple(label for label in PATHS if label != "Winograd, the weight's gradient")  # about half of the work


def _adam_step(dtype: Any) -> None:
    from .optimizer.numba_cpu import SMALL, step
    from .optimizer.steps import adam_constants

    for size in (1, SMALL + 1):
        constants = adam_constants(np.dtype(dtype), 1, 1e-3, (0.9, 0.999), 1e-8, 0.0, False)
        step("adam", tuple(np.zeros((4, size), dtype)), constants)


def _channels_last(dtype: Any) -> None:
    from .numba_cpu_layout import SMALL, channels_last

    channels_last(np.zeros((1, 8, 1, SMALL), dtype))


# What has no seat in the contract: steps of optimizers, as they change arrays in place (a small parameter takes other loops),
# and the change of layout that every kernel does.
STEPS: dict[str, Callable[[Any], None]] = {"adam_step": _adam_step, "channels_last": _channels_last}
