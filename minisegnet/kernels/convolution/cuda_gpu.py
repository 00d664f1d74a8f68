"""Convolution on a GPU; ``reference.py`` holds the contract, ``cuda_gpu.cu`` plain loops, ``cuda_gpu_gemm.cu`` the fast ones."""

from __future__ import annotations

import math
from typing import Any

import cupy

from ...shapes import Size, conv_output_size
from ..contract import check_algorithm
from ..cuda_gpu_launch import launch, ready
from .cuda_gpu_gemm import conv2d_gemm, conv2d_grad_input_gemm, conv2d_grad_weight_gemm, f32, pays

ALGORITHMS = (
    "auto",
    "direct",
    "shifts",
)  # direct: matrix products (cuda_gpu_gemm.py); shifts: plain loops, a thread a number


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
    algorithm: str = "auto",
) -> Any:
    """Return the convolution (N, O, OH, OW); see ``reference.conv2d``."""
    return _conv2d("conv2d", -math.inf, input, weight, bias, stride, padding, dilation, groups, algorithm)


def conv2d_relu(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
    algorithm: str = "auto",
) -> Any:
    """Return max(conv2d(...), 0) in one pass; see ``reference.conv2d_relu``."""
    return _conv2d("conv2d_relu", 0.0, input, weight, bias, stride, padding, dilation, groups, algorithm)


def _conv2d(
    name: str,
    floor: float,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
    algorithm: str,
) -> Any:
    size = conv_output_size(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    start = cupy.zeros(len(weight), input.dtype) if bias is None else bias
    rows, depth = len(weight) // groups, math.prod(weight.shape[1:])
    if _as_product(algorithm, name, input.dtype, rows, depth, len(input) * math.prod(size)):
        return conv2d_gemm(input, weight, start, size, stride, padding, dilation, groups, floor)
    output = cupy.empty((len(input), len(weight), *size), input.dtype)
    launch(
        *(__file__, "conv2d", input, output.size, *(ready(a, input.dtype) for a in (input, weight, start)), output),
        *(*input.shape[1:], len(weight), *size, *weight.shape[2:], *stride, *padding, *dilation, groups),
        input.dtype.type(floor),
    )
    return output


def conv2d_grad_input(
    grad_output: Any,
    weight: Any,
    input_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
    algorithm: str = "auto",
) -> Any:
    """Return the gradient (N, C, H, W) of the input; see ``reference.conv2d_grad_input``."""
    dtype, pixels = grad_output.dtype, len(grad_output) * math.prod(input_size)
    depth = len(weight) // groups * math.prod(weight.shape[2:])
    if _as_product(algorithm, "conv2d_grad_input", dtype, weight.shape[1], depth, pixels):
        return conv2d_grad_input_gemm(grad_output, weight, input_size, stride, padding, dilation, groups)
    grad_input = cupy.empty((len(grad_output), weight.shape[1] * groups, *input_size), dtype)
    launch(
        *(__file__, "conv2d_grad_input", grad_output, grad_input.size, ready(grad_output, dtype), ready(weight, dtype)),
        *(grad_input, *grad_input.shape[1:], *grad_output.shape[1:], *weight.shape[2:], *stride, *padding, *dilation),
        groups,
    )
    return grad_input


def conv2d_grad_weight(
    grad_output: Any,
    input: Any,
    kernel_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
    algorithm: str = "auto",
) -> Any:
    """Return the gradient (O, C/groups, KH, KW) of the weight; see ``reference.conv2d_grad_weight``."""
    dtype, pixels = grad_output.dtype, len(grad_output) * math.prod(grad_output.shape[2:])
    columns = input.shape[1] // groups * math.prod(kernel_size)
    if _as_product(algorithm, "conv2d_grad_weight", dtype, grad_output.shape[1] // groups, pixels, columns):
        return conv2d_grad_weight_gemm(grad_output, input, kernel_size, stride, padding, dilation, groups)
    grad_weight = cupy.empty((grad_output.shape[1], input.shape[1] // groups, *kernel_size), dtype)
    launch(
        *(
            __file__,
            "conv2d_grad_weight",
            grad_output,
            grad_weight.size,
            ready(grad_output, dtype),
            ready(input, dtype),
        ),
        *(grad_weight, *input.shape, *grad_output.shape[1:], *kernel_size, *stride, *padding, *dilation, groups),
    )
    return grad_weight


def _as_product(algorithm: str, name: str, dtype: Any, rows: int, depth: int, columns: int) -> bool:
    """Return whether matrix products serve a convolution: asked for by name, or where they pay."""
    if check_algorithm(algorithm) not in ALGORITHMS:
        raise ValueError(
            f'{name}: on a GPU, algorithm must be "auto", "direct" or "shifts", got {algorithm!r}, which there is for the '
            "CPU only"
        )
    if algorithm == "direct" and dtype != f32:
        raise ValueError(f'{name}: algorithm "direct" serves float32, got {dtype}; "shifts" sums float64 as directly')
    return algorithm == "direct" or (algorithm == "auto" and pays(dtype, rows, depth, columns))
