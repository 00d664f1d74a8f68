"""What only the depthwise convolution's own function can be asked for; its sums are held in ``test_convolution_kernels.py``."""

import numpy as np

from minisegnet.kernels.convolution import numba_cpu_depthwise


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
