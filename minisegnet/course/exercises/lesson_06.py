"""Lesson 06: dilated convolution: the same weights, read further apart."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..checking import Exercise, Misconception
from .placing import place


def dilated_conv2d(input, weight, dilation):
    """Return the convolution of (N, C, H, W) with (O, C, KH, KW) whose taps lie ``dilation`` (rows, columns) apart."""
    span = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]  # the effective kernel
    windows = sliding_window_view(input, span, axis=(2, 3))  # (N, C, OH, OW, span, span)
    taps = windows[..., :: dilation[0], :: dilation[1]]  # (N, C, OH, OW, KH, KW)
    return np.einsum("nchwyx,ocyx->nohw", taps, weight)  # (N, O, OH, OW)


def _cases(rng):
    sizes = [
        ((1, 1, 7, 8), (1, 1, 3, 3), (2, 2), np.float64),
        ((1, 1, 6, 5), (1, 1, 3, 3), (1, 1), np.float64),
        ((2, 3, 12, 14), (4, 3, 3, 2), (2, 3), np.float64),
        ((1, 2, 15, 13), (2, 2, 2, 4), (3, 1), np.float32),
        ((1, 4, 12, 13), (3, 4, 3, 3), (3, 2), np.float32),
    ]
    return [(rng.standard_normal(i).astype(t), rng.standard_normal(w).astype(t), d) for i, w, d, t in sizes]


def _as_stride(input, weight, dilation):
    return dilated_conv2d(input, weight, (1, 1))[:, :, :: dilation[0], :: dilation[1]]


def _repeated(input, weight, dilation):
    grown = weight.repeat(dilation[0], axis=2).repeat(dilation[1], axis=3)
    rows, columns = ((k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True))
    return dilated_conv2d(input, grown[:, :, :rows, :columns], (1, 1))


def _repeated_whole(input, weight, dilation):
    return dilated_conv2d(input, weight.repeat(dilation[0], axis=2).repeat(dilation[1], axis=3), (1, 1))


def _same_size(input, weight, dilation):
    rows, columns = ((k - 1) * d for k, d in zip(weight.shape[2:], dilation, strict=True))
    sides = ((0, 0), (0, 0), (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2))
    return dilated_conv2d(np.pad(input, sides), weight, dilation)


def _input_apart(input, weight, dilation):
    n, c, h, w = input.shape
    apart = np.zeros((n, c, (h - 1) * dilation[0] + 1, (w - 1) * dilation[1] + 1), input.dtype)
    apart[:, :, :: dilation[0], :: dilation[1]] = input
    return dilated_conv2d(apart, weight, (1, 1))


def _window_of_k_times_d(input, weight, dilation):
    rows, columns = (n - k * d + 1 for n, k, d in zip(input.shape[2:], weight.shape[2:], dilation, strict=True))
    return dilated_conv2d(input, weight, dilation)[:, :, :rows, :columns]


def _gap_too_wide(input, weight, dilation):
    wider = tuple(d + 1 for d in dilation)
    room = [max(0, (k - 1) * w + 1 - n) for n, k, w in zip(input.shape[2:], weight.shape[2:], wider, strict=True)]
    return dilated_conv2d(np.pad(input, ((0, 0), (0, 0), (0, room[0]), (0, room[1]))), weight, wider)


def _network():
    from ... import nn
    from ...nn import init

    rng = np.random.default_rng(2)
    with init.no_draws():
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, dilation=2), nn.ReLU(), nn.Conv2d(4, 2, 2, dilation=3)
        )
    for parameter in model.parameters():
        parameter.data = rng.standard_normal(parameter.shape)
    return model, rng.standard_normal((1, 3, 12, 13))


DILATED_CONV = Exercise(
    name="dilated-conv",
    title="dilated convolution",
    task="""`input` is (N, C, H, W), `weight` (O, C, KH, KW), `dilation` a pair (rows, columns). A convolution, but the kernel's
weights read pixels that lie `dilation` apart: weight (y, x) of output cell (i, j) meets input pixel
`(i + y*dilation[0], j + x*dilation[1])`. Stride 1, no padding; the result has the input's type.""",
    solve=dilated_conv2d,
    cases=_cases,
    tolerance=1e-4,
    hints=(
        "Draw three taps at rate 2 on a line of cells: from the first to the last, how many cells do they span? That span, "
        "not the number of weights, decides how many places there are.",
        "The span is `(K - 1) * d + 1`, so `OH = H - (KH - 1) * dilation[0]`. Loop over the *weights* (y, x): each meets one "
        "shifted rectangle of the input, of the output's size.",
        "For each y and x: `part = input[:, :, y*dilation[0] : y*dilation[0]+OH, x*dilation[1] : x*dilation[1]+OW]`, then "
        '`output += np.einsum("nchw,oc->nohw", part, weight[:, :, y, x])`.',
    ),
    misconceptions=(
        Misconception(
            "dilation as stride",
            _as_stride,
            "You move the *window* by `dilation`: that is a stride, and the output loses resolution. Dilation moves the "
            "*taps* apart within the window; the window still stops at every pixel.",
        ),
        Misconception(
            "weights repeated to fill the gaps",
            _repeated,
            "You repeat each weight to fill the gaps: then the kernel is larger. Dilation adds no weights and no products: "
            "between the taps it reads nothing, as if zeros stood there.",
        ),
        Misconception(
            "an enlarged kernel",
            _repeated_whole,
            "You enlarge the kernel to `K*d` by repeating its weights. Dilation adds no weights: KH x KW products a cell, "
            "spread over a span of `(K - 1)*d + 1`.",
        ),
        Misconception(
            "the rate counts the cells between",
            _gap_too_wide,
            "You leave `dilation` cells *between* two taps. The rate is the distance from tap to tap: rate 1 is the "
            "ordinary convolution, rate 2 leaves one cell out.",
        ),
        Misconception(
            "the rate is ignored",
            lambda input, weight, dilation: dilated_conv2d(input, weight, (1, 1)),
            "That is the ordinary convolution: `dilation` is not used. The taps must lie `dilation` pixels apart.",
        ),
        Misconception(
            "rows and columns of the rate swapped",
            lambda input, weight, dilation: dilated_conv2d(
                input.swapaxes(2, 3), weight.swapaxes(2, 3), dilation
            ).swapaxes(2, 3),
            "You use `dilation[0]` for columns and `dilation[1]` for rows. The pair is (rows, columns), like every size here.",
        ),
        Misconception(
            "zeros between the pixels",
            _input_apart,
            "You put zeros between the *pixels*: that enlarges the image, and belongs to the transposed convolution "
            "(lesson 08). Here the gaps are between the kernel's *weights*.",
        ),
        Misconception(
            "the size is kept by padding",
            _same_size,
            "You surrounded the image with zeros so that its size stays. Networks often do, by `padding=dilation` for 3x3; "
            "here there is no padding, and `(K - 1)*d` rows are lost.",
        ),
        Misconception(
            "a span of K*d",
            _window_of_k_times_d,
            "Your output is d - 1 rows too short: you count a span of `K*d`. After the last tap comes no gap: "
            "the span is `(K - 1)*d + 1`.",
        ),
    ),
    praise="The same weights, the same number of products, a wider view.",
    place=lambda function: place("conv2d", function, _network, ("conv2d_grad_input", "conv2d_grad_weight")),
)


def holes(kernel, rates):
    """Return how many pixels one output pixel leaves out between the first and the last that it sees, on a line."""
    seen = {0}
    for rate in rates:
        seen = {place + rate * tap for place in seen for tap in range(kernel)}
    return max(seen) + 1 - len(seen)


def _span(kernel, rates):
    return 1 + sum((kernel - 1) * rate for rate in rates)


def _gaps_added(kernel, rates):
    return sum((kernel - 1) * (rate - 1) for rate in rates)


def _of_the_last(kernel, rates):
    return holes(kernel, rates[-1:])


def _taps_added(kernel, rates):
    return _span(kernel, rates) - kernel * len(rates)


def _side_by_side(kernel, rates):
    seen = {rate * tap for rate in rates for tap in range(kernel)}
    return max(seen) + 1 - len(seen)


def _stepped(kernel, rates):
    # The mistake: each layer's rate multiplies what the layers before it stepped over, as strides do.
    pace, seen = 1, {0}
    for rate in rates:
        pace *= rate
        seen = {place + pace * tap for place in seen for tap in range(kernel)}
    return max(seen) + 1 - len(seen)


HOLES = Exercise(
    name="dilation-holes",
    title="rates without holes",
    task="""On a line of pixels, layers with `kernel` taps each are stacked; `rates` are their dilation rates, a tuple, the layer
next to the input first (stride 1). One output pixel sees some pixels of the input, from a first to a last. Return how many
pixels *between* these it does not see: `holes(3, (2, 2, 2))` is 6, for 7 of 13 are seen.""",
    solve=holes,
    cases=lambda rng: [
        (3, (2,)),
        (3, (1, 1, 1)),
        (3, (2, 2, 2)),
        (3, (1, 2, 4)),
        (3, (2, 4, 8)),
        (3, (1, 2, 5)),
        (3, (5, 2)),
        (2, (3, 2, 1)),
        (5, (1, 4)),
        (3, (3, 1, 9)),
        (2, (1, 5)),
    ],
    hints=(
        "Begin at the output: which places does one pixel of the *last* layer read? And each of these, in the layer below?",
        "Keep a set of places, at first `{0}`. Each layer replaces a place by `kernel` places, `rate` apart; a set holds a "
        "place once, however many paths lead there.",
        "`seen = {place + rate * tap for place in seen for tap in range(kernel)}`, once for each rate; then compare the span, "
        "`max(seen) + 1`, with `len(seen)`.",
    ),
    misconceptions=(
        Misconception(
            "the gaps of the layers are added",
            _gaps_added,
            "You add up the gaps of all layers. But one layer's taps can fall into another's gaps: at rates 1, 2, 4 every "
            "pixel is seen. Follow the places, not the gaps.",
        ),
        Misconception(
            "the last layer alone",
            _of_the_last,
            "You look at the last layer's rate alone. Each pixel it reads has itself read others, in the layers below.",
        ),
        Misconception(
            "all taps are counted once",
            _taps_added,
            "You take `kernel * layers` taps off the span. Taps multiply: each of the last layer's taps stands for all those "
            "of the layer below it (and several may meet in one pixel).",
        ),
        Misconception(
            "rates side by side",
            _side_by_side,
            "You let all layers read the *input*. That is the arrangement of parallel rates (ASPP); here each layer reads the "
            "one below it, so places add up.",
        ),
        Misconception(
            "rates multiply like strides",
            _stepped,
            "You multiply the rates from layer to layer, as one does with strides. Dilation keeps the resolution, so the "
            "pixels of each layer are one pixel of the input apart, and a rate counts those.",
        ),
        Misconception(
            "seen instead of unseen",
            lambda kernel, rates: _span(kernel, rates) - holes(kernel, rates),
            "That is how many pixels *are* seen. Return the others, those in between that no path reaches.",
        ),
    ),
    praise="You follow every path. The rule behind it: a layer's step may not exceed what the layers below it see without a gap.",
)

EXERCISES = (DILATED_CONV, HOLES)
