"""The one place with size arithmetic: output sizes, padding rules, receptive fields, coordinates, and the letters we use.

Letters, everywhere in minisegnet:

    N batch        C input channels    O output channels
    H, W input     KH, KW kernel       OH, OW output

Sizes are (height, width) pairs, in pixels. Nothing here touches an array.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
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


class CoordinateMap(NamedTuple):
    """Where a layer's pixels lie in its input, on one axis: x_in = scale * x_out + offset (centres of pixels; exact).

    Long, Shelhamer, Darrell (2015) crop by hand-made numbers; here they follow from the layers. A layer is written as
    (kernel, stride, padding) or (kernel, stride, padding, dilation). How far FCN-32s has to crop its 64x64, stride 32
    upsampling, for convolutions 3x3 (padding 100 first, then 1; with padding 1 they move nothing), five pools and fc6:

    >>> pool = (2, 2, 0)
    >>> score = CoordinateMap.through_layers([(3, 1, 100), pool, pool, pool, pool, pool, (7, 1, 0)])
    >>> upsampled = score.after(CoordinateMap.transposed(64, 32))
    >>> crop_offset(upsampled, reference=CoordinateMap())
    19

    A ``ReceptiveField`` has the same two numbers as ``stride`` and ``start``, and beside them its size.
    """

    scale: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)

    @classmethod
    def convolution(cls, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> CoordinateMap:
        """Return the map of a convolution or pooling: x_in = s x_out + d(k - 1)/2 - p, the middle of the window."""
        return cls(Fraction(stride), Fraction(effective_kernel(kernel, dilation) - 1, 2) - padding)

    @classmethod
    def transposed(cls, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> CoordinateMap:
        """Return the map of a transposed convolution: the inverse of the convolution's."""
        return cls.convolution(kernel, stride, padding, dilation).inverse()

    @classmethod
    def through_layers(cls, layers: Iterable[Sequence[int]]) -> CoordinateMap:
        """Return the map from the last layer's output to the first one's input, of convolutions and pools in order."""
        chain = cls()
        for layer in layers:
            chain = chain.after(cls.convolution(*layer))
        return chain

    def inverse(self) -> CoordinateMap:
        """Return the map the other way: x_out = (x_in - offset) / scale."""
        return CoordinateMap(1 / self.scale, -self.offset / self.scale)

    def after(self, layer: CoordinateMap) -> CoordinateMap:
        """Return the map of a chain that has this map so far, and one more layer: x_in = self(layer(x_out))."""
        return CoordinateMap(self.scale * layer.scale, self.scale * layer.offset + self.offset)


def crop_offset(layer: CoordinateMap, reference: CoordinateMap) -> int:
    """Return how many pixels to crop at the top (or left) of ``layer`` so that its first pixel lies on ``reference``'s first.

    Parameters
    ----------
    layer, reference : maps of the two layers back to one and the same input

    Raises
    ------
    ValueError
        If their pixels are not equally far apart, or no whole number of pixels (0 or more) brings them together.
    """
    if layer.scale != reference.scale:
        raise ValueError(
            f"crop_offset: pixels of the layer are {layer.scale} input pixels apart, those of the reference {reference.scale}; "
            "scale one of them up or down first"
        )
    crop = (reference.offset - layer.offset) / layer.scale
    if crop.denominator != 1 or crop < 0:
        raise ValueError(
            f"crop_offset: the reference's first pixel is pixel {crop} of the layer; a crop needs a whole number of 0 or more, "
            "so change the kernel or the padding"
        )
    return int(crop)


class Gridding(NamedTuple):
    """Which input pixels one output pixel sees on one axis: their ``offsets`` from it, and the ``span`` from end to end."""

    offsets: tuple[int, ...]
    span: int

    @property
    def reached(self) -> int:
        """How many pixels are seen; fewer than ``span`` means holes."""
        return len(self.offsets)


def gridding(kernel: int, rates: Iterable[int]) -> Gridding:
    """Return which input pixels are reached through layers of one kernel size with these dilation rates (stride 1).

    Rates with a common factor leave holes in a regular grid: three layers of 3 with the rates 2, 2, 2 reach 7 of 13
    pixels, with 1, 2, 4 all 15 (Wang et al., 2018, "Understanding convolution for semantic segmentation", section 3.2).
    The windows are centred as ``padding="same"`` does: of an even kernel the odd pixel lies at the end.
    """
    reached, span = {0}, 1
    for rate in rates:
        if rate < 1 or kernel < 1:
            raise ValueError(f"gridding: kernel and rates must be at least 1, got kernel {kernel} and rate {rate}")
        first = -((effective_kernel(kernel, rate) - 1) // 2)
        reached = {offset + first + rate * tap for offset in reached for tap in range(kernel)}
        span += effective_kernel(kernel, rate) - 1
    return Gridding(tuple(sorted(reached)), span)


def overlap_count(
    size: int, kernel: int, stride: int = 1, padding: int = 0, output_padding: int = 0, dilation: int = 1
) -> tuple[int, ...]:
    """Return how many input pixels a transposed convolution adds up in each output pixel, on one axis.

    Where ``stride`` does not divide ``kernel`` the counts alternate: the checkerboard of Odena, Dumoulin, Olah (2016). In the
    plane the count is the product of those of the row and of the column.
    """
    length, _ = conv_transpose_output_size(
        (size, 1), (kernel, 1), (stride, 1), (padding, 0), (output_padding, 0), (dilation, 1)
    )
    counts = [0] * length
    for i in range(size):
        for tap in range(kernel):
            place = i * stride - padding + tap * dilation
            if 0 <= place < length:
                counts[place] += 1
    return tuple(counts)
