"""Which type a result has where types meet: PyTorch's rules, and gradients of the type of what they belong to."""

import operator

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F

OPERATORS = ("add", "sub", "mul", "truediv")


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("other", ["int64", "int32", "uint8", "bool"])
def test_whole_numbers_take_the_type_of_the_floats_beside_them(name, dtype, other):
    x = ms.Tensor(np.full((2, 3), 2, dtype), requires_grad=True)
    y = np.ones((2, 3), other)
    run = getattr(operator, name)
    for result in (run(x, y), run(x, ms.Tensor(y)), run(y, x), run(ms.Tensor(y), x)):
        assert result.dtype == dtype
        x.grad = None
        result.sum().backward()
        assert x.grad.dtype == dtype


@pytest.mark.parametrize("name", OPERATORS)
def test_types_as_in_pytorch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    run = getattr(operator, name)
    arrays = {t: np.full((2, 3), 2, t) for t in ("float32", "float64", "int64", "uint8")}
    for a, x in arrays.items():
        for b, y in arrays.items():
            if "float" in a or "float" in b:  # what whole numbers make of each other is NumPy's business
                wanted = run(torch.tensor(x), torch.tensor(y)).dtype
                assert str(wanted) == f"torch.{run(ms.Tensor(x), ms.Tensor(y)).dtype}", (a, b)


def test_a_mask_in_the_middle_of_a_network_leaves_its_types():
    """float32 times int64 was float64 before, and the convolution's backward then met two types."""
    ms.manual_seed(0)
    x, weight = ms.randn(1, 2, 6, 6), ms.randn(3, 2, 3, 3)
    x.requires_grad = weight.requires_grad = True
    mask = (np.arange(16).reshape(4, 4) % 2).astype(np.int64)
    (F.conv2d(x, weight) * mask).sum().backward()
    assert x.grad.dtype == weight.grad.dtype == np.float32


def test_a_float64_map_gives_a_float64_result_and_float32_gradients():
    x, weight = ms.randn(1, 2, 6, 6), ms.randn(3, 2, 3, 3)
    x.requires_grad = weight.requires_grad = True
    result = F.conv2d(x, weight) * np.full((4, 4), 0.5)
    assert result.dtype == np.float64
    result.sum().backward()
    assert x.grad.dtype == weight.grad.dtype == np.float32
