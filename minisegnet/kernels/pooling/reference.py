"""Max-pooling and its two companions in NumPy, to be read. These docstrings are the contract for every backend.

``max_pool2d`` says *where* each maximum was. ``scatter_to_plane`` writes values to such places: it unpools (DeconvNet;
Noh, Hong and Han, 2015, section 3.1), and it is the gradient of pooling. ``gather_from_plane`` reads them: it is the
gradient of unpooling. A place is a flat index row * W + column in its own (H, W) plane, as in PyTorch.
"""

from __future__ import annotations

import numpy as np

from ...shapes import Size, pool_output_size

NOWHERE = -1  # the index of a window that holds no pixel


def max_pool2d(
    input: np.ndarray,
    kernel_size: Size,
    stride: Size,
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    ceil_mode: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the maximum of every window, and where it was.

    Parameters
    ----------
    input : float array (N, C, H, W)
    kernel_size, stride, padding, dilation : (height, width) pairs
        As for a convolution; padding is -infinity and is never chosen.
    ceil_mode : bool
        Whether a last, partial window counts (``shapes.pool_output_size`` has the rule).

    Returns
    -------
    values : array (N, C, OH, OW)
        Of the input's type.
    indices : int64 array (N, C, OH, OW)
        row * W + column of the maximum in the (H, W) plane, without the padding. On a tie the first in row-major order.
        A NaN beats every number, and a later NaN an earlier one. A dilated window can step over a small image and hold
        nothing but padding: then the value is -infinity and the index -1 (PyTorch's points outside the plane).

    Notes
    -----
    As ``torch.nn.functional.max_pool2d``.
    """
    h, w = input.shape[2:]
    oh, ow = pool_output_size((h, w), kernel_size, stride, padding, dilation, ceil_mode)
    values = np.full((*input.shape[:2], oh, ow), -np.inf, input.dtype)
    indices = np.full(values.shape, NOWHERE, np.int64)
    for kh in range(kernel_size[0]):
        for kw in range(kernel_size[1]):
            # What all windows hold at place (kh, kw), and where that lies in the input.
            rows = np.arange(oh) * stride[0] - padding[0] + kh * dilation[0]  # (OH,)
            columns = np.arange(ow) * stride[1] - padding[1] + kw * dilation[1]  # (OW,)
            inside = ((rows >= 0) & (rows < h))[:, None] & ((columns >= 0) & (columns < w))  # (OH, OW)
            candidate = input[:, :, np.clip(rows, 0, h - 1)][..., np.clip(columns, 0, w - 1)]  # (N, C, OH, OW)
            wins = inside & ((candidate > values) | np.isnan(candidate) | (indices == NOWHERE))
            values = np.where(wins, candidate, values)
            indices = np.where(wins, rows[:, None] * w + columns, indices)
    return values, indices


def scatter_to_plane(values: np.ndarray, indices: np.ndarray, size: Size, accumulate: bool = True) -> np.ndarray:
    """Return planes of zeros with the values put at their indices.

    Parameters
    ----------
    values : float array (N, C, OH, OW)
    indices : int64 array (N, C, OH, OW)
        Flat places in a plane of ``size``; a value whose index lies outside the plane is dropped (the caller,
        ``functional.max_unpool2d``, has refused such indices; pooling's own -1 means "no pixel").
    size : (H, W)
    accumulate : bool
        Where several values share a place: True adds them up (gradient of pooling), False keeps the last in row-major
        order (unpooling).

    Returns
    -------
    array (N, C, H, W)
        Of the values' type.
    """
    n, c, oh, ow = values.shape
    h, w = size
    image, channel = np.ogrid[:n, :c]  # (N, 1), (1, C)
    image, channel = image[:, :, None], channel[:, :, None]  # (N, 1, 1), (1, C, 1)
    flat = indices.reshape(n, c, oh * ow)  # (N, C, OH, OW) -> (N, C, OH*OW)
    place = np.where((flat >= 0) & (flat < h * w), flat, h * w)  # a place behind the plane takes what is dropped
    planes = np.zeros((n, c, h * w + 1), values.dtype)
    if accumulate:
        np.add.at(planes, (image, channel, place), values.reshape(n, c, oh * ow))
    else:
        planes[image, channel, place] = values.reshape(n, c, oh * ow)
    return planes[:, :, : h * w].reshape(n, c, h, w)


def gather_from_plane(plane: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return the values that lie at the indices: the adjoint of ``scatter_to_plane``.

    Parameters
    ----------
    plane : float array (N, C, H, W)
    indices : int64 array (N, C, OH, OW)
        Flat places in the plane; outside of it lies 0.

    Returns
    -------
    array (N, C, OH, OW)
        Of the plane's type.
    """
    n, c, h, w = plane.shape
    flat = indices.reshape(n, c, indices.shape[2] * indices.shape[3])  # (N, C, OH, OW) -> (N, C, OH*OW)
    inside = (flat >= 0) & (flat < h * w)
    behind = np.zeros((n, c, 1), plane.dtype)
    places = np.concatenate([plane.reshape(n, c, h * w), behind], axis=2)  # (N, C, H, W) -> (N, C, H*W + 1)
    return np.take_along_axis(places, np.where(inside, flat, h * w), axis=2).reshape(indices.shape)
