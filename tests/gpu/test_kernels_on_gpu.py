"""Every other CUDA kernel against the reference, and all of them against the contract; emulated where there is no GPU."""

import importlib
import inspect
import re

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import backend, optim
from minisegnet.kernels.contract import KERNELS

FLOATS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def both(gpu, name, *given, **options):
    """Return a kernel's results on the GPU, as NumPy arrays, and those of the reference."""
    on = tuple(gpu.asarray(v) if isinstance(v, np.ndarray) else v for v in given)
    before = [v.get() if hasattr(v, "get") else None for v in on]
    found = getattr(backend.kernels_for(on[0]), name)(*on, **options)
    for array, old in zip(on, before, strict=True):
        if old is not None:
            np.testing.assert_array_equal(array.get(), old, err_msg="a kernel changed its input")
    expected = getattr(importlib.import_module(f"minisegnet.kernels.{KERNELS[name].family}.reference"), name)(
        *given, **options
    )
    found = found if isinstance(found, tuple) else (found,)
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert isinstance(one, gpu.ndarray)
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
    return [a.get() for a in found], expected


def agree(results, digits=1.0):
    """Fail unless results are equal up to rounding."""
    for found, expected in zip(*results, strict=True):
        eps = np.finfo(found.dtype).eps if found.dtype.kind == "f" else 0
        scale = np.abs(expected[np.isfinite(expected)]).max(initial=1.0)
        np.testing.assert_allclose(found, expected, rtol=8 * digits * eps, atol=8 * digits * eps * scale)


def identical(results):
    for found, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", KERNELS)
def test_parameters_are_those_of_the_contract(gpu, name):
    function = getattr(importlib.import_module(f"minisegnet.kernels.{KERNELS[name].family}.cuda_gpu"), name)
    found, wanted = inspect.signature(function).parameters, KERNELS[name].signature.parameters
    assert {n: (p.kind, p.default) for n, p in found.items()} == {n: (p.kind, p.default) for n, p in wanted.items()}
    assert list(found) == list(wanted)
    assert function.__doc__


@pytest.mark.parametrize("name", KERNELS)
def test_the_loops_are_shown_beside_their_twin(name):
    shown = ms.compare_sources(name)["cuda"]
    kernels = re.findall(r"__global__ void (\w+)\(", shown)
    expected = {
        "conv2d_relu": ["conv2d"],
        "scatter_to_plane": ["scatter_in_windows", "row_bounds", "scatter_to_plane"],
        "batch_norm": ["block_moments", "center_scale_shift"],
        "batch_norm_relu": ["block_moments", "center_scale_shift"],
        "batch_norm_grad": ["block_products", "mix"],
        "batch_norm_relu_grad": ["block_products", "mix"],
        "channel_affine": ["center_scale_shift"],
        "channel_affine_relu": ["center_scale_shift"],
    }.get(name, [name])
    assert kernels == expected
    assert ("double sum_of_block(double mine" in shown) == (
        "sum_of_block(" in shown
    )  # what they call comes before them


POOLS = [  # size, kernel, stride, padding, dilation, ceil_mode
    ((6, 8), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((7, 5), (3, 3), (2, 2), (1, 1), (1, 1), True),
    ((5, 6), (3, 2), (1, 3), (1, 0), (2, 1), False),
    ((2, 2), (2, 2), (3, 3), (1, 1), (3, 3), False),  # one window steps over the image
    ((1, 1), (1, 1), (1, 1), (0, 0), (1, 1), False),
    ((3, 9), (3, 4), (3, 4), (1, 2), (1, 1), True),
]


@FLOATS
@pytest.mark.parametrize("batch", [0, 2])
@pytest.mark.parametrize("case", POOLS, ids=str)
def test_pooling(gpu, case, batch, dtype, rng):
    size, kernel, stride, padding, dilation, ceil_mode = case
    input = rng.integers(-3, 3, (batch, 3, *size)).astype(dtype)  # many ties
    input[rng.random(input.shape) < 0.1] = np.nan
    input[rng.random(input.shape) < 0.1] = -np.inf
    results = both(gpu, "max_pool2d", input, kernel, stride, padding, dilation, ceil_mode)
    identical(results)
    _, indices = results[1]
    values = rng.standard_normal(indices.shape).astype(dtype)
    for accumulate in (True, False):
        identical(both(gpu, "scatter_to_plane", values, indices, size, accumulate))
    identical(both(gpu, "gather_from_plane", rng.standard_normal(input.shape).astype(dtype), indices))


@pytest.mark.parametrize("accumulate", [True, False])
def test_indices_out_of_their_window_and_out_of_the_plane(gpu, accumulate, rng):
    values = rng.standard_normal((2, 2, 3, 4)).astype(np.float32)
    indices = rng.integers(-2, 50, values.shape)
    indices[1, 1] = np.arange(0, 48, 16)[:, None] + np.arange(0, 8, 2)  # of one plane, each in its own
    identical(both(gpu, "scatter_to_plane", values, indices, (6, 8), accumulate))
    identical(both(gpu, "scatter_to_plane", values, indices, (5, 9), accumulate))
    identical(both(gpu, "gather_from_plane", rng.standard_normal((2, 2, 6, 8)).astype(np.float32), indices))


def test_rows_that_meet_in_one_place_add_up_in_their_order(gpu, rng):
    """Windows of 5x5 in steps of 1: many rows of values have their largest pixel in one row of the plane."""
    input = rng.standard_normal((2, 2, 9, 11)).astype(np.float32)
    indices = both(gpu, "max_pool2d", input, (5, 5), (1, 1), (2, 2))[1][1]
    assert max(np.bincount(indices[0, 0].ravel())) > 10
    values = (10.0 ** rng.uniform(-6, 6, indices.shape)).astype(np.float32)  # another order gives other bits
    for accumulate in (True, False):
        identical(both(gpu, "scatter_to_plane", values, indices, (9, 11), accumulate))


@FLOATS
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize(
    ("size", "to", "scale"),
    [
        ((3, 4), (6, 8), (None, None)),
        ((5, 3), (2, 7), (None, None)),
        ((1, 1), (4, 3), (None, None)),
        ((4, 5), (4, 5), (None, None)),
        ((5, 4), (11, 6), (2.3, 1.5)),
        ((9, 9), (1, 1), (None, None)),
    ],
)
def test_resizing(gpu, size, to, scale, align, dtype, rng):
    for batch in (0, 2):
        agree(both(gpu, "resize_bilinear", rng.standard_normal((batch, 3, *size)).astype(dtype), to, align, scale))
        grad = rng.standard_normal((batch, 3, *to)).astype(dtype)
        agree(both(gpu, "resize_bilinear_grad", grad, size, align, scale), digits=8)


@FLOATS
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 1, 1, 1), (3, 2, 20, 17), (0, 3, 4, 4)], ids=str)
def test_batch_norm(gpu, shape, dtype, rng):
    input = (100 + rng.standard_normal(shape)).astype(dtype)
    weight, bias = rng.standard_normal((2, shape[1])).astype(dtype)
    grad = rng.standard_normal(shape).astype(dtype)
    digits = 100 if dtype == np.float64 else 4  # sums in another order, of numbers far from 0
    for relu in ("", "_relu"):
        results = both(gpu, f"batch_norm{relu}", input, weight, bias)
        agree(results, digits)
        mean, variance = results[1][1:]
        given = (grad, input, weight, *((bias,) if relu else ()), mean, variance)
        agree(both(gpu, f"batch_norm{relu}_grad", *given), 10 * digits)
        scale, shift = rng.standard_normal((2, shape[1]))
        agree(both(gpu, f"channel_affine{relu}", input, scale, shift))


def test_a_constant_channel_has_no_variance_and_a_nan_stays(gpu):
    input = np.full((2, 2, 9, 9), 0.1, np.float32)
    input[1, 1, 3, 4] = np.nan
    (output, mean, variance), _ = both(gpu, "batch_norm_relu", input, np.ones(2, np.float32), np.ones(2, np.float32))
    assert variance[0] == 0
    assert mean[0] == np.float64(np.float32(0.1))
    assert (output[:, 0] == 1).all()
    assert np.isnan(output[:, 1]).all()
    assert np.isnan(mean[1])


@FLOATS
@pytest.mark.parametrize("shape", [(2, 3, 7), (1, 1, 1), (2, 5, 300), (0, 3, 4)], ids=str)
def test_cross_entropy(gpu, shape, dtype, rng):
    logits = (30 * rng.standard_normal(shape)).astype(dtype)
    logits[:, 0, ::5] = np.inf
    logits[:, -1, 1::5] = -np.inf
    logits[:, 0, 2::7] = np.nan
    target = rng.integers(0, shape[1], (shape[0], shape[2]))
    weight = rng.random(target.shape).astype(dtype)
    weight[:, ::3] = 0
    results = both(gpu, "softmax_cross_entropy", logits, target, weight)
    agree(results, 4)
    grad = rng.standard_normal(target.shape).astype(dtype)
    agree(both(gpu, "softmax_cross_entropy_grad", grad, logits, target, weight, results[1][1]), 4)


def optimized(move, make, dtype, shape, steps=3):
    """Return parameters and memory after some steps."""
    rng, arrays = np.random.default_rng(7), []
    parameter = ms.Tensor(move(rng.standard_normal(shape).astype(dtype)), requires_grad=True)
    optimizer = make([parameter])
    for _ in range(steps):
        parameter.grad = ms.Tensor(move(rng.standard_normal(shape).astype(dtype)))
        optimizer.step()
    arrays += [a for a in optimizer.state[0].values() if not isinstance(a, int)]
    return [parameter.data, *arrays]


@FLOATS
@pytest.mark.parametrize("shape", [(1,), (7, 41), (3, 5, 60)], ids=str)
@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.Adam(p, 0.02, betas=(0.8, 0.9), eps=1e-3),
        lambda p: optim.Adam(p, 0.02, weight_decay=0.3),
        lambda p: optim.AdamW(p, 0.02, weight_decay=0.3),
        lambda p: optim.SGD(p, 0.1),
        lambda p: optim.SGD(p, 0.1, momentum=0.9, dampening=0.4, weight_decay=0.2),
        lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    ],
)
def test_steps_of_optimizers(gpu, make, shape, dtype, monkeypatch):
    """One kernel a parameter, whose result is that of NumPy's lines in ``update``."""
    cuda_gpu = importlib.import_module("minisegnet.kernels.optimizer.cuda_gpu")
    ran = []
    launch = cuda_gpu.launch
    monkeypatch.setattr(cuda_gpu, "launch", lambda file, name, *given: ran.append(name) or launch(file, name, *given))
    found = optimized(gpu.asarray, make, dtype, shape)
    assert len(ran) == 3
    with ms.use_backend("reference"):
        expected = optimized(np.array, make, dtype, shape)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.get(), other, rtol=30 * np.finfo(dtype).eps, atol=10 * np.finfo(dtype).eps)


def test_a_parameter_that_no_kernel_serves_is_stepped_by_cupy(gpu, rng):
    """Turned round in memory: a view, which the step must change in place."""
    values = rng.standard_normal((4, 6)).astype(np.float32)
    memory = gpu.asarray(values)
    parameter = ms.Tensor(memory.T, requires_grad=True)
    parameter.grad = ms.Tensor(gpu.asarray(np.ones((6, 4), np.float32)))
    optim.SGD([parameter], 0.5).step()
    np.testing.assert_array_equal(memory.get(), values - np.float32(0.5))


def test_results_are_the_same_bits_every_time(gpu, rng):
    input = gpu.asarray(rng.standard_normal((2, 3, 19, 21)).astype(np.float32))
    one, zero = gpu.ones(3, "float32"), gpu.zeros(3, "float32")
    kernels = backend.kernels_for(input)
    first, again = (kernels.batch_norm(input, one, zero) for _ in range(2))  # emulated, in other orders of the threads
    for a, b in zip(first, again, strict=True):
        assert a.get().tobytes() == b.get().tobytes()
