"""Bilinear resizing and its adjoint on a GPU; ``reference.py`` holds the contract, ``cuda_gpu.cu`` the loops."""

from __future__ import annotations

import functools
from typing import Any

import cupy

from ...arrays import constant
from ...shapes import Size
from ..cuda_gpu_launch import launch, ready
from .taps import Scale, weighted_taps


def resize_bilinear(input: Any, size: Size, align_corners: bool = False, scale: Scale = (None, None)) -> Any:
    """Resize images by linear interpolation; see ``reference.resize_bilinear``."""
    n, c, h, w = input.shape
    output = cupy.empty((n, c, *size), input.dtype)
    rows = _taps(h, size[0], align_corners, scale[0], input.dtype)
    columns = _taps(w, size[1], align_corners, scale[1], input.dtype)
    launch(
        *(__file__, "resize_bilinear", input, output.size, ready(input, input.dtype), *rows[:4], *columns[:4]),
        *(output, h, w, *size),
    )
    return output


def resize_bilinear_grad(
    grad_output: Any, input_size: Size, align_corners: bool = False, scale: Scale = (None, None)
) -> Any:
    """Return the gradient of ``resize_bilinear``; see ``reference.resize_bilinear_grad``."""
    n, c, oh, ow = grad_output.shape
    grad_input = cupy.empty((n, c, *input_size), grad_output.dtype)
    top, _, *rows = _taps(input_size[0], oh, align_corners, scale[0], grad_output.dtype)
    left, _, *columns = _taps(input_size[1], ow, align_corners, scale[1], grad_output.dtype)
    launch(
        *(__file__, "resize_bilinear_grad", grad_output, grad_input.size, ready(grad_output, grad_output.dtype)),
        *(top, *rows, left, *columns, grad_input, *input_size, oh, ow),
    )
    return grad_input


def _taps(*place: Any) -> tuple[Any, ...]:
    """Return ``taps.weighted_taps`` on the GPU."""
    return tuple(constant(a, cupy) for a in _host_taps(*place))


_host_taps = functools.lru_cache(maxsize=256)(weighted_taps)  # a network asks for the same few at every step
