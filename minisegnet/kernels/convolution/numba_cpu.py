"""Convolution in compiled, parallel loops for the CPU: the three kernels, and which algorithm serves which geometry.

The meaning of every parameter is in ``reference.py``. Images come and go as (N, C, H, W) views of channels-last memory.
An algorithm is a function with its kernel's signature; ``ALGORITHMS`` names them, ``choose`` picks one:

- "shifts" (``numba_cpu_shifts.py``): any convolution, as a weighted sum of shifted planes;
- "depthwise" (``numba_cpu_depthwise.py``): every filter reads one channel.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...shapes import Size
from ..threads import one_at_a_time
from . import numba_cpu_depthwise as depthwise
from . import numba_cpu_shifts as shifts

ALGORITHMS: dict[str, dict[str, Callable[..., np.ndarray]]] = {
    "conv2d": {"shifts": shifts.conv2d, "depthwise": depthwise.conv2d},
    "conv2d_grad_input": {"shifts": shifts.conv2d_grad_input, "depthwise": depthwise.conv2d_grad_input},
    "conv2d_grad_weight": {"shifts": shifts.conv2d_grad_weight, "depthwise": depthwise.conv2d_grad_weight},
}


def choose(group_channels: int, groups: int) -> str:
    """Return the name of the algorithm that serves this geometry."""
    return "depthwise" if groups > 1 and group_channels == 1 else "shifts"


@one_at_a_time
def conv2d(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the convolution of (N, C, H, W) images with an (O, C/groups, KH, KW) weight: (N, O, OH, OW)."""
    algorithm = ALGORITHMS["conv2d"][choose(weight.shape[1], groups)]
    return algorithm(input, weight, bias, stride, padding, dilation, groups)


@one_at_a_time
def conv2d_grad_input(
    grad_output: np.ndarray,
    weight: np.ndarray,
    input_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the gradient (N, C, H, W) of the input of ``conv2d``: the transposed convolution of ``grad_output``."""
    algorithm = ALGORITHMS["conv2d_grad_input"][choose(weight.shape[1], groups)]
    return algorithm(grad_output, weight, input_size, stride, padding, dilation, groups)


@one_at_a_time
def conv2d_grad_weight(
    grad_output: np.ndarray,
    input: np.ndarray,
    kernel_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the gradient (O, C/groups, KH, KW) of the weight of ``conv2d``."""
    algorithm = ALGORITHMS["conv2d_grad_weight"][choose(input.shape[1] // groups, groups)]
    return algorithm(grad_output, input, kernel_size, stride, padding, dilation, groups)
