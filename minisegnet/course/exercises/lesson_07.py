"""Lesson 07: up by rule: the weights of linear interpolation, and max-unpooling, which puts values back at their places."""

import numpy as np

from ..checking import Exercise, Misconception
from .placing import place


def max_unpool2d(values, indices, size):
    """Put ``values`` (N, C, OH, OW) at their ``indices`` (row * W + column) in planes of zeros of ``size`` (H, W)."""
    n, c = values.shape[:2]
    planes = np.zeros((n, c, size[0] * size[1]), values.dtype)
    np.put_along_axis(planes, indices.reshape(n, c, -1), values.reshape(n, c, -1), axis=2)
    return planes.reshape(n, c, *size)  # (N, C, H*W) -> (N, C, H, W)


def _cases(rng):
    # The lecture's own 4 x 4 first; then planes higher than wide, windows that leave a row over, windows that overlap.
    from ...kernels.pooling.reference import max_pool2d

    lecture = np.array([[[[0, 2, 1, 3], [5, 1, 2, 0], [0, 3, 7, 2], [4, 1, 0, 6]]]], dtype=np.float64)
    plans = [
        (lecture, (2, 2), (2, 2)),
        (rng.standard_normal((2, 3, 6, 4)), (2, 2), (2, 2)),
        (rng.standard_normal((1, 2, 5, 7)), (2, 3), (2, 3)),
        (rng.standard_normal((1, 2, 6, 9)).astype(np.float32), (3, 3), (3, 3)),
        (rng.standard_normal((2, 1, 7, 5)).astype(np.float32), (3, 3), (2, 2)),
    ]
    return [(*max_pool2d(image, kernel, stride), image.shape[2:]) for image, kernel, stride in plans]


def _windows(indices, size):
    """Return how far apart windows stand, as far as the sizes tell."""
    return size[0] // indices.shape[2], size[1] // indices.shape[3]


def _upper_left(values, indices, size):
    high, wide = _windows(indices, size)
    result = np.zeros((*values.shape[:2], *size), values.dtype)
    result[:, :, : values.shape[2] * high : high, : values.shape[3] * wide : wide] = values
    return result


def _filled(values, indices, size):
    high, wide = _windows(indices, size)
    grown = values.repeat(high, axis=2).repeat(wide, axis=3)
    rest = [(0, whole - part) for whole, part in zip(size, grown.shape[2:], strict=True)]
    return np.pad(grown, ((0, 0), (0, 0), *rest))


def _transposed(values, indices, size):
    rows, columns = indices // size[1], indices % size[1]
    return max_unpool2d(values, (columns * size[0] + rows) % (size[0] * size[1]), size)


def _divided_by_the_height(values, indices, size):
    rows, columns = indices // size[0] % size[0], indices % size[0] % size[1]
    return max_unpool2d(values, rows * size[1] + columns, size)


def _accumulated(values, indices, size):
    n, c = values.shape[:2]
    planes = np.zeros((n, c, size[0] * size[1]), values.dtype)
    image, channel = np.ogrid[:n, :c]
    np.add.at(planes, (image[..., None], channel[..., None], indices.reshape(n, c, -1)), values.reshape(n, c, -1))
    return planes.reshape(n, c, *size)


def _one_plane(values, indices, size):
    first = np.broadcast_to(indices[:1, :1], indices.shape)
    return max_unpool2d(values, first, size)


def _ones(values, indices, size):
    return max_unpool2d(np.ones_like(values), indices, size)


def _network():
    from ... import nn
    from ...nn import init

    class Hourglass(nn.Module):
        def __init__(self):
            super().__init__()
            self.before = nn.Conv2d(2, 3, 3, padding=1)
            self.pool = nn.MaxPool2d(2, return_indices=True)
            self.unpool = nn.MaxUnpool2d(2)
            self.after = nn.Conv2d(3, 2, 3, padding=1)

        def forward(self, x):
            x = self.before(x)
            small, switches = self.pool(x)
            return self.after(self.unpool(small, switches, output_size=x.shape[2:]))

    rng = np.random.default_rng(3)
    with init.no_draws():
        model = Hourglass()
    for parameter in model.parameters():
        parameter.data = rng.standard_normal(parameter.shape)
    return model, rng.standard_normal((2, 2, 6, 8))


def _seat(function):
    from ...kernels.pooling.reference import scatter_to_plane

    def seat(values, indices, size, accumulate=True):
        # The seat serves two: the gradient of pooling adds up, unpooling does not. Only the second is the student's.
        return scatter_to_plane(values, indices, size) if accumulate else function(values, indices, size)

    return seat


MAX_UNPOOL = Exercise(
    name="max-unpool",
    title="max-unpooling",
    task="""Max-pooling left `values` (N, C, OH, OW) and its switches, `indices` of the same shape: for each value the place
where it was found, `row * W + column` in its own plane of `size` (H, W). Return (N, C, H, W), in the type of `values`: zeros,
with each value back at its place. Where windows overlapped, two equal values may share a place: it holds that value once.""",
    solve=max_unpool2d,
    cases=_cases,
    hints=(
        "Index 6 in a plane that is 4 wide: which row, which column? Which operation gives the one, which the other?",
        "`row, column = divmod(index, W)`, with W = size[1]. Begin with `np.zeros((N, C, H, W), values.dtype)`; each of the "
        "N times C planes has its own switches.",
        "In four loops: `row, column = divmod(indices[n, c, i, j], size[1])`, then "
        "`planes[n, c, row, column] = values[n, c, i, j]`.",
    ),
    misconceptions=(
        Misconception(
            "values restored: the window is filled",
            _filled,
            "You fill the whole window with its maximum: that is nearest-neighbour upsampling. Unpooling restores *one* "
            "place in each window; the other values are lost, and stay zero.",
        ),
        Misconception(
            "the switches are ignored",
            _upper_left,
            "Your values stand in the upper left corner of their windows, wherever the maximum was. The place is what the "
            "switches remember: `indices` says it.",
        ),
        Misconception(
            "columns before rows",
            _transposed,
            "You read the index as `column * H + row`: planes lie in memory row by row, so it is `row * W + column`.",
        ),
        Misconception(
            "divided by the height",
            _divided_by_the_height,
            "You divide the index by H. A row holds W numbers, so the row is index // W, the column index % W.",
        ),
        Misconception(
            "added up where windows overlap",
            _accumulated,
            "Where windows overlap you add the same value twice (`+=` or `np.add.at`). That is the *gradient* of pooling; "
            "unpooling writes the value once (`=`).",
        ),
        Misconception(
            "one set of switches for all planes",
            _one_plane,
            "You use the switches of the first plane for all. Each image and each channel has its own maxima, so its own "
            "`indices[n, c]`.",
        ),
        Misconception(
            "ones instead of values",
            _ones,
            "You mark the places with ones: write the *values* there.",
        ),
    ),
    praise="Places are restored, values are not: all but one of each window is zero.",
    place=lambda function: place("scatter_to_plane", function, _network, ("gather_from_plane",), _seat),
)


def linear_weights(n, m):
    """Return the weights (m, n) with which each of ``m`` new pixels of a row is mixed from the ``n`` old ones."""
    middles = (np.arange(m) + 0.5) * n / m - 0.5  # of the new pixels, where old pixel i has its middle at i
    middles = middles.clip(0, n - 1)  # beyond the outermost middles the value stays
    return np.maximum(0, 1 - np.abs(middles[:, None] - np.arange(n)))  # 1 on a middle, 0 one pixel away


def _mixed(places, n):
    """Return the weights (m, n) of the two old pixels around each place; a place may lie outside."""
    lower = np.floor(places).astype(int).clip(0, max(0, n - 2))
    weights = np.zeros((len(places), n))
    weights[np.arange(len(places)), lower] = 1 - (places - lower)
    weights[np.arange(len(places)), np.minimum(lower + 1, n - 1)] += places - lower
    return weights


def _middles(n, m):
    return (np.arange(m) + 0.5) * n / m - 0.5


def _corners_on_corners(n, m):
    return _mixed(np.arange(m) * ((n - 1) / max(1, m - 1)), n)


def _without_the_half(n, m):
    return _mixed((np.arange(m) * n / m).clip(0, n - 1), n)


def _nearest(n, m):
    return np.eye(n)[np.arange(m) * n // m]


def _exchanged(n, m):
    places = _middles(n, m).clip(0, n - 1)
    lower = np.floor(places).astype(int)
    return _mixed(2 * lower + 1 - places, n)


def _fading(n, m):
    return np.maximum(0, 1 - np.abs(_middles(n, m)[:, None] - np.arange(n)))


def _interpolating():
    from ... import functional as F
    from ... import nn
    from ...nn import init

    class DownAndUp(nn.Module):
        def __init__(self):
            super().__init__()
            self.before = nn.Conv2d(2, 3, 3, stride=2, padding=1)
            self.after = nn.Conv2d(3, 2, 3, padding=1)

        def forward(self, x):
            return self.after(F.interpolate(self.before(x), size=x.shape[2:], mode="bilinear"))

    rng = np.random.default_rng(4)
    with init.no_draws():
        model = DownAndUp()
    for parameter in model.parameters():
        parameter.data = rng.standard_normal(parameter.shape)
    return model, rng.standard_normal((2, 2, 6, 9))


def _along_both_axes(function):
    def seat(input, size, align_corners=False, scale=(None, None)):
        rows, columns = function(input.shape[2], size[0]), function(input.shape[3], size[1])
        return np.einsum("yh,nchw,xw->ncyx", rows, input, columns)

    return seat


LINEAR_WEIGHTS = Exercise(
    name="linear-weights",
    title="the weights of linear interpolation",
    task="""A row of `n` pixels becomes a row of `m`, with its edges on the same edges: `new = weights @ old`. Return `weights`, an
array (m, n): row j says how much of each old pixel goes into new pixel j. Values sit in the middles of pixels, change along
straight lines between two middles, and stay as they are beyond the outermost ones. `linear_weights(2, 4)` has the rows
1, 0 / 0.75, 0.25 / 0.25, 0.75 / 0, 1.""",
    solve=linear_weights,
    cases=lambda rng: [(2, 4), (3, 6), (3, 7), (5, 3), (4, 4), (1, 3), (6, 1), (7, 12)],
    hints=(
        "Where, in old pixels, does the middle of new pixel j lie? Where the middle of old pixel i? All else is a distance.",
        "Count from the first old middle: old pixel i is at i, new pixel j at `(j + 0.5) * n / m - 0.5`, but not before 0 and "
        "not beyond n - 1.",
        "The weight falls from 1 (on the middle) to 0 (one pixel away): `max(0, 1 - abs(place - i))`, for each j and i.",
    ),
    misconceptions=(
        Misconception(
            "corner middles on corner middles",
            _corners_on_corners,
            "You put the middles of the outermost pixels on each other (`align_corners=True`): steps of `(n - 1) / (m - 1)`. Here "
            "the *edges* stay on each other, so a new pixel is n / m wide and its middle lies at `(j + 0.5) * n / m`.",
        ),
        Misconception(
            "left edges instead of middles",
            _without_the_half,
            "You place new pixel j at `j * n / m`: that is its left edge, and the whole picture moves. Values sit in the middles: "
            "add half a new pixel, take off half an old one.",
        ),
        Misconception(
            "nearest-neighbour",
            _nearest,
            "Each of your rows takes one old pixel whole: that is nearest-neighbour. Between two middles both have a share.",
        ),
        Misconception(
            "the nearer pixel gets the smaller weight",
            _exchanged,
            "You give each of the two neighbours the distance to *itself*. The nearer one must get more: one minus the distance.",
        ),
        Misconception(
            "values go on changing beyond the last middle",
            lambda n, m: _mixed(_middles(n, m), n),
            "Outside the outermost middles you go on along the line: weights below 0, and values that no pixel had. There the "
            "value stays: clip the place to 0 and n - 1.",
        ),
        Misconception(
            "the border fades",
            _fading,
            "Near the border your weights do not add up to 1, so the rim gets darker. Clip the place to 0 and n - 1 first.",
        ),
        Misconception(
            "old for new",
            lambda n, m: linear_weights(n, m).T.copy(),
            "Rows and columns are exchanged: (m, n) is wanted, one row for each *new* pixel, so that `weights @ old` works.",
        ),
    ),
    praise="Each row adds up to 1: a mean of neighbours, the nearer the heavier. Along rows and then columns it is bilinear.",
    place=lambda function: place(
        "resize_bilinear", function, _interpolating, ("resize_bilinear_grad",), _along_both_axes
    ),
)

EXERCISES = (LINEAR_WEIGHTS, MAX_UNPOOL)
