"""Convolution in its three directions: every algorithm against NumPy, NumPy against loops, and all against PyTorch.

Errors are held against what rounding allows. A float32 sum of K products is off by at most about K * eps times the sum
of the products' absolute values, which is the same convolution of absolute values, computed in float64. For Winograd the
same holds step by step: its linear maps with absolute values in the place of all matrices and numbers (``winograd_bound``).
"""

import inspect
from types import MappingProxyType
from typing import Any, NamedTuple

import naive
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kernel_checks import assert_same_with_any_threads, layouts, run_python, unchanged

from minisegnet.backend import find_kernel
from minisegnet.kernels.contract import KERNELS
from minisegnet.kernels.convolution import numba_cpu, numba_cpu_shifts, numba_cpu_winograd_phases, reference

DIRECTIONS = ("conv2d", "conv2d_grad_input", "conv2d_grad_weight")
DTYPES = (np.float32, np.float64)


class Case:
    """One geometry with random arrays; ``call`` runs one direction of one implementation on them."""

    def __init__(self, x, w, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, dtype=np.float64, extra=(0, 0)):
        rng = np.random.default_rng(0)
        self.input, self.weight, self.bias = (rng.normal(size=shape).astype(dtype) for shape in (x, w, w[:1]))
        self.options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        read = [n - e for n, e in zip(x[2:], extra, strict=True)]  # with `extra`, some rows are beyond what is read
        self.size = naive.output_size(read, w[2:], stride, padding, dilation)
        self.grad_output = rng.normal(size=(x[0], w[0], *self.size)).astype(dtype)

    def call(self, functions, direction, absolute=False):
        """Return the result of ``functions[direction]``; ``absolute`` takes absolute values in float64 instead."""
        ready = (lambda a: abs(a.astype(np.float64))) if absolute else (lambda a: a)
        if direction == "conv2d":
            arguments = ready(self.input), ready(self.weight), ready(self.bias)
        elif direction == "conv2d_grad_input":
            arguments = ready(self.grad_output), ready(self.weight), self.input.shape[2:]
        else:
            arguments = ready(self.grad_output), ready(self.input), self.weight.shape[2:]
        function = functions[direction] if isinstance(functions, dict) else getattr(functions, direction)
        with unchanged(self.input, self.weight, self.bias, self.grad_output):
            return function(*arguments, **self.options)

    def terms(self, direction):
        """Return how many products may follow one another in one running sum."""
        outputs, channels, *kernel = self.weight.shape
        if direction == "conv2d_grad_weight":
            return min(
                self.grad_output[:, 0].size,
                max(numba_cpu_shifts.BAND, self.input.shape[3] + max(kernel)) + len(self.input),
            )
        return np.prod(kernel) * (channels if direction == "conv2d" else outputs) + 1

    def as_type(self, dtype):
        """Return the same case with arrays of another type."""
        other = Case.__new__(Case)
        other.__dict__ |= {k: v.astype(dtype) if isinstance(v, np.ndarray) else v for k, v in self.__dict__.items()}
        return other

    def check(self, functions, direction, expected=None, terms=None, winograd=False):
        """Fail where the result is further from float64's than rounding explains, or of another shape or type."""
        result = self.call(functions, direction)
        if expected is None:
            expected = self.as_type(np.float64).call(reference, direction)
        assert isinstance(result, np.ndarray)
        assert result.dtype == self.input.dtype
        assert result.shape == expected.shape
        eps = np.finfo(self.input.dtype).eps
        if winograd:
            bound = eps * winograd_bound(self.as_type(np.float64), direction)
        else:
            bound = (terms or self.terms(direction)) * eps * self.call(reference, direction, absolute=True)
        error = abs(result - expected)
        assert (error <= bound + 1e-300).all(), f"{direction}: error {error.max():.2e} beyond {bound.max():.2e}"
        return result


@pytest.fixture
def one_thread():
    """Spare tiny arrays the waiting for other threads; the other tests use them all."""
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


INPUT, FILTER, OUTPUT = (  # the matrices B^T, G and A^T of F(4x4, 3x3) (Lavin and Gray, 2016, section 4.3)
    np.array(rows, dtype=float)
    for rows in (
        [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0],
         [0, 4, 0, -5, 0, 1]],
        [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6],
         [0, 0, 1]],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    )
)  # fmt: skip


def tiles_of(images, step, size, count):
    """Return (N, tiles down, tiles across, C, size, size): ``count`` tiles, ``step`` apart."""
    down, across = count
    images = region(images, 0, 0, (down * step + size, across * step + size))
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), (2, 3))[:, :, ::step, ::step]
    return windows[:, :, :down, :across].transpose(0, 2, 3, 1, 4, 5)


def region(images, top, left, size):
    """Return the images' pixels from (-top, -left) on, zero beside them."""
    room = [(0, 0), (0, 0), (max(top, 0), size[0] + abs(top)), (max(left, 0), size[1] + abs(left))]
    padded = np.pad(images, room)[:, :, max(-top, 0) :, max(-left, 0) :]
    return padded[:, :, : size[0], : size[1]]


def winograd_bound(case, direction, exact=False):
    """Return how far Winograd's result may be off, in units of eps, or with ``exact`` the result itself.

    Every step is a linear map whose sums are off by at most their number of terms times eps times the same map of absolute
    values; (terms of all steps) times the whole chain of absolute maps is a bound (Higham, 2002, section 3.1). A dilated
    convolution is an ordinary one for each phase of the pixels.
    """
    if case.options["stride"] != (1, 1):
        return strided_bound(case, direction, exact)
    magnitude = (lambda a: a) if exact else abs
    b, g, a = magnitude(INPUT), magnitude(FILTER), magnitude(OUTPUT)
    p, x, w, gy = case.options["padding"], case.input, case.weight, case.grad_output
    by, bx = case.options["dilation"]
    phases = [(slice(i, None, by), slice(j, None, bx)) for i in range(by) for j in range(bx)]
    if direction == "conv2d_grad_weight":
        result, terms = np.zeros(w.shape), 24
        x = region(x, *p, (gy.shape[2] + 2 * by, gy.shape[3] + 2 * bx))
        for rows, columns in phases:
            part = gy[:, :, rows, columns]
            count = -(-part.shape[2] // 4), -(-part.shape[3] // 4)
            d = b @ magnitude(tiles_of(x[:, :, rows, columns], 4, 6, count)) @ b.T
            e = a.T @ magnitude(tiles_of(part, 4, 4, count)) @ a
            result += g.T @ np.einsum("nyxcij,nyxoij->ocij", d, e) @ g
            terms += len(gy) * count[0] * count[1]
        return result if exact else terms * result
    if direction == "conv2d":
        image, weight, size, (top, left), start = x, w, gy.shape[2:], p, case.bias
    else:
        image, weight, size = gy, w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3), x.shape[2:]
        (top, left), start = (2 * by - p[0], 2 * bx - p[1]), np.zeros(w.shape[1])
    image = region(image, top, left, (size[0] + 2 * by, size[1] + 2 * bx))
    result = np.zeros((len(image), len(weight), *size))
    for rows, columns in phases:
        target = result[:, :, rows, columns]
        count = -(-target.shape[2] // 4), -(-target.shape[3] // 4)
        d = b @ magnitude(tiles_of(image[:, :, rows, columns], 4, 6, count)) @ b.T
        m = a @ np.einsum("ocij,nyxcij->nyxoij", g @ magnitude(weight) @ g.T, d) @ a.T
        y = m.transpose(0, 3, 1, 4, 2, 5).reshape(len(image), len(weight), 4 * count[0], 4 * count[1])
        target[...] = y[:, :, : target.shape[2], : target.shape[3]]
    result += magnitude(start)[:, None, None]
    return result if exact else (weight.shape[1] + 24) * result


def strided_bound(case, direction, exact):
    """The same for a stride: an ordinary convolution, its channels those of all phases, its weight the phases' taps."""
    (sy, sx), (o, c), (kh, kw) = case.options["stride"], case.weight.shape[:2], case.weight.shape[2:]
    plan = numba_cpu_winograd_phases.plan(direction, (kh, kw), (sy, sx), case.options["padding"])
    phases = [(a, b) for a in range(sy) for b in range(sx)]
    weight, places = np.zeros((o, len(phases), c, 9)), [(p, k) for p in range(len(phases)) for k in range(9)]
    for p, k in places:
        if plan.taps[p, k] >= 0:
            weight[:, p, :, k] = case.weight.reshape(o, c, -1)[:, :, plan.taps[p, k]]
    weight = weight.reshape(o, len(phases) * c, 3, 3)
    top, left = (-n for n in plan.begin)
    if direction == "conv2d_grad_input":
        size = -(-case.input.shape[2] // sy), -(-case.input.shape[3] // sx)
        image = region(case.grad_output, top, left, (size[0] + 2, size[1] + 2))
        turned = weight.transpose(1, 0, 2, 3)
        parts = winograd_bound(Ordinary(image, turned, np.zeros((0, 0, *size)), np.zeros(len(turned))), "conv2d", exact)
        result = np.zeros((*case.input.shape[:2], size[0] * sy, size[1] * sx))
        for p, (a, b) in enumerate(phases):
            result[:, :, a::sy, b::sx] = parts[:, p * c : (p + 1) * c]
        return result[:, :, : case.input.shape[2], : case.input.shape[3]]
    size, grads = case.grad_output.shape[2:], case.grad_output
    if direction == "conv2d":  # also of rows that a gradient is not asked for
        size = naive.output_size(case.input.shape[2:], (kh, kw), (sy, sx), case.options["padding"], (1, 1))
        grads = np.zeros((0, 0, *size))
    image = region(case.input, top * sy, left * sx, ((size[0] + 2) * sy, (size[1] + 2) * sx))
    image = np.concatenate([image[:, :, a::sy, b::sx] for a, b in phases], axis=1)
    parts = winograd_bound(Ordinary(image, weight, grads, case.bias), direction, exact)
    if direction == "conv2d":
        return parts
    result = np.zeros((o, c, kh * kw))
    for p, k in places:
        if plan.taps[p, k] >= 0:
            result[:, :, plan.taps[p, k]] = parts.reshape(o, len(phases), c, 9)[:, p, :, k]
    return result.reshape(case.weight.shape)


class Ordinary(NamedTuple):
    """What ``winograd_bound`` looks at."""

    input: np.ndarray
    weight: np.ndarray
    grad_output: np.ndarray
    bias: np.ndarray
    options: Any = MappingProxyType({"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)})


def algorithms(case):
    """Return the names of the algorithms that can serve a case."""
    options = [case.options[name] for name in ("stride", "dilation", "groups")]
    return [n for n in numba_cpu.MODULES if numba_cpu.fits(n, case.input.dtype, case.weight.shape, *options)]


def forced(name):
    """Return the functions of one algorithm, by direction."""
    return {direction: numba_cpu.ALGORITHMS[direction][name] for direction in DIRECTIONS}


SMALL = {
    "3x3 same": Case((2, 3, 5, 4), (2, 3, 3, 3), padding=(1, 1)),
    "1x1": Case((2, 3, 4, 3), (5, 3, 1, 1)),
    "2x2 stride 2": Case((1, 2, 6, 4), (3, 2, 2, 2), stride=(2, 2)),
    "last row and column never read": Case((1, 2, 6, 8), (3, 2, 3, 3), stride=(2, 3)),
    "more rows than asked for": Case((1, 2, 8, 9), (3, 2, 3, 3), stride=(3, 3), extra=(2, 1)),
    "stride larger than the kernel": Case((1, 2, 8, 7), (2, 2, 2, 1), stride=(3, 4), padding=(1, 0)),
    "dilated": Case((1, 2, 7, 8), (2, 2, 3, 2), padding=(2, 1), dilation=(2, 3)),
    "dilation and stride": Case((1, 1, 9, 10), (2, 1, 3, 3), (2, 3), (3, 2), (3, 2)),
    "groups": Case((2, 4, 4, 5), (6, 2, 3, 2), padding=(1, 1), groups=2),
    "depthwise": Case((2, 3, 5, 6), (3, 1, 3, 3), (2, 1), (1, 1), groups=3),
    "depthwise, two filters a channel": Case((1, 3, 5, 4), (6, 1, 2, 3), (1, 2), (1, 2), (2, 1), 3),
    "huge padding": Case((1, 2, 2, 1), (2, 2, 3, 3), (2, 1), (7, 5)),
    "far taps on a small image": Case((3, 6, 2, 8), (3, 2, 4, 3), (1, 1), (4, 1), (3, 3), 3),
    "one pixel": Case((2, 2, 1, 1), (3, 2, 3, 3), padding=(1, 1)),
    "no images": Case((0, 2, 5, 4), (3, 2, 3, 3), padding=(1, 1)),
    "no images, depthwise": Case((0, 2, 5, 4), (2, 1, 3, 3), groups=2),
}


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", SMALL)
def test_reference_and_every_algorithm_agree_with_plain_loops(name, direction):
    case = SMALL[name]
    expected = case.call(naive, direction)
    case.check(reference, direction, expected, terms=2 * case.terms(direction))
    for typed in (case, case.as_type(np.float32)):
        expected = typed.as_type(np.float64).call(naive, direction)
        for name in algorithms(typed):
            typed.check(forced(name), direction, expected, 2 * case.terms(direction), winograd=name == "winograd")


@st.composite
def cases(draw):
    """Draw any convolution whose kernel fits into its padded input."""
    pairs = [
        draw(st.tuples(st.integers(lo, hi), st.integers(lo, hi))) for lo, hi in ((1, 9), (1, 4), (1, 4), (0, 4), (1, 3))
    ]
    size, kernel, stride, padding, dilation = pairs
    assume(all(n + 2 * p > (k - 1) * d for n, k, p, d in zip(size, kernel, padding, dilation, strict=True)))
    groups = draw(st.integers(1, 3))
    channels, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    shapes = (draw(st.integers(0, 2)), groups * channels, *size), (groups * outputs, channels, *kernel)
    return Case(*shapes, stride, padding, dilation, groups, draw(st.sampled_from(DTYPES)))


@pytest.mark.usefixtures("one_thread")
@given(cases())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_geometry(case):
    for algorithm in algorithms(case):
        for direction in DIRECTIONS:
            case.check(forced(algorithm), direction, winograd=algorithm == "winograd")


@pytest.mark.usefixtures("one_thread")
@given(cases(), st.integers(0, 3), st.integers(0, 3))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_gradients_of_an_input_larger_than_what_was_read(case, more_rows, more_columns):
    """As for a transposed convolution with output_padding: the last rows may lie beyond the last window."""
    stride, dilation = case.options["stride"], case.options["dilation"]
    extra = min(more_rows, max(stride[0], dilation[0]) - 1), min(more_columns, max(stride[1], dilation[1]) - 1)
    shape = (*case.input.shape[:2], case.input.shape[2] + extra[0], case.input.shape[3] + extra[1])
    case = Case(shape, case.weight.shape, **case.options, extra=extra)
    for direction in DIRECTIONS[1:]:
        expected = case.call(naive, direction)
        case.check(reference, direction, expected, terms=2 * case.terms(direction))
        for name in algorithms(case):
            case.check(forced(name), direction, expected, 2 * case.terms(direction), winograd=name == "winograd")


@pytest.mark.usefixtures("one_thread")
@given(cases())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_the_three_directions_are_one_trilinear_form(case):
    """<grad_output, conv2d(input)> = <grad_input, input> = <grad_weight, weight>."""
    for algorithm in algorithms(case):
        output, grad_input, grad_weight = (case.call(forced(algorithm), d).astype(np.float64) for d in DIRECTIONS)
        output = output - case.bias[:, None, None]
        forms = (output * case.grad_output).sum(), (grad_input * case.input).sum(), (grad_weight * case.weight).sum()
        scale = (abs(case.grad_output) * case.call(reference, "conv2d", absolute=True)).sum()
        tolerance = 2 * case.terms("conv2d") * np.finfo(case.input.dtype).eps * scale
        if algorithm == "winograd":
            doubles = case.as_type(np.float64)
            tolerance = np.finfo(np.float32).eps * sum(
                (abs(factor) * winograd_bound(doubles, d)).sum()
                for d, factor in zip(DIRECTIONS, (case.grad_output, case.input, case.weight), strict=True)
            )
        np.testing.assert_allclose(forms, forms[0], rtol=0, atol=tolerance + 1e-300)


EDGES = [
    (16, 16, 33),
    (17, 31, 16),
    (32, 48, 9),
    (33, 21, 8),
    (64, 80, 5),
    (80, 65, 3),
    (67, 2, 40),
    (1, 70, 7),
    (3, 8, 130),
]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("shifts", np.float32), ("shifts", np.float64), ("direct", np.float32), ("winograd", np.float32)],
)
@pytest.mark.parametrize(("channels", "outputs", "size"), EDGES)
def test_many_channels_and_awkward_tails(channels, outputs, size, name, dtype):
    case = Case((2, channels, size, size + 1), (outputs, channels, 3, 3), padding=(1, 1), dtype=dtype)
    for direction in DIRECTIONS:
        case.check(forced(name), direction, winograd=name == "winograd")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [16, 17, 33, 64, 80])
@pytest.mark.parametrize("options", [((1, 1), (1, 1), (1, 1)), ((2, 2), (1, 1), (1, 1)), ((1, 2), (3, 2), (3, 2))])
def test_depthwise_with_many_channels(channels, options, dtype):
    case = Case((2, channels, 13, 10), (channels, 1, 3, 3), *options, channels, dtype)
    for direction in DIRECTIONS:
        case.check(forced("depthwise"), direction)


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (5, 5), (7, 1)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
@pytest.mark.parametrize("groups", [1, 3])
def test_kernels_that_do_not_fill_the_innermost_loop(kernel, stride, groups):
    case = Case((2, 21, 20, 18), (15, 21 // groups, *kernel), stride, (2, 0), groups=groups, dtype=np.float32)
    for direction in DIRECTIONS:
        for name in ("shifts", "direct"):
            case.check(forced(name), direction)


@pytest.mark.parametrize("name", ["direct", "shifts"])
@pytest.mark.parametrize(
    ("channels", "outputs", "size", "kernel"), [(8, 8, 30, 3), (40, 40, 5, 3), (5, 3, 9, 1), (3, 22, 19, 3)]
)
def test_a_floor_is_where_the_output_ends(name, channels, outputs, size, kernel):
    """And a NaN stays one: what the kernel writes is what NumPy's maximum makes of it."""
    case = Case((2, channels, size, size), (outputs, channels, kernel, kernel), padding=(1, 1), dtype=np.float32)
    case.input[0, 0, 2, 2] = np.nan
    output = case.call(forced(name), "conv2d")
    for floor in (0.0, 0.5):
        case.options["floor"] = floor
        np.testing.assert_array_equal(case.call(forced(name), "conv2d"), np.maximum(output, np.float32(floor)))


def test_heads_and_few_channels_of_a_pointwise_gradient():
    """Where the image with more channels makes the columns, where pixels are read in place, and where they are copied."""
    for outputs, channels in ((2, 8), (2, 16), (3, 40), (8, 64), (9, 20), (64, 48), (80, 70)):
        for stride, padding in (((1, 1), (0, 0)), ((2, 1), (0, 0)), ((1, 1), (1, 0))):
            case = Case((3, channels, 21, 13), (outputs, channels, 1, 1), stride, padding, dtype=np.float32)
            case.check(forced("direct"), "conv2d_grad_weight")


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (4, 2, 1), (3, 3, 0), (2, 3, 0), (6, 3, 1)]
)
def test_phases_of_strided_gradients(kernel, stride, padding):
    """Phases that are joined into wide pixels, phases of unequal size, and pixels that no kernel meets."""
    for channels, size in ((8, 24), (8, 25), (20, 12), (3, 18)):
        shapes = (2, channels, size, size), (10, channels, kernel, kernel)
        case = Case(*shapes, (stride,) * 2, (padding,) * 2, dtype=np.float32)
        case.check(forced("direct"), "conv2d_grad_input")


CHOICES = {  # geometry: the algorithm of each direction
    "3x3, some and many": (Case((2, 8, 32, 32), (16, 8, 3, 3), padding=(1, 1), dtype=np.float32), ["winograd"] * 3),
    "3x3, some and some": (Case((2, 8, 32, 32), (15, 8, 3, 3), padding=(1, 1), dtype=np.float32), ["direct"] * 3),
    "3x3, few to many": (
        Case((2, 7, 32, 32), (16, 7, 3, 3), padding=(1, 1), dtype=np.float32),
        ["direct", "winograd", "direct"],
    ),
    "3x3, many to few": (
        Case((2, 16, 32, 32), (2, 16, 3, 3), padding=(1, 1), dtype=np.float32),
        ["winograd", "direct", "shifts"],
    ),
    "3x3, many channels": (Case((2, 32, 32, 32), (48, 32, 3, 3), padding=(1, 1), dtype=np.float32), ["winograd"] * 3),
    "3x3, few tiles": (
        Case((1, 48, 8, 4), (48, 48, 3, 3), padding=(1, 1), dtype=np.float32),
        ["winograd", "winograd", "direct"],
    ),
    "3x3, tiles mostly empty": (Case((1, 48, 5, 5), (48, 48, 3, 3), padding=(1, 1), dtype=np.float32), ["direct"] * 3),
    "3x3, stride 2": (Case((1, 48, 9, 9), (48, 48, 3, 3), (2, 2), (1, 1), dtype=np.float32), ["direct"] * 3),
    "3x3, dilated": (Case((1, 16, 16, 14), (16, 16, 3, 3), (1, 1), (2, 2), (2, 2), dtype=np.float32), ["winograd"] * 3),
    "3x3, phases too small": (
        Case((1, 48, 9, 9), (48, 48, 3, 3), (1, 1), (4, 4), (4, 4), dtype=np.float32),
        ["direct"] * 3,
    ),
    "an image": (Case((1, 3, 9, 9), (15, 3, 3, 3), padding=(1, 1), dtype=np.float32), ["direct", "shifts", "direct"]),
    "few channels": (Case((1, 6, 5, 5), (6, 6, 3, 3), dtype=np.float32), ["shifts"] * 3),
    "eight channels": (Case((1, 8, 5, 5), (8, 8, 3, 3), dtype=np.float32), ["direct"] * 3),
    "a head": (Case((1, 8, 5, 5), (2, 8, 1, 1), dtype=np.float32), ["direct"] * 3),
    "groups": (Case((1, 32, 5, 5), (32, 16, 3, 3), groups=2, dtype=np.float32), ["direct"] * 3),
    "one channel a filter": (Case((1, 6, 5, 5), (6, 1, 3, 3), groups=6, dtype=np.float32), ["depthwise"] * 3),
    "one channel alone": (Case((1, 1, 5, 5), (1, 1, 3, 3), dtype=np.float32), ["shifts"] * 3),
    "doubles": (Case((2, 48, 32, 32), (48, 48, 3, 3), padding=(1, 1)), ["shifts"] * 3),
}


@pytest.mark.parametrize("name", CHOICES)
def test_the_kernel_runs_the_algorithm_it_chose(name, monkeypatch):
    case, expected = CHOICES[name]
    ran = []
    for direction in DIRECTIONS:
        spies = {
            name: (lambda *a, name=name, function=function: ran.append(name) or function(*a))
            for name, function in numba_cpu.ALGORITHMS[direction].items()
        }
        monkeypatch.setitem(numba_cpu.ALGORITHMS, direction, spies)
        case.call(numba_cpu, direction)
    assert ran == expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("backend_name", ["reference", "numba"])
def test_any_layout_in_memory(backend_name, groups, dtype):
    case = Case((2, 4, 6, 5), (4, 4 // groups, 3, 3), (2, 1), (1, 1), groups=groups, dtype=dtype)
    expected = {d: case.call(reference, d) for d in DIRECTIONS}
    arrays = [layouts(a) for a in (case.input, case.weight, case.grad_output)]
    for name in arrays[0]:
        case.input, case.weight, case.grad_output = (a[name] for a in arrays)
        for direction in DIRECTIONS:
            result = case.call({direction: find_kernel(direction, backend_name)}, direction)
            assert result.dtype == dtype
            np.testing.assert_allclose(result, expected[direction], rtol=0, atol=50 * np.finfo(dtype).eps, err_msg=name)


@pytest.mark.parametrize("groups", [1, 4])
def test_images_leave_in_channels_last_memory(groups):
    case = Case((2, 4, 6, 5), (8, 4 // groups, 3, 3), groups=groups)
    for direction in DIRECTIONS[:2]:
        assert case.call(numba_cpu, direction).transpose(0, 2, 3, 1).flags.c_contiguous
    assert case.call(numba_cpu, "conv2d_grad_weight").flags.c_contiguous
    assert all(case.call(numba_cpu, direction).flags.writeable for direction in DIRECTIONS)


@pytest.mark.parametrize("groups", [1, 2])
def test_gradient_of_the_weight_over_many_pixels(groups):
    """Sums of rows or bands are added up in float64: adding them in float32 would be off by more, a running sum by far."""
    rng = np.random.default_rng(0)
    x, g = (rng.uniform(0.5, 1.5, (3, 2, 320, 320)).astype(np.float32) for _ in range(2))
    grad = numba_cpu.conv2d_grad_weight(g, x, (1, 1), groups=groups)[:, 0, 0, 0]
    read = x[:, :1] if groups == 1 else x
    exact = (read.astype(np.float64) * g).sum(axis=(0, 2, 3))
    np.testing.assert_allclose(grad, exact, rtol=2 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_shows_where_it_was_read_and_nowhere_else(value):
    case = Case((1, 2, 6, 7), (3, 2, 3, 3), padding=(1, 1), dtype=np.float32)
    case.input[0, 1, 2, 3] = value
    output = case.call(numba_cpu, "conv2d")
    touched = np.zeros((6, 7), dtype=bool)
    touched[1:4, 2:5] = True
    assert (np.isfinite(output) == ~touched).all()


def same_bits_with_any_number_of_threads():
    shifts = Case((2, 9, 40, 37), (10, 9, 3, 3), padding=(1, 1), dtype=np.float32)
    many = Case((2, 20, 40, 37), (33, 20, 3, 3), padding=(1, 1), dtype=np.float32)
    depthwise = Case((2, 6, 40, 37), (6, 1, 3, 3), padding=(1, 1), groups=6, dtype=np.float32)
    runs = [("shifts", shifts), ("direct", many), ("winograd", many), ("depthwise", depthwise)]
    assert_same_with_any_threads(lambda: [c.call(forced(name), d) for name, c in runs for d in DIRECTIONS])


def test_the_same_bits_with_any_number_of_threads():
    code = "import test_convolution_kernels as t; t.same_bits_with_any_number_of_threads()"
    run_python(code, NUMBA_NUM_THREADS="3")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
@settings(max_examples=20, deadline=None, derandomize=True)
def test_agreement_with_pytorch(dtype, data):
    torch = pytest.importorskip("torch")
    case = data.draw(cases())
    case = Case(case.input.shape, case.weight.shape, **case.options, dtype=dtype)
    x, w, b, g = (torch.from_numpy(a) for a in (case.input, case.weight, case.bias, case.grad_output))
    options = [case.options[name] for name in ("stride", "padding", "dilation")]
    groups = case.options["groups"]
    output = torch.conv2d(x, w, b, *options, groups).numpy()
    pixels = max(case.grad_output[:, 0].size, 1)
    gradients = torch.ops.aten.convolution_backward(g, x, w, None, *options, False, (0, 0), groups, (True, True, False))
    for functions in (numba_cpu, reference):
        case.check(functions, "conv2d", output, terms=2 * case.terms("conv2d"))
        case.check(functions, "conv2d_grad_input", gradients[0].numpy(), terms=2 * case.terms("conv2d_grad_input"))
        case.check(functions, "conv2d_grad_weight", gradients[1].numpy(), terms=2 * pixels + 2)


@pytest.mark.parametrize("backend_name", ["reference", "numba"])
@pytest.mark.parametrize("name", KERNELS)
def test_signatures_are_equal_across_backends(name, backend_name):
    """For every family, not convolution alone: names, order and defaults."""
    wanted = [(p.name, p.default, p.kind) for p in KERNELS[name].signature.parameters.values()]
    signature = inspect.signature(find_kernel(name, backend_name))
    assert [(p.name, p.default, p.kind) for p in signature.parameters.values()] == wanted
    assert [(p.name, p.default, p.kind) for p in inspect.signature(getattr(naive, name)).parameters.values()] == wanted


def test_the_loops_can_be_stepped_through_without_the_compiler():
    run_python(
        "import numba, test_convolution_kernels as t\n"
        "assert numba.config.DISABLE_JIT\n"
        "for name in t.SMALL:\n"
        "    for direction in t.DIRECTIONS:\n"
        "        t.test_reference_and_every_algorithm_agree_with_plain_loops(name, direction)\n",
        NUMBA_DISABLE_JIT="1",
    )
