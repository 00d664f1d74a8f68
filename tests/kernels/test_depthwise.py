"""What only the depthwise convolution's own function can be asked for; its sums are held in ``test_convolution_kernels.py``."""

import numpy as np
import pytest
from kernel_checks import run_python

from minisegnet.kernels.convolution import numba_cpu_depthwise, numba_cpu_depthwise_3x3, reference


def test_a_floor_is_where_the_output_ends_and_a_nan_stays_one():
    rng = np.random.default_rng(0)
    images = rng.standard_normal((1, 3, 6, 5)).astype(np.float32)
    images[0, 1, 2, 2] = np.nan
    weight = rng.standard_normal((3, 1, 3, 3)).astype(np.float32)
    geometry = (None, (1, 1), (1, 1), (1, 1), 3)
    output = numba_cpu_depthwise.conv2d(images, weight, *geometry)
    for floor in (0.0, 0.5):
        above = numba_cpu_depthwise.conv2d(images, weight, *geometry, floor=floor)
        assert above.dtype == np.float32
        assert np.isnan(above).sum() == 9
        np.testing.assert_array_equal(above, np.maximum(output, np.float32(floor)))


# (N, C, H, W), stride: channels and widths that vectors of sixteen and of eight fit and do not, rows by four and what remains
GEOMETRIES = [
    ((2, 8, 5, 7), 1),
    ((1, 20, 33, 17), 1),
    ((1, 9, 300, 9), 1),
    ((1, 16, 1, 1), 1),
    ((2, 40, 19, 33), 1),
    ((1, 8, 70, 50), 1),
    ((1, 17, 8, 2), 1),
    ((2, 9, 5, 7), 2),
    ((1, 20, 34, 18), 2),
    ((1, 16, 130, 48), 2),
    ((1, 8, 1, 1), 2),
    ((1, 33, 3, 32), 2),
    ((1, 16, 37, 35), 2),
    ((1, 15, 6, 16), 2),
]


def in_channels_last_memory(array):
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def check(shape, stride):
    """Hold the three directions, in both layouts, against the reference in float64; images leave in the layout they came in.

    Planes too narrow for a vector, or odd where the stride halves them, are made channels-last.
    """
    rng = np.random.default_rng(0)
    channels = shape[1]
    strides, geometry = (stride, stride), ((stride, stride), (1, 1), (1, 1))
    image, weight, bias = (rng.standard_normal(s).astype(np.float32) for s in (shape, (channels, 1, 3, 3), channels))
    assert numba_cpu_depthwise_3x3.serves(image.dtype, weight.shape, *geometry, channels)
    exact = reference.conv2d(*(a.astype(np.float64) for a in (image, weight, bias)), *geometry, channels)
    grads = rng.standard_normal(exact.shape).astype(np.float32)
    expected = [
        exact,
        reference.conv2d_grad_input(
            grads.astype(np.float64), weight.astype(np.float64), shape[2:], *geometry, channels
        ),
        reference.conv2d_grad_weight(
            grads.astype(np.float64), image.astype(np.float64), (3, 3), *geometry, channels
        ),
    ]  # fmt: skip
    for lay in (np.ascontiguousarray, in_channels_last_memory):
        x, g = lay(image), lay(grads)
        results = [
            numba_cpu_depthwise_3x3.conv2d(x, weight, bias, strides, -np.inf),
            numba_cpu_depthwise_3x3.conv2d_grad_input(g, weight, shape[2:], strides),
            numba_cpu_depthwise_3x3.conv2d_grad_weight(g, x, strides),
        ]
        for result, right in zip(results, expected, strict=True):
            assert result.dtype == np.float32
            np.testing.assert_allclose(result, right, rtol=0, atol=2e-6 * max(1, np.abs(right).max()))
        planes = lay is np.ascontiguousarray and shape[3] % stride == 0 and shape[3] // stride >= 8
        for result in results[:2]:
            assert (result if planes else result.transpose(0, 2, 3, 1)).flags.c_contiguous


@pytest.mark.parametrize(("shape", "stride"), GEOMETRIES)
def test_three_by_three_in_both_layouts(shape, stride):
    check(shape, stride)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("lay", [np.ascontiguousarray, in_channels_last_memory])
def test_what_is_not_finite_reaches_the_pixels_that_read_it_and_no_other(lay, stride):
    """Vectors overlap, and rows end beside others: a NaN shows who read too far."""
    rng = np.random.default_rng(0)
    image, weight = rng.standard_normal((2, 19, 11, 38)).astype(np.float32), np.ones((19, 1, 3, 3), np.float32)
    geometry = (stride, stride), (1, 1), (1, 1), 19
    for y, x in ((0, 0), (4, 37), (5, 0), (10, 37), (6, 16), (7, 15)):
        spoilt = image.copy()
        spoilt[1, 18, y, x] = np.nan
        output = numba_cpu_depthwise.conv2d(lay(spoilt), weight, None, *geometry)
        np.testing.assert_array_equal(np.isnan(output), np.isnan(reference.conv2d(spoilt, weight, None, *geometry)))
        grads = np.zeros(output.shape, np.float32)
        grads[1, 18, y // stride, x // stride] = np.nan
        grad = numba_cpu_depthwise.conv2d_grad_input(lay(grads), weight, (11, 38), *geometry)
        expected = reference.conv2d_grad_input(grads, weight, (11, 38), *geometry)
        np.testing.assert_array_equal(np.isnan(grad), np.isnan(expected))


def test_three_by_three_where_one_array_is_ordinary_and_the_other_channels_last_or_read_only():
    rng = np.random.default_rng(0)
    image, grads = (rng.standard_normal((2, 9, 10, 13)).astype(np.float32) for _ in range(2))
    expected = numba_cpu_depthwise_3x3.conv2d_grad_weight(grads, image, (1, 1))
    fixed = image.copy()
    fixed.flags.writeable = False
    for g, x in ((in_channels_last_memory(grads), image), (grads, in_channels_last_memory(image)), (grads, fixed)):
        result = numba_cpu_depthwise_3x3.conv2d_grad_weight(g, x, (1, 1))
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_ordinary_images_take_the_functions_for_three_by_three_and_stay_ordinary():
    rng = np.random.default_rng(0)
    image, weight = rng.standard_normal((2, 24, 9, 20)).astype(np.float32), np.ones((24, 1, 3, 3), np.float32)
    for stride in ((1, 1), (2, 2)):
        geometry = (stride, (1, 1), (1, 1), 24)
        for lay, ordinary in ((np.ascontiguousarray, True), (in_channels_last_memory, False)):
            output = numba_cpu_depthwise.conv2d(lay(image), weight, None, *geometry)
            grad = numba_cpu_depthwise.conv2d_grad_input(lay(output), weight, (9, 20), *geometry)
            assert output.flags.c_contiguous == grad.flags.c_contiguous == ordinary


def small():
    for geometry in (((1, 17, 5, 9), 1), ((1, 9, 3, 18), 2), ((1, 9, 4, 7), 2)):
        check(*geometry)


def test_three_by_three_with_the_jit_off():
    run_python("import numba, test_depthwise as t\nassert numba.config.DISABLE_JIT\nt.small()", NUMBA_DISABLE_JIT="1")
