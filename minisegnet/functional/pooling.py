"""Max-pooling that remembers where its maxima were, unpooling that puts values back there, and average pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import array_module, constant
from ..autograd import Context, Function, Tensor, unwrap
from ..backend import kernels_for
from ..deferred import current
from ..shapes import Size, SizeLike, pair, pool_output_size
from .arrangement import mean
from .checks import as_tensor, images, together, unbatch


class MaxPool2d(Function):
    """The largest value of each window, and its place; the gradient goes back to that place alone."""

    @staticmethod
    def forward(ctx: Context, input: Any, options: dict[str, Any]) -> Any:
        ctx.kernels, ctx.size, ctx.options = kernels_for(input), input.shape[2:], options
        values, indices = ctx.kernels.max_pool2d(input, **options)
        ctx.save_for_backward(indices)
        return values, indices

    @staticmethod
    def backward(ctx: Context, grad_output: Any, _: Any) -> Any:
        (indices,) = ctx.saved_tensors
        return ctx.kernels.scatter_to_plane(grad_output, indices, ctx.size, accumulate=True), None


class MaxUnpool2d(Function):
    """Values at the places that pooling remembered, zeros elsewhere; the gradient is read off at those places."""

    @staticmethod
    def forward(ctx: Context, input: Any, indices: Any, size: Size, options: dict[str, Size]) -> Any:
        ctx.kernels, ctx.options = kernels_for(input, indices), options
        ctx.save_for_backward(indices)
        return ctx.kernels.scatter_to_plane(input, indices, size, accumulate=False)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        (indices,) = ctx.saved_tensors
        return ctx.kernels.gather_from_plane(grad_output, indices), None, None, None


def _windows(kernel_size: Any, stride: Any, padding: Any) -> tuple[Size, Size, Size]:
    kernel = pair(kernel_size, "kernel_size", 1)
    return kernel, kernel if stride is None else pair(stride, "stride", 1), pair(padding, "padding")


def _pooled(x: Tensor, single: bool, what: str) -> Tensor:
    """Insist on pixels and channels; only the batch may be empty."""
    if 0 in x.shape[1 if not single else 2 :]:
        raise ValueError(f"{what}: input must have at least one channel and one pixel (only N may be 0), got {x.shape}")
    return x


def max_pool2d(
    input: Any,
    kernel_size: SizeLike,
    stride: SizeLike | None = None,
    padding: SizeLike = 0,
    dilation: SizeLike = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the maximum of each window, as ``torch.nn.functional.max_pool2d``.

    Parameters
    ----------
    input : (N, C, H, W), or (C, H, W) for one image
    kernel_size, stride, padding, dilation : int or (height, width), pixels; ``stride`` defaults to ``kernel_size``
    ceil_mode : count a last window that is only partly filled
    return_indices : also return where the maxima were

    Returns
    -------
    (N, C, OH, OW), or with ``return_indices`` a pair of it and the int64 places: flat in each (H, W) plane, y * W + x;
    on a tie the first in reading order.
    """
    x, single = images(input, "max_pool2d")
    _pooled(x, single, "max_pool2d")
    kernel, s, p = _windows(kernel_size, stride, padding)
    d = pair(dilation, "dilation", 1)
    pool_output_size(x.shape[2:], kernel, s, p, d, ceil_mode)
    options = {"kernel_size": kernel, "stride": s, "padding": p, "dilation": d, "ceil_mode": bool(ceil_mode)}
    values, indices = MaxPool2d.apply(x, options)
    return (unbatch(values, single), unbatch(indices, single)) if return_indices else unbatch(values, single)


def max_unpool2d(
    input: Any,
    indices: Any,
    kernel_size: SizeLike,
    stride: SizeLike | None = None,
    padding: SizeLike = 0,
    output_size: Any = None,
) -> Tensor:
    """Put values back where the maxima were (Zeiler and Fergus, 2014, section 2.1), as ``torch.nn.functional.max_unpool2d``.

    Unpooling restores places, not values: everything that was not a maximum becomes 0.

    Parameters
    ----------
    input : (N, C, OH, OW), or (C, OH, OW)
    indices : integers of the same shape, from ``max_pool2d(..., return_indices=True)``
    kernel_size, stride, padding : those of the pooling
    output_size : the size before pooling, (H, W) or a whole shape; pooling maps several sizes to one, the default is
        (OH - 1) stride + kernel_size - 2 padding

    Raises
    ------
    ValueError
        If shapes differ, output_size is more than one stride away from the default, or an index is outside the plane.
    """
    input, indices = together(input, indices)
    x, single = images(input, "max_unpool2d")
    places = as_tensor(indices)
    if places.dtype.kind not in "iu":
        raise TypeError(f"max_unpool2d: indices must be integers from max_pool2d, got {places.dtype}")
    if places.shape != as_tensor(input).shape:
        raise ValueError(
            f"max_unpool2d: indices must have the shape of input {as_tensor(input).shape}, got {places.shape}"
        )
    if single:
        places = places[None]
    kernel, s, p = _windows(kernel_size, stride, padding)
    size = _unpooled_size(x.shape[2:], kernel, s, p, output_size)
    array = places.data.astype(np.int64, copy=False)
    later = current()
    if later is not None:
        later.wrong.append(((array < 0) | (array >= size[0] * size[1])).sum())
    elif array.size and int(array.view(np.uint64).max()) >= size[0] * size[1]:  # as unsigned: negative ones are large
        wrong = int(array.max()) if int(array.max()) >= size[0] * size[1] else int(array.min())
        raise ValueError(
            f"max_unpool2d: indices holds {wrong}, but a plane of {size[0]} x {size[1]} has the places "
            f"0 to {size[0] * size[1] - 1}; give the output_size that was pooled"
        )
    options = {"kernel_size": kernel, "stride": s, "padding": p}
    return unbatch(MaxUnpool2d.apply(x, array, size, options), single)


def _unpooled_size(size: Size, kernel: Size, stride: Size, padding: Size, output_size: Any) -> Size:
    default = [(n - 1) * s + k - 2 * p for n, s, k, p in zip(size, stride, kernel, padding, strict=True)]
    if output_size is None:
        if min(default) < 1:
            raise ValueError(f"max_unpool2d: the output would have the size {tuple(default)}: padding is too large")
        return default[0], default[1]
    wanted = pair(tuple(output_size)[-2:], "output_size", 1)
    for axis, n, m, s in zip(("height", "width"), wanted, default, stride, strict=True):
        if not m - s < n < m + s:
            raise ValueError(
                f"max_unpool2d: output_size must be less than one stride from (n - 1)*stride + kernel_size - 2*padding = "
                f"{m} along the {axis}, from {m - s + 1} to {m + s - 1}, got {n}"
            )
    return wanted


class AvgPool2d(Function):
    """The sum over the window's offsets of shifted, strided views, divided by how many pixels count."""

    @staticmethod
    def forward(
        ctx: Context, input: Any, windows: list[tuple[slice, slice]], pads: Any, counts: Any, options: dict[str, Any]
    ) -> Any:
        xp = array_module(input)
        ctx.options = options
        ctx.windows, ctx.pads, ctx.counts, ctx.shape = windows, pads, constant(counts, xp, input.dtype), input.shape
        padded = xp.pad(input, ((0, 0), (0, 0), *pads))
        total = padded[:, :, windows[0][0], windows[0][1]].copy(order="K")
        for rows, columns in windows[1:]:
            total += padded[:, :, rows, columns]
        return total / ctx.counts

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        (top, bottom), (left, right) = ctx.pads
        n, c, h, w = ctx.shape
        grad = array_module(grad_output).zeros((n, c, top + h + bottom, left + w + right), grad_output.dtype)
        share = grad_output / ctx.counts
        for rows, columns in ctx.windows:
            grad[:, :, rows, columns] += share
        return grad[:, :, top : top + h, left : left + w], None, None, None, None


def avg_pool2d(
    input: Any,
    kernel_size: SizeLike,
    stride: SizeLike | None = None,
    padding: SizeLike = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean of each window, as ``torch.nn.functional.avg_pool2d``.

    Parameters
    ----------
    input : (N, C, H, W), or (C, H, W) for one image
    kernel_size, stride, padding : int or (height, width), pixels; ``stride`` defaults to ``kernel_size``
    ceil_mode : count a last window that is only partly filled
    count_include_pad : whether the zeros of the padding count in the mean
    divisor_override : divide by this number instead of the number of pixels
    """
    x, single = images(input, "avg_pool2d")
    _pooled(x, single, "avg_pool2d")
    kernel, s, p = _windows(kernel_size, stride, padding)
    size = pool_output_size(x.shape[2:], kernel, s, p, (1, 1), ceil_mode, "avg_pool2d")
    if divisor_override == 0:
        raise ValueError("avg_pool2d: divisor_override must not be 0")
    pads, offsets, counts = [], [], []
    for n, m, k, st, q in zip(x.shape[2:], size, kernel, s, p, strict=True):
        pads.append((q, max(q, (m - 1) * st + k - n - q)))
        offsets.append([slice(i, i + (m - 1) * st + 1, st) for i in range(k)])
        start = np.arange(m) * st - q
        low, high = (
            (start, np.minimum(start + k, n + q)) if count_include_pad else (start.clip(0), (start + k).clip(0, n))
        )
        counts.append(high - low)
    divisor = np.outer(*counts) if divisor_override is None else np.full(size, divisor_override)
    windows = [(rows, columns) for rows in offsets[0] for columns in offsets[1]]
    options: dict[str, Any] = {"kernel_size": kernel, "stride": s, "padding": p, "ceil_mode": bool(ceil_mode)}
    options |= {"count_include_pad": bool(count_include_pad), "divisor_override": divisor_override}
    return unbatch(AvgPool2d.apply(x, windows, tuple(pads), divisor, options), single)


def adaptive_avg_pool2d(input: Any, output_size: SizeLike) -> Tensor:
    """Return means over windows chosen so that the output has ``output_size``, as PyTorch.

    Output row i is the mean of the input rows floor(i H / OH) to ceil((i + 1) H / OH) - 1: two averaging matrices.
    """
    x, single = images(input, "adaptive_avg_pool2d")
    _pooled(x, single, "adaptive_avg_pool2d")
    size = pair(output_size, "output_size", 1)
    if size == (1, 1):
        return unbatch(mean(x, (2, 3), keepdim=True), single)
    rows, columns = (_averages(n, m).astype(x.dtype) for n, m in zip(x.shape[2:], size, strict=True))
    xp = array_module(unwrap(x))
    return unbatch(Tensor(constant(rows, xp)) @ x @ Tensor(constant(columns.T, xp)), single)


def _averages(n: int, m: int) -> np.ndarray:
    """Return the (m, n) matrix whose rows average the window of each output."""
    i, j = np.arange(m)[:, None], np.arange(n)
    inside = (j >= i * n // m) & (j < -(-(i + 1) * n // m))
    return inside / inside.sum(axis=1, keepdims=True)
