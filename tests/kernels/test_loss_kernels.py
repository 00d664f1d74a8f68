"""Softmax cross-entropy kernels: stable for any logits, ignored pixels, layouts, gradients as PyTorch's."""

import naive
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kernel_checks import assert_identical, run_python, unchanged

from minisegnet.kernels.loss import numba_cpu, numba_cpu_float32, reference

BACKENDS = {"reference": reference, "numba": numba_cpu}


@pytest.fixture(params=BACKENDS)
def kernels(request):
    return BACKENDS[request.param]


@st.composite
def predictions(draw):
    """Logits of any size, classes, weights some of which are 0, and the gradient that arrives."""
    n, k, p = draw(st.integers(0, 2)), draw(st.sampled_from([1, 2, 3, 21])), draw(st.integers(0, 9))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread, offset = draw(st.sampled_from([(1.0, 0.0), (100.0, 0.0), (1.0, 5000.0)]))
    logits = memory_forms((offset + spread * rng.standard_normal((n, k, p))).astype(dtype))["channels-last"]
    weight = rng.random((n, p)).astype(dtype) * (rng.random((n, p)) < 0.7)
    return logits, rng.integers(0, k, (n, p)), weight, rng.standard_normal((n, p)).astype(dtype)


def memory_forms(logits):
    """Return the same (N, K, P) logits as they may lie in memory, by name."""
    n, k, p = logits.shape
    strided = np.zeros((n, 2 * k, 3 * p), logits.dtype)[:, ::2, ::3]
    strided[...] = logits
    read_only = logits.copy()
    read_only.flags.writeable = False
    return {
        "contiguous": np.ascontiguousarray(logits),
        "channels-last": np.ascontiguousarray(logits.transpose(0, 2, 1)).transpose(0, 2, 1),
        "strided": strided,
        "read-only": read_only,
    }


@settings(max_examples=40, deadline=None, derandomize=True)
@given(predictions())
@example((np.zeros((2, 2, 0), np.float32), np.zeros((2, 0), int), np.zeros((2, 0), "f4"), np.zeros((2, 0), "f4")))
def test_forward_and_backward_agree_with_plain_loops(prediction):
    logits, target, weight, grad_losses = prediction
    as_image = (logits[..., None], target[..., None], weight[..., None])
    losses, log_sum_exp = (a[..., 0] for a in naive.softmax_cross_entropy(*as_image))
    grad = naive.softmax_cross_entropy_grad(grad_losses[..., None], *as_image, log_sum_exp[..., None])[..., 0]
    largest, eps = abs(logits).max(initial=1).astype(float), np.finfo(logits.dtype).eps
    for name, kernels in BACKENDS.items():
        # Inside all is float64, where logits of size m are subtracted with a rounding of m * eps; then one of the type.
        inside = 8 * np.finfo(np.float64).eps * largest
        if name == "numba" and logits.dtype == np.float32:
            check_float32(prediction, losses, log_sum_exp, grad)
            continue
        with unchanged(logits, target, weight, grad_losses, log_sum_exp):
            result = kernels.softmax_cross_entropy(logits, target, weight)
            grad_logits = kernels.softmax_cross_entropy_grad(grad_losses, logits, target, weight, log_sum_exp)
        assert [r.dtype for r in (*result, grad_logits)] == [logits.dtype, np.float64, logits.dtype]
        assert (abs(result[0] - losses) <= eps * abs(losses) + inside).all(), name
        assert (abs(result[1] - log_sum_exp) <= inside).all(), name
        assert (abs(grad_logits - grad) <= (2 * eps + inside) * abs(weight * grad_losses)[:, None]).all(), name


def check_float32(prediction, losses, log_sum_exp, grad):
    """Hold the polynomials against float64 within their bounds.

    A term exp(z - max) is off by (1 + |z - max| / 2) eps of itself, so a sum S = 1 + s of them by at most
    (1 + 37 / 2e) * s * eps < 1.2 s eps, |x| exp(x) being at most 1 / e; its logarithm by 2 eps of itself more, and by
    the rounding of s and of float64's 1 + s. The losses add a difference and two products: half an eps each.
    In the gradient the exponent is rounded once: p is off by (1 + |x| / 2) p eps <= 1.2 eps, p - 1 by half an eps more,
    and the products with the weight and the arriving gradient by three halves.
    """
    logits, target, weight, grad_losses = prediction
    eps, fine = np.finfo(np.float32).eps, 8 * np.finfo(np.float64).eps
    result = numba_cpu.softmax_cross_entropy(logits, target, weight)
    assert [r.dtype for r in result] == [np.float32, np.float64]
    largest = abs(logits).max(initial=1).astype(float)
    shifted = logits.astype(float) - logits.max(axis=1, keepdims=True, initial=-np.inf)
    rest = (np.exp(shifted) * (1 + abs(shifted) / 2)).sum(axis=1) - 1  # sum of the terms, each as far off as it is
    of_log = 3 * eps * np.log1p(np.maximum(rest, 0)) + logits.shape[1] * fine
    assert (abs(result[1] - log_sum_exp) <= of_log + fine * largest).all()
    assert (abs(result[0] - losses) <= 2 * eps * losses + weight * of_log).all()
    grad_logits = numba_cpu.softmax_cross_entropy_grad(grad_losses, logits, target, weight, log_sum_exp)
    assert grad_logits.dtype == np.float32
    assert (abs(grad_logits - grad) <= (4 * eps + fine * largest) * abs(weight * grad_losses)[:, None]).all()


def test_the_exponential_is_a_rounding_off_and_ends_at_zero():
    exp = on_line(numba_cpu_float32._exp_py)
    x = np.concatenate([np.linspace(-86.5, 0, 200_001), -np.logspace(-12, 1.9, 1001), [0.0, 1e-6, 1e-3]]).astype("f4")
    exact = np.exp(x.astype(float))
    assert (abs(exp(x) - exact) <= np.finfo(np.float32).eps * exact).all()
    np.testing.assert_array_equal(exp(np.array([0.0, -0.0, -87, -200, -3e38, -np.inf], "f4")), [1, 1, 0, 0, 0, 0])
    assert np.isnan(exp(np.array([np.nan], "f4")))


def test_the_logarithm_of_one_plus_s_is_two_roundings_off_also_of_itself_where_s_is_tiny():
    log1p = on_line(numba_cpu_float32._log1p_py)
    s = np.concatenate([np.logspace(-30, 6, 200_001), np.linspace(0.3, 3, 100_001)]).astype(np.float32)
    exact = np.log1p(s.astype(float))
    assert (abs(log1p(s) - exact) <= 2 * np.finfo(np.float32).eps * exact).all()
    odd = log1p(np.array([0, np.nan, np.inf], "f4"))
    np.testing.assert_array_equal(odd, [0, np.nan, np.inf])


def on_line(function):
    """Return the function compiled as it is inside the loops, for an array."""
    numba = pytest.importorskip("numba")
    one = numba.njit(**numba_cpu_float32.INLINE)(function)

    @numba.njit
    def each(x):
        y = np.empty_like(x)
        for i in range(len(x)):
            y[i] = one(x[i])
        return y

    return each


def test_float32_and_float64_take_different_loops(monkeypatch):
    calls = []
    for module, name in ((numba_cpu_float32, "softmax_cross_entropy"), (numba_cpu, "_softmax_cross_entropy")):
        monkeypatch.setattr(module, name, lambda *_, name=name: calls.append(name))
    for dtype in (np.float32, np.float64):
        numba_cpu.softmax_cross_entropy(np.ones((1, 2, 3), dtype), np.zeros((1, 3), int), np.ones((1, 3), dtype))
    assert calls == ["softmax_cross_entropy", "_softmax_cross_entropy"]


@pytest.mark.parametrize("classes", [1, 2, 3, 8, 21])
@pytest.mark.parametrize("pixels", [1, 7, 383, 384, 385, 1023, 1024, 1025, 1400])
def test_the_last_pixels_of_a_task(rng, classes, pixels):
    logits = rng.standard_normal((2, classes, pixels)).astype(np.float32)
    target, weight = rng.integers(0, classes, (2, pixels)), rng.random((2, pixels)).astype(np.float32)
    losses, log_sum_exp = numba_cpu.softmax_cross_entropy(logits, target, weight)
    expected = reference.softmax_cross_entropy(logits, target, weight)
    np.testing.assert_allclose(losses, expected[0], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(log_sum_exp, expected[1], rtol=1e-6, atol=3e-7)
    grads = [m.softmax_cross_entropy_grad(weight, logits, target, weight, expected[1]) for m in (numba_cpu, reference)]
    np.testing.assert_allclose(*grads, rtol=0, atol=5e-7)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(predictions())
def test_forward_and_backward_agree_with_pytorch(prediction):
    torch = pytest.importorskip("torch")
    logits, target, weight, grad_losses = (a.astype(np.float64) if a.dtype.kind == "f" else a for a in prediction)
    leaf = torch.from_numpy(logits.copy()).requires_grad_()
    expected = torch.nn.functional.cross_entropy(leaf, torch.from_numpy(target), reduction="none") * torch.from_numpy(
        weight
    )
    expected.backward(torch.from_numpy(grad_losses))
    for kernels in BACKENDS.values():
        losses, log_sum_exp = kernels.softmax_cross_entropy(logits, target, weight)
        np.testing.assert_allclose(losses, expected.detach(), rtol=1e-12, atol=1e-12)
        grad = kernels.softmax_cross_entropy_grad(grad_losses, logits, target, weight, log_sum_exp)
        np.testing.assert_allclose(grad, leaf.grad, rtol=0, atol=1e-11)


def call(kernels, logits, target, weight=1.0):
    """Run one pixel forward and backward; return loss, log_sum_exp and the gradient of the logits."""
    logits, target = np.asarray(logits)[None, :, None], np.array([[target]])
    weight = np.full((1, 1), weight, logits.dtype)
    losses, log_sum_exp = kernels.softmax_cross_entropy(logits, target, weight)
    grad = kernels.softmax_cross_entropy_grad(np.ones((1, 1), logits.dtype), logits, target, weight, log_sum_exp)
    return losses.item(), log_sum_exp.item(), grad[0, :, 0]


def test_by_hand(kernels):
    loss, log_sum_exp, grad = call(kernels, np.log([1.0, 3.0]), 1)
    assert loss == pytest.approx(np.log(4 / 3), rel=1e-15)
    assert log_sum_exp == pytest.approx(np.log(4), rel=1e-15)
    np.testing.assert_allclose(grad, [0.25, -0.25], rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_logits_neither_overflow_nor_lose_the_small_loss(kernels, dtype):
    huge = np.finfo(dtype).max / 4
    loss, _, grad = call(kernels, np.array([huge, -huge], dtype), 1)
    assert loss == 2 * huge
    np.testing.assert_array_equal(grad, [1, -1])
    # A sure network: exp(-20) beside 1 and a shift of 100 would vanish in float32.
    loss, _, grad = call(kernels, np.array([120, 100], dtype), 0)
    assert loss == pytest.approx(np.log1p(np.exp(-20)), rel=1e-6)
    assert grad[1] == pytest.approx(np.exp(-20), rel=1e-6)


def test_a_logit_of_minus_infinity_is_a_class_ruled_out(kernels):
    loss, log_sum_exp, grad = call(kernels, np.array([0, -np.inf, 0], np.float32), 0)
    assert loss == pytest.approx(np.log(2))
    assert log_sum_exp == pytest.approx(np.log(2))
    np.testing.assert_allclose(grad, [-0.5, 0, 0.5], rtol=1e-6)
    assert call(kernels, np.array([0, -np.inf], np.float32), 1)[0] == np.inf


@pytest.mark.parametrize("logits", [[np.nan, 0], [0, np.nan], [np.inf, 0], [-np.inf, -np.inf]])
def test_nan_is_not_hidden(kernels, logits):
    loss, log_sum_exp, grad = call(kernels, np.array(logits, np.float32), 0)
    assert np.isnan(loss)
    assert np.isnan(log_sum_exp)
    assert np.isnan(grad).all()


@pytest.mark.parametrize("logits", [[np.nan, 0], [-np.inf, 0], [np.inf, 0], [-np.inf, -np.inf]])
def test_a_pixel_of_weight_zero_counts_for_nothing_whatever_it_holds(kernels, logits):
    loss, _, grad = call(kernels, np.array(logits, np.float32), 0, weight=0.0)
    assert loss == 0
    np.testing.assert_array_equal(grad, [0, 0])


def test_the_compiled_gradient_writes_nowhere_else_for_a_class_that_does_not_exist():
    logits, weight = np.zeros((1, 2, 3), np.float32), np.ones((1, 3), np.float32)
    target = np.array([[-(2**40), 2, 2**40]])
    losses, log_sum_exp = numba_cpu.softmax_cross_entropy(logits, target, weight)
    assert np.isnan(losses).all()
    grad = numba_cpu.softmax_cross_entropy_grad(weight, logits, target, weight, log_sum_exp)
    np.testing.assert_allclose(grad, 0.5, rtol=1e-6)


def test_the_gradient_is_that_of_the_forward(kernels, rng):
    logits, direction = rng.standard_normal((2, 2, 5, 3)).swapaxes(2, 3)
    target, weight, grad_losses = rng.integers(0, 3, (2, 5)), rng.random((2, 5)), rng.standard_normal((2, 5))
    _, log_sum_exp = kernels.softmax_cross_entropy(logits, target, weight)
    grad = kernels.softmax_cross_entropy_grad(grad_losses, logits, target, weight, log_sum_exp)
    sides = [kernels.softmax_cross_entropy(logits + s * 1e-5 * direction, target, weight)[0] for s in (1, -1)]
    assert ((sides[0] - sides[1]) * grad_losses).sum() / 2e-5 == pytest.approx((grad * direction).sum(), rel=1e-8)


@pytest.mark.parametrize("name", ["contiguous", "channels-last", "strided", "read-only"])
def test_memory_layout_changes_nothing_and_the_gradient_lies_as_the_logits(kernels, rng, name):
    logits = rng.standard_normal((2, 3, 8)).astype(np.float32)
    target, weight = rng.integers(0, 3, (8, 2)).T, np.broadcast_to(np.float32(0.5), (2, 8))
    given = memory_forms(logits)[name]
    result = kernels.softmax_cross_entropy(given, target, weight)
    assert_identical(result, kernels.softmax_cross_entropy(logits, target.copy(), weight.copy()))
    grad = kernels.softmax_cross_entropy_grad(weight, given, target, weight, result[1])
    assert_identical(grad, kernels.softmax_cross_entropy_grad(weight, logits, target, weight, result[1]))
    assert grad.strides == np.empty_like(given).strides
    if name != "strided":
        assert grad.strides == given.strides


def small_results():
    rng = np.random.default_rng(1)
    logits, target = rng.standard_normal((3, 5, 301)).astype(np.float32), rng.integers(0, 5, (3, 301))
    weight = rng.random((3, 301)).astype(np.float32)
    losses, log_sum_exp = numba_cpu.softmax_cross_entropy(logits, target, weight)
    return losses, log_sum_exp, numba_cpu.softmax_cross_entropy_grad(weight, logits, target, weight, log_sum_exp)


def test_threads_change_no_bit():
    run_python(
        "import kernel_checks, test_loss_kernels as t; kernel_checks.assert_same_with_any_threads(t.small_results)",
        NUMBA_NUM_THREADS="2",
    )


def check_without_compiler():
    logits, target, weight = np.array([[[1.0], [2.0], [-np.inf]]]), np.array([[1]]), np.ones((1, 1))
    assert type(numba_cpu._softmax_cross_entropy).__name__ == "function"
    losses, log_sum_exp = numba_cpu.softmax_cross_entropy(logits, target, weight)
    np.testing.assert_allclose(losses, reference.softmax_cross_entropy(logits, target, weight)[0], rtol=1e-15)
    grads = [m.softmax_cross_entropy_grad(weight, logits, target, weight, log_sum_exp) for m in BACKENDS.values()]
    np.testing.assert_allclose(*grads, rtol=1e-14)
    logits, weight = logits.astype(np.float32), np.ones((1, 1), np.float32)  # the other loops
    result = numba_cpu.softmax_cross_entropy(logits, target, weight)
    np.testing.assert_allclose(result[0], losses, rtol=3e-7)
    grad = numba_cpu.softmax_cross_entropy_grad(weight, logits, target, weight, result[1])
    np.testing.assert_allclose(grad, grads[0], rtol=0, atol=5e-7)


def test_the_loops_run_without_the_compiler():
    run_python("import test_loss_kernels as t; t.check_without_compiler()", NUMBA_DISABLE_JIT="1")
