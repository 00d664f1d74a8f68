"""FACTS 4: dilated convolution: effective kernels, gridding, and the receptive field of the context module's rates."""

from math import gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minisegnet as ms
import minisegnet.functional as F
from minisegnet.shapes import ReceptiveField, effective_kernel, gridding


def reached_by_the_gradient(kernel, rates, backend="numba"):
    """The offsets from one output pixel of all input pixels that it depends on, through layers of ones."""
    width = 2 * sum(effective_kernel(k, r) - 1 for k, r in zip([kernel] * len(rates), rates, strict=True)) + 1
    x = ms.Tensor(np.zeros((1, 1, 1, width)), requires_grad=True)
    with ms.use_backend(backend):
        y = x
        for rate in rates:
            y = F.conv2d(y, np.ones((1, 1, 1, kernel)), padding="same", dilation=(1, rate))
        seed = np.zeros(y.shape)
        seed[..., width // 2] = 1
        y.backward(seed)
    return tuple(int(place) for place in np.flatnonzero(x.grad.numpy()[0, 0, 0]) - width // 2)


def test_effective_kernels_of_the_lectures_rates():
    assert [effective_kernel(3, rate) for rate in (1, 2, 3)] == [3, 5, 7]
    assert [effective_kernel(k, r) for k, r in [(1, 9), (2, 4), (5, 1), (5, 3)]] == [1, 5, 5, 13]
    for rate in (1, 2, 3):  # and the layer spans as many pixels, with nine weights
        x = ms.Tensor(np.zeros((1, 1, 9, 9)), requires_grad=True)
        weight = np.ones((1, 1, 3, 3))
        seed = np.zeros((1, 1, 9, 9))
        seed[0, 0, 4, 4] = 1
        F.conv2d(x, weight, padding=rate, dilation=rate).backward(seed)
        rows = np.flatnonzero(x.grad.numpy()[0, 0].any(axis=1))
        assert rows[-1] - rows[0] + 1 == effective_kernel(3, rate)
        assert np.count_nonzero(x.grad.numpy()) == weight.size


@pytest.mark.parametrize(
    ("rates", "reached", "span"), [((2, 2, 2), 7, 13), ((2, 4, 8), 15, 29), ((1, 2, 4), 15, 15), ((1, 2, 5), 17, 17)]
)
def test_gridding_of_three_layers(rates, reached, span, backend):
    grid = gridding(3, rates)
    assert (grid.reached, grid.span) == (reached, span)
    assert grid.offsets == reached_by_the_gradient(3, rates, backend)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(1, 4), st.lists(st.integers(1, 6), max_size=4))
def test_gridding_is_what_the_gradient_reaches(kernel, rates):
    grid = gridding(kernel, iter(rates))
    assert grid.offsets == reached_by_the_gradient(kernel, rates)
    assert grid.span == grid.offsets[-1] - grid.offsets[0] + 1


@settings(deadline=None, derandomize=True)
@given(st.integers(2, 4), st.lists(st.integers(1, 8), min_size=1, max_size=4))
def test_a_common_factor_leaves_a_grid(kernel, rates):
    factor = gcd(*rates)
    offsets = gridding(kernel, rates).offsets
    assert all((offset - offsets[0]) % factor == 0 for offset in offsets)
    assert gridding(kernel, [rate // factor for rate in rates]).reached == len(offsets)


@settings(deadline=None, derandomize=True)
@given(st.permutations([1, 2, 4, 5]))
def test_the_order_of_the_rates_does_not_matter(rates):
    assert gridding(3, rates) == gridding(3, sorted(rates))


def test_in_the_plane_the_rows_and_the_columns_have_the_same_holes():
    x = ms.Tensor(np.zeros((1, 1, 15, 15)), requires_grad=True)
    y = x
    for _ in range(3):
        y = F.conv2d(y, np.ones((1, 1, 3, 3)), padding=2, dilation=2)
    seed = np.zeros((1, 1, 15, 15))
    seed[0, 0, 7, 7] = 1
    y.backward(seed)
    seen = x.grad.numpy()[0, 0] > 0
    line = np.zeros(15, bool)
    line[[7 + offset for offset in gridding(3, (2, 2, 2)).offsets]] = True
    np.testing.assert_array_equal(seen, np.outer(line, line))
    assert seen.sum() == gridding(3, (2, 2, 2)).reached ** 2 == 49  # of 169


@pytest.mark.parametrize(("kernel", "rates"), [(3, (1, 0)), (0, (1,))])
def test_gridding_names_what_is_wrong(kernel, rates):
    with pytest.raises(ValueError, match=f"must be at least 1, got kernel {kernel} and rate {rates[-1]}"):
        gridding(kernel, rates)


def test_receptive_fields_of_the_context_module():
    field, sizes = ReceptiveField(), []
    for rate in (1, 1, 2, 4, 8, 16, 1):
        field = field.through(3, padding=rate, dilation=rate)
        sizes.append(field.size)
    assert [*sizes, field.through(1).size] == [3, 5, 9, 17, 33, 65, 67, 67]
    assert field == (67, 1, 0)  # centred on its pixel
    assert gridding(3, (1, 1, 2, 4, 8, 16, 1)).reached == 67, "no holes"


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=3))
def test_receptive_field_is_what_the_gradient_spans(layers):
    field = ReceptiveField()
    for kernel, stride, rate in layers:
        field = field.through(kernel, stride, 0, rate)
    x = ms.Tensor(np.zeros((1, 1, 1, field.size + field.stride)), requires_grad=True)
    y = x
    for kernel, stride, rate in layers:
        y = F.conv2d(y, np.ones((1, 1, 1, kernel)), stride=(1, stride), dilation=(1, rate))
    assert y.shape == (1, 1, 1, 2)  # room for a second pixel, one stride away
    for place in range(2):
        x.grad = None
        y = x
        for kernel, stride, rate in layers:
            y = F.conv2d(y, np.ones((1, 1, 1, kernel)), stride=(1, stride), dilation=(1, rate))
        y.backward(np.eye(2)[place].reshape(1, 1, 1, 2))
        seen = np.flatnonzero(x.grad.numpy())
        assert seen[-1] - seen[0] + 1 == field.size
        assert (seen[0] + seen[-1]) / 2 == field.start + place * field.stride
