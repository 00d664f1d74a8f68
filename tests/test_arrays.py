"""Changes of layout: the same numbers, wherever they lie in memory."""

import numba
import numpy as np
import pytest

from minisegnet.arrays import channels_first, channels_last
from minisegnet.kernels import numba_cpu_layout


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


@pytest.mark.parametrize(
    "shape", [(2, 8, 128, 130), (1, 17, 45, 47), (3, 600, 5, 7), (1, 9000, 2, 2), (0, 9, 200, 200)]
)
def test_all_threads_write_the_same_numbers(shape, monkeypatch):
    turned = []
    turn = numba_cpu_layout._turn
    monkeypatch.setattr(numba_cpu_layout, "_turn", lambda *arguments: turned.append(1) or turn(*arguments))
    array = np.random.default_rng(0).random(shape, dtype=np.float32)
    locked = array.copy()
    locked.flags.writeable = False
    for given in (array, locked, array.astype(np.float64), array[:, :, ::-1]):
        np.testing.assert_array_equal(numba_cpu_layout.channels_last(given), given.transpose(0, 2, 3, 1))
    assert len(turned) == (array.size > 0)
    last = numba_cpu_layout.channels_last(array)
    assert np.shares_memory(numba_cpu_layout.channels_last(channels_first(last)), last) == (array.size > 0)


def test_a_square_is_turned_the_same_way_without_the_compiler():
    a = np.arange(200, dtype=np.float32)
    compiled, plain = np.zeros((2, 200), np.float32)
    numba.njit(lambda a, b: numba_cpu_layout._square(a, 3, 11, b, 5, 9))(a, compiled)
    numba_cpu_layout._square_py(a, 3, 11, plain, 5, 9)
    np.testing.assert_array_equal(compiled, plain)
    assert plain.any()
