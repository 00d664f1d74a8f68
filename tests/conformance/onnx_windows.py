"""Convolution and pooling as ONNX has them, written in ``minisegnet.functional``: their padding takes most of the room.

An attribute that nobody thought of is an error (an unexpected argument), and so is a combination that no word of ours serves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import minisegnet as ms
import minisegnet.functional as F
from minisegnet.shapes import effective_kernel

Tensor = ms.Tensor
Pair = tuple[int, int]


def as_one_row(function: Callable, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    """Treat (N, C, W) as (N, C, 1, W): kernels, strides and dilations of 1, paddings of 0 along the new axis."""
    for name, neutral in {"kernel_shape": 1, "strides": 1, "dilations": 1, "output_padding": 0}.items():
        if name in attributes:
            attributes[name] = [neutral, *attributes[name]]
    if "pads" in attributes:
        left, right = attributes["pads"]
        attributes["pads"] = [0, left, 0, right]
    lifted = [x.reshape(*x.shape[:2], 1, x.shape[2]) if x is not None and x.ndim == 3 else x for x in inputs]
    results = function(*lifted, **attributes)
    single = not isinstance(results, tuple)
    flat = tuple(r.reshape(*r.shape[:2], r.shape[3]) for r in ((results,) if single else results))
    return flat[0] if single else flat


# Padding: ONNX lists all beginnings, then all ends; PyTorch (before, after) from the last axis on.


def pad_axes(x: Tensor, begin: Sequence[int], end: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """Pad (crop where negative) the last axes; ``begin`` and ``end`` are in the order of the axes."""
    numbers = [n for pair in zip(reversed(begin), reversed(end), strict=True) for n in pair]
    return F.pad(x, [int(n) for n in numbers], mode, value) if any(numbers) else x


def _window_pads(
    size: Sequence[int], kernel: Sequence[int], strides: Any, dilations: Any, auto_pad: str, pads: Any
) -> tuple[Pair, Pair]:
    """Return ((top, left), (bottom, right)); SAME means ceil(size / stride) outputs, an odd pixel goes to the named side."""
    if auto_pad in ("NOTSET", "VALID"):
        pads = tuple(pads or (0, 0, 0, 0))
        return pads[:2], pads[2:]
    begin, end = [], []
    for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
        total = max((-(-n // s) - 1) * s + effective_kernel(k, d) - n, 0)
        less, more = total // 2, total - total // 2
        begin.append(less if auto_pad == "SAME_UPPER" else more)
        end.append(more if auto_pad == "SAME_UPPER" else less)
    return (begin[0], begin[1]), (end[0], end[1])


def _pooling_pads_itself(begin: Pair, end: Pair, kernel: Sequence[int], dilations: Sequence[int]) -> bool:
    """Return whether pooling takes this padding: as wide on both sides, and at most half of the window."""
    spans = [effective_kernel(k, d) for k, d in zip(kernel, dilations, strict=True)]
    return begin == end and all(2 * p <= span for p, span in zip(begin, spans, strict=True))


def conv(
    x, weight, bias=None, *, auto_pad="NOTSET", dilations=(1, 1), group=1, kernel_shape=None, pads=None, strides=(1, 1)
):
    """Asymmetric padding is a ``pad`` before it."""
    begin, end = _window_pads(x.shape[2:], weight.shape[2:], strides, dilations, auto_pad, pads)
    if begin == end:
        return F.conv2d(x, weight, bias, strides, begin, dilations, group)
    return F.conv2d(pad_axes(x, begin, end), weight, bias, strides, 0, dilations, group)


def conv_transpose(
    x,
    weight,
    bias=None,
    *,
    auto_pad="NOTSET",
    dilations=(1, 1),
    group=1,
    kernel_shape=None,
    output_padding=(0, 0),
    output_shape=None,
    pads=(0, 0, 0, 0),
    strides=(1, 1),
):
    """``output_shape`` is reached by cropping; one that is larger than all stamps together is ``output_padding``."""
    begin, end, extra = list(pads[:2]), list(pads[2:]), list(output_padding)
    if auto_pad != "NOTSET" and output_shape is None:
        output_shape = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    for axis, wanted in enumerate(output_shape or ()):
        n, k, s, d = x.shape[2 + axis], weight.shape[2 + axis], strides[axis], dilations[axis]
        total = (n - 1) * s + effective_kernel(k, d) + extra[axis] - wanted
        extra[axis] += max(-total, 0)
        less, more = max(total, 0) // 2, max(total, 0) - max(total, 0) // 2
        begin[axis], end[axis] = (less, more) if auto_pad == "SAME_UPPER" else (more, less)
    if begin == end:
        return F.conv_transpose2d(x, weight, bias, strides, begin, extra, group, dilations)
    whole = F.conv_transpose2d(x, weight, bias, strides, 0, extra, group, dilations)
    return pad_axes(whole, [-n for n in begin], [-n for n in end])


def max_pool(
    x, *, kernel_shape, auto_pad="NOTSET", ceil_mode=0, dilations=(1, 1), pads=None, storage_order=0, strides=(1, 1)
):
    """Return values and places; ours count in each (H, W) plane, ONNX's in the whole tensor, columns first if so ordered."""
    dtype, (n, c, h, w) = x.dtype, x.shape
    x = x if dtype.kind == "f" else x.to(np.float32)  # exact for 8-bit integers
    begin, end = _window_pads((h, w), kernel_shape, strides, dilations, auto_pad, pads)
    if _pooling_pads_itself(begin, end, kernel_shape, dilations):
        values, places = F.max_pool2d(x, kernel_shape, strides, begin, dilations, bool(ceil_mode), return_indices=True)
        rows, columns = np.divmod(places.numpy(), w)
    elif ceil_mode:
        raise NotImplementedError("MaxPool: ceil_mode with a padding that max_pool2d does not take")
    else:
        padded = pad_axes(x, begin, end, value=-np.inf)
        values, places = F.max_pool2d(padded, kernel_shape, strides, 0, dilations, return_indices=True)
        rows, columns = np.divmod(places.numpy(), padded.shape[3])
        rows, columns = rows - begin[0], columns - begin[1]
    flat = columns * h + rows if storage_order else rows * w + columns
    return values.to(dtype), Tensor(flat + np.arange(n * c).reshape(n, c, 1, 1) * (h * w))


def max_unpool(x, places, output_shape=None, *, kernel_shape, pads=(0, 0, 0, 0), strides=(1, 1)):
    """ONNX's places always count in the default size; a larger ``output_shape`` is filled up with zeros."""
    n, c = x.shape[:2]
    size = [(m - 1) * s + k for m, s, k in zip(x.shape[2:], strides, kernel_shape, strict=True)]
    if any(pads):
        raise NotImplementedError("MaxUnpool: pads")
    first = np.arange(n * c).reshape(n, c, 1, 1) * (size[0] * size[1])
    output = F.max_unpool2d(x, places.numpy() - first, kernel_shape, strides)
    if output_shape is None:
        return output
    return pad_axes(output, (0, 0), [b - a for a, b in zip(size, output_shape.tolist()[2:], strict=True)])


def average_pool(
    x, *, kernel_shape, auto_pad="NOTSET", ceil_mode=0, count_include_pad=0, dilations=(1, 1), pads=None, strides=(1, 1)
):
    """Dilation and padding wider than half a window, which ``avg_pool2d`` has not: a depthwise convolution by ones."""
    size = x.shape[2:]
    begin, end = _window_pads(size, kernel_shape, strides, dilations, auto_pad, pads)
    if tuple(dilations) == (1, 1) and _pooling_pads_itself(begin, end, kernel_shape, dilations):
        return F.avg_pool2d(x, kernel_shape, strides, begin, bool(ceil_mode), bool(count_include_pad))
    for n, k, s, d, b, e in zip(size, kernel_shape, strides, dilations, begin, end, strict=True):
        if ceil_mode and (n + b + e - effective_kernel(k, d)) % s:
            raise NotImplementedError("AveragePool: a partly filled last window with dilation or wide padding")
    channels = x.shape[1]
    counted = pad_axes(ms.ones(1, 1, *size), begin, end, value=float(count_include_pad))
    total = F.conv2d(
        pad_axes(x, begin, end), ms.ones(channels, 1, *kernel_shape), None, strides, 0, dilations, groups=channels
    )
    return total / F.conv2d(counted, ms.ones(1, 1, *kernel_shape), None, strides, 0, dilations)
