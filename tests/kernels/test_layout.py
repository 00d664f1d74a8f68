"""Images into channels-last memory: every number arrives, and nothing beyond them is touched."""

import numpy as np
import pytest

from minisegnet.arrays import channels_first
from minisegnet.kernels import numba_cpu_layout as layout


def planes(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 8, 9, 16, 20, 33])
@pytest.mark.parametrize("pixels", [16, 48, 4096])
def test_every_number_arrives_and_nothing_else_is_written(channels, pixels):
    for length in (1, 7, 8, 9, 15, 16, 17, 31, 100):
        array = planes(3, channels, length)
        room = np.full(array.size + 64, -1, np.float32)
        layout._turn(array.reshape(-1), array.shape, pixels, room[32:-32])
        np.testing.assert_array_equal(room[32:-32].reshape(3, length, channels), array.transpose(0, 2, 1))
        assert (room[:32] == -1).all()
        assert (room[-32:] == -1).all()


@pytest.mark.parametrize("rows", range(1, 9))
def test_the_plain_square_is_the_compiled_one(rows):
    from numba import njit

    compiled, a = njit(lambda *given: layout.square(*given)), planes(200)
    ours, plain = np.zeros(200, np.float32), np.zeros(200, np.float32)
    compiled(a, 3, 11, rows, ours, 5, rows)
    layout._square_py(a, 3, 11, rows, plain, 5, rows)
    written = slice(5, 5 + 7 * rows + 8)
    np.testing.assert_array_equal(ours[written], plain[written])
    turned = ours[5 : 5 + 8 * rows].reshape(8, rows)
    np.testing.assert_array_equal(turned, a[3 + 11 * np.arange(rows) + np.arange(8)[:, None]])


@pytest.mark.parametrize(
    "shape",
    [
        (2, 3, 128, 128),
        (2, 8, 128, 130),
        (1, 17, 45, 47),
        (3, 600, 5, 7),
        (1, 9000, 2, 2),
        (0, 9, 200, 200),
    ],
)
def test_large_arrays_of_any_layout(shape, monkeypatch):
    turned = []
    turn = layout._turn
    monkeypatch.setattr(layout, "_turn", lambda *arguments: turned.append(1) or turn(*arguments))
    array = np.random.default_rng(0).random(shape, dtype=np.float32)
    locked = array.copy()
    locked.flags.writeable = False
    for given in (array, locked, array.astype(np.float64), array[:, :, ::-1]):
        np.testing.assert_array_equal(layout.channels_last(given), given.transpose(0, 2, 3, 1))
    assert len(turned) == (array.size > 0)
    last = layout.channels_last(array)
    assert np.shares_memory(layout.channels_last(channels_first(last)), last) == (array.size > 0)
