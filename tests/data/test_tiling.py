"""Overlap-tile prediction equals prediction of the whole, and only where its two conditions hold."""

import numpy as np
import pytest

from minisegnet import data

RNG = np.random.default_rng(0)
KERNEL = RNG.standard_normal((2, 3, 3, 3))  # (K, C, 3, 3)


def conv(x, padding):
    """(N, C, h, w) -> (N, 2, h', w') with zeros around, in float64."""
    x = np.pad(x, ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    return np.einsum("nchwij,kcij->nkhw", windows, KERNEL)


def hourglass(x, depth=2, padding=1):
    """A small net with pools and zero padding: receptive radius 1 + 2 + ... below, total stride 2**depth."""
    assert x.shape[2] % 2**depth == 0
    assert x.shape[3] % 2**depth == 0
    y = np.tanh(conv(x, padding))
    y = np.concatenate([y, y[:, :1]], axis=1)
    for _ in range(depth):
        n, c, h, w = y.shape
        y = y.reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5))
    y = np.tanh(conv(y, padding))
    return y.repeat(2**depth, axis=2).repeat(2**depth, axis=3)


def valid_net(x):
    """Pool by 2 and upsample without padding: takes 3 pixels off each side, sizes must be even."""
    assert x.shape[2] % 2 == 0
    assert x.shape[3] % 2 == 0
    y = conv(x, 0)  # -1
    y = np.concatenate([y, y[:, :1]], axis=1)
    n, c, h, w = y.shape
    y = conv(y.reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5)), 0)  # -1 at half size, which is -2
    return y.repeat(2, axis=2).repeat(2, axis=3)


@pytest.mark.parametrize("size", [(64, 96), (61, 70), (16, 130), (4, 4), (1, 1), (7, 33)])
@pytest.mark.parametrize("tile", [(16, 16), (8, 32), (256, 256)])
@pytest.mark.parametrize("batch", [1, 3])
def test_equals_the_whole(size, tile, batch):
    image = RNG.standard_normal((3, *size))
    filled = [(-n) % 4 for n in size]
    rows, columns = (data.augmentation.mirrored(np.arange(n + more), n) for n, more in zip(size, filled, strict=True))
    whole = hourglass(image[:, rows[:, None], columns][None])[0, :, : size[0], : size[1]]
    tiled = data.predict_tiled(hourglass, image, tile=tile, margin=9, multiple=4, batch=batch)
    np.testing.assert_allclose(tiled, whole, atol=1e-12)


def test_mirror_equals_the_mirrored_whole():
    image = RNG.standard_normal((3, 48, 40))
    whole = hourglass(np.pad(image, ((0, 0), (12, 12), (12, 12)), mode="reflect")[None])[0, :, 12:-12, 12:-12]
    tiled = data.predict_tiled(hourglass, image, tile=16, margin=12, multiple=4, border="mirror")
    np.testing.assert_allclose(tiled, whole, atol=1e-12)


@pytest.mark.parametrize("size", [(20, 24), (21, 33), (6, 7)])
@pytest.mark.parametrize("tile", [6, (7, 8), 14])
def test_valid_network(size, tile):
    image = RNG.standard_normal((3, *size))
    tile = (tile, tile) if isinstance(tile, int) else tile
    if any((t + 6) % 2 for t in tile):
        tile = tuple(t + t % 2 for t in tile)
    more = [n % 2 for n in size]
    index = [
        data.augmentation.mirrored(np.arange(-3, n + 3 + m), n) for n, m in zip(size, more, strict=True)
    ]  # an even size for the whole
    whole = valid_net(image[:, index[0][:, None], index[1]][None])[0, :, : size[0], : size[1]]
    tiled = data.predict_tiled(valid_net, image, tile=tile, margin=3, multiple=2, valid=True)
    np.testing.assert_allclose(tiled, whole, atol=1e-12)


def test_published_tiles_overlap_to_stay_on_the_grid():
    """388 is no multiple of 16: tiles step by 384, and a picture of 388 needs one only."""
    starts = []

    def predict(x):
        assert x.shape[2:] == (572, 572)
        starts.append(x[0, 0, 0, 0])
        return x[:, :1, 92:-92, 92:-92]

    image = np.arange(800, dtype=float)[None, :, None] * np.ones((1, 1, 388))
    np.testing.assert_array_equal(
        data.predict_tiled(predict, image, tile=388, margin=92, multiple=16, valid=True), image
    )
    assert starts == [92.0, 384.0 - 92, 768.0 - 92]  # 92 rows above the first is row 92, mirrored


def test_both_conditions_are_needed():
    image = RNG.standard_normal((3, 64, 64))
    whole = hourglass(image[None])[0]
    thin = data.predict_tiled(hourglass, image, tile=16, margin=0, multiple=4)
    assert np.abs(thin - whole).max() > 1e-3, "without a margin there must be a seam"

    def any_size(x):  # fills up by itself, so that windows off the grid are accepted
        h, w = x.shape[2:]
        return hourglass(np.pad(x, ((0, 0), (0, 0), (0, -h % 4), (0, -w % 4)), mode="edge"))[:, :, :h, :w]

    off_grid = data.predict_tiled(any_size, image, tile=15, margin=12, multiple=1)
    assert np.abs(off_grid - whole).max() > 1e-3, "off the grid of the pools the result must differ"


def test_memory_is_bounded_and_out_is_written(tmp_path):
    """A picture on disk is read window by window, the result written to disk."""
    source = np.memmap(tmp_path / "in.dat", dtype=np.float32, mode="w+", shape=(1, 1000, 700))
    source[:] = RNG.random((1, 1000, 700))
    target = np.memmap(tmp_path / "out.dat", dtype=np.float32, mode="w+", shape=(1, 1000, 700))
    seen = []

    def predict(x):
        seen.append(x.shape)
        return x * 2

    calls = []
    result = data.predict_tiled(
        predict,
        source,
        tile=128,
        margin=16,
        multiple=16,
        out=target,
        batch=2,
        progress=lambda a, b: calls.append((a, b)),
    )
    assert result is target
    np.testing.assert_array_equal(target, 2 * np.asarray(source))
    assert max(n * h * w for n, _, h, w in seen) <= 2 * 160 * 160
    assert calls[-1] == (48, 48)


def test_errors_name_the_cure():
    image = np.zeros((3, 20, 20))
    with pytest.raises(ValueError, match=r"image must be \(C, H, W\)"):
        data.predict_tiled(hourglass, image[None])
    with pytest.raises(ValueError, match="multiple of the network's total stride 4; 8 is"):
        data.predict_tiled(hourglass, image, tile=10, multiple=4)
    with pytest.raises(ValueError, match="border"):
        data.predict_tiled(hourglass, image, border="zeros")
    with pytest.raises(ValueError, match="predict returned shape"):
        data.predict_tiled(lambda x: x[:, :, 1:], image, tile=8)
    with pytest.raises(ValueError, match=r"out must be \(K, H, W\)"):
        data.predict_tiled(lambda x: x, image, out=np.zeros((2, 20, 20)))
