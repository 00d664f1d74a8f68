"""Convolution on a GPU as implicit matrix products, float32; ``cuda_gpu_gemm.cu`` has the kernels and the idea.

On tensor cores where ``precision.float32_matmul_precision`` is "high" (factors rounded to TF32), else in strict float32.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import cupy
import numpy as np

from ...shapes import Size
from .. import precision
from ..cuda_gpu_launch import THREADS, launch_of, ready

TILE = 64  # rows and columns of a block's tile
SLICES, SLICE = 264, 256  # so many blocks fill a large card twice; at least so many pixels has a slice of the sum
FEW = 8  # below so many steps of the depth, or rows, a tile is mostly empty
f32 = np.float32


def pays(dtype: Any, rows: int, depth: int, columns: int) -> bool:
    """Return whether tiles would be filled well enough: not for the few channels of depthwise convolutions or first layers."""
    return dtype == f32 and min(rows, depth) >= FEW and columns >= TILE


@functools.cache
def _module(tensor_cores: bool) -> Any:
    """Return the kernels, compiled for tensor cores or without."""
    here = Path(__file__)
    parts = (here.parents[1] / "cuda_gpu_instructions.cu", here.with_suffix(".cu"))
    code = "".join(part.read_text(encoding="utf-8") for part in parts)
    return cupy.RawModule(
        code=code, options=("-std=c++17", f"-DTHREADS={THREADS}", f"-DTENSOR_CORES={int(tensor_cores)}")
    )


def _launch(name: str, blocks: int, count: int, *arguments: Any) -> None:
    launch_of(_module(precision.get_float32_matmul_precision() == "high"), name, blocks, count, *arguments)


def _tiles(*lengths: int) -> int:
    return math.prod(-(-length // TILE) for length in lengths)


def conv2d_gemm(
    input: Any,
    weight: Any,
    start: Any,
    size: Size,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
    floor: float,
) -> Any:
    """Return the convolution (N, O, OH, OW) plus ``start``, not below ``floor``."""
    output = cupy.empty((len(input), len(weight), *size), f32)
    pixels = len(input) * math.prod(size)
    _launch(
        *("conv2d_gemm", _tiles(len(weight) // groups, pixels) * groups, pixels),
        *(*(ready(a, f32) for a in (input, weight, start)), output),
        *(*input.shape[1:], len(weight), *size, *weight.shape[2:], *stride, *padding, *dilation, groups, f32(floor)),
    )
    return output


def conv2d_grad_input_gemm(
    grad_output: Any, weight: Any, input_size: Size, stride: Size, padding: Size, dilation: Size, groups: int
) -> Any:
    """Return the gradient (N, C, H, W) of the input."""
    grad_input = cupy.empty((len(grad_output), weight.shape[1] * groups, *input_size), f32)
    pixels = len(grad_output) * math.prod(input_size)
    _launch(
        *("conv2d_grad_input_gemm", _tiles(weight.shape[1], pixels) * groups, pixels),
        *(ready(grad_output, f32), ready(weight, f32), grad_input, *grad_input.shape[1:], *grad_output.shape[1:]),
        *(*weight.shape[2:], *stride, *padding, *dilation, groups),
    )
    return grad_input


def conv2d_grad_weight_gemm(
    grad_output: Any, input: Any, kernel_size: Size, stride: Size, padding: Size, dilation: Size, groups: int
) -> Any:
    """Return the gradient (O, C / groups, KH, KW) of the weight: sums over slices of the pixels, added up in order."""
    outputs, channels = grad_output.shape[1], input.shape[1] // groups
    grad_weight = cupy.empty((outputs, channels, *kernel_size), f32)
    pixels = len(grad_output) * math.prod(grad_output.shape[2:])
    tiles = _tiles(outputs // groups, channels * math.prod(kernel_size)) * groups
    slice = max(
        SLICE, -(-pixels // max(SLICES // max(tiles, 1), 1))
    )  # by the geometry alone: the same bits on any card
    slices = -(-pixels // slice)
    sums = cupy.empty((slices, *grad_weight.shape), f32)
    _launch(
        *("conv2d_grad_weight_gemm", tiles * slices, pixels, ready(grad_output, f32), ready(input, f32), sums),
        *(*input.shape[1:], *grad_output.shape[1:], *kernel_size, *stride, *padding, *dilation, groups, slice),
    )
    _launch("add_slices", -(-grad_weight.size // THREADS), grad_weight.size, sums, grad_weight, slices)
    return grad_weight
