"""Resizing kernels: coordinates as PyTorch's, the adjoint by inner products, borders, one pixel, factors that don't fit."""

import naive
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kernel_checks import assert_identical, layouts, run_python, unchanged

from minisegnet.arrays import is_channels_last
from minisegnet.kernels.resampling import numba_cpu, reference
from minisegnet.kernels.resampling.taps import bilinear_taps

BACKENDS = {"reference": reference, "numba": numba_cpu}


@pytest.fixture(params=BACKENDS)
def kernels(request):
    return BACKENDS[request.param]


@st.composite
def resizing_calls(draw):
    """Sizes up and down, and factors that a caller may give beside them."""
    n, c = draw(st.integers(0, 2)), draw(st.sampled_from([1, 2, 5, 8, 17]))
    in_size = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    size, scale = [], []
    for pixels in in_size:
        factor = draw(st.one_of(st.none(), st.floats(0.3, 3.5)))
        fits = factor is not None and int(pixels * factor) > 0
        size.append(int(pixels * factor) if fits else draw(st.integers(1, 12)))
        scale.append(factor if fits else None)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images = rng.standard_normal((n, c, *in_size)).astype(draw(st.sampled_from([np.float32, np.float64])))
    return images, tuple(size), draw(st.booleans()), tuple(scale)


def bound(dtype, largest, numbers=1):
    """Bound the rounding of one output: weights, products and sums on two axes, each sum over so many ``numbers``.

    A weight is rounded to within eps/2 of 1, twice at most (the fraction, and 1 - fraction); a product and each further
    addend round once. That is (numbers + 4) * eps/2 an axis, of at most ``numbers`` addends below ``largest``.
    """
    return 2 * (numbers + 4) * np.finfo(dtype).eps / 2 * numbers**2 * largest


@settings(max_examples=40, deadline=None, derandomize=True)
@given(resizing_calls())
@example((np.ones((1, 1, 3, 3), np.float32), (3, 3), False, (1.2, 1.3)))  # an axis that keeps its size is copied
def test_both_directions_agree_with_plain_loops(call):
    images, size, *options = call
    expected = naive.resize_bilinear(images, size, *options)
    grad_expected = naive.resize_bilinear_grad(expected, images.shape[2:], *options)
    grad_output = expected.astype(images.dtype)
    largest = abs(images).max(initial=0)
    # An input pixel is read by the outputs less than one pixel away, on both sides.
    readers = max(2 * -(-out // pixels) + 2 for out, pixels in zip(size, images.shape[2:], strict=True))
    for name, kernels in BACKENDS.items():
        with unchanged(images, grad_output):
            output = kernels.resize_bilinear(images, size, *options)
            grad_input = kernels.resize_bilinear_grad(grad_output, images.shape[2:], *options)
        assert output.dtype == grad_input.dtype == images.dtype
        np.testing.assert_allclose(output, expected, rtol=0, atol=bound(images.dtype, largest, 2), err_msg=name)
        most = bound(images.dtype, largest, readers)
        np.testing.assert_allclose(grad_input, grad_expected, rtol=0, atol=most, err_msg=name)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(resizing_calls())
def test_both_directions_agree_with_pytorch(call):
    torch = pytest.importorskip("torch")
    images, size, align_corners, scale = call
    images = images.astype(np.float64)
    if len(images) == 0:
        return  # PyTorch refuses to resize nothing
    leaf = torch.from_numpy(images.copy()).requires_grad_()
    # The operation under torch.nn.functional.interpolate, which takes a size and the factors together.
    output = torch.ops.aten.upsample_bilinear2d(leaf, size, align_corners, *scale)
    grad_output = np.random.default_rng(0).standard_normal(output.shape)
    output.backward(torch.from_numpy(grad_output))
    for kernels in BACKENDS.values():
        result = kernels.resize_bilinear(images, size, align_corners, scale)
        np.testing.assert_allclose(result, output.detach(), rtol=0, atol=1e-13)
        grad_input = kernels.resize_bilinear_grad(grad_output, images.shape[2:], align_corners, scale)
        np.testing.assert_allclose(grad_input, leaf.grad, rtol=0, atol=1e-12)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(resizing_calls())
def test_the_two_directions_are_adjoint(call):
    images, size, *options = call
    images = images.astype(np.float64)
    grad_output = np.random.default_rng(0).standard_normal((*images.shape[:2], *size))
    for kernels in BACKENDS.values():
        there = (kernels.resize_bilinear(images, size, *options) * grad_output).sum()
        back = (images * kernels.resize_bilinear_grad(grad_output, images.shape[2:], *options)).sum()
        assert there == pytest.approx(back, rel=1e-11, abs=1e-11)


def test_resizing_is_a_matrix_on_each_side(kernels, rng):
    image = rng.standard_normal((5, 7))
    by_height = kernels.resize_bilinear(np.eye(5)[None, None], (9, 5))[0, 0]  # (9, 5)
    by_width = kernels.resize_bilinear(np.eye(7)[None, None], (7, 4))[0, 0].T  # (4, 7)
    output = kernels.resize_bilinear(image[None, None], (9, 4))[0, 0]
    np.testing.assert_allclose(output, by_height @ image @ by_width.T, rtol=0, atol=1e-14)
    grad = kernels.resize_bilinear_grad(output[None, None], (5, 7))[0, 0]
    np.testing.assert_allclose(grad, by_height.T @ output @ by_width, rtol=0, atol=1e-14)


def test_taps_by_hand():
    lower, upper, fraction = bilinear_taps(2, 4)
    np.testing.assert_array_equal(lower, [0, 0, 0, 1])
    np.testing.assert_array_equal(upper, [1, 1, 1, 1])
    np.testing.assert_array_equal(fraction, [0, 0.25, 0.75, 0])
    lower, upper, fraction = bilinear_taps(3, 5, align_corners=True)
    np.testing.assert_array_equal(lower + fraction, [0, 0.5, 1, 1.5, 2])
    np.testing.assert_array_equal(bilinear_taps(4, 1, align_corners=True)[0], [0])
    np.testing.assert_array_equal(bilinear_taps(1, 3)[2], [0, 0, 0])


@given(st.integers(1, 400), st.integers(1, 400), st.booleans(), st.one_of(st.none(), st.floats(1e-3, 1e3)))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_taps_stay_inside_and_in_order(in_size, out_size, align_corners, scale):
    lower, upper, fraction = bilinear_taps(in_size, out_size, align_corners, scale)
    assert len(lower) == len(upper) == len(fraction) == out_size
    assert lower.min() >= 0
    assert upper.max() <= in_size - 1
    for taps in (lower, upper):
        assert (np.diff(taps) >= 0).all()  # the compiled adjoint relies on it
    assert np.isin(upper - lower, (0, 1)).all()
    assert ((fraction >= 0) & (fraction < 1)).all()
    assert (fraction[upper == lower] == 0).all()


def test_a_constant_stays_constant_and_a_straight_line_straight(kernels):
    for size, align_corners in (((11, 3), False), ((2, 9), True)):
        assert (kernels.resize_bilinear(np.full((1, 2, 5, 6), 7.0), size, align_corners) == 7).all()
    line = np.arange(5.0)[None, None, None]
    np.testing.assert_allclose(kernels.resize_bilinear(line, (1, 9), True)[0, 0, 0], np.arange(9) / 2, atol=1e-15)


def test_nan_reaches_its_neighbours_and_nobody_else(kernels):
    images = np.zeros((1, 1, 6, 6), np.float32)
    images[0, 0, 1, 4] = np.nan
    output = kernels.resize_bilinear(images, (12, 12))
    assert_identical(np.isnan(output), np.isnan(reference.resize_bilinear(images, (12, 12))))
    assert np.isnan(output).any()
    assert not np.isnan(output[:, :, 6:]).any()
    assert not np.isnan(output[..., :6]).any()


@pytest.mark.parametrize("name", ["contiguous", "channels-last", "strided", "upside down", "read-only"])
def test_memory_layout_changes_nothing(kernels, rng, name):
    images = rng.standard_normal((2, 3, 6, 8)).astype(np.float32)
    given = layouts(images)[name]
    with unchanged(given):
        assert_identical(kernels.resize_bilinear(given, (9, 5)), kernels.resize_bilinear(images, (9, 5)))
        assert_identical(kernels.resize_bilinear_grad(given, (3, 11)), kernels.resize_bilinear_grad(images, (3, 11)))


def test_compiled_kernels_stay_channels_last(rng):
    images = rng.standard_normal((2, 3, 6, 8)).astype(np.float32)
    assert is_channels_last(numba_cpu.resize_bilinear(images, (9, 5)))
    assert is_channels_last(numba_cpu.resize_bilinear_grad(images, (3, 4)))


def small_results():
    images = np.random.default_rng(1).standard_normal((3, 5, 13, 11)).astype(np.float32)
    return numba_cpu.resize_bilinear(images, (29, 17)), numba_cpu.resize_bilinear_grad(images, (5, 23))


def test_threads_change_no_bit():
    run_python(
        "import kernel_checks, test_resampling_kernels as t; kernel_checks.assert_same_with_any_threads(t.small_results)",
        NUMBA_NUM_THREADS="2",
    )


def check_without_compiler():
    images = np.random.default_rng(1).standard_normal((1, 9, 3, 4))
    assert type(numba_cpu._resize_bilinear).__name__ == "function"
    output = numba_cpu.resize_bilinear(images, (5, 2))
    np.testing.assert_allclose(output, naive.resize_bilinear(images, (5, 2)), rtol=0, atol=1e-14)
    grad_input = numba_cpu.resize_bilinear_grad(output, (3, 4))
    np.testing.assert_allclose(grad_input, naive.resize_bilinear_grad(output, (3, 4)), rtol=0, atol=1e-14)


def test_the_loops_run_without_the_compiler():
    run_python("import test_resampling_kernels as t; t.check_without_compiler()", NUMBA_DISABLE_JIT="1")
