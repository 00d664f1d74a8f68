"""FACTS 5: the lecture's max-pooling and unpooling, number by number, and how PyTorch and ONNX count places."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minisegnet as ms
import minisegnet.functional as F

PICTURE = np.array([[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]], float)[None, None]


def test_the_lectures_pooling(backend):
    values, places = F.max_pool2d(PICTURE, 2, return_indices=True)
    np.testing.assert_array_equal(values.data[0, 0], [[5, 6], [7, 8]])
    np.testing.assert_array_equal(places.data[0, 0], [[5, 2], [12, 15]])
    assert places.data.dtype == np.int64


def test_the_lectures_unpooling(backend):
    _, places = F.max_pool2d(PICTURE, 2, return_indices=True)
    # 1 to 4 are what the rest of the network put out, not the pooled 5 to 8: the lecture's picture is consistent
    rest = np.array([[1, 2], [3, 4]], float)[None, None]
    up = F.max_unpool2d(rest, places, 2)
    np.testing.assert_array_equal(up.data[0, 0], [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]])


def test_unpooling_restores_places_not_values(backend):
    values, places = F.max_pool2d(PICTURE, 2, return_indices=True)
    up = F.max_unpool2d(values, places, 2)
    np.testing.assert_array_equal(up.data, np.where(np.isin(PICTURE, [5, 6, 7, 8]), PICTURE, 0))
    again, same = F.max_pool2d(up, 2, return_indices=True)
    np.testing.assert_array_equal(again.data, values.data)
    np.testing.assert_array_equal(same.data, places.data)


def test_the_gradient_goes_to_the_four_maxima_alone(backend):
    x = ms.Tensor(PICTURE.copy(), requires_grad=True)
    F.max_pool2d(x, 2).backward(np.array([[1.0, 2], [3, 4]])[None, None])
    # the gradient of pooling is unpooling: the same four places, the same picture
    np.testing.assert_array_equal(x.grad.numpy()[0, 0], [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]])


def whole_tensor_places(places, size):
    """PyTorch's places, flat in each plane, as ONNX counts them: flat in the whole tensor (N, C, H, W)."""
    n, c = places.shape[:2]
    plane = np.arange(n * c).reshape(n, c, 1, 1)
    return places + plane * size[0] * size[1]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(2, 7), st.integers(2, 7)),
    st.integers(1, 2),
    st.integers(1, 3),
    st.integers(0, 2**20),
)
def test_two_ways_of_counting_name_the_same_pixels(shape, kernel, stride, seed):
    x = np.random.default_rng(seed).integers(0, 9, shape).astype(np.float64)  # with ties
    values, places = (t.data for t in F.max_pool2d(x, kernel, stride, return_indices=True))
    everywhere = whole_tensor_places(places, shape[2:])
    np.testing.assert_array_equal(x.ravel()[everywhere], values)
    np.testing.assert_array_equal(
        np.take_along_axis(x.reshape(*shape[:2], -1), places.reshape(*shape[:2], -1), axis=2).reshape(values.shape),
        values,
    )
    assert places.max() < shape[2] * shape[3] <= x.size
    np.testing.assert_array_equal(np.unravel_index(everywhere, shape)[2], places // shape[3])  # the same row
    np.testing.assert_array_equal(np.unravel_index(everywhere, shape)[3], places % shape[3])  # and column


def test_places_as_onnx_itself_counts_them(backend, rng):
    onnx = pytest.importorskip("onnx")
    reference = pytest.importorskip("onnx.reference")
    x = rng.permutation(2 * 3 * 6 * 4).reshape(2, 3, 6, 4).astype(np.float32)
    node = onnx.helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2], strides=[2, 2])
    y, expected = reference.ReferenceEvaluator(node).run(None, {"x": x})
    values, places = (t.data for t in F.max_pool2d(x, 2, return_indices=True))
    np.testing.assert_array_equal(values, y)
    np.testing.assert_array_equal(whole_tensor_places(places, (6, 4)), expected)
    assert not np.array_equal(places, expected)


def test_places_as_pytorch_itself_counts_them(backend, rng):
    torch = pytest.importorskip("torch")
    x = rng.permutation(2 * 3 * 6 * 4).reshape(2, 3, 6, 4).astype(np.float32)
    _, expected = torch.nn.functional.max_pool2d(torch.tensor(x), 2, return_indices=True)
    _, places = F.max_pool2d(x, 2, return_indices=True)
    np.testing.assert_array_equal(places.data, expected.numpy())
