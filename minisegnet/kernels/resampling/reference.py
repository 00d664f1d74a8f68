"""Bilinear resizing and its adjoint in NumPy, to be read. These docstrings are the contract for every backend.

Resizing is linear in the pixels and treats the two axes one after the other. With one small matrix per axis, two entries
to a row, ``output = A_h @ image @ A_w.T``; its adjoint is ``grad_image = A_h.T @ grad @ A_w``. Below, the forward *takes*
the two entries of each row, and the adjoint *adds* them back where they were taken from.
"""

from __future__ import annotations

import numpy as np

from .taps import bilinear_taps


def resize_bilinear(input, size, align_corners=False, scale=(None, None)):
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
    lower, upper, fraction = _taps(input, input.shape[2], size[0], align_corners, scale[0])
    fraction = fraction[:, None]  # (OH, 1): the same along a row
    rows = (1 - fraction) * input[:, :, lower] + fraction * input[:, :, upper]  # (N, C, H, W) -> (N, C, OH, W)
    lower, upper, fraction = _taps(input, input.shape[3], size[1], align_corners, scale[1])
    return (1 - fraction) * rows[..., lower] + fraction * rows[..., upper]  # (N, C, OH, W) -> (N, C, OH, OW)


def resize_bilinear_grad(grad_output, input_size, align_corners=False, scale=(None, None)):
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
    n, c, oh, ow = grad_output.shape
    h, w = input_size
    lower, upper, fraction = _taps(grad_output, w, ow, align_corners, scale[1])
    grad_rows = np.zeros((n, c, oh, w), grad_output.dtype)
    np.add.at(grad_rows, (..., lower), (1 - fraction) * grad_output)  # (N, C, OH, OW) -> (N, C, OH, W)
    np.add.at(grad_rows, (..., upper), fraction * grad_output)
    lower, upper, fraction = _taps(grad_output, h, oh, align_corners, scale[0])
    fraction = fraction[:, None]  # (OH, 1)
    grad_input = np.zeros((n, c, h, w), grad_output.dtype)
    np.add.at(
        grad_input, (slice(None), slice(None), lower), (1 - fraction) * grad_rows
    )  # (N, C, OH, W) -> (N, C, H, W)
    np.add.at(grad_input, (slice(None), slice(None), upper), fraction * grad_rows)
    return grad_input


def _taps(image, in_size, out_size, align_corners, scale):
    """Return the taps of one axis with the fractions in the image's type, so that float32 stays float32."""
    lower, upper, fraction = bilinear_taps(in_size, out_size, align_corners, scale)
    return lower, upper, fraction.astype(image.dtype)
