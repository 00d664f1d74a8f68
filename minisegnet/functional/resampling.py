"""``interpolate``: images made larger or smaller by rule, by the nearest pixel or by straight lines between pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arrays import array_module, constant
from ..autograd import Context, Function, Tensor
from ..backend import kernels_for
from ..shapes import Size, SizeLike, pair
from .checks import images, unbatch

Scale = tuple[float | None, float | None]


class ResizeBilinear(Function):
    """Each output pixel is a weighted mean of four input pixels; the gradient is spread by the same weights."""

    @staticmethod
    def forward(ctx: Context, input: Any, size: Size, align_corners: bool, scale: Scale) -> Any:
        ctx.kernels, ctx.size, ctx.rule = kernels_for(input), input.shape[2:], (align_corners, scale)
        return ctx.kernels.resize_bilinear(input, size, align_corners, scale)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        return ctx.kernels.resize_bilinear_grad(grad_output, ctx.size, *ctx.rule), None, None, None


class ResizeNearest(Function):
    """Each output pixel is one input pixel; an input pixel's gradient is the sum over its copies."""

    @staticmethod
    def forward(ctx: Context, input: Any, rows: np.ndarray, columns: np.ndarray) -> Any:
        xp = array_module(input)
        ctx.rows, ctx.columns, ctx.size = rows, columns, input.shape[2:]
        return input.take(constant(rows, xp), axis=2).take(constant(columns, xp), axis=3)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        grad = _add_copies(grad_output, ctx.rows, ctx.size[0], axis=2)
        return _add_copies(grad, ctx.columns, ctx.size[1], axis=3), None, None


def _add_copies(grad: Any, source: np.ndarray, n: int, axis: int) -> Any:
    """Add up what was copied from the same source position; the sources ascend, so copies are neighbours."""
    xp = array_module(grad)
    used, first = (constant(a, xp) for a in np.unique(source, return_index=True))
    shape = list(grad.shape)
    shape[axis] = n
    total = xp.zeros(shape, grad.dtype)
    place = (slice(None),) * axis + (used,)
    total[place] = xp.add.reduceat(grad, first, axis=axis)
    return total


def _nearest(n: int, m: int, scale: float | None, exact: bool) -> np.ndarray:
    """Return the source position of each output position: floor(i * n / m); "exact" measures from pixel centres."""
    step = np.float32(n / m if scale is None else 1 / scale)
    position = (np.arange(m, dtype=np.float32) + np.float32(0.5 * exact)) * step
    return np.minimum(np.floor(position).astype(np.int64), n - 1)


def interpolate(
    input: Any,
    size: SizeLike | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Tensor:
    """Resize images, as ``torch.nn.functional.interpolate``.

    Parameters
    ----------
    input : (N, C, H, W), or (C, H, W) for one image
    size : output (height, width), or
    scale_factor : output size over input size, one number or two; the output size is rounded down
    mode : "nearest", "nearest-exact" or "bilinear"
    align_corners : for "bilinear": True puts the corner pixels' centres on each other; False (the default) puts the
        images' edges on each other
    recompute_scale_factor : use the ratio of the rounded sizes instead of ``scale_factor`` for the positions

    Raises
    ------
    ValueError
        Unless exactly one of ``size`` and ``scale_factor`` is given, or for an unknown mode.
    """
    x, single = images(input, "interpolate")
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"interpolate: give either size or scale_factor, got size={size} and scale_factor={scale_factor}"
        )
    if mode not in ("nearest", "nearest-exact", "bilinear"):
        raise ValueError(f'interpolate: mode must be "nearest", "nearest-exact" or "bilinear", got {mode!r}')
    if align_corners is not None and mode != "bilinear":
        raise ValueError(f'interpolate: align_corners belongs to mode="bilinear", got it with {mode!r}')
    if 0 in x.shape[2:]:
        raise ValueError(f"interpolate: input must have at least one pixel, got shape {x.shape}")
    scale: Scale = (None, None)
    if size is None:
        factors = (scale_factor, scale_factor) if isinstance(scale_factor, (int, float)) else tuple(scale_factor or ())
        if len(factors) != 2 or min(factors) <= 0:
            raise ValueError(f"interpolate: scale_factor must be one positive number or two, got {scale_factor!r}")
        output = tuple(math.floor(n * f) for n, f in zip(x.shape[2:], factors, strict=True))
        scale = (None, None) if recompute_scale_factor else (float(factors[0]), float(factors[1]))
    else:
        output = pair(size, "size", 1)
    if min(output) < 1:
        raise ValueError(f"interpolate: the output would have the size {output} from {x.shape[2:]}: nothing is left")
    if mode == "bilinear":
        return unbatch(ResizeBilinear.apply(x, output, bool(align_corners), scale), single)
    positions = [_nearest(n, m, f, mode == "nearest-exact") for n, m, f in zip(x.shape[2:], output, scale, strict=True)]
    return unbatch(ResizeNearest.apply(x, *positions), single)
