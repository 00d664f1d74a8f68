"""Where bilinear interpolation reads along one axis: the coordinate arithmetic, in one place for all backends."""

from __future__ import annotations

import numpy as np

Scale = tuple[float | None, float | None]  # the enlargement asked for, down and across; None where the sizes decide


def bilinear_taps(
    in_size: int, out_size: int, align_corners: bool = False, scale: float | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (lower, upper, fraction): output i is (1 - fraction[i]) * x[lower[i]] + fraction[i] * x[upper[i]].

    Parameters
    ----------
    in_size, out_size : int
        Pixels along the axis, before and after.
    align_corners : bool
        True: the centres of the first and last pixels of both coincide, and the rest is spread evenly between them.
        False: pixels are squares, and the outer edges of both images coincide.
    scale : float or None
        The enlargement that the caller asked for, used as given (in_size * scale need not be whole); None takes
        out_size / in_size. Ignored with ``align_corners``.

    Returns
    -------
    lower, upper : int64 arrays (out_size,)
        Neighbouring pixels, both non-decreasing; ``upper`` is ``lower + 1``, except at the last pixel, which is its own
        neighbour.
    fraction : float64 array (out_size,)
        How far the output lies from ``lower`` to ``upper``, in [0, 1); 0 where they are the same pixel.

    Notes
    -----
    The rules are PyTorch's: a coordinate before the first pixel is moved to it, and an axis that keeps its size is copied,
    whatever ``scale`` says. PyTorch computes coordinates in the image's type, we in float64.
    """
    i = np.arange(out_size)
    if in_size == out_size:
        return i, i, np.zeros(out_size)
    if align_corners:
        step = (in_size - 1) / (out_size - 1) if out_size > 1 else 0.0
        position = i * step
    else:
        step = 1 / scale if scale is not None else in_size / out_size
        position = np.maximum((i + 0.5) * step - 0.5, 0.0)
    lower = np.minimum(position.astype(np.int64), in_size - 1)
    upper = np.minimum(lower + 1, in_size - 1)
    return lower, upper, np.where(lower == upper, 0.0, position - lower)


def weighted_taps(
    in_size: int, out_size: int, align_corners: bool, scale: float | None, dtype: np.dtype
) -> tuple[np.ndarray, ...]:
    """Return the taps of one axis with the weights of both, and who reads: pixel i, only first[i] <= output < stop[i].

    The readers are neighbours because ``lower`` and ``upper`` never decrease and differ by at most one. The weights have
    the image's type: were they float64, or Python's 1, the loops would compute in float64.
    """
    lower, upper, fraction = bilinear_taps(in_size, out_size, align_corners, scale)
    i = np.arange(in_size)
    first, stop = np.searchsorted(upper, i, side="left"), np.searchsorted(lower, i, side="right")
    return lower, upper, (1 - fraction).astype(dtype), fraction.astype(dtype), first, stop
