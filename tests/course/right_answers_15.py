"""Right answers to the exercises of lesson 15, each in two styles, and what the network says of those it is given."""

import numpy as np

from minisegnet.kernels.convolution.reference import conv2d


def _tile_by_nesting(tile, kernel):
    # The formula for one row, whose "numbers" are what the formula makes of the columns: products stay apart until the end.
    def spread(d):
        return np.stack([d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]])

    def taps(g):
        return np.stack([g[0], (g[0] + g[1] + g[2]) / 2, (g[0] - g[1] + g[2]) / 2, g[2]])

    def back(m):
        return np.stack([m[0] + m[1] + m[2], m[1] - m[2] - m[3]])

    products = spread(spread(tile).T) * taps(taps(kernel).T)  # both transposed
    return back(back(products).T)


def _tile_by_letters(tile, kernel):
    from minisegnet.course.exercises.lesson_15 import AT, BT, G

    spread = np.einsum("ij,jk,lk->il", BT.astype(tile.dtype), tile, BT.astype(tile.dtype))
    weights = np.einsum("ij,jk,lk->il", G.astype(tile.dtype), kernel, G.astype(tile.dtype))
    return np.einsum("ij,jk,lk->il", AT.astype(tile.dtype), spread * weights, AT.astype(tile.dtype))


def _time_by_intensity(products, numbers, peak, bandwidth):
    if products == 0:
        return 4 * numbers / bandwidth / 1e6
    intensity = 2 * products / (4 * numbers)
    return 2 * products / min(peak, intensity * bandwidth) / 1e6


def _time_of_arrays(products, numbers, peak, bandwidth):
    work, machine = np.array([2 * products, 4 * numbers]), np.array([peak, bandwidth])
    return (work / machine).max() / 10**6


RIGHT = {
    "winograd-tile": (_tile_by_nesting, _tile_by_letters),
    "least-time": (_time_by_intensity, _time_of_arrays),
}
PLACED = {"winograd-tile": ("conv2d=_tile_by_nesting", "180 times", "`conv2d_grad_input` and `conv2d_grad_weight`")}
LIBRARY = {"winograd-tile": lambda tile, kernel: conv2d(tile[None, None], kernel[None, None])[0, 0]}
