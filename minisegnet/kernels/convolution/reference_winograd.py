"""Winograd's 3x3 convolution in NumPy, to be read: fewer multiplications, and its gradients for free.

Four neighbouring outputs of a filter of three taps are y = A^T [(G w) * (B^T d)]: six multiplications instead of twelve, of
three linear maps (*: element by element; d: the six inputs read). In two dimensions, maps go on both sides: each 4x4 tile is

    y = A^T [ sum over c of (G w G^T) * (B^T d B) ] A           36 multiplications a channel instead of 144

Linear maps are all there is besides the product, so the gradients need nothing new. With gy the gradient of y:

    gradient of d = B [ sum over o of (G w G^T) * (A gy A^T) ] B^T
    gradient of w = G^T [ sum over tiles of (A gy A^T) * (B^T d B) ] G

Dilation: pixels that are ``dilation`` apart form a smaller image of their own (a *phase*), with an ordinary convolution.
Stride: a kernel's every ``stride``-th tap reads the pixels of one phase only. So a strided convolution is the sum of the
phases' convolutions, each with a kernel of a part of the taps; these have to be three at most.
Source: A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", 2016, section 4.3.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ...shapes import Size, conv_output_size

# fmt: off
INPUT = np.array([  # B^T
    [4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1],
], float)
FILTER = np.array([  # G
    [1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1],
], float)
OUTPUT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], float)  # A^T
# fmt: on


def conv2d(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the convolution (N, O, OH, OW)."""
    _must_fit(weight.shape[2:], stride, dilation, groups)
    size = conv_output_size(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    padded = _pad(input, padding)  # (N, C, H + 2p, W + 2p)
    if stride != (1, 1):
        read = size[0] + 2, size[1] + 2
        parts = [conv2d(_of_size(padded[p], read), _of_size(weight[p], (3, 3))) for p in _phases(stride)]
        return sum(parts[1:], parts[0]) + (0 if bias is None else bias[:, None, None])
    w = _map(FILTER, weight)  # (O, C, 6, 6)
    output = np.empty((len(input), len(weight), *size), input.dtype)  # (N, O, OH, OW)
    for phase in _phases(dilation):
        d = _map(INPUT, _tiles(padded[phase], 6, output[phase].shape[2:]))  # (N, C, TY, TX, 6, 6)
        y = _map(OUTPUT, np.einsum("ncyxij,ocij->noyxij", d, w))  # (N, O, TY, TX, 4, 4)
        output[phase] = _joined(y, output[phase].shape[2:])
    return output if bias is None else output + bias[:, None, None]


def conv2d_grad_input(
    grad_output: np.ndarray,
    weight: np.ndarray,
    input_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the gradient (N, C, H, W) of the input."""
    _must_fit(weight.shape[2:], stride, dilation, groups)
    (top, left), (height, width) = padding, input_size
    shape = len(grad_output), weight.shape[1], height + 2 * top, width + 2 * left
    padded = np.zeros(shape, grad_output.dtype)  # (N, C, H + 2p, W + 2p)
    if stride != (1, 1):
        read = grad_output.shape[2] + 2, grad_output.shape[3] + 2
        for phase in _phases(stride):
            part = conv2d_grad_input(grad_output, _of_size(weight[phase], (3, 3)), read)
            padded[phase] = _of_size(part, padded[phase].shape[2:])
        return padded[:, :, top : top + height, left : left + width].copy()
    w = _map(FILTER, weight)  # (O, C, 6, 6)
    for phase in _phases(dilation):
        gy = _map(OUTPUT.T, _tiles(grad_output[phase], 4, grad_output[phase].shape[2:]))  # (N, O, TY, TX, 6, 6)
        gd = _map(INPUT.T, np.einsum("noyxij,ocij->ncyxij", gy, w))  # (N, C, TY, TX, 6, 6)
        padded[phase] += _overlapped(gd, padded[phase].shape[2:])
    return padded[:, :, top : top + height, left : left + width].copy()


def conv2d_grad_weight(
    grad_output: np.ndarray,
    input: np.ndarray,
    kernel_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the gradient (O, C, KH, KW) of the weight."""
    _must_fit(kernel_size, stride, dilation, groups)
    padded = _pad(input, padding)  # (N, C, H + 2p, W + 2p)
    if stride != (1, 1):
        grad_weight = np.empty((grad_output.shape[1], input.shape[1], *kernel_size), input.dtype)
        read = grad_output.shape[2] + 2, grad_output.shape[3] + 2
        for phase in _phases(stride):
            part = conv2d_grad_weight(grad_output, _of_size(padded[phase], read), (3, 3))
            grad_weight[phase] = _of_size(part, grad_weight[phase].shape[2:])
        return grad_weight
    sums = np.zeros((grad_output.shape[1], input.shape[1], 6, 6), input.dtype)  # (O, C, 6, 6)
    for phase in _phases(dilation):
        size = grad_output[phase].shape[2:]
        d = _map(INPUT, _tiles(padded[phase], 6, size))  # (N, C, TY, TX, 6, 6)
        gy = _map(OUTPUT.T, _tiles(grad_output[phase], 4, size))  # (N, O, TY, TX, 6, 6)
        sums += np.einsum("noyxij,ncyxij->ocij", gy, d)
    return _map(FILTER.T, sums)


def _must_fit(kernel_size: tuple[int, ...], stride: Size, dilation: Size, groups: int) -> None:
    ordinary, few = tuple(kernel_size) == (3, 3), all(k <= 2 * s + 1 for k, s in zip(kernel_size, stride, strict=True))
    if groups != 1 or not (ordinary if stride == (1, 1) else few and dilation == (1, 1)):
        raise ValueError(
            'algorithm="winograd" needs a 3x3 kernel and stride 1 (or a stride, dilation 1 and at most 2 stride + 1 taps), and '
            f"groups 1; this is a {kernel_size[0]}x{kernel_size[1]} kernel, stride {stride}, dilation {dilation}, groups={groups}"
        )


def _map(matrix: np.ndarray, tiles: np.ndarray) -> np.ndarray:
    """Apply a linear map to rows and columns: matrix @ tile @ matrix^T, in the type of the tiles."""
    matrix = matrix.astype(tiles.dtype)
    return matrix @ tiles @ matrix.T


def _pad(input: np.ndarray, padding: Size) -> np.ndarray:
    (top, left) = padding
    return np.pad(input, ((0, 0), (0, 0), (top, top), (left, left)))


def _phases(distance: Size) -> Iterator[tuple[slice, slice, slice, slice]]:
    """Yield, for each phase, the index of its pixels in (N, C, H, W): every ``distance``-th row and column."""
    for y, x in np.ndindex(*distance):
        yield slice(None), slice(None), slice(y, None, distance[0]), slice(x, None, distance[1])


def _of_size(array: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return (..., *size): the array's first rows and columns, with zeros beyond its last ones."""
    result = np.zeros((*array.shape[:2], *size), array.dtype)
    part = array[:, :, : size[0], : size[1]]
    result[:, :, : part.shape[2], : part.shape[3]] = part
    return result


def _tiles(images: np.ndarray, side: int, size: tuple[int, ...]) -> np.ndarray:
    """Return (N, C, TY, TX, side, side): the pixels that each 4x4 tile of an output of this size reads, or consists of."""
    n, c, h, w = images.shape
    ty, tx = -(-size[0] // 4), -(-size[1] // 4)
    room = np.zeros((n, c, 4 * ty + side, 4 * tx + side), images.dtype)  # zeros beyond the last pixel
    room[:, :, :h, :w] = images[:, :, : 4 * ty + side, : 4 * tx + side]
    return sliding_window_view(room, (side, side), axis=(2, 3))[:, :, : 4 * ty : 4, : 4 * tx : 4]


def _joined(tiles: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return the image (N, O, *size) whose tiles (N, O, TY, TX, 4, 4) these are."""
    n, o, ty, tx = tiles.shape[:4]
    return tiles.transpose(0, 1, 2, 4, 3, 5).reshape(n, o, 4 * ty, 4 * tx)[:, :, : size[0], : size[1]]


def _overlapped(tiles: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return the sum (N, C, *size) of tiles (N, C, TY, TX, 6, 6) that begin four pixels apart: where they overlap, they add."""
    n, c, ty, tx = tiles.shape[:4]
    total = np.zeros((n, c, max(4 * ty + 2, size[0]), max(4 * tx + 2, size[1])), tiles.dtype)
    for i, j in np.ndindex(6, 6):
        total[:, :, i : i + 4 * ty : 4, j : j + 4 * tx : 4] += tiles[..., i, j]
    return total[:, :, : size[0], : size[1]]
