"""Bilinear resizing and its adjoint in NumPy, to be read. These docstrings are the contract for every backend.

Resizing is linear in the pixels and treats the two axes one after the other. With one small matrix per axis, two entries
to a row, ``output = A_h @ image @ A_w.T``; its adjoint is ``grad_image = A_h.T @ grad @ A_w``. Below, the forward *takes*
the two entries of each row, and the adjoint *adds* them back where they were taken from.
"""

from __future__ import annotations

import numpy as np

from ...shapes import Size
from .taps import Scale, bilinear_taps


def resize_bilinear(
    input: np.ndarray, size: Size, align_corners: bool = False, scale: Scale = (None, None)
) -> np.ndarray:
    """Resize images by linear interpolation along the height, then along the width.

    Parameters
    ----------
    input : float array (N, C, H, W)
    size : (OH, OW)
        Both at least 1; so are H and W.
    align_corners : bool
        Whether the centres of the corner pixels stay in the corners; see ``taps.bilinear_taps``.
    scale : (scale_h, scale_w)
        The enlargement the caller asked for, or None on an axis where ``size`` alone decides.

    Returns
    -------
    array (N, C, OH, OW)
        Of the input's type. A NaN spreads to every output that reads its pixel, even with a fraction of 0.

    Notes
    -----
    As ``torch.nn.functional.interpolate(mode="bilinear")``, without antialiasing: shrinking by more than two skips pixels.
    """
    rows = _take(
        input.swapaxes(2, 3), size[0], align_corners, scale[0]
    )  # (N, C, H, W) -> (N, C, W, H) -> (N, C, W, OH)
    return _take(
        rows.swapaxes(2, 3), size[1], align_corners, scale[1]
    )  # (N, C, W, OH) -> (N, C, OH, W) -> (N, C, OH, OW)


def resize_bilinear_grad(
    grad_output: np.ndarray, input_size: Size, align_corners: bool = False, scale: Scale = (None, None)
) -> np.ndarray:
    """Return the gradient of ``resize_bilinear`` with respect to its input: the adjoint map.

    Parameters
    ----------
    grad_output : float array (N, C, OH, OW)
    input_size : (H, W)
        Size of the image that was resized.
    align_corners, scale
        As in the forward.

    Returns
    -------
    array (N, C, H, W)
        Of grad_output's type; <resize(x), y> = <x, resize_grad(y)>.
    """
    # (N, C, OH, OW) -> (N, C, OH, W) -> (N, C, W, OH) -> (N, C, W, H) -> (N, C, H, W)
    grad_rows = _add_back(grad_output, input_size[1], align_corners, scale[1])
    return _add_back(grad_rows.swapaxes(2, 3), input_size[0], align_corners, scale[0]).swapaxes(2, 3)


def _take(image: np.ndarray, out_size: int, align_corners: bool, scale: float | None) -> np.ndarray:
    """Resize the last axis: each output is a mix of the two pixels it lies between."""
    lower, upper, fraction = bilinear_taps(image.shape[-1], out_size, align_corners, scale)
    fraction = fraction.astype(image.dtype)  # so that float32 stays float32
    return (1 - fraction) * image[..., lower] + fraction * image[..., upper]


def _add_back(grad: np.ndarray, in_size: int, align_corners: bool, scale: float | None) -> np.ndarray:
    """Do the adjoint of ``_take``: add each output's gradient, by the same weights, to the two pixels it was mixed from."""
    lower, upper, fraction = bilinear_taps(in_size, grad.shape[-1], align_corners, scale)
    fraction = fraction.astype(grad.dtype)
    grad_image = np.zeros((*grad.shape[:-1], in_size), grad.dtype)
    from_last = np.moveaxis(grad_image, -1, 0)  # a view; np.add.at counts repeated indices, += would not
    np.add.at(from_last, lower, np.moveaxis((1 - fraction) * grad, -1, 0))
    np.add.at(from_last, upper, np.moveaxis(fraction * grad, -1, 0))
    return grad_image
