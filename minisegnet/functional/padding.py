"""``pad``: a border of zeros, of mirrored or of repeated pixels around the last axes; negative numbers crop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import array_module, constant
from ..autograd import Context, Function, Tensor
from .checks import as_tensor

MODES = ("constant", "reflect", "replicate", "circular")


class PadAxis(Function):
    """One axis read through a list of source positions; -1 stands for the constant."""

    @staticmethod
    def forward(ctx: Context, x: Any, axis: int, positions: list[int], value: float, before: int) -> Any:
        xp = array_module(x)
        ctx.shape, ctx.axis, ctx.before = x.shape, axis, before
        every = np.array(positions, np.int64)
        ctx.shown, ctx.sources = constant(np.flatnonzero(every >= 0), xp), constant(every[every >= 0], xp)
        output = xp.moveaxis(xp.take(x, constant(every, xp), axis=axis, mode="clip"), axis, 0)
        if ctx.shown.size < every.size:
            output[constant(np.flatnonzero(every < 0), xp)] = value
        return xp.moveaxis(output, 0, axis)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        xp = array_module(grad_output)
        moved = xp.moveaxis(grad_output, ctx.axis, 0)
        grad = xp.zeros((ctx.shape[ctx.axis], *moved.shape[1:]), grad_output.dtype)
        xp.add.at(grad, ctx.sources, moved[ctx.shown])
        return xp.moveaxis(grad, 0, ctx.axis), None, None, None, None


def _positions(n: int, before: int, after: int, mode: str) -> list[int]:
    """Return, for each pixel of the padded axis, the input pixel it shows (-1: none)."""
    places = range(-before, n + after)
    if mode == "constant":
        return [i if 0 <= i < n else -1 for i in places]
    if mode == "replicate":
        return [min(max(i, 0), n - 1) for i in places]
    if mode == "circular":
        return [i % n for i in places]
    return [abs((i + n - 1) % max(2 * n - 2, 1) - (n - 1)) if n > 1 else 0 for i in places]


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """Pad the last axes, as ``torch.nn.functional.pad``: (left, right), then (top, bottom), and so on from the last axis.

    Parameters
    ----------
    mode : "constant", "reflect" (the border pixel is the mirror), "replicate" or "circular"
    value : what "constant" fills in

    Raises
    ------
    ValueError
        For an odd number of paddings, an unknown mode, or "reflect" with a border as wide as the image.
    """
    x = as_tensor(input)
    if mode not in MODES:
        raise ValueError(f"pad: mode must be one of {', '.join(MODES)}, got {mode!r}")
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ValueError(
            f"pad: pad holds two numbers an axis, from the last axis on, got {len(pad)} for shape {x.shape}"
        )
    for axis, before, after in zip(range(x.ndim - 1, -1, -1), pad[::2], pad[1::2], strict=False):
        n = x.shape[axis]
        if mode == "reflect" and max(before, after) >= n:
            raise ValueError(
                f"pad: reflection needs a border narrower than the image, got {(before, after)} for {n} pixels"
            )
        if n + before + after < 0 or (mode != "constant" and n == 0 and before + after > 0):
            raise ValueError(
                f"pad: nothing to pad or nothing is left of axis {axis}, {n} pixels with {(before, after)}"
            )
        if before or after:
            x = PadAxis.apply(x, axis, _positions(n, before, after, mode), value, before)
    return x
