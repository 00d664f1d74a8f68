"""FACTS 6: transposed convolution: sizes, the lecture's examples, four views of one map, and the checkerboard."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import nn
from minisegnet.shapes import conv_output_size, conv_transpose_output_size, effective_kernel, overlap_count

X = np.array([[1.0, 2], [3, 4]])[None, None]
WEIGHT = np.arange(1.0, 10).reshape(1, 1, 3, 3)


class Geometry(NamedTuple):
    """One axis of a transposed convolution: n pixels in."""

    n: int
    kernel: int
    stride: int
    padding: int
    output_padding: int
    dilation: int

    def output_size(self):
        return (
            (self.n - 1) * self.stride - 2 * self.padding + self.dilation * (self.kernel - 1) + self.output_padding + 1
        )


@st.composite
def geometries(draw):
    stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    extra = draw(st.integers(0, max(stride, dilation) - 1))
    one = Geometry(draw(st.integers(1, 5)), draw(st.integers(1, 4)), stride, 0, extra, dilation)
    return one._replace(padding=draw(st.integers(0, (one.output_size() - 1) // 2)))


class Case(NamedTuple):
    """Both axes, groups, channels in and out of each group, and a seed for the numbers."""

    axes: tuple[Geometry, Geometry]
    groups: int
    channels: tuple[int, int]
    seed: int

    def options(self):
        names = ("stride", "padding", "output_padding", "dilation")
        return {name: tuple(getattr(axis, name) for axis in self.axes) for name in names} | {"groups": self.groups}

    def arrays(self):
        rng = np.random.default_rng(self.seed)
        c, o = self.channels
        x = rng.standard_normal((2, c * self.groups, *(axis.n for axis in self.axes)))
        return x, rng.standard_normal((c * self.groups, o, *(axis.kernel for axis in self.axes)))

    def forward_options(self):
        return {name: value for name, value in self.options().items() if name != "output_padding"}


cases = st.builds(
    Case,
    st.tuples(geometries(), geometries()),
    st.integers(1, 3),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.integers(0, 2**20),
)
LECTURE = Geometry(2, 3, 2, 1, 1, 1)


def stamp_ones(axis):
    """One row of ones, transposed with a kernel of ones."""
    names = "stride", "padding", "output_padding", "dilation"
    options = {name: (low, getattr(axis, name)) for name, low in zip(names, (1, 0, 0, 1), strict=True)}
    return F.conv_transpose2d(np.ones((1, 1, 1, axis.n)), np.ones((1, 1, 1, axis.kernel)), **options).data.ravel()


@settings(deadline=None, derandomize=True)
@given(geometries())
def test_the_output_size(axis):
    (m, _) = conv_transpose_output_size(*((value, value) for value in axis))
    assert m == axis.output_size() == stamp_ones(axis).size
    if axis.output_padding < axis.stride:  # then it is one of the sizes that the convolution takes to n
        both = (m, 1), (axis.kernel, 1), (axis.stride, 1), (axis.padding, 0), (axis.dilation, 1)
        assert conv_output_size(*both)[0] == axis.n


def test_the_weight_has_the_input_channels_first():
    assert nn.ConvTranspose2d(4, 6, (3, 2), groups=2).weight.shape == (4, 6 // 2, 3, 2)
    assert nn.Conv2d(4, 6, (3, 2), groups=2).weight.shape == (6, 4 // 2, 3, 2)


def test_the_lectures_example_gives_3x3_as_it_is_written(backend):
    """The slide says 3x3, stride 2, pad 1 and draws 2x2 to 4x4: it leaves out output_padding = 1."""
    small = F.conv_transpose2d(X, WEIGHT, stride=2, padding=1)
    np.testing.assert_array_equal(small.data[0, 0], [[5, 14, 10], [14, 36, 24], [15, 34, 20]])
    large = F.conv_transpose2d(X, WEIGHT, stride=2, padding=1, output_padding=1)
    np.testing.assert_array_equal(
        large.data[0, 0], [[5, 14, 10, 12], [14, 36, 24, 30], [15, 34, 20, 24], [24, 55, 32, 36]]
    )
    # the last row and column are products like the others: what padding cropped there is put back
    everything = F.conv_transpose2d(X, WEIGHT, stride=2).data[0, 0]
    np.testing.assert_array_equal(large.data[0, 0], everything[1:, 1:])
    np.testing.assert_array_equal(small.data[0, 0], everything[1:-1, 1:-1])


def test_a_convolution_takes_both_3_and_4_to_2():
    sizes = [conv_output_size((n, n), (3, 3), (2, 2), (1, 1), (1, 1)) for n in (2, 3, 4, 5)]
    assert sizes == [(1, 1), (2, 2), (2, 2), (3, 3)]
    layer = nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1)
    assert [layer(np.zeros((1, 1, 2, 2), np.float32), output_size=(n, n)).shape[-1] for n in (3, 4)] == [3, 4]


@settings(deadline=None, derandomize=True)
@given(*[st.integers(-9, 9).map(float)] * 5)
def test_one_dimension(a, b, x, y, z):
    out = F.conv_transpose2d(np.array([[[[a, b]]]]), np.array([[[[x, y, z]]]]), stride=(1, 2)).data
    assert out.ravel().tolist() == [a * x, a * y, a * z + b * x, b * y, b * z]


def scatter(case):
    """First view: "input gives weight for filter, sum where output overlaps"; loops over single numbers."""
    x, weight = case.arrays()
    (c, o), (rows, columns) = case.channels, case.axes
    out = np.zeros((len(x), o * case.groups, rows.output_size(), columns.output_size()))
    for n, channel, iy, ix in np.ndindex(x.shape):
        for k, ky, kx in np.ndindex(weight.shape[1:]):
            oy = iy * rows.stride + ky * rows.dilation - rows.padding
            ox = ix * columns.stride + kx * columns.dilation - columns.padding
            if 0 <= oy < out.shape[2] and 0 <= ox < out.shape[3]:
                out[n, channel // c * o + k, oy, ox] += x[n, channel, iy, ix] * weight[channel, k, ky, kx]
    return out


def large_enough(x, case):
    """The input with zeros after it, where output_padding >= stride gives the convolution room for more pixels."""
    options = case.forward_options()
    size = conv_output_size(
        tuple(axis.output_size() for axis in case.axes),
        tuple(axis.kernel for axis in case.axes),
        *(options[name] for name in ("stride", "padding", "dilation")),
    )
    room = np.zeros((*x.shape[:2], *size))
    room[:, :, : x.shape[2], : x.shape[3]] = x
    return room


def gradient(case):
    """Second view: the gradient of the convolution that has the same weight."""
    x, weight = case.arrays()
    size = (axis.output_size() for axis in case.axes)
    image = ms.Tensor(np.zeros((len(x), case.channels[1] * case.groups, *size)), requires_grad=True)
    F.conv2d(image, weight, **case.forward_options()).backward(large_enough(x, case))
    return image.grad.numpy()


def transposed_matrix(case):
    """Third view: the convolution written as a matrix (its columns are what it makes of unit images), transposed."""
    x, weight = case.arrays()
    shape = case.channels[1] * case.groups, *(axis.output_size() for axis in case.axes)
    units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    matrix = F.conv2d(units, weight, **case.forward_options()).data.reshape(len(units), -1).T
    return (large_enough(x, case).reshape(len(x), -1) @ matrix).reshape(len(x), *shape)


def zeros_between(case):
    """Fourth view: zeros between the pixels, then an ordinary convolution with the kernel flipped, channels swapped."""
    x, weight = case.arrays()
    spread = np.zeros((*x.shape[:2], *((axis.n - 1) * axis.stride + 1 for axis in case.axes)))
    spread[:, :, :: case.axes[0].stride, :: case.axes[1].stride] = x
    for axis, g in zip((2, 3), case.axes, strict=True):
        # a full convolution needs the kernel's reach on both sides; padding takes away from it, and may cut
        reach = effective_kernel(g.kernel, g.dilation) - 1
        before, after = reach - g.padding, reach - g.padding + g.output_padding
        pads = [(0, 0)] * 4
        pads[axis] = max(before, 0), max(after, 0)
        spread = np.pad(spread, pads)
        kept = slice(max(-before, 0), spread.shape[axis] - max(-after, 0))
        spread = spread[(slice(None),) * axis + (kept,)]
    c, o = case.channels
    kernel = weight[:, :, ::-1, ::-1].reshape(case.groups, c, o, *weight.shape[2:])
    kernel = kernel.swapaxes(1, 2).reshape(case.groups * o, c, *weight.shape[2:])  # (C, O/g, ...) to (O, C/g, ...)
    return F.conv2d(spread, kernel, dilation=case.options()["dilation"], groups=case.groups).data


@pytest.mark.parametrize("name", ["reference", "numba"])
@pytest.mark.parametrize("view", [scatter, gradient, transposed_matrix, zeros_between])
@settings(deadline=None, derandomize=True, max_examples=40)
@given(cases)
@example(Case((LECTURE, LECTURE), 1, (1, 1), 0))
@example(Case((Geometry(2, 2, 1, 1, 2, 3), LECTURE), 2, (2, 1), 0))  # output_padding above the stride
def test_four_views_agree(view, name, case):
    x, weight = case.arrays()
    with ms.use_backend(name):
        mine = F.conv_transpose2d(x, weight, **case.options()).data
        other = view(case)
    assert mine.dtype == np.float64
    assert other.shape == mine.shape
    np.testing.assert_allclose(other, mine, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["reference", "numba"])
@settings(deadline=None, derandomize=True, max_examples=40)
@given(cases)
def test_the_adjoint_identity(name, case):
    """<conv(image), x> = <image, conv_transpose(x)> for all images and x: that is what "transposed" means."""
    x, weight = case.arrays()
    with ms.use_backend(name):
        up = F.conv_transpose2d(x, weight, **case.options()).data
        image = np.random.default_rng(case.seed + 1).standard_normal(up.shape)
        down = F.conv2d(image, weight, **case.forward_options()).data[:, :, : x.shape[2], : x.shape[3]]
    scale = np.abs(down * x).sum() + np.abs(up * image).sum()
    assert abs(np.vdot(down, x) - np.vdot(image, up)) <= 1e-12 * max(scale, 1)


def test_it_does_not_undo_a_convolution(rng):
    """Why "deconvolution" is a misnomer: it brings back the size, not the values."""
    image, weight = rng.standard_normal((1, 1, 7, 7)), rng.standard_normal((1, 1, 3, 3))
    again = F.conv_transpose2d(F.conv2d(image, weight, stride=2, padding=1), weight, stride=2, padding=1).data
    assert again.shape == image.shape
    assert abs(again - image).max() > 1


@settings(deadline=None, derandomize=True, max_examples=60)
@given(geometries())
def test_overlaps_are_what_ones_add_up_to(axis):
    assert overlap_count(*axis) == tuple(stamp_ones(axis))


def plane(*args):
    line = np.array(overlap_count(*args))
    return np.outer(line, line)


def test_checkerboards_of_the_usual_kernels():
    uneven = plane(6, 3, 2)
    np.testing.assert_array_equal(np.unique(uneven), [1, 2, 4])
    np.testing.assert_array_equal(uneven[2:-2, 2:-2][:2, :2], [[4, 2], [2, 1]])  # a board, all over the inside
    np.testing.assert_array_equal(uneven[2:-4, 2:-4], uneven[4:-2, 4:-2])
    even = plane(6, 4, 2, 1)
    assert even.shape == (12, 12)
    assert (even[1:-1, 1:-1] == 4).all()
    assert even[0, 0] == 1
    assert (plane(6, 2, 2) == 1).all()
    ones = F.conv_transpose2d(np.ones((1, 1, 6, 6)), np.ones((1, 1, 3, 3)), stride=2)
    np.testing.assert_array_equal(ones.data[0, 0], uneven)


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 9), st.integers(1, 4))
def test_overlap_is_even_where_the_stride_divides_the_kernel(kernel, stride):
    counts = overlap_count(2 * kernel + 2, kernel, stride)
    inside = set(counts[kernel : len(counts) - kernel])
    assert (len(inside) == 1) == (kernel % stride == 0)
    assert max(inside) == -(-kernel // stride)
