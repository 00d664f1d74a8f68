"""The tape: gradients add up, are freed, and are never silently wrong."""

import ast
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import nn
from minisegnet.autograd import Function, Tensor
from minisegnet.kernels.buffers import empty


def leaf(values):
    return ms.Tensor(np.array(values, dtype=np.float64), requires_grad=True)


def test_gradients_of_a_tensor_used_twice_add_up():
    x = leaf([2.0, 3.0])
    (x * x + x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [5.0, 7.0])


def test_gradients_of_two_backward_calls_add_up_until_forgotten():
    x = leaf([1.0])
    (x * 3).sum().backward()
    (x * 4).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [7.0])


def test_a_diamond_passes_each_node_once():
    calls = []

    class Double(Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, grad):
            calls.append(grad.copy())
            return 2 * grad

    x = leaf([1.0])
    y = Double.apply(x)
    (y * y + y * 5 + y).sum().backward()
    assert len(calls) == 1
    np.testing.assert_allclose(x.grad.numpy(), [2 * (2 * 2 + 6)])


def test_a_second_backward_says_what_to_do_and_retain_graph_allows_it():
    x = leaf([3.0])
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), [12.0])
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()


@pytest.mark.parametrize("size", [3, 100_000])
def test_an_array_changed_in_place_is_detected(size):
    x = ms.Tensor(np.ones(size), requires_grad=True)
    y = (x * x).sum()
    x.data *= 2
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_one_element_of_a_small_array_changed_in_place_is_detected():
    x = ms.Tensor(np.ones((4, 5, 6)), requires_grad=True)
    y = (x * x).sum()
    x.data[1, 2, 3] = 7
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_an_assigned_array_is_not_a_change_in_place():
    x = leaf([2.0])
    y = (x * x).sum()
    x.data = np.array([100.0])
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), [4.0])


def test_no_grad_is_per_thread():
    x = leaf([1.0])
    inside, done = threading.Event(), threading.Event()
    seen = []

    def monitor():
        with ms.no_grad():
            seen.append((x * 2).requires_grad)
            inside.set()
            done.wait(10)

    thread = threading.Thread(target=monitor)
    thread.start()
    inside.wait(10)
    assert (x * 2).requires_grad  # the monitor's no_grad does not reach this thread
    done.set()
    thread.join()
    assert seen == [False]


def test_no_grad_works_as_decorator_and_is_restored_after_an_error():
    @ms.no_grad()
    def predict(x):
        raise KeyError("stop")

    for _ in range(2):
        with pytest.raises(KeyError):
            predict(leaf([1.0]))
        assert ms.is_grad_enabled()


def test_saved_arrays_are_freed_as_backward_passes_them():
    class Watched(np.ndarray):
        pass

    x = leaf(np.ones(1000))
    big = (x * 2).data.view(Watched)
    y = ms.Tensor(big, requires_grad=True)
    z = (y * y).sum()
    dead = weakref.ref(big)
    del big, y
    assert dead() is not None
    z.backward()
    assert dead() is None


def test_backward_needs_a_scalar_or_a_gradient():
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match="single number"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        (x * 2).backward(np.ones(3))
    with pytest.raises(RuntimeError, match="no_grad"):
        ms.tensor([1.0]).backward()


def test_a_wrong_backward_of_a_student_is_named():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad[:1]

    with pytest.raises(ValueError, match=r"backward of Wrong returned a gradient of shape \(1,\)"):
        Wrong.apply(leaf([1.0, 2.0])).sum().backward()


def test_anomaly_names_the_operation():
    x = ms.tensor([-1.0, 1.0], requires_grad=True)
    with np.errstate(invalid="ignore"), ms.detect_anomaly(), pytest.raises(FloatingPointError, match="result of Log"):
        x.log()
    with np.errstate(all="ignore"), ms.detect_anomaly():
        y = (ms.tensor([0.0], requires_grad=True) ** 0.5).sum()
        with pytest.raises(FloatingPointError, match="backward of Power"):
            y.backward()


def test_types_follow_pytorch():
    assert ms.Tensor([1, 2]).dtype == np.float32
    assert ms.tensor([1, 2]).dtype == np.int64
    assert ms.tensor([1.0]).dtype == np.float32
    assert ms.tensor(np.zeros(2)).dtype == np.float64
    x = ms.tensor([1.0])
    assert (x * 2 + 1.5).dtype == (2 / x).dtype == (np.float64(3) * x).dtype == np.float32
    with pytest.raises(TypeError, match="int64"):
        ms.tensor([1], requires_grad=True)


def test_numpy_arrays_on_the_left_stay_on_the_tape():
    x = leaf([1.0, 2.0])
    y = np.array([3.0, 4.0]) * x
    assert isinstance(y, ms.Tensor)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [3.0, 4.0])


def test_python_conversions():
    x = ms.tensor([[1.0, 2.0]])
    assert float(x[0, 1]) == 2.0
    assert int(x[0, 0]) == 1
    assert x.tolist() == [[1.0, 2.0]]
    assert [float(v) for v in x[0]] == [1.0, 2.0]
    assert len(x) == 1
    assert x.size() == (1, 2)
    assert x.size(1) == 2
    assert bool((x > 1.5)[0, 1])
    assert np.asarray(x).dtype == np.float32
    with pytest.raises(ValueError, match="one element"):
        float(x)
    with pytest.raises(RuntimeError, match="detach"):
        leaf([1.0]).numpy()


def test_a_prediction_kept_across_steps_does_not_change():
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 1))
    x = np.random.default_rng(0).random((1, 1, 8, 8), dtype=np.float32)
    kept = net(x)
    before = kept.data.copy()
    for _ in range(3):
        loss = (net(x) ** 2).mean()
        loss.backward()
        for p in net.parameters():
            p.data -= 0.1 * p.grad.data
            p.grad = None
    np.testing.assert_array_equal(kept.data, before)


class Returns(Function):
    """Its backward returns what ``made`` makes of the gradient."""

    @staticmethod
    def forward(ctx, x, made=None):
        ctx.made = made
        return x * 2

    @staticmethod
    def backward(ctx, grad_output):
        return ctx.made(grad_output)


def gradient_of(made, shape=(256, 256)):
    x = Tensor(np.zeros(shape, np.float32), requires_grad=True)
    Returns.apply(x, made=made).sum().backward()
    return x.grad.data


@pytest.mark.parametrize("make", [empty, np.empty], ids=["shelf", "numpy"])
def test_a_leaf_takes_over_a_gradient_that_nobody_else_sees(make):
    seen = []

    def fresh(grad):
        result = make((256, 256), np.float32)
        result[...] = grad
        seen.append(result.ctypes.data)
        return result.reshape(256, 256)

    assert gradient_of(fresh).ctypes.data == seen[-1]


@pytest.mark.parametrize("shelf", [True, False])
def test_a_leaf_copies_a_gradient_that_somebody_else_sees(shelf):
    make = empty if shelf else np.empty
    kept = make((512, 512), np.float32)
    kept[...] = 3
    others = [kept.reshape(-1), kept[:256, :256]]
    held = []

    def view_is_kept(grad):
        large = make((512, 512), np.float32)
        held.append(large[:256])
        large[...] = 3
        return large[:256, :256]

    for made in (
        lambda g: kept[:256, :256],
        lambda g: others[1],
        view_is_kept,
        lambda g: np.broadcast_to(kept[0, :1], (256, 256)),
        lambda g: np.broadcast_to(np.full(1, 3, np.float32), (256, 256)),  # one number stands for many
        lambda g: np.lib.stride_tricks.as_strided(np.full(1, 3, np.float32), (256, 256), (0, 0)),
    ):
        gradient = gradient_of(made)
        gradient += 1
        assert (gradient == 4).all()
    assert (kept == 3).all()
    assert (held[0] == 3).all()


def test_two_leaves_that_get_one_array_do_not_share_it():
    x, y = leaf(np.ones(2000)), leaf(np.ones(2000))
    given = np.full(2000, 5.0)
    (x + y).backward(given)
    x.grad.data += 1
    y.grad.data *= 10
    assert (x.grad.data == 6).all()
    assert (y.grad.data == 50).all()
    assert (given == 5).all()


def test_gradients_of_arithmetic_are_right():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0.5, 2, (3, 1, 4)), rng.uniform(0.5, 2, (2, 4))

    def f(x, y, cat, log_softmax):
        z = (x * y + 2 / x - y) ** 3 + x.exp().log() + (3 - x).abs() + (x - 1).clamp(min=0.0)
        return (log_softmax(z, 1)[:, 1:] @ z.transpose(1, 2)).mean((0, 2)).sum() + cat([z, z * 2], 0).sum() * 0.1

    x, y = leaf(a), leaf(b)
    f(x, y, ms.cat, F.log_softmax).backward()
    tx, ty = torch.tensor(a, requires_grad=True), torch.tensor(b, requires_grad=True)
    f(tx, ty, torch.cat, torch.nn.functional.log_softmax).backward()
    np.testing.assert_allclose(x.grad.numpy(), tx.grad.numpy(), rtol=1e-10)
    np.testing.assert_allclose(y.grad.numpy(), ty.grad.numpy(), rtol=1e-10)


def test_indexing_twice_the_same_place_adds():
    x = leaf([1.0, 2.0, 3.0])
    x[np.array([0, 0, 2])].sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [2.0, 0.0, 1.0])


def test_the_tape_is_short_and_needs_numpy_alone():
    path = Path(ms.__file__).with_name("autograd.py")
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 250
    imports = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imports |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imports.add("." * node.level + (node.module or "").split(".")[0])
    assert imports <= {"__future__", "itertools", "threading", "collections", "contextlib", "types", "typing", "numpy"}
