"""The one place with size arithmetic: output sizes, padding rules, receptive fields, and the letters we use.

Letters, everywhere in minisegnet:

    N batch        C input channels    O output channels
    H, W input     KH, KW kernel       OH, OW output

Sizes are (height, width) pairs, in pixels. Nothing here touches an array.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Size = tuple[int, int]
SizeLike = int | Sequence[int]


def pair(value: SizeLike, name: str, minimum: int = 0) -> Size:
    """Return ``value`` as a (height, width) pair; one number serves both axes.

    Raises
    ------
    TypeError, ValueError
        If it is neither one integer nor two, or less than ``minimum``; the message names ``name``.
    """
    import operator

    try:
        numbers = (operator.index(value),) * 2  # type: ignore[arg-type]
    except TypeError:
        try:
            numbers = tuple(operator.index(v) for v in value)  # type: ignore[union-attr, assignment]
        except TypeError:
            raise TypeError(f"{name} must be an integer or a pair of integers, got {value!r}") from None
    if len(numbers) == 1:
        numbers = numbers * 2
    if len(numbers) != 2:
        raise ValueError(f"{name} must be one integer or two (height, width), got {len(numbers)}: {value!r}")
    if min(numbers) < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value!r}")
    return numbers


def effective_kernel(kernel: int, dilation: int) -> int:
    """Return how many pixels a dilated kernel spans on one axis: k + (k - 1)(r - 1)."""
    return kernel + (kernel - 1) * (dilation - 1)


def conv_output_size(
    size: Size, kernel: Size, stride: Size, padding: Size, dilation: Size, what: str = "conv2d"
) -> Size:
    """Return (OH, OW) of a convolution: floor((H + 2p - d(k - 1) - 1) / s) + 1 on each axis.

    Raises
    ------
    ValueError
        If the kernel is larger than the padded input; the message holds the formula with its numbers.
    """
    output = []
    for axis, n, k, s, p, d in zip(("height", "width"), size, kernel, stride, padding, dilation, strict=True):
        span = effective_kernel(k, d)
        if n + 2 * p < span:
            raise ValueError(
                f"{what}: the kernel is larger than the padded input along the {axis}: kernel_size {k} with dilation {d} spans "
                f"{k} + ({k} - 1)*({d} - 1) = {span} pixels, but the input has {n} + 2*{p} = {n + 2 * p}"
            )
        output.append((n + 2 * p - span) // s + 1)
    return output[0], output[1]


def conv_transpose_output_size(
    size: Size, kernel: Size, stride: Size, padding: Size, output_padding: Size, dilation: Size
) -> Size:
    """Return the size after a transposed convolution: (n - 1)s - 2p + d(k - 1) + output_padding + 1 on each axis.

    Raises
    ------
    ValueError
        If nothing is left of the output, or output_padding is not smaller than stride or dilation.
    """
    output = []
    for axis, n, k, s, p, extra, d in zip(
        ("height", "width"), size, kernel, stride, padding, output_padding, dilation, strict=True
    ):
        if extra >= max(s, d):
            raise ValueError(
                f"conv_transpose2d: output_padding must be smaller than stride or dilation, "
                f"got output_padding {extra} with stride {s} and dilation {d} along the {axis}"
            )
        m = (n - 1) * s - 2 * p + d * (k - 1) + extra + 1
        if m < 1:
            raise ValueError(
                f"conv_transpose2d: nothing is left of the output along the {axis}: "
                f"({n} - 1)*{s} - 2*{p} + {d}*({k} - 1) + {extra} + 1 = {m}"
            )
        output.append(m)
    return output[0], output[1]


def pool_output_size(
    size: Size, kernel: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool, what: str = "max_pool2d"
) -> Size:
    """Return (OH, OW) of a pooling layer; with ``ceil_mode`` a last, partial window counts if it starts inside.

    "Inside" means inside the input or its left padding, as in PyTorch (and unlike Caffe with wide padding).
    """
    output = []
    for axis, n, k, s, p, d in zip(("height", "width"), size, kernel, stride, padding, dilation, strict=True):
        if p * 2 > effective_kernel(k, d):
            raise ValueError(
                f"{what}: padding must be at most half of the kernel, got padding {p} along the {axis} "
                f"for a kernel that spans {effective_kernel(k, d)}"
            )
        room = n + 2 * p - effective_kernel(k, d)
        m = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (m - 1) * s >= n + p:
            m -= 1
        if m < 1:
            raise ValueError(
                f"{what}: the window is larger than the padded input along the {axis}: kernel_size {k} with dilation {d} "
                f"spans {effective_kernel(k, d)} pixels, but the input has {n} + 2*{p} = {n + 2 * p}"
            )
        output.append(m)
    return output[0], output[1]


def same_padding(kernel: Size, dilation: Size) -> tuple[Size, Size]:
    """Return ((top, bottom), (left, right)) that keeps the size at stride 1; an odd pixel goes to the end, as in PyTorch."""
    total = [effective_kernel(k, d) - 1 for k, d in zip(kernel, dilation, strict=True)]
    return (total[0] // 2, total[0] - total[0] // 2), (total[1] // 2, total[1] - total[1] // 2)


class ReceptiveField(NamedTuple):
    """What one output pixel sees on one axis: ``size`` input pixels, ``stride`` apart, the first centred at ``start``."""

    size: int = 1
    stride: int = 1
    start: float = 0.0

    def through(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> ReceptiveField:
        """Return the receptive field after one more convolution or pooling layer (Dumoulin and Visin, 2016)."""
        span = effective_kernel(kernel, dilation)
        return ReceptiveField(
            self.size + (span - 1) * self.stride,
            self.stride * stride,
            self.start + ((span - 1) / 2 - padding) * self.stride,
        )
