"""Depthwise 3x3 convolution in float32, in the layout that the images come in: nothing is turned round.

    out[y, x] = bias + sum over ky, kx of weight[ky, kx] * image[y s + ky d - p, x s + kx d - p], for each channel on its own

A *block* is what one vector's eight lanes belong to: a plane of ordinary memory (N, C, H, W), its lanes neighbouring pixels,
or eight channels of channels-last memory. A band of a block's rows is copied into lines with zeros around them, few enough
for the first cache; then a window slides over three of them with its weights in registers. (For stride 2, a plane's
even and odd columns make two lines.) The gradient of the input at stride 1 is the convolution with the kernel turned round;
at stride 2, rows and columns of the input are even or odd, and each of the four kinds meets its own places of the kernel:
a 2x2 window over ``grad_output``.

The idea of keeping a small kernel in registers: A. Lavin and S. Gray do it for ordinary convolutions on a GPU (2016, section 4.2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from ...arrays import channels_first, is_channels_last
from ...shapes import Size, conv_output_size
from ..buffers import empty
from ..numba_cpu_layout import channels_last
from .numba_cpu_depthwise_window import LANES, join, meet, move, slide, slide_two, split

OPTIONS: Any = {"parallel": True, "cache": True, "nogil": True}
SERIAL: Any = OPTIONS | {"parallel": False}
FEW = 16  # channels up to which channels-last memory is worked on in blocks
CACHE = 6144  # numbers of lines that a task fills at a time: 24 KiB


def serves(dtype: np.dtype, weight: tuple[int, ...], stride: Size, padding: Size, dilation: Size, groups: int) -> bool:
    """Return whether these functions can serve a geometry; ``weight`` is the shape (O, C / groups, KH, KW)."""
    if dtype != np.float32 or weight[1:] != (1, 3, 3) or weight[0] != groups:
        return False
    if stride == (2, 2):
        return padding == dilation == (1, 1)
    return stride == (1, 1) and padding[0] <= 2 * dilation[0] and padding[1] <= 2 * dilation[1]


def pays(stride: Size, *images: np.ndarray) -> bool:
    """Return whether these functions are faster here than the ones for every geometry, as measured.

    Of channels-last memory with many channels, a block of eight is a small part of each pixel: to collect it costs what
    the registers save.
    """
    return all(map(_planes, images)) or (stride == (1, 1) and images[0].shape[1] <= FEW)


def conv2d(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: Size,
    padding: Size,
    dilation: Size,
    floor: float,
) -> np.ndarray:
    """Return the convolution (N, C, OH, OW), in the memory layout of the input; a geometry that ``serves``."""
    size = conv_output_size(input.shape[2:], (3, 3), stride, padding, dilation)
    return _convolve(input, weight.reshape(-1, 9), bias, size, stride[0], padding, dilation, floor)


def conv2d_grad_input(
    grad_output: np.ndarray, weight: np.ndarray, input_size: Size, stride: Size, padding: Size, dilation: Size
) -> np.ndarray:
    """Return the gradient (N, C, H, W) of the input, in the memory layout of ``grad_output``."""
    size, turned = (input_size[0], input_size[1]), weight.reshape(-1, 9)
    if stride == (1, 1):
        margin = 2 * dilation[0] - padding[0], 2 * dilation[1] - padding[1]
        return _convolve(grad_output, turned[:, ::-1], None, size, 1, margin, dilation, -np.inf)
    kinds = np.zeros((len(weight), 2, 2, 2, 2), np.float32)  # (C, odd row, odd column, 2, 2)
    for odd_row, odd_column in np.ndindex(2, 2):
        for i, ky in enumerate((2, 0) if odd_row else (1,)):
            for j, kx in enumerate((2, 0) if odd_column else (1,)):
                kinds[:, odd_row, odd_column, i, j] = weight[:, 0, ky, kx]
    return _convolve(grad_output, kinds.reshape(len(weight), 16), None, size, 0, (0, 0), (1, 1), -np.inf)


def conv2d_grad_weight(
    grad_output: np.ndarray, input: np.ndarray, stride: Size, padding: Size, dilation: Size
) -> np.ndarray:
    """Return the gradient (C, 1, 3, 3) of the weight. Sums over a band of rows end in float64.

    A number of the input that is not finite may show in all nine gradients of its channel.
    """
    channels, (height, width) = grad_output.shape[1], grad_output.shape[2:]
    planes = _planes(grad_output) and _planes(input)
    grads, image = (_memory(array, planes) for array in (grad_output, input))
    length, half, band = _lines(planes, width, input.shape[3], stride[0], padding[1], dilation, height)
    parts = np.zeros((len(input) * -(-height // band), channels if planes else -(-channels // LANES), 9, LANES))
    if grads.size:
        _sum_lines(
            *(image.reshape(-1), input.shape, planes, stride[0], padding, dilation, length, half, band),
            *(grads.reshape(-1), grad_output.shape, parts),
        )
    total = parts.sum(axis=0)  # (C, 9, pixels) or (C / 8, 9, channels)
    total = total.sum(axis=2) if planes else total.transpose(0, 2, 1).reshape(-1, 9)[:channels]
    return total.astype(np.float32).reshape(channels, 1, 3, 3)


def _planes(image: np.ndarray) -> bool:
    """Return whether images are ordinary (N, C, H, W) memory that the loops accept as it is."""
    flags = image.flags
    return flags.c_contiguous and flags.aligned and flags.writeable and not is_channels_last(image)


def _memory(image: np.ndarray, planes: bool) -> np.ndarray:
    """Return the contiguous array of images (N, C, H, W): themselves, or (N, H, W, C)."""
    return image if planes else np.require(channels_last(image), requirements=["C", "A", "W"])


def _lines(
    planes: bool, count: int, width: int, stride: int, left: int, dilation: Size, height: int
) -> tuple[int, int, int]:
    """Return a line's length, the half of it where odd columns begin, and how many rows of output a task has.

    ``count`` is the number of pixels that come out of a line, ``width`` of those that go in.
    """
    vectors, half = -(-count // LANES) * LANES, 0
    if not planes:
        length = LANES * max(left + width, (count - 1) * max(stride, 1) + 2 * dilation[1] + 1)
    elif stride == 2:
        half = vectors + LANES
        length = 2 * half
    else:
        length = max(left + width, vectors + 2 * dilation[1])
    rows = min(max((CACHE // length - 2 * dilation[0]) // max(stride, 1), 4), height)
    return length, half, -(-height // -(-height // rows)) if rows else 1


def _convolve(
    image: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    size: Size,
    stride: int,
    padding: Size,
    dilation: Size,
    floor: float,
) -> np.ndarray:
    """Return (N, C, *size) of images (N, C, H, W) and weights (C, 9); stride 0: of (C, 16), back to twice the size."""
    channels, planes = image.shape[1], _planes(image)
    shape = (len(image), channels, *size)
    out = empty(shape if planes else (len(image), *size, channels), np.float32)
    if out.size:
        begin = np.zeros(channels, np.float32) if bias is None else bias
        if planes:  # (C, places, lanes): all lanes the same
            start = np.repeat(begin, LANES)
            weights: np.ndarray = np.repeat(weight, LANES)
        else:  # (C / 8, places, lanes)
            room = -channels % LANES
            weights = np.pad(weight, ((0, room), (0, 0))).reshape(-1, LANES, weight.shape[1]).transpose(0, 2, 1)
            start = np.pad(begin, (0, room))
        rows, count = size if stride else ((size[0] + 1) // 2, (size[1] + 1) // 2)
        length, half, band = _lines(planes, count, image.shape[3], stride, padding[1], dilation, rows)
        _slide_lines(
            *(_memory(image, planes).reshape(-1), image.shape, planes, stride, padding, dilation, length, half, band),
            *(np.ascontiguousarray(weights, np.float32).reshape(-1), start.astype(np.float32), np.float32(floor)),
            *(out.reshape(-1), shape),
        )
    return out if planes else channels_first(out)


def _fill_py(flat, shape, planes, n, block, y, left, half, lines, at, length):
    """Copy row y of a block's image into a line, with ``left`` pixels of zeros before it; rows outside are zeros.

    ``lines`` begins with a vector of zeros. Zeros are written by whole vectors: what they hit beyond is written afterwards, and
    there is room for one behind the last line. (Slices would count references, which takes longer than the copy.)
    """
    _, channels, height, width = shape
    if not 0 <= y < height:
        move((length + LANES - 1) // LANES, lines, 0, 0, lines, at, LANES)
    else:
        pixel = 1 if planes else LANES
        first = at + left * pixel
        move((first - at + LANES - 1) // LANES, lines, 0, 0, lines, at, LANES)
        if half > 0:
            last = at + (width + 1) // 2
            move((half - (width + 1) // 2 + LANES - 1) // LANES, lines, 0, 0, lines, last, LANES)
            move((length - half - (width + 1) // 2 + LANES - 1) // LANES, lines, 0, 0, lines, last + half, LANES)
        else:
            last = first + width * pixel
            move((at + length - last + LANES - 1) // LANES, lines, 0, 0, lines, last, LANES)
        if planes:
            source = ((n * channels + block) * height + y) * width
            if half == 0:
                whole = width // LANES
                move(whole, flat, source, LANES, lines, at + left, LANES)
                for x in range(whole * LANES, width):
                    lines[at + left + x] = flat[source + x]
            else:  # one column of zeros before the image: its odd columns are the padded image's even ones
                whole = width // (2 * LANES)
                split(whole, flat, source, lines, at + half, at + 1)
                for x in range(whole * 2 * LANES, width):
                    lines[at + (x + 1) // 2 + (half if x % 2 == 0 else 0)] = flat[source + x]
        else:
            source = (n * height + y) * width * channels + block * LANES
            lanes, target = min(LANES, channels - block * LANES), at + left * LANES
            if lanes == LANES:
                move(width, flat, source, channels, lines, target, LANES)
            else:
                move(width, lines, 0, 0, lines, target, LANES)  # lanes without a channel
                for x in range(width):
                    for lane in range(lanes):
                        lines[target + x * LANES + lane] = flat[source + x * channels + lane]


def _slide_lines_py(
    flat, shape, planes, stride, padding, dilation, length, half, band, weights, start, floor, out, out_shape
):
    images, channels, out_height, out_width = out_shape
    back = stride == 0  # to twice the size
    read = max(stride, 1)
    reach = 1 if back else 2 * dilation[0]  # rows below the first that a window needs
    rows = (out_height + 1) // 2 if back else out_height
    bands = (rows + band - 1) // band
    blocks = 1 if planes else (channels + LANES - 1) // LANES
    jobs = images * bands * (channels if planes else 1)
    for job in prange(jobs):
        place = np.int64(job) // bands
        top = (np.int64(job) - place * bands) * band
        bottom = min(top + band, rows)
        n = place // channels if planes else place
        first = place - n * channels if planes else 0
        lines = np.empty(((bottom - top - 1) * read + reach + 1) * length + 2 * LANES, np.float32)
        for lane in range(LANES):
            lines[lane] = 0
        some = np.empty((out_width + 4 * LANES) * (1 if planes else LANES), np.float32)
        for block in range(first, first + blocks):
            for r in range((bottom - top - 1) * read + reach + 1):
                y = top * read - padding[0] + r
                _fill(flat, shape, planes, n, block, y, padding[1], half, lines, LANES + r * length, length)
            if back:
                _slide_back(lines, length, planes, weights, start, floor, n, block, top, bottom, some, out, out_shape)
            else:
                _slide_band(
                    lines, length, planes, read, dilation, half, weights, start, floor, n, block, top, bottom,
                    some, out, out_shape,
                )  # fmt: skip


def _columns_py(planes, stride, dilation, half):
    """Return how far it is, in a line, to the next vector, and to the second and third column of the kernel."""
    if half > 0:
        return LANES, half, 1
    if planes:
        return LANES, dilation, 2 * dilation
    return stride * LANES, dilation * LANES, 2 * dilation * LANES


def _slide_band_py(
    lines, length, planes, stride, dilation, half, weights, start, floor, n, block, top, bottom, some, out, out_shape
):
    """Write rows top to bottom of a block: whole vectors, then what remains, by way of ``some``."""
    _, channels, height, width = out_shape
    step, d1, d2 = _columns(planes, stride, dilation[1], half)
    lanes = min(LANES, channels - block * LANES)
    if planes:
        whole, over, o_step = width // LANES, min(1, width % LANES), LANES
    else:
        whole, over, o_step = (width, 0, channels) if lanes == LANES else (0, width, channels)
    for y in range(top, bottom):
        r0 = LANES + (y - top) * stride * length
        r1, r2 = r0 + dilation[0] * length, r0 + 2 * dilation[0] * length
        target = ((n * channels + block) * height + y) * width
        if not planes:
            target = (n * height + y) * width * channels + block * LANES
        slide(
            whole, lines, r0, r1, r2, d1, d2, step, weights, block * 9 * LANES, start, block * LANES, floor,
            out, target, o_step,
        )  # fmt: skip
        if over > 0:
            a = whole * step
            slide(
                over, lines, r0 + a, r1 + a, r2 + a, d1, d2, step, weights, block * 9 * LANES, start, block * LANES,
                floor, some, 0, LANES,
            )  # fmt: skip
            if planes:
                for x in range(width % LANES):
                    out[target + whole * LANES + x] = some[x]
            else:
                for x in range(width):
                    for lane in range(lanes):
                        out[target + x * channels + lane] = some[x * LANES + lane]


def _slide_back_py(lines, length, planes, weights, start, floor, n, block, top, bottom, some, out, out_shape):
    """Write the rows of the input that rows top to bottom of ``grad_output`` begin: the four kinds of pixels."""
    _, channels, height, width = out_shape
    vectors = ((width + 1) // 2 + LANES - 1) // LANES
    lanes = min(LANES, channels - block * LANES)
    for y in range(2 * top, min(2 * bottom, height)):
        odd = y % 2
        r0 = LANES + (y // 2 - top) * length
        r1 = (
            r0 + odd * length
        )  # an even row or column has one place: the other's weight is zero, and meets the same number
        for right in range(2):
            count, o_step, w0 = (width - right + 1) // 2, 2 * channels, (block * 16 + (2 * odd + right) * 4) * LANES
            d = right if planes else right * LANES
            direct = not planes and lanes == LANES
            target = ((n * height + y) * width + right) * channels + block * LANES
            slide_two(
                count if direct else 0, lines, r0, r1, r1, d, d, LANES, weights, w0, start, block * LANES, floor,
                out, target, o_step,
            )  # fmt: skip
            if not direct:
                slide_two(
                    vectors if planes else count, lines, r0, r1, r1, d, d, LANES, weights, w0, start, block * LANES,
                    floor, some, right * vectors * LANES if planes else 0, LANES,
                )  # fmt: skip
                if not planes:
                    for x in range(count):
                        for lane in range(lanes):
                            out[target + x * o_step + lane] = some[x * LANES + lane]
        if planes:
            target = ((n * channels + block) * height + y) * width
            whole = width // (2 * LANES)
            join(whole, some, 0, vectors * LANES, out, target)
            for x in range(2 * LANES * whole, width):
                out[target + x] = some[x // 2 + (x % 2) * vectors * LANES]


def _sum_lines_py(flat, shape, planes, stride, padding, dilation, length, half, band, grads, grads_shape, parts):
    images, channels, out_height, out_width = grads_shape
    bands = (out_height + band - 1) // band
    blocks = 1 if planes else (channels + LANES - 1) // LANES
    step, d1, d2 = _columns(planes, stride, dilation[1], half)
    vectors = (out_width + LANES - 1) // LANES if planes else out_width
    jobs = images * bands * (channels if planes else 1)
    for job in prange(jobs):
        place = np.int64(job) // bands
        part = np.int64(job) - place * bands
        top = part * band
        bottom = min(top + band, out_height)
        n = place // channels if planes else place
        first = place - n * channels if planes else 0
        used = (bottom - top - 1) * stride + 2 * dilation[0] + 1
        lines, line = np.empty(used * length + 2 * LANES, np.float32), np.empty((vectors + 2) * LANES, np.float32)
        sums = np.empty(9 * LANES, np.float32)
        for lane in range(LANES):
            lines[lane] = line[lane] = 0
        for block in range(first, first + blocks):
            for r in range(used):
                y = top * stride - padding[0] + r
                _fill(flat, shape, planes, n, block, y, padding[1], half, lines, LANES + r * length, length)
            move(9, lines, 0, 0, sums, 0, LANES)
            lanes = min(LANES, channels - block * LANES)
            direct = out_width % LANES == 0 if planes else lanes == LANES
            for oy in range(top, bottom):
                r0 = LANES + (oy - top) * stride * length
                r1, r2 = r0 + dilation[0] * length, r0 + 2 * dilation[0] * length
                if direct:
                    if planes:
                        source, g_step = ((n * channels + block) * out_height + oy) * out_width, LANES
                    else:
                        source, g_step = (n * out_height + oy) * out_width * channels + block * LANES, channels
                    meet(vectors, lines, r0, r1, r2, d1, d2, step, grads, source, g_step, sums)
                else:
                    _fill(grads, grads_shape, planes, n, block, oy, 0, 0, line, LANES, vectors * LANES)
                    meet(vectors, lines, r0, r1, r2, d1, d2, step, line, LANES, LANES, sums)
            for t in range(9):
                for lane in range(LANES):
                    parts[n * bands + part, block, t, lane] = sums[t * LANES + lane]


_fill = njit(**SERIAL)(_fill_py)
_columns = njit(**SERIAL)(_columns_py)
_slide_band = njit(**SERIAL)(_slide_band_py)
_slide_back = njit(**SERIAL)(_slide_back_py)
_slide_lines = njit(**OPTIONS)(_slide_lines_py)
_sum_lines = njit(**OPTIONS)(_sum_lines_py)
