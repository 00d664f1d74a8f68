"""Choosing kernels: errors that name the cure, students' own functions, and nodes that keep the kernels of their forward."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import backend as choice
from minisegnet import nn
from minisegnet.kernels import contract

X = np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32)


def tiny():
    ms.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1, bias=False))


def loss_and_gradient(net, during_backward=None):
    loss = (net(X) ** 2).mean()
    if during_backward is None:
        loss.backward()
    else:
        with during_backward():
            loss.backward()
    return float(loss), net[0].weight.grad.numpy().copy()


def reference(name):
    return choice.find_kernel(name, "reference")


def scaled(name, factor=2):
    kernel = reference(name)
    return lambda *args, **kwargs: factor * kernel(*args, **kwargs)


def test_backends_by_name():
    assert ms.current_backend() == "numba"
    with ms.use_backend("reference"):
        assert ms.current_backend() == "reference"
    assert ms.current_backend() == "numba"
    with pytest.raises(ValueError, match=r"numba, cupy, got 'torch'"):
        ms.use_backend("torch")
    with pytest.raises(ValueError, match=r'\.to\("cuda"\)'):
        ms.use_backend("cupy")


def test_the_environment_names_the_backend_to_begin_with():
    show = "import minisegnet as ms; print(ms.current_backend())"
    for name in ("reference", "numba"):
        told = subprocess.run(
            [sys.executable, "-c", show], env={**os.environ, "MINISEGNET_BACKEND": name}, capture_output=True, text=True
        )
        assert told.stdout.strip() == name, told.stderr
    with pytest.raises(ValueError, match='MINISEGNET_BACKEND must be "numba" or "reference", got \'torch\''):
        choice.first_choice("torch")


def test_a_missing_backend_names_the_cure(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "numba" else find(name, *a))
    with pytest.raises(RuntimeError, match=r"pip install numba.*use_backend\(\"reference\"\)"):
        ms.use_backend("numba")


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="CuPy is installed here")
def test_a_missing_gpu_names_the_cure():
    with pytest.raises(RuntimeError, match=r"minisegnet\[gpu12\]"):
        ms.tensor([1.0]).to("cuda")
    with pytest.raises(ValueError, match=r"cpu.*cuda.*dtype"):
        ms.tensor([1.0]).to("tpu")


def test_both_backends_give_the_same_numbers():
    results = []
    for name in ("reference", "numba"):
        with ms.use_backend(name):
            results.append(loss_and_gradient(tiny()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["conv2d", "conv2d_grad_input", "conv2d_grad_weight"])
def test_a_replaced_kernel_is_never_bypassed(name):
    loss, gradient = loss_and_gradient(tiny())
    with ms.use_kernels(**{name: scaled(name)}):
        new_loss, new_gradient = loss_and_gradient(tiny())
    assert (new_loss != pytest.approx(loss)) == (name == "conv2d")
    assert not np.allclose(new_gradient, gradient)


def test_every_kernel_of_the_contract_reaches_a_network():
    """Scaling any one of them by two changes the loss or a gradient of a network that uses them all."""

    class Everything(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.norm, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 3, 2, 2)
            self.fused = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())
            self.clipped = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())

        def forward(self, x):
            x = self.norm(self.a(F.interpolate(x, size=(8, 8), mode="bilinear")))
            pooled, places = F.max_pool2d(x, 2, return_indices=True)
            x = F.max_unpool2d(pooled, places, 2)
            self.norm.eval()
            x = self.norm(x)
            self.norm.train()
            x = self.fused(x)
            self.fused.eval()
            x = self.fused(x)
            self.fused.train()
            return self.b(self.clipped(x))

    target = np.random.default_rng(0).integers(0, 3, (2, 16, 16))

    def run():
        ms.manual_seed(3)
        net = Everything()
        x = ms.Tensor(X, requires_grad=True)
        loss = F.cross_entropy(net(x), target)
        loss.backward()
        return np.concatenate(
            [[float(loss)], x.grad.numpy().ravel(), *(p.grad.numpy().ravel() for p in net.parameters())]
        )

    plain = run()
    for name in contract.KERNELS:

        def twice(*args, _kernel=choice.find_kernel(name, "numba"), **kwargs):
            result = _kernel(*args, **kwargs)
            return (result[0] * 2, *result[1:]) if isinstance(result, tuple) else result * 2

        with ms.use_kernels(**{name: twice}):
            assert not np.allclose(run(), plain, rtol=1e-3), name
    np.testing.assert_array_equal(run(), plain)


def test_backward_uses_the_kernels_of_its_forward():
    with ms.use_kernels(conv2d_grad_weight=scaled("conv2d_grad_weight", 3)):
        net = tiny()
        loss = (net(X) ** 2).mean()
    loss.backward()  # after the block
    _, plain = loss_and_gradient(tiny())
    np.testing.assert_allclose(net[0].weight.grad.numpy(), 3 * plain, rtol=1e-4)
    # and the other way round: replaced only while backward runs
    _, late = loss_and_gradient(tiny(), lambda: ms.use_kernels(conv2d_grad_weight=scaled("conv2d_grad_weight", 3)))
    np.testing.assert_allclose(late, plain, rtol=1e-5)


def my_conv2d(input, weight, padding):
    """A student's: no bias, no stride."""
    n, c, h, w = input.shape
    o, _, kh, kw = weight.shape
    x = np.pad(input, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(2, 3))
    return np.einsum("ncyxij,ocij->noyx", windows, weight).astype(input.dtype)


def test_a_students_convolution_trains_the_network():
    loss, gradient = loss_and_gradient(tiny())
    ms.use_kernels(conv2d=my_conv2d)  # for good
    mine = loss_and_gradient(tiny())
    ms.use_kernels(conv2d=None)
    assert mine[0] == pytest.approx(loss, rel=1e-5)  # the bias that it does not know was added
    np.testing.assert_allclose(mine[1], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda input, weight, **k: np.zeros((1, 2)), ValueError, r"returned shape \(1, 2\), expected \(2, 4, 6, 6\)"),
        (lambda input, weight, **k: [1, 2], TypeError, "must return a numpy array, got list"),
        (lambda input, weight, **k: None, TypeError, "must return a numpy array, got NoneType"),
        (lambda input, weight, **k: np.zeros((2, 4, 6, 6)), TypeError, "returned float64, expected float32"),
        (
            lambda input, weight: np.zeros((2, 4, 6, 6), np.float32),
            TypeError,
            r"no parameter 'padding'.*padding=\(1, 1\)",
        ),
        (lambda picture, weight, padding=0: None, TypeError, "must take a parameter named 'input'"),
    ],
)
def test_a_students_mistake_is_named(function, error, message):
    with ms.use_kernels(conv2d=function), pytest.raises(error, match=message):
        tiny()(X)


def test_names_that_are_no_kernels():
    with pytest.raises(TypeError, match="no kernel 'conv3d'; there are conv2d"):
        ms.use_kernels(conv3d=my_conv2d)
    with pytest.raises(TypeError, match="must be a function, got int"):
        ms.use_kernels(conv2d=3)


def test_the_table_in_use_cannot_be_changed():
    with pytest.raises(AttributeError, match="use_kernels"):
        choice.kernels_for(X).conv2d = my_conv2d
    with pytest.raises(AttributeError, match="no kernel"):
        _ = choice.kernels_for(X).conv3d
