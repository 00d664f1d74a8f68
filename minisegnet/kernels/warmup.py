"""Compile ahead of time what a network needs, so that nobody waits in the middle of a lesson."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .contract import KERNELS


def warmup(progress: bool = True, dtypes: Sequence[str] = ("float32",)) -> dict[str, float]:
    """Run every Numba kernel of a U-Net once on a tiny input; Numba keeps the machine code in its cache on disk.

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
    work = [(name, dtype) for dtype in dtypes for name in seconds]
    results: dict[str, Any] = {}
    with quietly(), tqdm(total=len(work), disable=not progress, unit="kernel") as bar:
        for name, dtype in work:
            bar.set_description(f"compiling {name} for {dtype}")
            start = time.perf_counter()
            if name in STEPS:
                STEPS[name](np.dtype(dtype).type)
            else:
                results[name] = find_kernel(name, "numba")(*EXAMPLES[name](np.dtype(dtype).type, results))
            seconds[name] += time.perf_counter() - start
            bar.update()
        bar.set_description("kernels compiled")
    return seconds


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


def _adam_step(dtype: Any) -> None:
    from .optimizer.numba_cpu import SMALL, adam_step

    for size in (1, SMALL + 1):
        adam_step(*np.zeros((4, size), dtype), 1, 1e-3, (0.9, 0.999), 1e-8, 0.0, False)


# Steps of optimizers have no seat in the contract, as they change arrays in place; a small parameter takes other loops.
STEPS: dict[str, Callable[[Any], None]] = {"adam_step": _adam_step}
