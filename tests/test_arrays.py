"""Changes of layout: the same numbers, wherever they lie in memory."""

import numpy as np
import pytest

from minisegnet.arrays import channels_first, channels_last


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
@pytest.mark.parametrize(
    "shape",
    [(2, 3, 5, 7), (2, 5, 3, 4), (1, 16, 8, 8), (3, 33, 9, 31), (2, 40, 50, 40), (1, 4000, 8, 9), (0, 8, 8, 8), (2, 0, 9, 9),
     (1, 1, 70, 3)],
)  # fmt: skip
def test_channels_last_holds_the_same_numbers(shape, dtype):
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    before = array.copy()
    for given in (array, np.asfortranarray(array), array[:, :, ::-1], array[..., ::-1].copy()[..., ::-1]):
        last = channels_last(given)
        assert last.flags.c_contiguous
        assert last.dtype == dtype
        np.testing.assert_array_equal(last, given.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(array, before)


def test_channels_last_is_a_view_where_memory_lies_so():
    last = np.zeros((2, 9, 9, 8), np.float32)
    assert np.shares_memory(channels_last(channels_first(last)), last)
    one = np.zeros((2, 1, 9, 9), np.float32)
    assert np.shares_memory(channels_last(one), one)
