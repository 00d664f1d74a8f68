"""``Tensor.argmax``: PyTorch's arguments and shapes; NumPy's first of equal maxima."""

import numpy as np
import pytest

import minisegnet as ms


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [None, 0, 1, -1])
def test_argmax_is_pytorchs(rng, dim, keepdim):
    torch = pytest.importorskip("torch", reason="PyTorch, the peer of this test, is not installed")
    x = rng.standard_normal((2, 3, 4))
    found, expected = ms.Tensor(x).argmax(dim, keepdim), torch.tensor(x).argmax(dim, keepdim)
    assert found.shape == tuple(expected.shape)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found.numpy(), expected.numpy())


def test_the_first_of_equal_maxima():
    assert ms.tensor([[1.0, 3.0, 3.0]]).argmax(1).tolist() == [1]
    assert ms.tensor([[3.0], [3.0]]).argmax(dim=0, keepdim=True).tolist() == [[0]]
