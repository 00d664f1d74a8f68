"""Batch norm kernels: statistics that survive a large offset, gradients as PyTorch's, every layout and thread count."""

import naive
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kernel_checks import assert_identical, layouts, run_python, unchanged

from minisegnet.arrays import is_channels_last
from minisegnet.kernels.normalization import numba_cpu, reference

BACKENDS = {"reference": reference, "numba": numba_cpu}


@pytest.fixture(params=BACKENDS)
def kernels(request):
    return BACKENDS[request.param]


@pytest.fixture
def small_blocks(monkeypatch):
    """Cut the work into blocks of a few pixels, so that small images have many, and a last one that is not full."""
    monkeypatch.setattr(numba_cpu, "BLOCK", 32)


@st.composite
def batches(draw):
    n, c = draw(st.integers(1, 3)), draw(st.sampled_from([1, 3, 9]))
    h, w = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images = draw(st.sampled_from([0.0, 100.0])) + draw(st.sampled_from([1.0, 0.01])) * rng.standard_normal(
        (n, c, h, w)
    )
    weight, bias = rng.standard_normal((2, c))
    return (
        images.astype(dtype),
        weight.astype(dtype),
        bias.astype(dtype),
        rng.standard_normal(images.shape).astype(dtype),
    )


def sizes_of_terms(images, weight, bias, grad_output, mean, variance, eps=1e-5):
    """Return the sizes of what is added up in batch norm's output, and in its three gradients."""
    one = (slice(None), None, None)
    images, grad_output = abs(images.astype(float) - mean[one]), abs(grad_output.astype(float))
    inverse, count, axes = 1 / np.sqrt(variance + eps), images.size / len(mean), (0, 2, 3)
    scale, products, grads = abs(weight) * inverse, (grad_output * images).sum(axes), grad_output.sum(axes)
    output = scale[one] * images + abs(bias.astype(float))[one]
    mixed = grad_output + (inverse**2 * products / count)[one] * images + (grads / count)[one]
    return output, (scale[one] * mixed, inverse * products, grads)


def assert_close(result, expected, dtype, magnitude, terms=None):
    """Check one rounding to the type, and 100 of float64 on the way.

    Where the compiled loops compute number by number in the type, a sum of products whose sizes are ``terms`` may be off by
    six roundings of those: two factors, distance and product of each, and the sums.
    """
    result, eps = np.asarray(result, np.float64), np.finfo(dtype).eps
    most = eps * abs(expected) + 100 * np.finfo(np.float64).eps * magnitude
    most = most if terms is None else most + 3 * eps * terms
    assert (abs(result - expected) <= most).all(), (abs(result - expected) - most).max()


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches())
@example(
    (
        np.full((1, 1, 1, 1), 3.0, np.float32),
        np.ones(1, np.float32),
        np.ones(1, np.float32),
        np.ones((1, 1, 1, 1), "f4"),
    )
)
def test_forward_and_backward_agree_with_plain_loops(small_blocks, batch):
    images, weight, bias, grad_output = batch
    expected, mean, variance = naive.batch_norm(images, weight, bias, 1e-5)
    grads = naive.batch_norm_grad(grad_output, images, weight, mean, variance, 1e-5)
    scale = abs(weight).max() / np.sqrt(variance.min() + 1e-5)  # what a rounding of a pixel grows to
    largest, steepest = abs(images).max(), abs(grad_output).max() * images.size
    sizes, grad_sizes = sizes_of_terms(images, weight, bias, grad_output, mean, variance)
    for kernels in BACKENDS.values():
        exact = kernels is reference
        with unchanged(images, weight, bias, grad_output, mean, variance):
            output, *statistics = kernels.batch_norm(images, weight, bias, 1e-5)
            results = kernels.batch_norm_grad(grad_output, images, weight, mean, variance, 1e-5)
        assert output.dtype == images.dtype
        assert [s.dtype for s in statistics] == [np.float64] * 2
        assert [r.dtype for r in results] == [images.dtype] * 3
        assert_close(output, expected, images.dtype, scale * largest + abs(bias).max(), None if exact else sizes)
        assert_close(statistics[0], mean, np.float64, largest)
        assert_close(statistics[1], variance, np.float64, largest * np.sqrt(variance.max()) + variance.max())
        for result, wanted, size in zip(results, grads, grad_sizes, strict=True):
            magnitude = steepest * (1 + scale) * (1 + scale * largest) ** 2
            assert_close(result, wanted, images.dtype, magnitude, None if exact else size)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(batches())
def test_forward_and_backward_agree_with_pytorch(batch):
    torch = pytest.importorskip("torch")
    images, weight, bias, grad_output = (a.astype(np.float64) for a in batch)
    if images.size == images.shape[1]:
        return  # PyTorch refuses to normalize a single pixel
    leaves = [torch.from_numpy(a.copy()).requires_grad_() for a in (images, weight, bias)]
    expected = torch.nn.functional.batch_norm(leaves[0], None, None, *leaves[1:], training=True)
    expected.backward(torch.from_numpy(grad_output))
    for kernels in BACKENDS.values():
        output, mean, variance = kernels.batch_norm(images, weight, bias)
        np.testing.assert_allclose(output, expected.detach(), rtol=1e-10, atol=1e-8)
        grads = kernels.batch_norm_grad(grad_output, images, weight, mean, variance)
        for grad, leaf in zip(grads, leaves, strict=True):
            np.testing.assert_allclose(grad, leaf.grad, rtol=1e-8, atol=1e-8)


def test_the_gradient_is_that_of_the_forward(kernels, rng):
    """Central differences along random directions, in float64."""
    images, grad_output = rng.standard_normal((2, 2, 3, 4, 5))
    weight, bias = rng.standard_normal((2, 3))
    _, mean, variance = kernels.batch_norm(images, weight, bias)
    grads = kernels.batch_norm_grad(grad_output, images, weight, mean, variance)
    for position, grad in enumerate(grads):
        inputs = [images, weight, bias]
        direction, step = rng.standard_normal(grad.shape), 1e-5
        sides = []
        for sign in (1, -1):
            moved = [a + sign * step * direction if i == position else a for i, a in enumerate(inputs)]
            sides.append((kernels.batch_norm(*moved)[0] * grad_output).sum())
        assert (sides[0] - sides[1]) / (2 * step) == pytest.approx((grad * direction).sum(), rel=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_large_offset_costs_no_digits(kernels, rng, dtype):
    images = (1e4 + rng.standard_normal((4, 3, 40, 50))).astype(dtype)
    exact = images.astype(np.longdouble)
    mean, variance = exact.mean(axis=(0, 2, 3)), exact.var(axis=(0, 2, 3))
    result = kernels.batch_norm(images, np.ones(3, dtype), np.zeros(3, dtype))
    np.testing.assert_allclose(result[1], mean.astype(float), rtol=1e-15)
    np.testing.assert_allclose(result[2], variance.astype(float), rtol=1e-11)
    expected = (exact - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None]
    np.testing.assert_allclose(
        result[0], expected.astype(float), rtol=2e-7 if dtype == np.float32 else 1e-10, atol=1e-11
    )


def test_an_outlier_at_the_start_costs_no_digits(kernels, rng):
    images = rng.standard_normal((2, 1, 64, 64))
    images[0, 0, 0, 0] = 1e6
    expected = images.astype(np.longdouble).var()
    np.testing.assert_allclose(kernels.batch_norm(images, np.ones(1), np.zeros(1))[2], float(expected), rtol=1e-13)


@pytest.mark.parametrize("value", [0.1, 1e4, -3e30])
def test_a_constant_channel_becomes_its_bias(kernels, value):
    images = np.full((3, 2, 30, 70), value, np.float32)
    output, mean, variance = kernels.batch_norm(images, np.full(2, 5, np.float32), np.array([1, 2], np.float32))
    assert (mean == np.float32(value)).all()
    assert (variance == 0).all()
    assert (output == np.array([1, 2])[:, None, None]).all()


def test_an_empty_batch_has_no_statistics_and_no_gradient(kernels):
    images, weight = np.zeros((0, 3, 4, 5), np.float32), np.ones(3, np.float32)
    output, mean, variance = kernels.batch_norm(images, weight, weight)
    assert output.shape == images.shape
    assert_identical((mean, variance), (np.zeros(3), np.zeros(3)))
    grads = kernels.batch_norm_grad(images, images, weight, mean, variance)
    assert_identical(grads, (images, np.zeros(3, np.float32), np.zeros(3, np.float32)))
    assert kernels.channel_affine(images, np.ones(3), np.ones(3)).shape == images.shape


def test_nan_and_infinity_are_not_hidden(kernels, rng):
    for odd in (np.nan, np.inf):
        images = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
        images[1, 1, 2, 3] = odd
        output, _, variance = kernels.batch_norm(images, np.ones(3, np.float32), np.zeros(3, np.float32))
        np.testing.assert_array_equal(np.isnan(variance), [False, True, False])
        assert np.isnan(output[:, 1]).all()
        assert np.isfinite(output[:, ::2]).all()
        fused = kernels.batch_norm_relu(images, np.ones(3, np.float32), np.zeros(3, np.float32))[0]
        np.testing.assert_array_equal(np.isnan(fused), np.isnan(output))
    assert np.isnan(kernels.channel_affine_relu(np.full((1, 1, 1, 1), np.nan), np.ones(1), np.ones(1))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_channel_affine(kernels, rng, dtype):
    images, (scale, shift) = rng.standard_normal((2, 5, 3, 7)).astype(dtype), rng.standard_normal((2, 5))
    with unchanged(images, scale, shift):
        result = kernels.channel_affine(images, scale, shift)
    assert result.dtype == dtype
    sizes = abs(images) * abs(scale)[:, None, None] + abs(shift)[:, None, None]
    assert_close(result, naive.channel_affine(images, scale, shift), dtype, 10, None if kernels is reference else sizes)
    # Evaluation of a channel that lies far from zero: one rounding, not one of input * scale and one of the sum.
    far = np.float32([[[[10000.5]]]])
    assert kernels.channel_affine(far, np.array([300.0]), np.array([-3000000.0])).item() == 150


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches())
def test_with_relu_it_is_batch_norm_and_then_relu(small_blocks, batch):
    images, weight, bias, grad_output = batch
    for kernels in BACKENDS.values():
        output, *statistics = kernels.batch_norm(images, weight, bias)
        with unchanged(images, weight, bias, grad_output):
            fused, *fused_statistics = kernels.batch_norm_relu(images, weight, bias)
            results = kernels.batch_norm_relu_grad(grad_output, images, weight, bias, *statistics)
        assert_identical(tuple(fused_statistics), tuple(statistics))
        np.testing.assert_array_equal(fused, np.maximum(output, 0))
        assert fused.dtype == images.dtype
        passed = np.where(output > 0, grad_output, 0)
        assert_identical(results, kernels.batch_norm_grad(passed, images, weight, *statistics))
        scale, shift = weight.astype(float), bias.astype(float)
        expected = np.maximum(kernels.channel_affine(images, scale, shift), 0)
        np.testing.assert_array_equal(kernels.channel_affine_relu(images, scale, shift), expected)


def test_with_relu_the_gradient_is_pytorchs(kernels, rng):
    torch = pytest.importorskip("torch")
    images, grad_output = rng.standard_normal((2, 3, 5, 7, 9))
    weight, bias = rng.standard_normal((2, 5))
    leaves = [torch.from_numpy(a.copy()).requires_grad_() for a in (images, weight, bias)]
    expected = torch.relu(torch.nn.functional.batch_norm(leaves[0], None, None, *leaves[1:], training=True))
    expected.backward(torch.from_numpy(grad_output))
    output, mean, variance = kernels.batch_norm_relu(images, weight, bias)
    np.testing.assert_allclose(output, expected.detach(), rtol=1e-12, atol=1e-13)
    for grad, leaf in zip(
        kernels.batch_norm_relu_grad(grad_output, images, weight, bias, mean, variance), leaves, strict=True
    ):
        np.testing.assert_allclose(grad, leaf.grad, rtol=1e-10, atol=1e-12)


def test_the_gradient_passes_where_the_forward_was_positive_and_nowhere_else(rng):
    """Both compute the sign from the input; a sum of ones counts where they say it is positive."""
    images = rng.standard_normal((4, 16, 33, 31)).astype(np.float32)
    weight, bias = rng.standard_normal((2, 16)).astype(np.float32)
    output, mean, variance = numba_cpu.batch_norm_relu(images, weight, bias)
    grads = numba_cpu.batch_norm_relu_grad(np.ones_like(images), images, weight, bias, mean, variance)
    np.testing.assert_array_equal(grads[2], (output > 0).sum(axis=(0, 2, 3)))


@pytest.mark.parametrize("channels", [1, 3, 16, 80, 257, 1000])
@pytest.mark.parametrize("pixels", [1, 2, 31, 1025])
def test_rows_and_blocks_end_where_the_image_does(rng, channels, pixels):
    """Few channels and many, fewer and more than a row holds; pixels that fill neither the last row nor the last block."""
    images, grad = rng.standard_normal((2, 1, channels, 1, pixels)).astype(np.float32)
    weight, bias = rng.standard_normal((2, channels)).astype(np.float32)
    results = numba_cpu.batch_norm_relu(images, weight, bias)
    expected = reference.batch_norm_relu(images, weight, bias)
    np.testing.assert_allclose(results[1], expected[1], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(results[2], expected[2], rtol=1e-12, atol=1e-14)
    sizes, grad_sizes = sizes_of_terms(images, weight, bias, grad, *expected[1:])
    assert_close(results[0], expected[0], np.float32, 1, sizes)
    grads = numba_cpu.batch_norm_relu_grad(grad, images, weight, bias, *expected[1:])
    wanted = reference.batch_norm_relu_grad(grad, images, weight, bias, *expected[1:])
    for result, want, size in zip(grads, wanted, grad_sizes, strict=True):
        assert_close(result, want, np.float32, pixels, size)


@pytest.mark.parametrize("name", ["contiguous", "channels-last", "strided", "upside down", "read-only"])
def test_memory_layout_changes_nothing(rng, name):
    images, grad = rng.standard_normal((2, 2, 3, 6, 8)).astype(np.float32)
    weight, statistics = np.ones(3, np.float32), (np.full(3, 0.1), np.full(3, 0.9))
    given, given_grad = layouts(images)[name], layouts(grad)[name]
    with unchanged(given, given_grad):
        assert_identical(numba_cpu.batch_norm(given, weight, weight), numba_cpu.batch_norm(images, weight, weight))
        results = numba_cpu.batch_norm_grad(given_grad, given, weight, *statistics)
        assert_identical(results, numba_cpu.batch_norm_grad(grad, images, weight, *statistics))
        assert_identical(numba_cpu.channel_affine(given, *statistics), numba_cpu.channel_affine(images, *statistics))
    np.testing.assert_allclose(results[0], reference.batch_norm_grad(grad, images, weight, *statistics)[0], rtol=1e-6)


def test_compiled_kernels_stay_channels_last(rng):
    images, weight = rng.standard_normal((2, 3, 6, 8)).astype(np.float32), np.ones(3, np.float32)
    output, mean, variance = numba_cpu.batch_norm(images, weight, weight)
    assert is_channels_last(output)
    assert is_channels_last(numba_cpu.batch_norm_grad(output, images, weight, mean, variance)[0])
    assert is_channels_last(numba_cpu.channel_affine(images, mean, variance))
    assert is_channels_last(numba_cpu.batch_norm_relu(images, weight, weight)[0])
    assert is_channels_last(numba_cpu.batch_norm_relu_grad(output, images, weight, weight, mean, variance)[0])
    assert is_channels_last(numba_cpu.channel_affine_relu(images, mean, variance))


def small_results():
    images, grad = np.random.default_rng(1).standard_normal((2, 3, 5, 73, 61)).astype(np.float32)  # five blocks
    weight = np.ones(5, np.float32)
    output, mean, variance = numba_cpu.batch_norm(images, weight, weight)
    grads = numba_cpu.batch_norm_grad(grad, images, weight, mean, variance)
    fused = numba_cpu.batch_norm_relu_grad(grad, images, weight, weight, mean, variance)
    return output, mean, variance, *grads, *fused, numba_cpu.channel_affine_relu(images, mean, variance)


def test_threads_change_no_bit():
    run_python(
        "import kernel_checks, test_normalization_kernels as t; kernel_checks.assert_same_with_any_threads(t.small_results)",
        NUMBA_NUM_THREADS="2",
    )


def check_without_compiler():
    images, grad = np.random.default_rng(1).standard_normal((2, 2, 2, 3, 3))
    weight = np.array([2.0, 3.0])
    assert type(numba_cpu._block_moments).__name__ == "function"
    results, expected = (m.batch_norm(images, weight, weight) for m in (numba_cpu, naive))
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-12, atol=1e-14)
    grads, wanted_grads = (m.batch_norm_grad(grad, images, weight, *expected[1:]) for m in (numba_cpu, naive))
    for result, wanted in zip(grads, wanted_grads, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-12, atol=1e-14)


def test_the_loops_run_without_the_compiler():
    run_python("import test_normalization_kernels as t; t.check_without_compiler()", NUMBA_DISABLE_JIT="1")
