"""Lesson 03: gradients by hand: of softmax cross-entropy, and of a convolution."""

import numpy as np

from ..checking import Exercise, Misconception
from .placing import place


def cross_entropy_grad(scores, labels):
    """Return the gradient of the mean cross-entropy for ``scores`` (N, K) with respect to the scores, (N, K)."""
    rise = np.exp(scores - scores.max(axis=1, keepdims=True))
    grad = rise / rise.sum(axis=1, keepdims=True)  # the probabilities
    grad[np.arange(len(labels)), labels] -= 1
    return grad / len(labels)


def _scores(rng):
    shapes = [((4, 3), np.float64, 1), ((1, 2), np.float64, 1), ((3, 3), np.float64, 3), ((5, 4), np.float32, 1)]
    return [(scale * rng.standard_normal(s).astype(t), rng.integers(0, s[1], s[0])) for s, t, scale in shapes]


def _probabilities(scores, axis=1):
    rise = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return rise / rise.sum(axis=axis, keepdims=True)


def _one_hot(scores, labels):
    return np.eye(scores.shape[1], dtype=scores.dtype)[labels]


def _without_care(scores, labels):
    rise = np.exp(scores)
    return (rise / rise.sum(axis=1, keepdims=True) - _one_hot(scores, labels)) / np.array(len(labels), scores.dtype)


TOO_LARGE = (
    "For scores near 900 your result is not finite: exp(900) is infinite. Take the largest score of the row away first; the "
    "probabilities stay what they are."
)


def _stands_large_scores(function):
    with np.errstate(all="ignore"):
        grad = function(np.array([[900.0, 0.0], [0.0, -900.0]]), np.array([1, 0]))
    return "" if np.isfinite(grad).all() else TOO_LARGE


CROSS_ENTROPY_GRAD = Exercise(
    name="cross-entropy-grad",
    title="the gradient of softmax cross-entropy",
    task="""`scores` is (N, K): for each of N pixels a score for each of K classes; `labels` (N,) says the right class of each.
The loss is the mean over the pixels of -log(p of the right class), where p is the softmax of a pixel's scores. Return its
gradient with respect to `scores`, (N, K). Some scores are as large as 900.""",
    solve=cross_entropy_grad,
    cases=_scores,
    hints=(
        "For one pixel the gradient is *what was said* minus *what is right*. What is said is the softmax, what is right is 1 "
        "for the right class and 0 for all others.",
        "The loss is a mean over N pixels, so each pixel's part is divided by N. And exp(900) is infinite: take the "
        "row's largest score away first, it changes no probability.",
        "`rise = np.exp(scores - scores.max(axis=1, keepdims=True))`, `p = rise / rise.sum(axis=1, keepdims=True)`, then "
        "`p[np.arange(N), labels] -= 1` and `return p / N`.",
    ),
    misconceptions=(
        Misconception(
            "the mean is forgotten",
            lambda scores, labels: _probabilities(scores) - _one_hot(scores, labels),
            "Your gradient is N times too large: the loss is the *mean* over the pixels, so each counts 1/N.",
        ),
        Misconception(
            "uphill",
            lambda scores, labels: (_one_hot(scores, labels) - _probabilities(scores)) / len(labels),
            "The sign is turned round: that is the direction in which to *go*. The gradient points uphill, p minus what is "
            "right; the step takes it away.",
        ),
        Misconception(
            "only the probabilities",
            lambda scores, labels: _probabilities(scores) / len(labels),
            "You return the probabilities, so every score would fall, the right one too. Take 1 away at the right class.",
        ),
        Misconception(
            "only the right class",
            lambda scores, labels: (
                (_probabilities(scores) - 1) * _one_hot(scores, labels) / np.array(len(labels), scores.dtype)
            ),
            "Only the right class gets a gradient. Softmax divides by the sum over *all* classes: raising another score "
            "lowers the right probability, so those have a gradient too, their own p.",
        ),
        Misconception(
            "softmax over the pixels",
            lambda scores, labels: (_probabilities(scores, axis=0) - _one_hot(scores, labels)) / len(labels),
            "Your probabilities add up to 1 over the *pixels*. Each pixel chooses among the classes: sum over axis 1.",
        ),
        Misconception(
            "exp of large scores",
            _without_care,
            TOO_LARGE,
        ),
    ),
    further=(_stands_large_scores,),
    praise="What was said minus what is right, for every class.",
)


def conv2d_grad_input(grad_output, weight, input_size, stride):
    """Hand ``grad_output`` (N, O, OH, OW) back to the pixels that were read: (N, C, H, W), (H, W) = ``input_size``."""
    n, _, rows, columns = grad_output.shape
    _, c, kh, kw = weight.shape
    grad_input = np.zeros((n, c, *input_size), grad_output.dtype)
    for i in range(rows):
        for j in range(columns):
            share = np.tensordot(grad_output[:, :, i, j], weight, axes=1)  # (N, O) . (O, C, KH, KW)
            y, x = i * stride[0], j * stride[1]
            grad_input[:, :, y : y + kh, x : x + kw] += share  # windows overlap: add
    return grad_input


def _cases(rng):
    # Kernels and strides that differ by axis; a stride that leaves rows over; as many channels out as in, to see a swap.
    sizes = [
        ((1, 1, 5, 6), (1, 1, 3, 3), (1, 1), np.float64),
        ((2, 3, 8, 7), (4, 3, 3, 2), (2, 1), np.float64),
        ((2, 3, 7, 7), (3, 3, 2, 2), (1, 2), np.float64),
        ((1, 2, 9, 12), (3, 2, 2, 4), (2, 3), np.float32),
    ]
    cases = []
    for (n, c, h, w), (o, _, kh, kw), (down, right), kind in sizes:
        grad_output = rng.standard_normal((n, o, (h - kh) // down + 1, (w - kw) // right + 1)).astype(kind)
        cases.append((grad_output, rng.standard_normal((o, c, kh, kw)).astype(kind), (h, w), (down, right)))
    return cases


def _assigned(grad_output, weight, input_size, stride):
    n, _, rows, columns = grad_output.shape
    _, c, kh, kw = weight.shape
    grad_input = np.zeros((n, c, *input_size), grad_output.dtype)
    for i in range(rows):
        for j in range(columns):
            y, x = i * stride[0], j * stride[1]
            grad_input[:, :, y : y + kh, x : x + kw] = np.tensordot(grad_output[:, :, i, j], weight, axes=1)
    return grad_input


def _first_filter(grad_output, weight, input_size, stride):
    return conv2d_grad_input(grad_output[:, :1], weight[:1], input_size, stride)


def _size_from_output(grad_output, weight, input_size, stride):
    reached = ((n - 1) * s + k for n, s, k in zip(grad_output.shape[2:], stride, weight.shape[2:], strict=True))
    rows, columns = reached
    return conv2d_grad_input(grad_output, weight, input_size, stride)[:, :, :rows, :columns]


def _stride_ignored(grad_output, weight, input_size, stride):
    return conv2d_grad_input(grad_output, weight, input_size, (1, 1))


def _network():
    from ... import nn
    from ...nn import init

    rng = np.random.default_rng(5)
    with init.no_draws():
        model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 2, 2))
    for parameter in model.parameters():
        parameter.data = rng.standard_normal(parameter.shape)
    return model, rng.standard_normal((2, 3, 8, 9))


def _place(function):
    problem, report = place("conv2d_grad_input", function, _network, ("conv2d_grad_weight",))
    told = report.replace("the gradients are still ours (", "this gradient is yours, that of the weights still ours (")
    return problem, told.replace("They fit your function", "Yours fits the network")


CONV2D_GRAD_INPUT = Exercise(
    name="conv2d-grad-input",
    title="hand the gradient back",
    task="""A convolution without padding read `input` (N, C, H, W) with `weight` (O, C, KH, KW), moving by `stride` = (rows,
columns). Its output's gradient is `grad_output` (N, O, OH, OW): how fast the loss grows with each output value. Return the
gradient of the input, (N, C, H, W), where (H, W) is `input_size`, in the type of `grad_output`. Every output value hands its
gradient back to the pixels of its window, times the weight it read them with. Loops are welcome.""",
    solve=conv2d_grad_input,
    cases=_cases,
    tolerance=1e-4,
    hints=(
        "Look at one output value. Which pixels did it read, and with which weights? If it has the gradient g, what does "
        "each of these pixels get? And what if another window reads the same pixel?",
        "Begin with `np.zeros((N, C, H, W), grad_output.dtype)`. Output (i, j) read the block that begins at row "
        "`i*stride[0]`, column `j*stride[1]`: *add* its share to that block.",
        "In two loops over i and j: `share = np.tensordot(grad_output[:, :, i, j], weight, axes=1)`, of shape (N, C, KH, KW), "
        "and `grad_input[:, :, y : y+KH, x : x+KW] += share` with `y, x = i*stride[0], j*stride[1]`.",
    ),
    misconceptions=(
        Misconception(
            "assigned where it must add up",
            _assigned,
            "You *assign* each window's share (`=`), so that of the last window wins. A pixel that several windows read "
            "influences all of them: its gradients add up (`+=`).",
        ),
        Misconception(
            "the kernel is rotated",
            lambda grad_output, weight, input_size, stride: conv2d_grad_input(
                grad_output, weight[:, :, ::-1, ::-1], input_size, stride
            ),
            "You rotated the kernel and then handed back window by window. When you *scatter*, pixel (y, x) of a window gets "
            "weight (y, x), as it was read; rotate only if you gather, as a convolution of `grad_output`.",
        ),
        Misconception(
            "one output channel",
            _first_filter,
            "You hand back the gradient of the first output channel only. Each pixel was read by all O filters: add over O.",
        ),
        Misconception(
            "the stride is ignored",
            _stride_ignored,
            "Your windows lie one pixel apart. Output (i, j) read from row `i*stride[0]` and column `j*stride[1]` on.",
        ),
        Misconception(
            "unread rows are missing",
            _size_from_output,
            "Your result ends where the last window ended. Rows that a stride leaves over were never read: they belong to "
            "the input all the same, with gradient 0. That is why `input_size` is given.",
        ),
        Misconception(
            "the mean instead of the sum",
            lambda grad_output, weight, input_size, stride: (
                conv2d_grad_input(grad_output, weight, input_size, stride) / weight[0].size
            ),
            "You divide by the number of weights. Gradients of several ways *add up*.",
        ),
    ),
    praise="Every value hands its gradient back along the way it came, and what arrives adds up.",
    place=_place,
)

EXERCISES = (CROSS_ENTROPY_GRAD, CONV2D_GRAD_INPUT)
