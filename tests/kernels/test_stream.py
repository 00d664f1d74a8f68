"""Writing past the cache: the same bits, wherever rows begin and end, and only where whole stores are aligned."""

import numpy as np
import pytest
from kernel_checks import assert_identical

from minisegnet.kernels import numba_cpu_stream
from minisegnet.kernels.buffers import empty
from minisegnet.kernels.normalization import numba_cpu as normalization
from minisegnet.kernels.pooling import numba_cpu as pooling
from minisegnet.kernels.resampling import numba_cpu as resampling

FAMILIES = (normalization, pooling, resampling)


def results(shape, dtype):
    rng = np.random.default_rng(0)
    images, grads = rng.standard_normal((2, *shape)).astype(dtype)
    weight, bias = rng.standard_normal((2, shape[1])).astype(dtype)
    output, mean, variance = normalization.batch_norm_relu(images, weight, bias)
    pooled, indices = pooling.max_pool2d(images, (2, 2), (2, 2))
    return (
        output,
        *normalization.batch_norm_relu_grad(grads, images, weight, bias, mean, variance),
        normalization.channel_affine(images, mean, variance),
        pooled,
        indices,
        *pooling.max_pool2d(images, (3, 3), (2, 2), (1, 1)),
        pooling.scatter_to_plane(pooled[:, :, :, :65], indices[:, :, :, :65], (62, 130)),  # not in its own windows
        pooling.scatter_to_plane(*pooling.max_pool2d(images[:, :, :, :130], (2, 2), (2, 2)), (62, 130)),
        resampling.resize_bilinear(images, (2 * shape[2], 2 * shape[3])),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [8, 16, 24, 33, 64])
def test_results_written_past_the_cache_are_the_same(monkeypatch, channels, dtype):
    """Sizes beyond which memory comes from the shelf, which aligns it; channels whose rows are whole stores, or not."""
    shape, asked = (2, channels, 62, 131), []
    wanted = results(shape, dtype)

    def always(row, outputs, inputs, ask=numba_cpu_stream.streams):
        asked.append(ask(row, outputs, inputs))
        return asked[-1]

    monkeypatch.setattr(numba_cpu_stream, "LARGE", 0)
    for family in FAMILIES:
        monkeypatch.setattr(family, "streams", always)
    for result, want in zip(results(shape, dtype), wanted, strict=True):
        assert_identical(result, want)
    if numba_cpu_stream.DISABLED:
        assert not any(asked)
    elif channels == 64:
        assert all(asked)
    elif channels == 33:
        assert not any(asked[3:])  # pooling and resizing: a row is a pixel


def test_only_large_and_aligned_results_are_written_past_the_cache(monkeypatch):
    output = empty((1 << 18,), np.float32)
    assert not numba_cpu_stream.streams(16, (output,), (output,)), "small"
    monkeypatch.setattr(numba_cpu_stream, "LARGE", 2 * output.nbytes)
    assert numba_cpu_stream.streams(16, (output,), (output,)) is not numba_cpu_stream.DISABLED
    assert not numba_cpu_stream.streams(16, (output,), ()), "half as large"
    assert not numba_cpu_stream.streams(12, (output,), (output,)), "rows that end within a store"
    assert not numba_cpu_stream.streams(16, (output[8:], output), (output,)), "begins within a store"
