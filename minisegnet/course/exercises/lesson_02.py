"""Lesson 02: convolution, written by hand, and then at work in a network."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..checking import Exercise, Misconception
from .placing import place


def conv2d(input, weight, stride):
    """Return the convolution of images (N, C, H, W) with kernels (O, C, KH, KW); ``stride`` is (rows, columns)."""
    windows = sliding_window_view(input, weight.shape[2:], axis=(2, 3))  # (N, C, all rows, all columns, KH, KW)
    windows = windows[:, :, :: stride[0], :: stride[1]]  # (N, C, OH, OW, KH, KW)
    return np.einsum("nchwyx,ocyx->nohw", windows, weight)  # (N, O, OH, OW)


def _cases(rng):
    # Sizes, strides and kernels that differ by axis, so that a swap shows; a case that leaves rows over; two types.
    sizes = [
        ((1, 1, 5, 6), (1, 1, 3, 3), (1, 1), np.float64),
        ((1, 1, 3, 3), (1, 1, 3, 3), (1, 1), np.float64),
        ((2, 3, 8, 7), (4, 3, 3, 2), (2, 1), np.float64),
        ((1, 2, 9, 12), (3, 2, 2, 4), (2, 3), np.float32),
        ((2, 4, 6, 6), (2, 4, 1, 1), (1, 1), np.float32),
    ]
    return [(rng.standard_normal(i).astype(t), rng.standard_normal(w).astype(t), s) for i, w, s, t in sizes]


def _flipped(input, weight, stride):
    return conv2d(input, weight[:, :, ::-1, ::-1], stride)


def _one_channel_each(input, weight, stride):
    taken = np.arange(weight.shape[0]) % weight.shape[1]
    return np.stack(
        [conv2d(input[:, c : c + 1], weight[o : o + 1, c : c + 1], stride)[:, 0] for o, c in enumerate(taken)], axis=1
    )


def _no_sum(input, weight, stride):
    return np.stack([conv2d(input[:, c : c + 1], weight[:, c : c + 1], stride) for c in range(input.shape[1])], axis=2)


def _same_size(input, weight, stride):
    kh, kw = weight.shape[2:]
    padding = ((0, 0), (0, 0), ((kh - 1) // 2, kh // 2), ((kw - 1) // 2, kw // 2))
    return conv2d(np.pad(input, padding), weight, stride)


def _size_without_one(input, weight, stride):
    rows, columns = ((n - k) // s for n, k, s in zip(input.shape[2:], weight.shape[2:], stride, strict=True))
    return conv2d(input, weight, stride)[:, :, :rows, :columns]


def _network():
    from ... import nn
    from ...nn import init

    rng = np.random.default_rng(1)
    with init.no_draws():
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3, stride=2))
    for parameter in model.parameters():
        parameter.data = rng.standard_normal(parameter.shape)
    return model, rng.standard_normal((2, 3, 9, 10))


CONV2D = Exercise(
    name="conv2d",
    title="a convolution of your own",
    task="""`input` holds images (N, C, H, W), `weight` kernels (O, C, KH, KW), `stride` is a pair (rows, columns). No padding.
Return (N, O, OH, OW), in the input's type (`input.dtype`): each output cell is the sum, over all channels and the whole
window, of input times weight; the window moves by `stride`. Loops are welcome; so is `sliding_window_view`.""",
    solve=conv2d,
    cases=_cases,
    tolerance=1e-4,
    hints=(
        "How many places has a window of KH rows on H rows, if it moves by s? Count for H = 5, KH = 3, s = 1, then s = 2.",
        "OH = (H - KH) // stride[0] + 1. Output cell (i, j) reads `input[:, :, i*stride[0] : i*stride[0]+KH, "
        "j*stride[1] : j*stride[1]+KW]`, a block of shape (N, C, KH, KW).",
        "In two loops over i and j: `output[:, :, i, j] = np.tensordot(block, weight, axes=((1, 2, 3), (1, 2, 3)))`, where "
        "`output = np.empty((N, O, OH, OW), input.dtype)`.",
    ),
    misconceptions=(
        Misconception(
            "the kernel is rotated",
            _flipped,
            "You rotated the kernel by 180 degrees: that is convolution in the mathematician's sense. Deep learning leaves "
            "it as it is (a *cross-correlation*): weight (0, 0) meets the window's upper left pixel.",
        ),
        Misconception(
            "no sum over channels: one kernel a channel",
            _one_channel_each,
            "Each of your output maps reads one input channel only. A kernel is as deep as the input, (C, KH, KW): *all* "
            "channels are added into one number.",
        ),
        Misconception(
            "channels kept apart",
            _no_sum,
            "Your result still has an axis for the input's channels. One kernel gives *one* map: add over the channels too.",
        ),
        Misconception(
            "the stride is ignored",
            lambda input, weight, stride: conv2d(input, weight, (1, 1)),
            "The window moves by one pixel whatever `stride` says. With stride s, output cell i begins at input row `i*s`.",
        ),
        Misconception(
            "rows and columns of the stride swapped",
            lambda input, weight, stride: conv2d(input, weight, stride[::-1]),
            "You use `stride[0]` for columns and `stride[1]` for rows. The pair is (rows, columns), like every size here.",
        ),
        Misconception(
            "the mean instead of the sum",
            lambda input, weight, stride: conv2d(input, weight, stride) / weight[0].size,
            "You divide by the number of products: a convolution *adds* them. A mean is the special kernel whose weights "
            "are all 1/size.",
        ),
        Misconception(
            "the size is kept by padding",
            _same_size,
            "You surrounded the image with zeros to keep its size. Here the window stays inside: it has "
            "(H - KH) // stride + 1 places.",
        ),
        Misconception(
            "one place forgotten",
            _size_without_one,
            "Your output lacks its last row and column: a window of K on N pixels has N - K + 1 places, as the first place "
            "counts too. A window as large as the image has one.",
        ),
    ),
    praise="Products of a window with a kernel, added over rows, columns and channels.",
    place=lambda function: place("conv2d", function, _network, ("conv2d_grad_input", "conv2d_grad_weight")),
)


def output_size(n, kernel, padding, stride):
    """Return how many places a window of ``kernel`` pixels has on ``n`` pixels with ``padding`` zeros on each side."""
    return (n + 2 * padding - kernel) // stride + 1


OUTPUT_SIZE = Exercise(
    name="output-size",
    title="the output's size",
    task="""A window of `kernel` pixels moves over `n` pixels with `padding` zeros before and after them, by `stride` at a time.
Return how many places it has, as a whole number. (The window fits at least once.)""",
    solve=output_size,
    cases=lambda rng: [
        (5, 3, 0, 1),
        (4, 3, 1, 2),
        (3, 3, 0, 1),
        (6, 3, 0, 2),
        (7, 3, 1, 3),
        (224, 7, 3, 2),
        (8, 2, 0, 2),
    ],
    hints=(
        "Draw five cells and a window of three. At which cells can the window *begin*? Count them, then do it with steps of 2.",
        "With the zeros there are `n + 2 * padding` cells. The first window lies at the very beginning: how many cells are "
        "left behind it, and how often does a step fit into them?",
        "Behind the first window are `n + 2 * padding - kernel` cells, a step fits `// stride` times, and the first place "
        "counts too: + 1.",
    ),
    misconceptions=(
        Misconception(
            "one place forgotten",
            lambda n, kernel, padding, stride: (n + 2 * padding - kernel) // stride,
            "You count the steps. The window stands once before its first step: one more place.",
        ),
        Misconception(
            "padding on one side",
            lambda n, kernel, padding, stride: (n + padding - kernel) // stride + 1,
            "You add the padding once; there are zeros on *both* sides.",
        ),
        Misconception(
            "rounded up",
            lambda n, kernel, padding, stride: -(-(n + 2 * padding - kernel) // stride) + 1,
            "You round up where a step does not fit any more. The window never sticks out: what is left over is not read.",
        ),
        Misconception(
            "a true division",
            lambda n, kernel, padding, stride: (n + 2 * padding - kernel) / stride + 1,
            "Your number of places is not whole: a step that fits half is no step. Use `//`.",
        ),
        Misconception(
            "the stride divides the size",
            lambda n, kernel, padding, stride: n // stride,
            "You divide the size by the stride. That is so only where padding makes up for the kernel; count the places of "
            "the window instead.",
        ),
        Misconception(
            "the padding is ignored",
            lambda n, kernel, padding, stride: (n - kernel) // stride + 1,
            "You leave out the zeros: `padding` of them stand before the pixels, and as many behind.",
        ),
    ),
    praise="Padding adds places, a stride leaves some out, and the first one counts.",
)

EXERCISES = (OUTPUT_SIZE, CONV2D)
