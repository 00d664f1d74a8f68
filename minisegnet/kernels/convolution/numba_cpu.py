"""Convolution in compiled, parallel loops for the CPU: the three kernels, and which algorithm serves which geometry.

The meaning of every parameter is in ``reference.py``. Images come and go as (N, C, H, W) views of channels-last memory.
An algorithm is a function with its kernel's signature (and, forward, a floor: 0 makes a ReLU); ``ALGORITHMS`` names them,
``choose`` picks one, a caller may ask for one by name:

- "winograd" (``numba_cpu_winograd.py``): 3x3, stride 1, float32, eight to sixteen channels or more: a quarter of the products;
  with a stride (``numba_cpu_winograd_strided.py``) kernels up to 2 stride + 1: two fifths to a half of them;
- "direct" (``numba_cpu_direct.py``): any convolution in float32, as matrix products that never build their matrix;
- "depthwise" (``numba_cpu_depthwise.py``): every filter reads one channel;
- "shifts" (``numba_cpu_shifts.py``): any convolution, as a weighted sum of shifted planes: float64, and few channels.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np

from ...shapes import Size, conv_output_size
from ..contract import check_algorithm
from ..threads import one_at_a_time
from . import numba_cpu_depthwise as depthwise
from . import numba_cpu_direct as direct
from . import numba_cpu_shifts as shifts
from . import numba_cpu_winograd as winograd
from . import numba_cpu_winograd_phases as phases

MODULES: dict[str, ModuleType] = {"shifts": shifts, "direct": direct, "winograd": winograd, "depthwise": depthwise}
ALGORITHMS: dict[str, dict[str, Callable[..., np.ndarray]]] = {
    direction: {name: getattr(module, direction) for name, module in MODULES.items()}
    for direction in ("conv2d", "conv2d_grad_input", "conv2d_grad_weight")
}
ALGORITHMS["conv2d_relu"] = ALGORITHMS["conv2d"]
NEEDS = {
    "winograd": "a 3x3 kernel and stride 1 (or a stride, dilation 1 and at most 2 stride + 1 taps), groups 1 and float32",
    "depthwise": "filters that read one channel each (groups > 1, as many as input channels)",
    "direct": 'float32; "shifts" sums float64 as directly',
}
FEW = 7  # channels below which the register block of eight columns runs mostly empty
SOME, MANY = 8, 16  # where both have some channels and one has many, what Winograd saves outweighs its transforms
STRIDED_CHANNELS = 32  # what a stride saves is less: both must have so many
TILES = 8  # tiles below which Winograd's sums over tiles do not pay for their way back


def fits(name: str, dtype: np.dtype, weight: tuple[int, ...], stride: Size, dilation: Size, groups: int) -> bool:
    """Return whether an algorithm can serve a geometry at all; ``weight`` is the shape (O, C / groups, KH, KW)."""
    if name == "depthwise":
        return groups > 1 and weight[1] == 1
    if name == "winograd":
        ordinary = weight[2:] == (3, 3) and stride == (1, 1)
        return dtype == np.float32 and groups == 1 and (ordinary or phases.fits(weight[2:], stride, dilation))
    return name == "shifts" or dtype == np.float32


def choose(
    direction: str,
    dtype: np.dtype,
    images: int,
    size: Size,
    weight: tuple[int, ...],
    stride: Size = (1, 1),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> str:
    """Return the name of the algorithm that serves a geometry, by what was measured (``docs/performance.md``).

    Parameters
    ----------
    direction : the kernel's name
    images, size : how many images there are, and the (height, width) of what comes out, or of grad_output
    weight : the shape (O, C / groups, KH, KW)
    """
    if fits("depthwise", dtype, weight, stride, dilation, groups):
        return "depthwise"
    if dtype != np.float32:
        return "shifts"
    channels, outputs = weight[1], weight[0] // groups
    read, written = (outputs, channels) if direction == "conv2d_grad_input" else (channels, outputs)
    if stride != (1, 1):
        served = min(read, written) >= STRIDED_CHANNELS and fits("winograd", dtype, weight, stride, dilation, groups)
        if served and phases.pays(direction, images, size, (weight[2], weight[3]), stride):
            return "winograd"
    elif fits("winograd", dtype, weight, stride, dilation, groups):
        tiles = images * winograd.tiles(size[0], dilation[0]) * winograd.tiles(size[1], dilation[1])
        full = images * size[0] * size[1] > 0.5 * 16 * tiles  # of each tile's sixteen pixels, more than half are wanted
        both = min(read, written) >= SOME and max(read, written) >= MANY
        if full and (both and tiles >= TILES if direction == "conv2d_grad_weight" else both or read >= MANY):
            return "winograd"
    return "direct" if written >= FEW or weight[2:] == (1, 1) else "shifts"


def _serving(
    algorithm: str,
    direction: str,
    images: np.ndarray,
    size: Size,
    weight: tuple[int, ...],
    stride: Size,
    dilation: Size,
    groups: int,
) -> Callable[..., np.ndarray]:
    """Return the function that serves a geometry (as in ``choose``): the one that was asked for, if it can."""
    if algorithm == "auto":
        algorithm = choose(direction, images.dtype, len(images), size, weight, stride, dilation, groups)
    elif not fits(check_algorithm(algorithm), images.dtype, weight, stride, dilation, groups):
        raise ValueError(
            f'algorithm="{algorithm}" needs {NEEDS[algorithm]}; this is {images.dtype} with a {weight[2]}x{weight[3]} kernel '
            f"on {weight[1]} of {weight[1] * groups} channels, stride {stride}, dilation {dilation}, groups={groups}"
        )
    return ALGORITHMS[direction][algorithm]


@one_at_a_time
def conv2d(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
    algorithm: str = "auto",
) -> np.ndarray:
    """Return the convolution of (N, C, H, W) images with an (O, C/groups, KH, KW) weight: (N, O, OH, OW)."""
    size = conv_output_size(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    serve = _serving(algorithm, "conv2d", input, size, weight.shape, stride, dilation, groups)
    return serve(input, weight, bias, stride, padding, dilation, groups)


@one_at_a_time
def conv2d_relu(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
    algorithm: str = "auto",
) -> np.ndarray:
    """Return max(conv2d(...), 0): the ReLU costs no pass of its own."""
    size = conv_output_size(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    serve = _serving(algorithm, "conv2d_relu", input, size, weight.shape, stride, dilation, groups)
    return serve(input, weight, bias, stride, padding, dilation, groups, 0.0)


@one_at_a_time
def conv2d_grad_input(
    grad_output: np.ndarray,
    weight: np.ndarray,
    input_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
    algorithm: str = "auto",
) -> np.ndarray:
    """Return the gradient (N, C, H, W) of the input of ``conv2d``: the transposed convolution of ``grad_output``."""
    serve = _serving(algorithm, "conv2d_grad_input", grad_output, input_size, weight.shape, stride, dilation, groups)
    return serve(grad_output, weight, input_size, stride, padding, dilation, groups)


@one_at_a_time
def conv2d_grad_weight(
    grad_output: np.ndarray,
    input: np.ndarray,
    kernel_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
    algorithm: str = "auto",
) -> np.ndarray:
    """Return the gradient (O, C/groups, KH, KW) of the weight of ``conv2d``."""
    weight, size = (grad_output.shape[1], input.shape[1] // groups, *kernel_size), grad_output.shape[2:]
    serve = _serving(algorithm, "conv2d_grad_weight", input, size, weight, stride, dilation, groups)
    return serve(grad_output, input, kernel_size, stride, padding, dilation, groups)
