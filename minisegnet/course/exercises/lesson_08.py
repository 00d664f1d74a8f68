"""Lesson 08: transposed convolution: every input pixel stamps the kernel, and overlaps add up."""

import numpy as np

from ..checking import Exercise, Misconception
from .placing import place


def transposed_conv2d(input, weight, stride):
    """Stamp the kernels (C, O, KH, KW) with every pixel of (N, C, H, W), ``stride`` = (rows, columns) apart; add up."""
    (n, _, h, w), (_, o, kh, kw) = input.shape, weight.shape
    output = np.zeros((n, o, (h - 1) * stride[0] + kh, (w - 1) * stride[1] + kw), input.dtype)
    for i in range(h):
        for j in range(w):
            stamp = np.tensordot(input[:, :, i, j], weight, axes=(1, 0))  # (N, O, KH, KW)
            y, x = i * stride[0], j * stride[1]
            output[:, :, y : y + kh, x : x + kw] += stamp
    return output


def _cases(rng):
    # The lecture's 2 x 2 first; then sizes, strides and kernels that differ by axis, and a stride that leaves gaps.
    lecture = (np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), np.arange(1.0, 10.0).reshape(1, 1, 3, 3), (2, 2))
    sizes = [
        ((2, 3, 3, 4), (3, 2, 3, 2), (2, 1), np.float64),
        ((1, 2, 4, 2), (2, 4, 2, 4), (1, 3), np.float32),
        ((1, 3, 2, 3), (3, 3, 2, 3), (3, 2), np.float32),
    ]
    return [
        lecture,
        *((rng.standard_normal(i).astype(t), rng.standard_normal(w).astype(t), s) for i, w, s, t in sizes),
    ]


def _flipped(input, weight, stride):
    return transposed_conv2d(input, weight[:, :, ::-1, ::-1], stride)


def _overwritten(input, weight, stride):
    output = np.zeros_like(transposed_conv2d(input, weight, stride))
    for i in range(input.shape[2]):
        for j in range(input.shape[3]):
            y, x = i * stride[0], j * stride[1]
            stamp = np.tensordot(input[:, :, i, j], weight, axes=(1, 0))
            output[:, :, y : y + weight.shape[2], x : x + weight.shape[3]] = stamp
    return output


def _averaged(input, weight, stride):
    count = transposed_conv2d(np.ones_like(input[:1, :1]), np.ones_like(weight[:1, :1]), stride)
    return transposed_conv2d(input, weight, stride) / np.maximum(count, 1)


def _trimmed(input, weight, stride):
    rows, columns = input.shape[2] * stride[0], input.shape[3] * stride[1]
    output = transposed_conv2d(input, weight, stride)
    room = [(0, max(0, rows - output.shape[2])), (0, max(0, columns - output.shape[3]))]
    return np.pad(output, ((0, 0), (0, 0), *room))[:, :, :rows, :columns]


def _first_channel(input, weight, stride):
    return transposed_conv2d(input[:, :1], weight[:1], stride)


def _down(input, weight, stride):
    kh, kw = weight.shape[2:]
    around = np.pad(input, ((0, 0), (0, 0), (kh - 1, kh - 1), (kw - 1, kw - 1)))
    windows = np.lib.stride_tricks.sliding_window_view(around, (kh, kw), axis=(2, 3))[:, :, :: stride[0], :: stride[1]]
    return np.einsum("nchwyx,coyx->nohw", windows, weight)


def _network():
    from ... import nn
    from ...nn import init

    rng = np.random.default_rng(4)
    with init.no_draws():
        model = nn.Sequential(
            nn.Conv2d(2, 3, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1, output_padding=1),
        )
    for parameter in model.parameters():
        parameter.data = rng.standard_normal(parameter.shape)
    return model, rng.standard_normal((2, 2, 6, 8))


def _seat(function):
    def seat(grad_output, weight, input_size, stride=(1, 1), padding=(0, 0)):
        # The student stamps; the crop by padding, and how much of the end stays, is the seat's.
        whole = function(grad_output, weight, stride)
        (top, left), (rows, columns) = padding, input_size
        missing = [(0, max(0, p + n - m)) for p, n, m in zip(padding, input_size, whole.shape[2:], strict=True)]
        return np.pad(whole, ((0, 0), (0, 0), *missing))[:, :, top : top + rows, left : left + columns]

    return seat


TRANSPOSED_CONV = Exercise(
    name="transposed-conv",
    title="a transposed convolution of your own",
    task="""`input` is (N, C, H, W), `weight` (C, O, KH, KW), `stride` a pair (rows, columns). Every input pixel (i, j) lays
down its stamp, for each output channel the sum over C of its value times the kernel, with the upper left corner at
`(i*stride[0], j*stride[1])`. Where stamps overlap they add up. Return all that the stamps cover: nothing is cropped.""",
    solve=transposed_conv2d,
    cases=_cases,
    tolerance=1e-4,
    hints=(
        "Where does the last stamp begin, and how large is it? That tells the output's size; begin with zeros.",
        "The output has `(H - 1)*stride[0] + KH` rows. One stamp of pixel (i, j) has the shape (N, O, KH, KW): the sum over C of "
        "`input[:, c, i, j]` times `weight[c]`.",
        "In two loops: `stamp = np.tensordot(input[:, :, i, j], weight, axes=(1, 0))`, then "
        "`output[:, :, y : y+KH, x : x+KW] += stamp` with `y, x = i*stride[0], j*stride[1]`.",
    ),
    misconceptions=(
        Misconception(
            "the stamp is rotated",
            _flipped,
            "Your stamp is the kernel rotated by 180 degrees. The kernel is stamped as it is; only who *gathers*, with zeros put "
            "between the pixels and a window moved over them, has to rotate it.",
        ),
        Misconception(
            "later stamps overwrite",
            _overwritten,
            "Where stamps overlap, the later one wins: you write with `=`. They add up: `+=`.",
        ),
        Misconception(
            "overlaps are averaged",
            _averaged,
            "You divide by the number of stamps that reach a pixel. They are added: that is why uneven overlaps show.",
        ),
        Misconception(
            "the size is H times the stride",
            _trimmed,
            "Your output has `H * stride` rows. Here nothing is cropped: the last stamp begins at `(H - 1) * stride`, KH high.",
        ),
        Misconception(
            "one channel is read",
            _first_channel,
            "Only the first input channel stamps. All C of them do, each with its own kernel, and they add up.",
        ),
        Misconception(
            "a convolution, with the stride as on the way down",
            _down,
            "That is a convolution with zeros around: the stride takes you *down*, through the input. Here it is the distance "
            "between two stamps in the *output*.",
        ),
        Misconception(
            "the stride is ignored",
            lambda input, weight, stride: transposed_conv2d(input, weight, (1, 1)),
            "Your stamps lie one pixel apart whatever `stride` says: the output has to grow with it.",
        ),
        Misconception(
            "rows and columns of the stride swapped",
            lambda input, weight, stride: transposed_conv2d(input, weight, stride[::-1]),
            "You use `stride[0]` for columns and `stride[1]` for rows. The pair is (rows, columns), like every size here.",
        ),
    ),
    praise="Every pixel stamps, stamps lie a stride apart, overlaps add up.",
    place=lambda function: place("conv2d_grad_input", function, _network, ("conv2d", "conv2d_grad_weight"), _seat),
)


def size_up(n, kernel, stride, padding, output_padding):
    """Return how many pixels a transposed convolution makes of ``n`` along one axis."""
    return (n - 1) * stride - 2 * padding + kernel + output_padding


SIZE_UP = Exercise(
    name="size-up",
    title="the size on the way up",
    task="""`n` pixels stamp a kernel of `kernel` pixels, `stride` apart. `padding` pixels are cropped at *both* ends, but
`output_padding` pixels fewer at the last one. Return how many are left, as a whole number.""",
    solve=size_up,
    cases=lambda rng: [
        (2, 3, 2, 0, 0),
        (2, 3, 2, 1, 0),
        (2, 3, 2, 1, 1),
        (64, 4, 2, 1, 0),
        (7, 5, 3, 2, 2),
        (1, 7, 1, 0, 0),
        (22, 64, 32, 0, 0),
    ],
    hints=(
        "Leave the crop out at first. The first stamp begins at 0: where does the last of `n` stamps begin?",
        "It begins at `(n - 1) * stride` and covers `kernel` pixels from there. What is cropped, at how many ends?",
        "`(n - 1) * stride + kernel` are covered, `2 * padding` go, and `output_padding` of them stay after all.",
    ),
    misconceptions=(
        Misconception(
            "the formula of the way down",
            lambda n, kernel, stride, padding, output_padding: (n + 2 * padding - kernel) // stride + 1,
            "That is the convolution's formula, the way down. Up: count what `n` stamps cover.",
        ),
        Misconception(
            "padding pads",
            lambda n, kernel, stride, padding, output_padding: (n - 1) * stride + 2 * padding + kernel + output_padding,
            "You add the padding. It is named after the convolution whose other direction this is: here it *crops*.",
        ),
        Misconception(
            "one step too many",
            lambda n, kernel, stride, padding, output_padding: n * stride - 2 * padding + kernel + output_padding,
            "You count `n` steps. Between `n` stamps there are `n - 1`.",
        ),
        Misconception(
            "n times the stride",
            lambda n, kernel, stride, padding, output_padding: n * stride,
            "That is right only where kernel, padding and output_padding are chosen for it, as 4, 1, 0 for stride 2.",
        ),
        Misconception(
            "cropped once",
            lambda n, kernel, stride, padding, output_padding: (n - 1) * stride - padding + kernel + output_padding,
            "You crop at one end; `padding` pixels go at *both*.",
        ),
        Misconception(
            "output_padding at both ends",
            lambda n, kernel, stride, padding, output_padding: (
                (n - 1) * stride - 2 * padding + kernel + 2 * output_padding
            ),
            "You add output_padding twice. It belongs to the *last* end alone.",
        ),
        Misconception(
            "output_padding left out",
            lambda n, kernel, stride, padding, output_padding: (n - 1) * stride - 2 * padding + kernel,
            "You leave out `output_padding`: so many pixels fewer are cropped at the end.",
        ),
    ),
    praise="What the stamps cover, less the crop at both ends, plus what stays at the last.",
)

EXERCISES = (SIZE_UP, TRANSPOSED_CONV)
