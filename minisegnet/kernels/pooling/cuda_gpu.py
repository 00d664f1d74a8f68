"""Max-pooling and its two companions on a GPU; ``reference.py`` holds the contract, ``cuda_gpu.cu`` the loops."""

from __future__ import annotations

import math
from typing import Any

import cupy

from ...shapes import Size, pool_output_size
from ..cuda_gpu_launch import launch, ready


def max_pool2d(
    input: Any,
    kernel_size: Size,
    stride: Size,
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    ceil_mode: bool = False,
) -> tuple[Any, Any]:
    """Return the maximum of every window, and where it was; see ``reference.max_pool2d``."""
    size = pool_output_size(input.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    values = cupy.empty((*input.shape[:2], *size), input.dtype)
    indices = cupy.empty(values.shape, "int64")
    launch(
        *(__file__, "max_pool2d", input, values.size, ready(input, input.dtype), values, indices),
        *(*input.shape[2:], *size, *kernel_size, *stride, *padding, *dilation, input.dtype.type(-math.inf)),
    )
    return values, indices


def scatter_to_plane(values: Any, indices: Any, size: Size, accumulate: bool = True) -> Any:
    """Return planes of zeros with the values put at their indices; see ``reference.scatter_to_plane``.

    Windows of 2x2 that leave no pixel out are written all at once, a row of them by a thread; a plane where an index points
    out of its window is written anew. There, and after other windows, a thread owns a row of the plane, looks which rows of
    values have something for it, and adds that up in their order: nothing is added by two threads.
    """
    n, c, oh, ow = values.shape
    values, indices = ready(values, values.dtype), ready(indices, "int64")
    planes = cupy.empty((n, c, *size), values.dtype)
    windows = oh if (2 * oh, 2 * ow) == tuple(size) else 0
    strays = cupy.empty((n, c, windows), "int32")
    if windows:
        launch(__file__, "scatter_in_windows", values, strays.size, values, indices, planes, strays, oh, ow)
    bounds = cupy.empty((n, c, oh, 2), "int64")
    launch(
        *(__file__, "row_bounds", values, n * c * oh, indices, strays, bounds),
        *(windows, oh, ow, size[0] * size[1]),
    )
    launch(
        *(__file__, "scatter_to_plane", values, n * c * size[0], values, indices, strays, bounds, planes),
        *(windows, *size, oh, ow, accumulate),
    )
    return planes


def gather_from_plane(plane: Any, indices: Any) -> Any:
    """Return the values that lie at the indices; see ``reference.gather_from_plane``."""
    (h, w), (oh, ow) = plane.shape[2:], indices.shape[2:]
    values = cupy.empty(indices.shape, plane.dtype)
    launch(
        *(__file__, "gather_from_plane", plane, values.size, ready(plane, plane.dtype), ready(indices, "int64")),
        *(values, h * w, oh * ow),
    )
    return values
